"""Every message ends as exactly one of what the counters tell. Single cases; `test_programs.py` makes up others."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from runtime import (
    HandlerFailed,
    TimedOut,
)
from tests.support.actors import (
    LONG,
    Batcher,
    Bench,
    Probe,
    boom,
    bounded,
    settle,
)


async def test_each_end_of_a_message_has_its_count(bench: Bench):
    elsewhere = await bench.spawn("elsewhere")
    on = {"wait": lambda _: trio.sleep(1), "boom": boom, "go on": lambda actor: actor.forward(elsewhere.ref)}
    a = await bench.spawn("a", mailbox=bounded(4), on=on)
    a.ref.tell("wait")
    await settle()
    with pytest.raises(TimedOut):
        await a.ref.ask("late", within=0.5)
    for message in ("boom", "go on", 1, 2):
        a.ref.tell(message)
    counters = bench.counters(a)
    assert (counters.offered, counters.waiting, counters.in_hand, counters.dropped) == (6, 4, 1, 1)
    assert counters.missing == 0
    await trio.sleep(2)
    a.ref.tell("wait")
    await settle()
    a.ref.tell("left behind")
    await bench.stop(a)
    await trio.sleep(2)
    counts = bench.system.totals.by_kind["Probe"]
    expected = {
        "offered": 8,
        "handled": 3,
        "failed": 1,
        "expired": 1,
        "moved": 1,
        "dropped": 1,
        "undelivered": 1,
        "ended": 1,
        "incarnations": 2,
    }
    assert counts == expected
    assert bench.system.totals.drops == {"full": 1}


async def test_cancelled_in_hand_counts_as_failed(bench: Bench):
    a = await bench.spawn("a", on={"hang": lambda _: trio.sleep(LONG)})

    async def ask() -> None:
        with pytest.raises(HandlerFailed, match="Cancelled"):
            await a.ref.ask("hang", within=LONG)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await settle()
        a.cell.kill("by hand")
    await settle()
    assert bench.counters(a).failed == 1


async def test_cancelled_in_hand_counts_as_failed_while_senders_wait(bench: Bench):
    a = await bench.spawn(
        "a", mailbox=bounded(1), on={"hang": lambda _: trio.sleep(LONG), 0: lambda _: trio.sleep(LONG)}
    )
    a.ref.tell("hang")
    await settle()
    async with trio.open_nursery() as nursery:
        for n in range(3):
            nursery.start_soon(a.ref.send, n, LONG)
            await settle()
        a.cell.kill("by hand")
        await settle()
        a.cell.kill("by hand, in the slow turn")
    await settle()
    assert bench.counters(a).failed == 2
    assert a.log.heard == ["hang", 0, 1, 2]


@pytest.mark.parametrize("make", [Probe, Batcher])
async def test_cancelled_while_parked_counts_as_nothing(bench: Bench, make: type[Probe]):
    a = await bench.spawn("a", make)
    a.ref.tell(1)
    await settle()
    a.cell.kill("by hand")
    await settle()
    counters = bench.counters(a)
    assert (counters.offered, counters.handled, counters.failed) == (1, 1, 0)


async def test_cancelled_between_two_turns_counts_as_nothing(bench: Bench):
    a = await bench.spawn("a")
    for n in range(200):
        a.ref.tell(n if n != 10 else lambda actor: actor._cell.kill("by hand"))
    await settle()
    assert bench.counters(a).failed == 0
    assert bench.counters(a).handled == 200
    assert a.log.started == [0, 1]


async def test_a_failure_anywhere_in_a_turn_counts_what_came_before_it(bench: Bench):
    for position in (0, 1, 7, 8, 9, 62, 63, 64, 65):
        a = await bench.spawn(f"a{position}", on={"boom": boom})
        for n in range(70):
            a.ref.tell("boom" if n == position else n)
        await settle()
        counters = bench.counters(a)
        assert (counters.handled, counters.failed) == (69, 1)


async def test_a_stop_anywhere_in_a_turn_counts_what_came_before_it(bench: Bench):
    for position in (0, 1, 7, 8, 62, 63, 64):
        a = await bench.spawn(f"a{position}", lambda log, **_: Named(log))
        for n in range(70):
            a.ref.tell("stop" if n == position else n)
        await settle()
        counts = bench.system.totals.by_kind["Named"]
        assert (counts["handled"], counts["undelivered"]) == (position + 1, 69 - position)
        bench.system.totals.by_kind.clear()
        bench.system.totals.drops.clear()


class Named(Probe):
    """A kind of its own, for its totals."""

    async def receive(self, message: Any) -> object:
        if message == "stop":
            self.stop()
        return await super().receive(message)


async def test_totals_never_go_back(bench: Bench):
    a = await bench.spawn("a", on={"done": lambda actor: actor.stop()})
    for n in range(9):
        a.ref.tell(n)
    await settle()
    before = bench.counters(a).handled
    a.ref.tell("done")
    await settle()
    assert bench.system.totals.by_kind["Probe"]["handled"] == before + 1
