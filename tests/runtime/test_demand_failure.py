"""Demand, when a consumer or a producer fails, or a mailbox is full."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from runtime import Ask, Demand
from tests.support.actors import Bench, Boom, bounded, settle
from tests.support.demand import Books, Sink, Source, start

if TYPE_CHECKING:
    from runtime import Ref


async def ended(bench: Bench, name: str) -> None:
    """Stop an actor, and start nothing in its place."""
    await bench.root.do(lambda root: root.stop_child(name))
    await settle()


def crash(actor: Any) -> None:
    raise Boom("asked for")


# --- consumers that fail


async def test_the_credit_of_a_consumer_that_crashes_is_gone_and_it_subscribes_anew(bench: Bench, books: Books) -> None:
    source = await start(bench, "source", lambda: Source(books))
    books.limit = 4
    sink = await start(bench, "sink", lambda: Sink("a", books, Demand(10)))
    await trio.sleep(1)
    assert books.by("a") == [0, 1, 2, 3]
    books.limit = 0
    sink.tell(crash)
    await settle()
    assert await source.ask(lambda source: source.outlet.demand, within=1) == 10
    books.limit = 1000
    await source.ask(Source.pump, within=1)
    await trio.sleep(5)
    assert books.numbers == list(range(len(books.got)))


async def test_of_what_a_consumer_had_only_what_was_in_hand_is_lost(bench: Bench, books: Books) -> None:
    await start(bench, "source", lambda: Source(books))
    sink = await start(bench, "sink", lambda: Sink("a", books, Demand(4, 3)))
    await trio.sleep(2.05)
    in_hand = books.sizes[-1]
    assert in_hand == 1
    bench.system.fail("/sink", Boom("between two messages"))
    await trio.sleep(2)
    before = books.numbers
    assert before == list(range(len(before)))
    sink.target.kill("in the middle of a message")
    await trio.sleep(2)
    missing = set(range(books.numbers[-1])) - set(books.numbers)
    assert len(missing) == 1
    assert len(books.got) > len(before) + 10


async def test_a_consumer_that_ends_is_forgotten_and_the_others_go_on(bench: Bench, books: Books) -> None:
    source = await start(bench, "source", lambda: Source(books))
    for name in "ab":
        await start(bench, name, lambda name=name: Sink(name, books, Demand(4)))
    await trio.sleep(1)
    await ended(bench, "a")
    await trio.sleep(0.5)  # it has something in hand
    assert await source.ask(lambda source: len(source.outlet._credits), within=1) == 1
    had = len(books.by("a"))
    await trio.sleep(2)
    assert len(books.by("a")) == had
    assert len(books.by("b")) > 20


async def test_an_ask_of_an_earlier_incarnation_is_worth_nothing(bench: Bench, books: Books) -> None:
    books.limit = 0
    source = await start(bench, "source", lambda: Source(books))
    sink = await start(bench, "sink", lambda: Sink("a", books, Demand(3)))

    def crash_while_busy(source: Source) -> None:
        source.ref.tell(Ask(sink, (0, 1), 5))
        sink.tell(crash)

    source.tell(crash_while_busy)
    await settle()
    source.tell(Ask(sink, (0, 1), 7))
    source.tell(Ask(bench.root.ref, (0, 1), 7))
    assert await source.ask(lambda source: source.outlet.demand, within=1) == 3


async def test_a_subscription_of_which_the_crash_was_not_heard_is_replaced(bench: Bench, books: Books) -> None:
    books.limit = 0
    source = await start(bench, "source", lambda: Source(books))
    source.tell(lambda _: trio.sleep(1))  # it comes to the messages of both incarnations only afterwards
    sink = await start(bench, "sink", lambda: Sink("a", books, Demand(3)))
    sink.tell(crash)
    await trio.sleep(2)
    assert await source.ask(lambda source: source.outlet.demand, within=1) == 3
    books.limit = 1000
    await source.ask(Source.pump, within=1)
    await trio.sleep(2)
    assert len(books.got) > 10


# --- producers that fail


async def test_the_consumers_of_a_producer_that_crashes_subscribe_again(bench: Bench, books: Books) -> None:
    source = await start(bench, "source", lambda: Source(books))
    for name in "ab":
        await start(bench, name, lambda name=name: Sink(name, books, Demand(4)))
    await trio.sleep(1)
    source.tell(crash)
    await trio.sleep(0.5)  # they have something in hand
    assert await source.ask(lambda source: len(source.outlet._credits), within=1) == 2
    await trio.sleep(3)
    assert set(range(max(books.numbers) - 8)) <= set(books.numbers)  # all but what is under way
    assert min(len(books.by("a")), len(books.by("b"))) > 20


async def test_events_of_an_earlier_incarnation_do_not_count_as_asked_for_now(bench: Bench, books: Books) -> None:
    source = await start(bench, "source", lambda: Source(books))
    sink = await start(bench, "sink", lambda: Sink("a", books, Demand(4, 2), seconds=1))
    await trio.sleep(2.5)
    source.tell(crash)
    assert books.next == 6
    await trio.sleep(2)  # it has come to the fifth, and subscribed before
    assert pending_of(sink) == 4
    await trio.sleep(1)
    assert books.numbers == [0, 1, 2, 3, 4]
    assert pending_of(sink) == 4
    await trio.sleep(20)
    assert books.numbers == list(range(len(books.got)))


def pending_of(sink: Ref[Any]) -> int:
    pending: int = sink.target.actor.inlet.demand.pending
    return pending


async def test_a_producer_that_is_not_there_is_tried_until_it_is(bench: Bench, books: Books) -> None:
    await start(bench, "sink", lambda: Sink("a", books, Demand(4)))
    await trio.sleep(10.5)
    await start(bench, "source", lambda: Source(books))
    assert books.got == []
    await trio.sleep(1)
    assert books.next > 0
    await ended(bench, "source")
    await trio.sleep(10)
    had = len(books.got)
    await start(bench, "source", lambda: Source(books))
    await trio.sleep(3)
    assert len(books.got) > had
    assert len(bench.letters) < 40  # it is tried every second, not all the time


async def test_a_producer_that_passivates_is_woken(bench: Bench, books: Books) -> None:
    books.limit = 0
    source = await start(bench, "source", lambda: Source(books))
    await start(bench, "sink", lambda: Sink("a", books, Demand(4)))
    await source.ask(lambda source: source.passivate(), within=1)
    await settle()
    books.limit = 1000
    await source.ask(Source.pump, within=1)
    await trio.sleep(2)
    assert len(books.got) > 10


# --- full mailboxes


async def test_an_ask_that_a_full_producer_refuses_is_tried_again(bench: Bench, books: Books) -> None:
    source = await start(bench, "source", lambda: Source(books), mailbox=bounded(1))
    sink = await start(bench, "sink", lambda: Sink("a", books, Demand(4)))
    source.tell(lambda _: trio.sleep(2))
    await settle()
    source.tell("full")
    await trio.sleep(0.9)
    assert pending_of(sink) == 0
    await trio.sleep(5)
    assert len(books.got) > 20
    assert books.numbers == list(range(len(books.got)))


async def test_a_subscription_that_a_full_producer_refuses_is_tried_again(bench: Bench, books: Books) -> None:
    source = await start(bench, "source", lambda: Source(books), mailbox=bounded(1))
    source.tell(lambda _: trio.sleep(2))
    await settle()
    source.tell("full")
    await start(bench, "sink", lambda: Sink("a", books, Demand(4)))
    await trio.sleep(1.5)
    assert books.asked == 0
    await trio.sleep(3)
    assert len(books.got) > 10


async def test_events_that_a_full_consumer_refuses_are_given_back_and_offered_again(bench: Bench, books: Books) -> None:
    source = await start(bench, "source", lambda: Source(books))
    books.limit = 0
    a = await start(bench, "a", lambda: Sink("a", books, Demand(8)), mailbox=bounded(1))
    a.tell(lambda _: trio.sleep(2))
    await settle()
    a.tell("full")

    def pump(source: Source) -> tuple[int, int]:
        books.limit = 1000
        source.pump()
        return books.next, source.outlet.demand

    assert await source.ask(pump, within=1) == (0, 0)
    await start(bench, "b", lambda: Sink("b", books, Demand(4)))
    await trio.sleep(1.5)
    assert books.by("a") == []
    assert len(books.by("b")) > 5  # the others are not held up
    await trio.sleep(3)
    assert len(books.by("a")) > 5
    assert sorted(books.numbers)[:20] == list(range(20))
