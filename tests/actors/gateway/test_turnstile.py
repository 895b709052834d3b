"""A crowd that leaves goes a few at a time, in its order, and holds nobody up."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from socket import SO_LINGER, SOL_SOCKET
from typing import TYPE_CHECKING

import pytest
import trio

from actors.gateway.turnstile import EACH_TURN, Turnstile
from tests.support.gateway_system import gateway_system
from tests.support.raw_websocket import CLOSE, close_payload, encode_frame

if TYPE_CHECKING:
    from tests.support.raw_websocket import RawWebSocket


class Growth(trio.abc.Instrument):
    """By how much a count has grown in each turn of the loop."""

    def __init__(self, count: Callable[[], int]) -> None:
        self._count = count
        self._before = count()
        self.turns: list[int] = []

    def before_io_wait(self, timeout: float) -> None:
        del timeout
        now = self._count()
        if now != self._before:
            self.turns.append(now - self._before)
        self._before = now


@contextmanager
def growth(count: Callable[[], int]) -> Iterator[list[int]]:
    instrument = Growth(count)
    trio.lowlevel.add_instrument(instrument)
    try:
        yield instrument.turns
    finally:
        trio.lowlevel.remove_instrument(instrument)


async def test_one_by_one_there_is_nothing_to_wait_for() -> None:
    turnstile = Turnstile(each_turn=2)
    for _ in range(2):
        with trio.testing.assert_no_checkpoints():
            await turnstile.pass_through()
    assert not turnstile._line


async def test_a_crowd_passes_a_few_at_a_time_in_the_order_in_which_it_came() -> None:
    turnstile = Turnstile(each_turn=3)
    came: list[int] = []
    passed: list[int] = []

    async def one(number: int) -> None:
        came.append(number)
        await turnstile.pass_through()
        passed.append(number)

    with growth(lambda: len(passed)) as turns:
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(one, number)
    in_threes = [{*passed[start : start + 3]} for start in range(0, 20, 3)]  # those of one turn go on in any order
    assert in_threes == [{*came[start : start + 3]} for start in range(0, 20, 3)]
    assert max(turns) == 3
    assert sum(turns) == 20


async def test_whoever_comes_later_stands_behind() -> None:
    turnstile = Turnstile(each_turn=2)
    came: list[str] = []
    passed: list[str] = []

    async def one(name: str) -> None:
        came.append(name)
        await turnstile.pass_through()
        passed.append(name)

    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(one, "first")
        while len(came) < 6:
            await trio.lowlevel.checkpoint()
        nursery.start_soon(one, "later")
    assert passed == ["first"] * 6 + ["later"]


async def test_whoever_gives_up_leaves_the_line_and_takes_nobodys_place() -> None:
    turnstile = Turnstile(each_turn=1)
    await turnstile.pass_through()
    with trio.CancelScope() as scope:
        scope.cancel()
        await turnstile.pass_through()
    assert scope.cancelled_caught
    assert not turnstile._line
    with trio.fail_after(40):
        await turnstile.pass_through()


async def test_afterwards_there_is_room_again() -> None:
    turnstile = Turnstile(each_turn=2)
    for _ in range(3):
        with trio.fail_after(40):
            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(turnstile.pass_through)
        await trio.testing.wait_all_tasks_blocked()
        with trio.testing.assert_no_checkpoints():
            await turnstile.pass_through()
            await turnstile.pass_through()
        await trio.testing.wait_all_tasks_blocked()


def says_close(raw: RawWebSocket) -> None:
    os.write(raw.stream.socket.fileno(), encode_frame(CLOSE, close_payload(1001)))


def ends(raw: RawWebSocket) -> None:
    raw.stream.socket.close()


def resets(raw: RawWebSocket) -> None:
    raw.stream.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    raw.stream.socket.close()


@pytest.mark.parametrize(("leave", "code"), [(says_close, 1001), (ends, 1006), (resets, 1006)])
async def test_of_clients_that_leave_at_once_a_few_end_in_a_turn_and_each_is_logged_and_counted(
    leave: Callable[[RawWebSocket], None], code: int
) -> None:
    crowd = 5 * EACH_TURN
    async with gateway_system() as here:
        for number in range(crowd):
            await here.welcomed(f"user{number}")
        closed = here.counters.connections_closed
        with growth(closed.total) as turns:
            for raw in here.raws:
                leave(raw)
            await here.holds(lambda: closed.total() == crowd)
        assert closed == {code: crowd}
        assert max(turns) < 2 * EACH_TURN  # they pass by sixteens, and end some turns later
        lines = [line for line in here.logs if line["event"] == "connection closed"]
        assert {line["user"] for line in lines} == {f"user{number}" for number in range(crowd)}
        assert {line["code"] for line in lines} == {code}
