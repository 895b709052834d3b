from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from runtime import Dead, Full, HookFailed, Mailbox, NotAccepted, Overflow, Refused, RefusedTell, Restarting, TimedOut
from tests.support.actors import LONG, Batcher, Bench, Probe, Subject, boom, bounded, settle

if TYPE_CHECKING:
    from collections.abc import Callable


async def busy(bench: Bench, mailbox: Mailbox, seconds: float = 1.0, **script: Any) -> Subject:
    """A probe whose hands are full for a while, with an empty mailbox."""
    a = await bench.spawn("a", mailbox=mailbox, on={"wait": lambda _: trio.sleep(seconds), **script.pop("on", {})})
    a.ref.tell("wait")
    await settle()
    return a


async def outcome(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What comes of an ask or a send: a value, or the error itself."""
    try:
        return await function(*args, **kwargs)
    except Exception as error:
        return error


class Outcomes:
    """Asks or sends under way, and how they came out, in that order."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.ended: list[Any] = []

    async def begin(self, function: Callable[..., Any], message: Any, within: float = LONG) -> None:
        """Start one, and let it get as far as it can."""

        async def wait() -> None:
            self.ended.append((message, await outcome(function, message, within)))

        self.nursery.start_soon(wait)
        await settle()


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


# --- send


async def test_send_waits_for_room_and_the_first_comes_first(bench: Bench):
    a = await busy(bench, bounded(2))
    async with trio.open_nursery() as nursery:
        sends = Outcomes(nursery)
        for n in range(5):
            await sends.begin(a.ref.send, n)
        assert [message for message, _ in sends.ended] == [0, 1]
        assert not a.ref.tell("overtaking")
        await trio.sleep(2)
    assert sends.ended == [(n, None) for n in range(5)]
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
    a = await bench.spawn("a", mailbox=bounded(2), on={n: lambda _: trio.sleep(1) for n in range(12)})
    async with trio.open_nursery() as nursery:
        sends = Outcomes(nursery)
        for n in range(12):
            await sends.begin(a.ref.send, n, within=60)
    assert sends.ended == [(n, None) for n in range(12)]
    await trio.sleep(20)
    assert a.log.heard == list(range(12))


async def test_a_tell_does_not_overtake_a_sender_while_the_handler_works(bench: Bench):
    a = await bench.spawn("a", mailbox=bounded(1), on={n: lambda _: trio.sleep(1) for n in range(9)})
    async with trio.open_nursery() as nursery:
        sends = Outcomes(nursery)
        for n in range(4):
            await sends.begin(a.ref.send, n, within=60)
        accepted = []
        for _ in range(4):
            await trio.sleep(0.7)
            accepted.append(a.ref.tell("late"))
    heard = [message for message in a.log.heard if message != "late"]
    assert heard == sorted(heard)
    if "late" in a.log.heard:
        assert a.log.heard.index("late") > a.log.heard.index(3) or not all(accepted)


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
    assert sends.ended == [(n, None) for n in range(4)]
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
    assert sends.ended == [(1, None), (2, None)]
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


# --- policies


@pytest.mark.parametrize("overflow", [Overflow.REJECT, Overflow.DROP_NEWEST])
async def test_what_may_not_wait_is_refused_and_counted(bench: Bench, overflow: Overflow):
    a = await busy(bench, bounded(1, overflow))
    a.ref.tell("room")
    assert not a.ref.tell("told")
    for offer, message in ((a.ref.ask, "asked"), (a.ref.send, "sent")):
        with pytest.raises(Full, match="/a is full: str") as full:
            await offer(message, within=1)
        assert full.value.message == message
    reason = "full" if overflow is Overflow.REJECT else "newest"
    assert bench.lost() == [("/a", message, reason) for message in ("told", "asked", "sent")]
    assert bench.counters(a).dropped == 3


async def test_wait_refuses_tell_and_ask(bench: Bench):
    a = await busy(bench, bounded(1, Overflow.WAIT))
    a.ref.tell("room")
    assert not a.ref.tell("told")
    with pytest.raises(Full):
        await a.ref.ask("asked", within=1)
    assert bench.counters(a).dropped == 2


async def test_drop_oldest_makes_room_and_answers_a_displaced_ask(bench: Bench):
    a = await busy(bench, bounded(2, Overflow.DROP_OLDEST))
    async with trio.open_nursery() as nursery:
        asks = Outcomes(nursery)
        await asks.begin(a.ref.ask, "ask")
        assert a.ref.tell(1)
        assert a.ref.tell(2)
        await settle()
        message, error = asks.ended[0]
        assert isinstance(error, Full)
        assert error.message == message == "ask"
        a.cell.signal("signal")
        assert a.ref.tell(3)
        await a.ref.send(4, within=1)
        await trio.sleep(2)
    assert a.log.heard == ["wait", "signal", 3, 4]
    assert bench.lost() == [("/a", message, "oldest") for message in ("ask", 1, 2)]
    assert bench.counters(a).dropped == 3


async def test_conflate_puts_the_newer_in_the_place_of_the_older(bench: Bench):
    a = await busy(bench, bounded(3, Overflow.CONFLATE, key=lambda message: message[0]))
    for message in ("a1", "b1", "a2"):
        assert a.ref.tell(message)  # there is room: nothing is replaced
    a.cell.signal("signal")
    assert a.ref.tell("a3")  # the newest of its key
    assert a.ref.tell("b2")
    assert not a.ref.tell("c1")
    with pytest.raises(Full):
        await a.ref.ask("d1", within=1)
    await trio.sleep(2)
    assert a.log.heard == ["wait", "signal", "a1", "b2", "a3"]
    assert bench.lost() == [
        ("/a", "a2", "conflated"),
        ("/a", "b1", "conflated"),
        ("/a", "c1", "full"),
        ("/a", "d1", "full"),
    ]


async def test_conflate_answers_a_displaced_ask_and_the_ask_that_took_its_place(bench: Bench):
    a = await busy(bench, bounded(1, Overflow.CONFLATE, key=lambda message: message[0]))
    async with trio.open_nursery() as nursery:
        asks = Outcomes(nursery)
        await asks.begin(a.ref.ask, "a1")
        await asks.begin(a.ref.ask, "a2")
        assert isinstance(asks.ended[0][1], Full)
    assert asks.ended[1] == ("a2", "a2")


# --- weights


def weighed(capacity: int, overflow: Overflow | None = None, **more: Any) -> Mailbox:
    return bounded(capacity, overflow, weigher=len, **more)


async def test_a_weigher_bounds_by_weight_and_an_empty_mailbox_takes_anything(bench: Bench):
    a = await busy(bench, weighed(10))
    assert a.ref.tell("x" * 100)
    assert not a.ref.tell("y")
    await trio.sleep(2)
    a.ref.tell("wait")
    await settle()
    assert [a.ref.tell("x" * n) for n in (6, 4, 1)] == [True, True, False]
    await trio.sleep(2)
    assert a.log.heard[-2:] == ["x" * 6, "x" * 4]
    assert a.cell.links.load == 0


async def test_asks_are_weighed_too(bench: Bench):
    a = await busy(bench, weighed(5))
    async with trio.open_nursery() as nursery:
        asks = Outcomes(nursery)
        await asks.begin(a.ref.ask, "1234")
        with pytest.raises(Full):
            await a.ref.ask("56", within=1)
    assert asks.ended == [("1234", "1234")]
    assert a.cell.links.load == 0


async def test_senders_to_a_weighed_mailbox_come_in_order(bench: Bench):
    a = await busy(bench, weighed(4))
    assert a.ref.tell("1111")
    async with trio.open_nursery() as nursery:
        sends = Outcomes(nursery)
        for message in ("222", "33", "4"):
            await sends.begin(a.ref.send, message)
        assert sends.ended == []
    await trio.sleep(2)
    assert a.log.heard == ["wait", "1111", "222", "33", "4"]
    assert a.cell.links.load == 0
    assert a.cell.links.senders == {}


async def test_a_lighter_sender_gets_in_when_the_heavy_one_before_it_gives_up(bench: Bench):
    a = await busy(bench, weighed(4), seconds=10)
    a.ref.tell("111")
    async with trio.open_nursery() as nursery:
        sends = Outcomes(nursery)
        await sends.begin(a.ref.send, "2222", within=1)
        await sends.begin(a.ref.send, "3", within=5)
        await trio.sleep(2)
        assert [message for message, _ in sends.ended] == ["2222", "3"]
    assert sends.ended[1] == ("3", None)


async def test_what_weighs_nothing_gives_its_place_on_too(bench: Bench):
    a = await bench.spawn("a", mailbox=weighed(2), on={"wait": lambda _: trio.sleep(1), "": lambda _: trio.sleep(1)})
    a.ref.tell("wait")
    await settle()
    a.ref.tell("")
    a.ref.tell("22")
    async with trio.open_nursery() as nursery:
        sends = Outcomes(nursery)
        await sends.begin(a.ref.send, "33", within=10)
        await sends.begin(a.ref.send, "", within=10)
    await trio.sleep(3)
    assert a.log.heard == ["wait", "", "22", "33", ""]


async def test_waiting_senders_get_their_own_message_back(bench: Bench):
    a = await busy(bench, weighed(1))
    a.ref.tell("1")
    async with trio.open_nursery() as nursery:
        sends = Outcomes(nursery)
        await sends.begin(a.ref.send, "late", within=0.5)
        await sends.begin(a.ref.send, "dead")
        await trio.sleep(0.7)
        await bench.stop(a, within=0)
    late, dead = (error for _, error in sends.ended)
    assert isinstance(late, TimedOut)
    assert late.message == "late"
    assert isinstance(dead, Dead)
    assert dead.message == "dead"
    assert ("/a", "dead", "stopping") in bench.lost()


async def test_a_weighed_mailbox_drops_as_many_as_it_must(bench: Bench):
    a = await busy(bench, weighed(4, Overflow.DROP_OLDEST))
    for message in ("11", "22", "333"):
        assert a.ref.tell(message)
    await trio.sleep(2)
    assert a.log.heard == ["wait", "333"]
    assert a.cell.links.load == 0


async def test_a_weighed_mailbox_conflates(bench: Bench):
    a = await busy(bench, weighed(4, Overflow.CONFLATE, key=lambda message: message[0]))
    for message in ("a1", "b1", "a234"):
        assert a.ref.tell(message)
    assert a.cell.links.load == 6
    await trio.sleep(2)
    assert a.log.heard == ["wait", "a234", "b1"]
    assert a.cell.links.load == 0


async def test_a_refused_tell_is_reported_by_a_weighed_mailbox_too(bench: Bench):
    a = await bench.spawn("a", mailbox=weighed(9), on={"no": lambda _: Refused("never")})
    a.ref.tell("no")
    await settle()
    assert bench.reports == [RefusedTell("/a", "str")]
    assert bench.counters(a).handled == 1


async def test_a_weighed_batch(bench: Bench):
    a = await bench.spawn("a", Batcher, mailbox=weighed(3), on={"w": lambda _: trio.sleep(1)})
    a.ref.tell("w")
    await settle()
    a.ref.tell("22")
    async with trio.open_nursery() as nursery:
        sends = Outcomes(nursery)
        for message in ("33", "44"):
            await sends.begin(a.ref.send, message, within=10)
    await settle()
    assert a.log.heard == [["w"], ["22"], ["33"], ["44"]]
    assert a.cell.links.load == 0


# --- nothing of the receiver's fails the sender


@pytest.mark.parametrize(
    "mailbox",
    [
        Mailbox(1, weigher=lambda message: 1 // 0),
        Mailbox(1, Overflow.CONFLATE, key=lambda message: message.key),
    ],
)
async def test_a_weigher_or_key_that_fails_does_not_fail_the_sender(bench: Bench, mailbox: Mailbox):
    a = await bench.spawn("a", mailbox=mailbox)
    a.cell._take_in("held")  # by hand: the mailbox is full now
    assert not a.ref.tell("told")
    for offer in (a.ref.ask, a.ref.send):
        with pytest.raises(Full):
            await offer("offered", within=1)
    assert [type(report) for report in bench.reports] == [HookFailed] * 3
    assert bench.reports[0].path == "/a"
    assert {reason for _, _, reason in bench.lost()} == {"unmeasured"}


async def test_a_listener_to_dead_letters_that_fails_does_not_fail_the_sender(bench: Bench):
    letters = bench.system.dead_letters
    heard: list[Any] = []
    deaf = letters.listen(lambda letter: 1 // 0)
    letters.listen(heard.append)
    assert not bench.system.ref("/nobody").tell(1)
    assert letters.listener_failures == 1
    assert [letter.message for letter in heard] == [1]
    deaf()
    deaf()
    bench.system.ref("/nobody").tell(2)
    assert letters.listener_failures == 1


async def test_dead_letters_are_counted_by_reason_and_only_described(bench: Bench):
    for n in range(150):
        bench.system.ref("/nobody").tell(n)
    letters = bench.system.dead_letters
    assert letters.counts == {"dead": 150}
    assert len(letters.recent) == 100
    assert letters.recent[-1] == ("/nobody", "int", "dead")


@pytest.mark.parametrize("overflow", list(Overflow))
async def test_no_policy_stalls_or_fails_who_did_not_choose_to_wait(bench: Bench, overflow: Overflow):
    key = (lambda message: message) if overflow is Overflow.CONFLATE else None
    a = await busy(bench, bounded(2, overflow, key=key))
    clock = trio.current_time()
    b = await bench.spawn("b", on={"go": lambda _: [a.ref.tell(n) for n in range(9)]})
    accepted = await b.ref.ask("go", within=1)
    assert len(accepted) == 9
    assert trio.current_time() == clock
    assert b.log.started == [0]
    try:
        await a.ref.ask("ask", within=0.1)
    except (NotAccepted, TimedOut):
        pass


async def test_peak_is_the_most_that_ever_waited(bench: Bench):
    a = await busy(bench, bounded(9))
    for n in range(5):
        a.ref.tell(n)
    await trio.sleep(2)
    mailbox = bench.node(a).mailbox
    assert (mailbox.depth, mailbox.capacity, mailbox.peak) == (0, 9, 5)
