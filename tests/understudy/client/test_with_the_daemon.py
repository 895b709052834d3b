"""The client with the real daemon: both transports, and a log that is the same over either."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from tests.support.daemon import house
from tests.support.grammar import check
from tests.support.hasty import Hasty
from understudy.client import Event, Open, Polling, open_client
from understudy.client.socket import dial as dial_socket

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.grammar_tables import Frame
    from understudy.client import Client
    from understudy.client.envelope import Address

BRIEF = "A shop that sells tea by weight"


def frame(event: Event) -> Frame:
    names = ("type", "id", "timestamp", "seq", "session_id", "run_id", "agent_name", "content", "metadata")
    present = {name: getattr(event, name) for name in names if getattr(event, name) is not None}
    return present | {"requires_ack": True}


async def until_the_end(client: Client, into: list[Frame]) -> None:
    async for event in client:
        if event.seq is not None:
            into.append(frame(event))
        if event.type == "run_status" and event.metadata["status"] in ("completed", "failed", "cancelled"):
            return


async def test_a_run_by_polling_and_another_after_the_way_back(tmp_path: Path) -> None:
    """Two devices of one user: one has a WebSocket from the first, the other's is in the way until half-time."""
    blocked = True

    async def dial(address: Address) -> trio.abc.Stream:
        if blocked:
            await trio.lowlevel.checkpoint()
            raise OSError
        return await dial_socket(address)

    async with house(tmp_path, None) as here:
        url = f"127.0.0.1:{here.port}"
        one: list[Frame] = []
        other: list[Frame] = []
        with trio.fail_after(90):
            async with (
                open_client(url, rng=Hasty(1), user_id="ada") as watcher,
                open_client(url, rng=Hasty(2), user_id="ada", dial=dial) as poller,
            ):
                await watcher.until(Open)
                await poller.until(Polling)
                await poller.command("start_run", content=BRIEF, metadata={"workflow": "short"})
                await until_the_end(poller, other)
                blocked = False
                await poller.until(Open)
                await poller.command("start_run", content=BRIEF, metadata={"workflow": "short"})
                await until_the_end(poller, other)
                for _ in range(2):
                    await until_the_end(watcher, one)
        assert one == other
        assert [each["seq"] for each in one] == list(range(1, len(one) + 1))
        assert check(one, connection=False) == []


@pytest.mark.parametrize("polling", [False, True])
async def test_a_client_id_alone_takes_up_where_its_last_ack_was(polling: bool, tmp_path: Path) -> None:
    """The program ended, and its next start knows nothing but who it is."""

    async def blocked(address: Address) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        raise OSError

    async with house(tmp_path, None) as here:
        url, dial = f"127.0.0.1:{here.port}", blocked if polling else dial_socket
        seen: list[int | None] = []
        with trio.fail_after(90):
            async with open_client(url, rng=Hasty(1), user_id="ada", client_id="p", dial=dial) as client:
                await client.until(Polling if polling else Open)
                await client.command("start_run", content=BRIEF, metadata={"workflow": "short"})
                async for event in client:
                    if event.seq is not None:
                        seen.append(event.seq)
                    if len(seen) == 5:
                        break  # what is in hand counts as processed
            rest: list[Frame] = []
            async with open_client(url, rng=Hasty(2), user_id="ada", client_id="p", dial=dial) as client:
                await until_the_end(client, rest)
        assert seen == [1, 2, 3, 4, 5]
        assert [each["seq"] for each in rest] == list(range(6, 6 + len(rest)))


async def test_what_breaks_in_the_daemon_is_not_seen_in_the_log(tmp_path: Path) -> None:
    async with house(tmp_path, None) as here:
        log: list[Frame] = []
        with trio.fail_after(90):
            async with open_client(f"127.0.0.1:{here.port}", rng=Hasty(1), user_id="ada") as client:
                await client.command("start_run", content=BRIEF, metadata={"workflow": "short"})
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(until_the_end, client, log)
                    for _ in range(3):
                        await client.until(Open)
                        for path in here.paths():
                            if path.startswith("/gateway/connections/"):
                                here.system.fail(path, RuntimeError("injected"))  # one that has ended is no matter
                        await trio.sleep(0.02)
        assert [each["seq"] for each in log] == list(range(1, len(log) + 1))
        assert check(log, connection=False) == []
