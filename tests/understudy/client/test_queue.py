"""Commands while there is nobody to send them to: bounded in bytes and in age, and told of. On a mock clock."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.support.scripted_server import in_memory
from understudy.client import CommandDropped, NoAnswer, NotSent, open_client
from understudy.client.envelope import Command
from understudy.client.queue import CommandQueue

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from trio.testing import MockClock

    from tests.support.scripted_server import Peer
    from understudy.client import Client
    from understudy.client.envelope import Address


@asynccontextmanager
async def offline(**options: Any) -> AsyncGenerator[Client, None]:
    """A client whose network is silent."""

    async def dial(_: Address) -> trio.abc.Stream:
        await trio.sleep_forever()
        raise AssertionError

    async with open_client("daemon.test", rng=random.Random(1), dial=dial, connect_within=1e6, **options) as client:
        yield client


async def test_the_bytes_are_bounded_and_the_newest_is_refused(autojump_clock: MockClock) -> None:
    async with offline(queue_bytes=1000) as client:
        client.post("send_message", content="x" * 500)
        with pytest.raises(NotSent) as full:
            client.post("send_message", content="y" * 500, command_id="second")
        assert (full.value.reason, full.value.command_id) == ("full", "second")
        with pytest.raises(NotSent, match="full"):
            await client.command("send_message", content="y" * 500)
        client.post("typing")
        assert client.unanswered == 2


async def test_what_gets_too_old_is_dropped_and_said(autojump_clock: MockClock) -> None:
    async with offline(queue_seconds=30.0) as client:
        first = client.post("typing")
        await trio.sleep(10)
        second = client.post("mark_read")
        dropped = await anext(client)
        assert trio.current_time() == pytest.approx(30)
        assert isinstance(dropped, CommandDropped)
        assert (dropped.command_id, dropped.command_type, dropped.reason) == (first, "typing", "age")
        assert dropped.perhaps_done is False
        with pytest.raises(NotSent, match="age"):
            await client.command("get_run")
        dropped = await anext(client)
        assert isinstance(dropped, CommandDropped)
        assert dropped.command_id == second
        with pytest.raises(NotSent, match="age"):
            await client.command("get_run", within=5)
        assert client.unanswered == 0


async def test_room_is_given_back(autojump_clock: MockClock) -> None:
    async with offline(queue_bytes=1000, queue_seconds=30.0) as client:
        for _ in range(20):
            client.post("send_message", content="x" * 700)
            assert isinstance(await anext(client), CommandDropped)
            with pytest.raises(NotSent):
                await client.command("send_message", content="x" * 700, within=1)


async def test_of_what_was_sent_and_never_answered_nobody_knows(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome(interval=1e6)
        await peer.command("typing")
        await peer.command("get_run")
        await peer.command("list_runs")

    async with (
        in_memory(script) as dial,
        open_client("daemon.test", rng=random.Random(1), dial=dial, queue_seconds=30.0) as client,
    ):
        client.post("typing")
        with pytest.raises(NoAnswer) as silence:
            await client.command("get_run", within=20)
        assert silence.value.within == 20
        with pytest.raises(NoAnswer) as silence:
            await client.command("list_runs")
        assert silence.value.within == 30
        dropped = await anext(client)
        assert isinstance(dropped, CommandDropped)
        assert (dropped.reason, dropped.perhaps_done) == ("age", True)


async def test_at_the_end_of_a_client_what_was_posted_is_told_before_the_reason(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome(interval=1e6)
        await peer.command("typing")
        await peer.close(4401)

    async with in_memory(script) as dial, open_client("daemon.test", rng=random.Random(1), dial=dial) as client:
        posted = client.post("typing")
        dropped = await anext(client)
        assert isinstance(dropped, CommandDropped)
        assert (dropped.command_id, dropped.reason, dropped.perhaps_done) == (posted, "closed", True)


async def test_the_order_is_kept_over_restarts_and_refusals() -> None:
    queue = CommandQueue(10_000, 60.0)
    given = [queue.add(Command(id=str(number), type="typing"), 0.0, posted=True) for number in range(5)]
    assert [queue.send_next() for _ in range(3)] == given[:3]
    queue.remove(given[1])
    assert not queue.remove(given[1])
    queue.put_back(given[2])
    assert queue.send_next() is given[2]
    queue.restart()
    assert [queue.send_next() for _ in range(5)] == [given[0], *given[2:], None]
    assert (queue.under_way, queue.unsent, len(queue)) == (4, False, 4)
    queue.put_back(given[1])  # gone: nothing happens
    assert queue.send_next() is None
    assert queue.drop_all() == [given[0], *given[2:]]
    assert (queue.bytes, queue.under_way) == (0, 0)
