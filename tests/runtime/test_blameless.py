from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import trio

from runtime import Dead, Full, HookFailed, Mailbox, NotAccepted, Overflow, TimedOut
from tests.support.actors import Bench, Outcomes, bounded, busy, settle

# --- nothing of the receiver's fails the sender


@pytest.mark.parametrize(
    "mailbox",
    [
        Mailbox(1, weigher=lambda message: 1 // 0),
        Mailbox(1, weigher=lambda message: None),  # type: ignore[arg-type, return-value]
        Mailbox(1, weigher=lambda message: 0.5),  # type: ignore[arg-type, return-value]
        Mailbox(1, weigher=lambda message: -1),
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
    assert [report.error.__traceback__ for report in bench.reports] == [None] * 3
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
    with suppress(NotAccepted, TimedOut):
        await a.ref.ask("ask", within=0.1)


async def test_peak_is_the_most_that_ever_waited_at_the_start_of_a_turn(bench: Bench):
    a = await bench.spawn("a", mailbox=bounded(9))
    for n in range(5):
        a.ref.tell(n)
    await settle()
    mailbox = bench.node(a).mailbox
    assert (mailbox.depth, mailbox.capacity, mailbox.peak) == (0, 9, 5)


# --- moving what waits (a switch does)


async def test_what_waits_moves_in_order_and_in_one_step(bench: Bench):
    a = await busy(bench, bounded(9, weigher=lambda _: 1))
    b = await bench.spawn("b")
    async with trio.open_nursery() as nursery:
        asks = Outcomes(nursery)
        a.ref.tell(1)
        await asks.begin(a.ref.ask, 2)
        a.ref.tell(3)
        a.cell.signal("signal")
        moved = a.cell.hand_over(
            lambda item: b.cell.overflow(b.ref, item), lambda message: b.cell.refusal(b.ref, message)
        )
        assert moved == 3
        assert a.cell.depth == 0
        await settle()
    assert asks.ended == [(2, 2)]
    assert b.log.heard == [1, 2, 3]
    await trio.sleep(2)
    assert a.log.heard == ["wait", "signal"]
    assert (bench.counters(a).moved, a.cell.links.load) == (3, 0)


async def test_what_cannot_move_is_refused(bench: Bench):
    a = await busy(bench, bounded(9))
    dead = bench.system.ref("/dead")
    async with trio.open_nursery() as nursery:
        asks = Outcomes(nursery)
        await asks.begin(a.ref.ask, "asked")
        a.ref.tell("told")
        target = dead.target
        a.cell.hand_over(lambda item: target.overflow(dead, item), lambda message: target.refusal(dead, message))
    assert isinstance(asks.ended[0][1], Dead)
    assert bench.lost() == [("/dead", "asked", "dead"), ("/dead", "told", "dead")]
    assert bench.counters(a).moved == 2


async def test_an_empty_mailbox_moves_nothing(bench: Bench):
    a = await bench.spawn("a")
    assert a.cell.hand_over(lambda _: True, lambda _: Full(a.ref, None)) == 0


async def test_senders_move_to_another_door(bench: Bench):
    a = await busy(bench, bounded(1), seconds=100)
    b = await bench.spawn("b", mailbox=bounded(1))
    a.ref.tell("fills it")
    async with trio.open_nursery() as nursery:
        sends = Outcomes(nursery)
        for n in range(3):
            await sends.begin(a.ref.send, n)
        for sender in list(a.cell.links.senders):
            a.cell.leave(sender)
            b.cell.adopt(sender)
    assert sorted(sends.ended) == [(n, None) for n in range(3)]
    await settle()
    assert b.log.heard == [0, 1, 2]
    await bench.stop(a, within=0)
