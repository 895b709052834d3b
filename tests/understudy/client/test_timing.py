"""Heartbeats, acks and silence, on a mock clock over a stream in memory."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
import trio

from tests.support.scripted_server import in_memory
from understudy.client import ConnectionEnded, Unreachable, connect

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.support.scripted_server import Peer

URL = "ws://daemon.test/ws"


async def test_heartbeats_come_every_interval_the_first_after_a_random_part(autojump_clock: MockClock) -> None:
    beats: list[float] = []

    async def script(peer: Peer) -> None:
        await peer.welcome(interval=20)
        while True:
            beat = await peer.receive()
            assert beat["type"] == "heartbeat"
            beats.append(trio.current_time())
            await peer.send("heartbeat", reply_to=beat["id"], server_time="2026-11-20T08:30:00.000Z")

    firsts = []
    for seed in (1, 2):
        beats.clear()
        async with in_memory(script) as dial, connect(URL, rng=random.Random(seed), dial=dial):
            began = trio.current_time()
            await trio.sleep(100)
        assert 0 <= beats[0] - began <= 20
        assert [later - earlier for earlier, later in pairwise(beats)] == pytest.approx([20] * 4)
        firsts.append(beats[0] - began)
    assert firsts[0] != firsts[1]


async def test_acks_are_cumulative_and_at_most_one_a_second(autojump_clock: MockClock) -> None:
    acks: list[tuple[float, int]] = []

    async def script(peer: Peer) -> None:
        await peer.welcome(interval=1000)
        began = trio.current_time()

        async def produce() -> None:
            for _ in range(40):
                await peer.durable("system", "tick")
                await trio.sleep(0.1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(produce)
            while True:
                frame = await peer.receive()
                if frame["type"] == "ack":
                    acks.append((trio.current_time() - began, frame["metadata"]["seq"]))

    async with in_memory(script) as dial, connect(URL, rng=random.Random(1), dial=dial) as client:
        with trio.move_on_after(20):
            async for _ in client:
                pass
    times = [time for time, _ in acks]
    seqs = [seq for _, seq in acks]
    assert seqs == sorted(set(seqs))
    assert seqs[-1] == 40
    assert min(later - earlier for earlier, later in pairwise(times)) >= 1
    assert times[-1] <= 4 + 5  # the last event was processed at 3.9 s
    assert len(acks) <= 7


async def test_silence_of_an_interval_and_ten_seconds_ends_the_connection(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome(interval=30)
        await trio.sleep(25)
        await peer.send("typing", "a sign of life", user_id="ada", active=True)

    async with in_memory(script) as dial, connect(URL, rng=random.Random(1), dial=dial) as client:
        began = trio.current_time()
        assert (await anext(client)).type == "typing"
        with pytest.raises(ConnectionEnded) as ended:
            await anext(client)
        assert trio.current_time() - began == pytest.approx(25 + 40)
        assert (ended.value.code, ended.value.reconnect, ended.value.resume) == (1006, True, True)


async def test_a_ping_is_a_sign_of_life(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome(interval=30)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.closed)
            for _ in range(10):
                await peer.websocket.ping()
                await trio.sleep(30)

    async with in_memory(script) as dial, connect(URL, rng=random.Random(1), dial=dial) as client:
        with trio.move_on_after(290) as scope:
            await anext(client)
        assert scope.cancelled_caught


async def test_silence_while_we_do_not_read_is_not_the_daemons(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome(interval=30)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.closed)
            for _ in range(30):
                await peer.durable("system", "x" * 1_000_000)

    async with in_memory(script) as dial, connect(URL, rng=random.Random(1), dial=dial) as client:
        await trio.sleep(1000)
        seqs = [(await anext(client)).seq for _ in range(30)]
        assert seqs == list(range(1, 31))


async def test_the_silence_is_counted_from_when_we_read_again(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome(interval=30)
        for _ in range(5):
            await peer.durable("system", "x" * 1_000_000)

    async with in_memory(script) as dial, connect(URL, rng=random.Random(1), dial=dial) as client:
        await trio.sleep(1010)
        for _ in range(5):
            await anext(client)
        with trio.move_on_after(39) as scope:
            await anext(client)
        assert scope.cancelled_caught
        with pytest.raises(ConnectionEnded):
            await anext(client)


async def test_a_daemon_that_never_answers_the_close_is_left_after_two_seconds(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome(interval=1000)
        peer.websocket._reader_running = False  # nothing of the client is read from here on
        await trio.sleep_forever()

    async with in_memory(script) as dial:
        async with connect(URL, rng=random.Random(1), dial=dial):
            await trio.sleep(1)
            left_at = trio.current_time()
        assert trio.current_time() - left_at <= 4


async def test_no_answer_to_the_dial_is_unreachable(autojump_clock: MockClock) -> None:
    async def dial(_: object) -> trio.abc.Stream:
        await trio.sleep_forever()
        raise AssertionError

    with pytest.raises(Unreachable, match="no answer within 10 s"):
        async with connect(URL, rng=random.Random(1), dial=dial):
            pass
