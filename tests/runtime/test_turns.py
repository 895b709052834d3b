from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from runtime import HandlerFailed, Passivated, Refused, RefusedTell, Stopped, TimedOut
from tests.support.actors import LONG, Batcher, Bench, Boom, Probe, Subject, boom, bounded, settle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio.testing import MockClock


async def test_one_message_at_a_time(bench: Bench):
    inside: list[str] = []

    async def work(actor: Any) -> None:
        inside.append("in")
        await trio.sleep(1)
        inside.append("out")

    a = await bench.spawn("a", on={"work": work})
    for _ in range(3):
        a.ref.tell("work")
    await trio.sleep(4)
    assert inside == ["in", "out"] * 3


async def test_an_actor_knows_how_many_messages_wait_behind_the_one_in_hand(bench: Bench):
    found: list[int] = []
    a = await bench.spawn("a", on={"look": lambda actor: found.append(actor.backlog)})
    for message in ("look", "other", "look"):
        a.ref.tell(message)
    await settle()
    assert found == [2, 0]
    a.cell.signal("look")  # what comes from the kernel does not count
    a.cell.signal("look")
    a.ref.tell("look")
    await settle()
    assert found[2:] == [1, 1, 0]


async def test_the_next_incarnation_begins_after_stopped_has_returned(bench: Bench):
    order: list[Any] = []

    async def stopped(actor: Probe) -> None:
        order.append(("stopping", actor.incarnation))
        await trio.sleep(1)
        order.append(("stopped", actor.incarnation))

    await bench.spawn(
        "a",
        on={"boom": boom},
        stop=stopped,
        start=lambda actor: order.append(("started", actor.incarnation)),
    )
    ref = bench.system.ref("/a")
    ref.tell("boom")
    ref.tell("boom")
    await trio.sleep(5)
    assert order == [
        ("started", 0),
        ("stopping", 0),
        ("stopped", 0),
        ("started", 1),
        ("stopping", 1),
        ("stopped", 1),
        ("started", 2),
    ]


class Turn(Probe):
    """Writes in one list whose message it was."""

    async def receive(self, message: Any) -> object:
        if isinstance(message, list):
            message.append(self.ref.path)
            return None
        return await super().receive(message)


async def test_a_turn_is_64_messages(bench: Bench):
    a, b = await bench.spawn("a", Turn), await bench.spawn("b", Turn)
    seen: list[str] = []
    for subject in (a, b):
        for _ in range(200):
            subject.ref.tell(seen)
    await settle()
    runs = [seen[0]]
    lengths = [0]
    for path in seen:
        if path != runs[-1]:
            runs.append(path)
            lengths.append(0)
        lengths[-1] += 1
    assert len(seen) == 400
    # Two actors at the same time: a run is a turn, or two where the scheduler gave one actor both ends of two passes.
    assert set(lengths) <= {64, 128, 8, 72}
    assert len(runs) >= 4


async def test_a_turn_ends_with_its_slice_looked_at_every_8_messages(bench: Bench, autojump_clock: MockClock):
    class Slow(Turn):
        async def receive(self, message: Any) -> object:
            autojump_clock.jump(0.0001)  # a handler that works for so long without a checkpoint
            return await super().receive(message)

    a, b = await bench.spawn("a", Slow), await bench.spawn("b", Slow)
    seen: list[str] = []
    for subject in (a, b):
        for _ in range(24):
            subject.ref.tell(seen)
    await settle()
    for start in range(0, 48, 8):
        assert len(set(seen[start : start + 8])) == 1
    assert len(set(seen[:24])) == 2


async def test_a_busy_actor_does_not_starve_others(bench: Bench):
    def again(actor: Any) -> None:
        if not done:
            actor.ref.tell("again")

    done: list[bool] = []
    a = await bench.spawn("b", on={"again": again})
    b = await bench.spawn("c")
    a.ref.tell("again")
    assert await b.ref.ask(1, within=1) == 1
    done.append(True)


# --- batches


async def waiting(bench: Bench, **script: Any) -> Subject:
    """A batcher whose hands are full for a second."""
    on = {"wait": lambda _: trio.sleep(1), **script.pop("on", {})}
    a = await bench.spawn("a", Batcher, on=on, **script)
    a.ref.tell("wait")
    await settle()
    return a


async def test_a_batch_is_what_waits_up_to_its_size(bench: Bench):
    a = await waiting(bench)
    for n in range(7):
        a.ref.tell(n)
    node = bench.node(a)
    assert node.counters.in_hand == 1
    await trio.sleep(2)
    assert a.log.heard == [["wait"], [0, 1, 2], [3, 4, 5], [6]]
    assert bench.counters(a).handled == 8


async def test_a_batch_in_hand_is_counted_and_shown(bench: Bench):
    a = await waiting(bench, on={1: lambda _: trio.sleep(1)})
    for n in range(3):
        a.ref.tell(n)
    await trio.sleep(1.5)
    node = bench.node(a)
    assert node.counters.in_hand == 3
    assert node.counters.missing == 0
    assert node.handling is not None
    assert node.handling.message == "3 messages, the first int"
    assert node.handling.age_ms == pytest.approx(500, abs=1.1)


async def test_each_ask_of_a_batch_has_its_answer(bench: Bench):
    a = await waiting(bench)
    answers: dict[int, Any] = {}

    async def ask(n: int) -> None:
        answers[n] = await a.ref.ask(n, within=5)

    async with trio.open_nursery() as nursery:
        for n in range(5):
            nursery.start_soon(ask, n)
    assert answers == {n: n for n in range(5)}


class Quiet(Batcher):
    async def receive_batch(self, messages: Sequence[Any]) -> None:
        await super().receive_batch(messages)


async def test_a_batch_without_answers_answers_none(bench: Bench):
    a = await bench.spawn("a", Quiet)
    assert await a.ref.ask(1, within=1) is None


async def test_a_batch_may_refuse(bench: Bench):
    a = await bench.spawn("a", Batcher, on={1: lambda _: [Refused("no")]})
    with pytest.raises(Refused, match="no"):
        await a.ref.ask(1, within=1)
    a.ref.tell(1)
    await settle()
    assert bench.reports == [RefusedTell("/a", "int")]
    assert bench.counters(a).handled == 2


async def test_a_batch_fails_together(bench: Bench):
    a = await waiting(bench, on={2: boom})
    errors: list[Any] = []

    async def ask(n: int) -> None:
        with pytest.raises(HandlerFailed, match="asked for") as failed:
            await a.ref.ask(n, within=5)
        errors.append(failed.value)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, 1)
        await settle()
        a.ref.tell(2)
        nursery.start_soon(ask, 3)
        await settle()
        a.ref.tell(4)
    assert [type(error.__cause__) for error in errors] == [Boom, Boom]
    await settle()
    assert sorted(a.log.heard[1]) == [1, 2, 3]
    assert a.log.heard[2:] == [[4]]
    counters = bench.counters(a)
    assert (counters.handled, counters.failed) == (2, 3)
    assert bench.crashes()[0].message == "int"


async def test_a_batch_with_the_wrong_number_of_answers_fails(bench: Bench):
    a = await bench.spawn("a", Batcher, on={1: lambda _: [1, 2]})
    with pytest.raises(HandlerFailed, match="2 answers to 1 messages"):
        await a.ref.ask(1, within=1)


async def test_a_batch_leaves_out_asks_whose_time_is_over(bench: Bench):
    a = await waiting(bench)
    for n in range(2):
        with pytest.raises(TimedOut):
            await a.ref.ask(n, within=0.1)
    a.ref.tell("real")
    await trio.sleep(2)
    assert a.log.heard == [["wait"], ["real"]]
    assert bench.counters(a).expired == 2


async def test_a_batch_of_nothing_but_expired_asks_is_no_batch(bench: Bench):
    a = await waiting(bench)
    with pytest.raises(TimedOut):
        await a.ref.ask(1, within=0.1)
    await trio.sleep(2)
    assert a.log.heard == [["wait"]]


async def test_signals_come_between_batches_one_by_one(bench: Bench):
    a = await waiting(bench)
    a.ref.tell(1)
    a.cell.signal("signal")
    await trio.sleep(2)
    assert a.log.heard == [["wait"], "signal", [1]]


async def test_a_batcher_stops_and_passivates(bench: Bench):
    a = await waiting(bench)
    a.ref.tell(1)
    await bench.stop(a)
    await trio.sleep(2)
    assert a.log.ended == [Stopped("stopped by its host")]
    b = await bench.spawn("b", Batcher, on={"go": lambda actor: actor.passivate()})
    b.ref.tell("go")
    await settle()
    assert b.log.ended == [Passivated()]
    assert await b.ref.ask(1, within=1) == 1


async def test_a_batcher_stays_when_it_has_wished_to_go_too_early(bench: Bench):
    a = await waiting(bench, on={"go": lambda actor: actor.passivate()})
    for message in ("x", "x", "go", "y"):
        a.ref.tell(message)
    await trio.sleep(2)
    assert a.log.heard == [["wait"], ["x", "x", "go"], ["y"]]
    assert a.log.ended == []


async def test_senders_fill_the_room_a_batch_leaves(bench: Bench):
    a = await bench.spawn("a", Batcher, mailbox=bounded(2), on={"wait": lambda _: trio.sleep(1)})
    a.ref.tell("wait")
    await settle()
    async with trio.open_nursery() as nursery:
        for n in range(6):
            nursery.start_soon(a.ref.send, n, 5)
            await settle()
    await settle()
    assert a.log.heard == [["wait"], [0, 1], [2, 3], [4, 5]]


async def test_a_killed_batch_is_failed(bench: Bench):
    a = await bench.spawn("a", Batcher, on={1: lambda _: trio.sleep(LONG)})
    a.ref.tell(1)
    await settle()
    await bench.stop(a, within=0)
    await trio.sleep(1)
    assert bench.system.totals.by_kind["Batcher"]["failed"] == 1


async def test_who_says_batch_must_take_batches(bench: Bench):
    class Forgetful(Probe):
        batch = 2

    a = await bench.spawn("a", Forgetful)
    with pytest.raises(HandlerFailed, match="NotImplementedError"):
        await a.ref.ask(1, within=1)
