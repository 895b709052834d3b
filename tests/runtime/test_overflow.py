from __future__ import annotations

from typing import Any

import pytest
import trio

from runtime import Dead, Full, Mailbox, Overflow, Refused, RefusedTell, TimedOut
from tests.support.actors import Batcher, Bench, Outcomes, bounded, busy, settle

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
