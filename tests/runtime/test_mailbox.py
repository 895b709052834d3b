from __future__ import annotations

from typing import Any

import pytest
import trio

from runtime import Mailbox, Restarting, TimedOut
from tests.support.actors import LONG, Bench, Boom, Outcomes, Probe, Subject, boom, bounded, busy, outcome, settle

# --- lanes


async def test_the_system_lane_comes_before_what_was_queued_earlier(bench: Bench):
    a = await busy(bench, Mailbox(), on={"timed": lambda _: None})
    for message in (1, 2):
        a.ref.tell(message)
    a.cell.signal("signal")
    await trio.sleep(2)
    assert a.log.heard == ["wait", "signal", 1, 2]
    assert bench.counters(a).offered == 3


async def test_the_system_lane_is_not_bounded_by_the_capacity(bench: Bench):
    a = await busy(bench, bounded(1))
    assert a.ref.tell(1)
    assert not a.ref.tell(2)
    for n in range(200):
        a.cell.signal(("signal", n))
    await trio.sleep(2)
    assert a.log.heard == ["wait", *(("signal", n) for n in range(200)), 1]


async def test_signals_let_others_run_between(bench: Bench):
    a = await bench.spawn("a")
    b = await bench.spawn("b", on={"ping": lambda _: seen.append(len(a.log.heard))})
    seen: list[int] = []
    for n in range(100):
        a.cell.signal(n)
    b.ref.tell("ping")
    await settle()
    assert len(a.log.heard) == 100
    assert 0 <= seen[0] <= 64


# --- tell


async def test_tell_says_whether_the_message_was_accepted(bench: Bench):
    a = await busy(bench, bounded(2))
    assert [a.ref.tell(n) for n in range(4)] == [True, True, False, False]
    counters = bench.counters(a)
    assert (counters.offered, counters.dropped, counters.waiting, counters.in_hand) == (5, 2, 2, 1)
    assert bench.lost() == [("/a", 2, "full"), ("/a", 3, "full")]


async def test_a_mark_in_the_lane_takes_no_room(bench: Bench):
    a = await busy(bench, bounded(1))
    a.cell.signal("signal")
    assert a.ref.tell(1)
    assert not a.ref.tell(2)
    assert bench.node(a).mailbox.depth == 1


class Holder(Probe):
    """Holds whatever it hears for a second."""

    async def receive(self, message: Any) -> object:
        await trio.sleep(1)
        return await super().receive(message)


@pytest.mark.parametrize("message", [None, [], [1, 2], (), False, NotImplemented])
async def test_any_object_is_one_message(bench: Bench, message: Any):
    a = await bench.spawn("a", Holder)
    a.ref.tell(message)
    with pytest.raises(TimedOut) as late:
        await a.ref.ask("late", within=0.5)
    assert late.value.handling == type(message).__name__
    node = bench.node(a)
    assert node.counters.in_hand == 1
    assert node.handling is not None
    assert (node.handling.message, node.handling.age_ms) == (type(message).__name__, pytest.approx(500, abs=1.1))
    await trio.sleep(1)
    assert a.log.heard == [message]
    assert bench.counters(a).expired == 1


class Touchy:
    """A message that may not be compared."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise Boom("compared")


async def test_messages_are_never_compared(later: Bench):
    a = await later.spawn("a", on={"slow": lambda _: slow()})

    async def slow() -> None:
        await trio.sleep(1)
        raise Boom("slowly")

    a.ref.tell("slow")
    await settle()
    touchy = Touchy()
    a.ref.tell(touchy)
    async with trio.open_nursery() as nursery:
        asks = Outcomes(nursery)
        await asks.begin(a.ref.ask, "asked")
        await trio.sleep(1.5)
    assert asks.handed_back == [(Restarting, "asked")]
    await trio.sleep(1)
    assert later.root.log.started == [0]
    assert a.log.heard[1] is touchy


# --- send


async def crowd(bench: Bench, nursery: trio.Nursery, *, capacity: int, senders: int) -> tuple[Subject, Outcomes]:
    """An actor that takes a second for each number, and senders of 0, 1, 2, … who come one after the other."""
    a = await bench.spawn("a", mailbox=bounded(capacity), on={n: lambda _: trio.sleep(1) for n in range(senders)})
    sends = Outcomes(nursery)
    for n in range(senders):
        await sends.begin(a.ref.send, n, within=60)
    return a, sends


async def test_send_waits_for_room_and_the_first_comes_first(bench: Bench):
    a = await busy(bench, bounded(2))
    async with trio.open_nursery() as nursery:
        sends = Outcomes(nursery)
        for n in range(5):
            await sends.begin(a.ref.send, n)
        assert [message for message, _ in sends.ended] == [0, 1]
        assert not a.ref.tell("overtaking")
        await trio.sleep(2)
    assert sorted(sends.ended) == [(n, None) for n in range(5)]
    assert a.log.heard == ["wait", 0, 1, 2, 3, 4]
    assert a.ref.tell("again")


async def test_a_send_that_waited_and_got_in_is_counted_once_and_lost_nowhere(bench: Bench):
    a = await busy(bench, bounded(1))
    async with trio.open_nursery() as nursery:
        sends = Outcomes(nursery)
        for n in range(3):
            await sends.begin(a.ref.send, n)
    await settle()
    counters = bench.counters(a)
    assert (counters.offered, counters.handled, counters.dropped) == (4, 4, 0)
    assert bench.lost() == []


async def test_no_sender_is_left_waiting_before_an_empty_mailbox(bench: Bench):
    """A slow handler takes one message a turn; every place that becomes free is given on."""
    async with trio.open_nursery() as nursery:
        a, sends = await crowd(bench, nursery, capacity=2, senders=12)
    assert sorted(sends.ended) == [(n, None) for n in range(12)]
    await trio.sleep(20)
    assert a.log.heard == list(range(12))


async def test_a_tell_does_not_overtake_a_sender_while_the_handler_works(bench: Bench):
    async with trio.open_nursery() as nursery:
        a, _ = await crowd(bench, nursery, capacity=1, senders=4)
        accepted = []
        for _ in range(4):
            await trio.sleep(0.7)
            accepted.append(a.ref.tell("late"))
    assert accepted == [False] * 4
    await trio.sleep(0.5)
    assert a.ref.tell("late")
    await trio.sleep(1)
    assert a.log.heard == [0, 1, 2, 3, "late"]


async def test_send_gives_up_at_its_deadline_and_the_message_was_not_accepted(bench: Bench):
    a = await busy(bench, bounded(1))
    await a.ref.send("room", within=1)
    start = trio.current_time()
    message = object()
    with pytest.raises(TimedOut, match="handling str") as late:
        await a.ref.send(message, within=0.25)
    assert trio.current_time() - start == pytest.approx(0.25, abs=0.0011)
    assert late.value.message is message
    assert (late.value.state, late.value.depth) == ("running", 1)
    assert bench.lost() == [("/a", message, "full")]
    await trio.sleep(2)
    assert a.log.heard == ["wait", "room"]
    assert a.ref.tell("open again")


async def test_a_cancelled_send_was_not_accepted(bench: Bench):
    a = await busy(bench, bounded(1))
    a.ref.tell("room")
    with trio.move_on_after(0.25):
        await a.ref.send("cancelled", within=LONG)
    await trio.sleep(2)
    assert a.log.heard == ["wait", "room"]
    assert bench.lost() == []
    assert a.ref.tell("open again")


@pytest.mark.parametrize("how", ["cancelled", "late"])
async def test_a_sender_whose_time_is_over_does_not_get_in_before_it_has_run(bench: Bench, how: str):
    """Room and the end of waiting come in the same step: what the sender was told holds."""
    a = await busy(bench, bounded(1))
    a.ref.tell("room")
    scope = trio.CancelScope()
    told: list[Any] = []

    async def send() -> None:
        with scope:
            told.append(await outcome(a.ref.send, "late", LONG))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await settle()
        [sender] = a.cell.links.senders
        if how == "cancelled":
            scope.cancel()
        else:
            sender.fire()
        assert a.cell.lane is not None
        a.cell.lane.pop()
        a.cell.moved += 1  # taken away by hand
        a.cell.admit()
        assert a.cell.depth == 0
    assert [type(error) for error in told] == ([] if how == "cancelled" else [TimedOut])
    assert a.ref.tell("open again")


async def test_send_to_a_mailbox_with_room_does_not_checkpoint(bench: Bench):
    a = await bench.spawn("a")
    with trio.CancelScope() as scope:
        scope.cancel()
        await a.ref.send(1, within=1)
    assert not scope.cancelled_caught
    await settle()
    assert a.log.heard == [1]


async def test_senders_of_one_that_crashes_are_served_by_the_next_incarnation(bench: Bench):
    a = await bench.spawn("a", mailbox=bounded(1), on={"boom": lambda _: crash(), 2: lambda _: trio.sleep(1)})

    async def crash() -> None:
        await trio.sleep(1)
        await boom()

    a.ref.tell("boom")
    await settle()
    async with trio.open_nursery() as nursery:
        sends = Outcomes(nursery)
        for n in range(4):
            await sends.begin(a.ref.send, n, within=10)
    assert sorted(sends.ended) == [(n, None) for n in range(4)]
    await trio.sleep(2)
    assert a.log.heard == ["boom", 0, 1, 2, 3]


async def test_senders_get_the_room_of_asks_that_a_waiting_restart_sends_back(later: Bench):
    a = await later.spawn("a", mailbox=bounded(1), on={"boom": lambda _: crash()})

    async def crash() -> None:
        await trio.sleep(1)
        await boom()

    a.ref.tell("boom")
    await settle()
    async with trio.open_nursery() as nursery:
        asks, sends = Outcomes(nursery), Outcomes(nursery)
        await asks.begin(a.ref.ask, "ask")
        await sends.begin(a.ref.send, 1)
        await sends.begin(a.ref.send, 2)
        await trio.sleep(1.5)
        assert a.cell.state == "waiting"
        assert isinstance(asks.ended[0][1], Restarting)
        assert sends.ended == [(1, None)]
    assert sorted(sends.ended) == [(1, None), (2, None)]
    await settle()
    assert a.log.heard == ["boom", 1, 2]
    assert a.ref.tell("open")


async def test_an_actor_that_waits_to_restart_keeps_tells_and_sends(later: Bench):
    a = await later.spawn("a", mailbox=bounded(3), on={"boom": boom})
    a.ref.tell("boom")
    await settle()
    assert a.ref.tell(1)
    await a.ref.send(2, within=1)
    await trio.sleep(2)
    assert a.log.heard == ["boom", 1, 2]
