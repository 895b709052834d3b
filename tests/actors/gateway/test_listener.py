"""Accepting: over crashes, over a system that has no room, and over a gateway that restarts."""

from __future__ import annotations

import errno
from functools import partial
from typing import Any

import pytest
import trio

from actors.gateway import gateway
from actors.gateway.connection import Connection
from actors.gateway.gateway import Listener
from actors.gateway.handover import Handover
from actors.gateway.messages import Accepted
from runtime import Actor, Crash, Mailbox, Node, Overflow, Spec, open_system
from tests.support.actors import Restarter
from tests.support.gateway_system import WITHIN, GatewaySystem, gateway_system
from tests.support.raw_websocket import RawWebSocket


async def test_a_listener_that_crashes_leaves_the_connections_alone() -> None:
    async with gateway_system() as here:
        client = await here.welcomed()
        here.crash("/gateway/listener")
        assert (await client.ask("heartbeat"))["type"] == "heartbeat"
        assert (await (await here.welcomed()).ask("heartbeat"))["type"] == "heartbeat"


async def test_connections_that_crash_are_closed_and_the_listener_restarts() -> None:
    async with gateway_system() as here:
        client = await here.welcomed()
        here.crash("/gateway/connections")
        assert await client.ended() == 1011
        assert (await (await here.welcomed()).ask("heartbeat"))["type"] == "heartbeat"


class Streams:
    """A listener that gives what a test says: streams, or errors to raise."""

    def __init__(self, *gives: Any) -> None:
        self.gives = list(gives)
        self.times: list[float] = []

    async def accept(self) -> Any:
        self.times.append(trio.current_time())
        if not self.gives:
            await trio.sleep_forever()
        given = self.gives.pop(0)
        if isinstance(given, OSError):
            raise given
        return given


class Taker(Actor):
    def __init__(self, taken: list[Any]) -> None:
        self.taken = taken

    async def receive(self, message: Any) -> object:
        self.taken.append(message)
        if message == "wait":
            await trio.sleep_forever()
        return None


class Stream:
    """A stream that knows whether it was closed."""

    closed = False

    @property
    def socket(self) -> Stream:
        return self

    def close(self) -> None:
        self.closed = True

    async def aclose(self) -> None:
        self.close()


async def test_without_room_for_another_socket_it_waits_a_moment(autojump_clock: Any) -> None:
    streams = Streams(OSError(errno.EMFILE, "full"), OSError(errno.ENOBUFS, "full"), Stream())
    taken: list[Any] = []
    reports: list[Any] = []
    async with open_system(Spec("root", Restarter), report=reports.append) as system:
        root: Any = system.root
        taker = root.actor.start_child(Spec("taker", lambda: Taker(taken)))
        root.actor.start_child(Spec("listener", lambda: Listener([streams], taker, Handover())))  # type: ignore[list-item]
        await trio.sleep(10)
        assert len(taken) == 1
        assert isinstance(taken[0], Accepted)
        assert streams.times == pytest.approx([0.0, 0.1, 0.2, 0.2], abs=0.01)
        assert reports == []


async def test_an_error_of_another_kind_ends_it_and_its_supervisor_decides(autojump_clock: Any) -> None:
    streams = Streams(OSError(errno.EINVAL, "odd"), Stream())
    taken: list[Any] = []
    reports: list[Any] = []
    async with open_system(Spec("root", Restarter), report=reports.append) as system:
        root: Any = system.root
        taker = root.actor.start_child(Spec("taker", lambda: Taker(taken)))
        root.actor.start_child(Spec("listener", lambda: Listener([streams], taker, Handover())))  # type: ignore[list-item]
        await trio.sleep(10)
        assert len(taken) == 1
        assert [report.kind for report in reports if isinstance(report, Crash)] == ["Listener"]


async def test_a_stream_that_nobody_takes_is_closed(autojump_clock: Any) -> None:
    first, second = Stream(), Stream()
    streams = Streams(first, second)
    taken: list[Any] = []
    reports: list[Any] = []
    async with open_system(Spec("root", Restarter), report=reports.append, stop_within=1.0) as system:
        root: Any = system.root
        full = Mailbox(1, Overflow.WAIT)
        taker = root.actor.start_child(Spec("taker", lambda: Taker(taken), mailbox=full))
        taker.tell("wait")
        await trio.sleep(1)
        taker.tell("the mailbox is full now")
        root.actor.start_child(Spec("listener", lambda: Listener([streams], taker, Handover())))  # type: ignore[list-item]
        await trio.sleep(100)
        assert first.closed
        assert second.closed
        assert [report for report in reports if isinstance(report, Crash)] == []
        root.actor.stop_child("taker", within=0.1)
        await trio.sleep(1)


@pytest.mark.parametrize("ends", ["/gateway", "its budget", "everything"])
async def test_streams_that_no_connection_has_taken_are_closed(ends: str) -> None:
    with trio.fail_after(WITHIN):
        async with gateway_system() as here:
            if ends == "its budget":
                for number in range(1, 6):
                    here.crash("/gateway/connections")
                    await here.holds(partial(is_incarnation, here, number))
            dialled = await three_wait(here)
            if ends == "everything":
                here.system.stop(0.0)
            else:
                here.crash("/gateway" if ends == "/gateway" else "/gateway/connections")
            for raw in dialled:
                assert await raw.read_to_end() == b""


async def test_streams_that_wait_while_the_connections_crash_are_taken_by_the_next_incarnation() -> None:
    with trio.fail_after(WITHIN):
        async with gateway_system() as here:
            dialled = await three_wait(here)
            here.crash("/gateway/connections")
            for raw in dialled:
                assert b" 101 " in await raw.handshake()


async def test_the_stream_of_a_connection_that_cannot_be_made_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Connection:
        raise RuntimeError("planned")

    with trio.fail_after(WITHIN):
        async with gateway_system() as here:
            with monkeypatch.context() as meanwhile:
                meanwhile.setattr(gateway, "Connection", broken)
                assert await (await here.dial()).read_to_end() == b""
            assert (await (await here.welcomed()).ask("heartbeat"))["type"] == "heartbeat"


async def three_wait(here: GatewaySystem) -> list[RawWebSocket]:
    """Connections that lie in the mailbox of whom they are for."""
    assert here.system.suspend("/gateway/connections")
    dialled = [await here.dial() for _ in range(3)]
    await here.holds(lambda: the_connections(here).counters.waiting == 3)
    return dialled


def is_incarnation(here: GatewaySystem, number: int) -> bool:
    return the_connections(here).incarnation == number


def the_connections(here: GatewaySystem) -> Node:
    node = here.system.tree().find("/gateway/connections")
    assert node is not None
    return node


async def test_it_ends_when_it_is_told() -> None:
    with trio.fail_after(WITHIN):
        async with gateway_system() as here:
            assert here.system.tree().find("/gateway/listener") is not None
