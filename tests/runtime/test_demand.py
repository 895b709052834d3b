"""Demand: a producer emits what was asked for and no more, whoever crashes."""

from __future__ import annotations

import random
import textwrap
from typing import TYPE_CHECKING, Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime import (
    Actor,
    Ask,
    Demand,
    Ended,
    Events,
    Host,
    Inlet,
    InvalidSpec,
    Mailbox,
    Outlet,
    Spec,
    _demand,
    open_system,
)
from tests.support.actors import LONG, Bench, Boom, Restarter, bounded, run, running, settle

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from runtime import Ref


class Source(Actor):
    """Emits whole numbers for ever, and counts what was asked of it and what it has emitted."""

    def __init__(self, books: Books) -> None:
        self.books = books

    async def started(self) -> None:
        self.outlet = Outlet(self)

    async def receive(self, message: Any) -> object:
        if callable(message):
            return await run(message, self)
        if isinstance(message, Ask):
            self.books.asked += message.count
        if self.outlet.heard(message):
            self.pump()
            return None
        self.books.others.append(message)
        return "source"

    def pump(self) -> None:
        count = max(0, min(self.outlet.demand, self.books.limit - self.books.next))
        items = range(self.books.next, self.books.next + count)
        left = self.outlet.emit(items)
        self.books.next += count - len(left)


class Sink(Actor):
    """Takes numbers, each in `seconds`."""

    def __init__(self, name: str, books: Books, demand: Demand, source: str = "/source", seconds: float = 0.1) -> None:
        self.name = name
        self.books = books
        self.wants = demand
        self.source = source
        self.seconds = seconds

    async def started(self) -> None:
        self.inlet = Inlet(self, self.system.ref(self.source), self.wants)

    async def receive(self, message: Any) -> object:
        if callable(message):
            return await run(message, self)
        if isinstance(message, Events):
            self.books.sizes.append(len(message.items))
        events = self.inlet.take(message)
        if events is None:
            return "sink"
        for number in events:
            await trio.sleep(self.seconds)
            self.books.got.append((self.name, number))
            assert 0 <= self.inlet.demand.pending <= self.wants.max_demand
        return None


class Books:
    """What was asked, emitted and got, by all together and over all incarnations."""

    def __init__(self, limit: int = 10**9) -> None:
        self.next = 0
        self.asked = 0
        self.limit = limit
        self.got: list[tuple[str, int]] = []
        self.sizes: list[int] = []
        self.others: list[Any] = []

    def by(self, name: str) -> list[int]:
        return [number for who, number in self.got if who == name]

    @property
    def numbers(self) -> list[int]:
        return [number for _, number in self.got]


async def start(bench: Bench, name: str, make: Any, **options: Any) -> Ref[Any]:
    ref: Ref[Any] = await bench.root.do(lambda root: root.start_child(Spec(name, make, **options)))
    await settle()
    return ref


async def ended(bench: Bench, name: str) -> None:
    """Stop an actor, and start nothing in its place."""
    await bench.root.do(lambda root: root.stop_child(name))
    await settle()


def crash(actor: Any) -> None:
    raise Boom("asked for")


@pytest.fixture
async def books() -> AsyncGenerator[Books, None]:
    books = Books()
    yield books
    assert books.next <= books.asked
    assert len(set(books.numbers)) == len(books.numbers)  # nothing comes twice


# --- the ledgers


@settings(deadline=None)
@given(
    largest=st.integers(1, 20),
    data=st.data(),
    steps=st.lists(st.integers(0, 20), max_size=40),
)
def test_what_is_asked_for_is_what_is_finished_and_what_is_under_way(
    largest: int, data: st.DataObject, steps: list[int]
) -> None:
    demand = Demand(largest, data.draw(st.integers(0, largest - 1)))
    demand, asked = demand.ask()
    assert asked == largest
    finished = 0
    for step in steps:
        count = min(step, demand.pending)
        finished += count
        demand, more = demand.finish(count).ask()
        asked += more
        assert asked == finished + demand.pending
        assert demand.min_demand < demand.pending <= largest
        assert more == 0 or more >= largest - demand.min_demand


def test_the_minimum_is_half_where_none_is_given() -> None:
    assert [Demand(largest).min_demand for largest in (1000, 10, 2, 1)] == [500, 5, 1, 0]


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"max_demand": 0}, "max_demand"),
        ({"max_demand": 1.5}, "max_demand"),
        ({"max_demand": 5, "min_demand": 5}, "min_demand"),
        ({"max_demand": 5, "min_demand": -1}, "min_demand"),
        ({"max_demand": 5, "min_demand": 1.0}, "min_demand"),
    ],
)
def test_a_bad_demand_is_refused_with_the_key(fields: dict[str, Any], key: str) -> None:
    with pytest.raises(InvalidSpec) as error:
        Demand(**fields)
    assert error.value.key == f"demand.{key}"


# --- the example


async def test_the_example_of_the_module_runs() -> None:
    assert _demand.__doc__ is not None
    lines = _demand.__doc__.splitlines()
    code = textwrap.dedent("\n".join(line for line in lines if not line or line.startswith("    ")))
    names: dict[str, Any] = {"Actor": Actor, "Demand": Demand, "Inlet": Inlet, "Outlet": Outlet, "trio": trio}
    exec(code, names)

    class Root(Host):
        async def started(self) -> None:
            self.start_child(Spec("numbers", names["Numbers"]))
            self.start_child(Spec("adder", names["Adder"]))

    async with open_system(Spec("root", Root)) as system:
        await trio.sleep(1.0)
        # It answers between two `Events`, having added up some thousand hundredths of a second's worth of numbers.
        total = await system.ref("/adder").ask("sum?", within=1.0)
        count = next(n for n in range(1000) if n * (n + 1) // 2 >= total)
        assert total == count * (count + 1) // 2
        assert 90 <= count <= 120


# --- the way of the events


async def test_never_more_under_way_than_was_asked_for(bench: Bench, books: Books) -> None:
    sink = await start(bench, "sink", lambda: Sink("a", books, Demand(10, 4)), mailbox=Mailbox(10))
    assert books.next == 0
    await trio.sleep(0.5)
    await start(bench, "source", lambda: Source(books))
    await trio.sleep(0.6)
    assert books.asked == books.next == 10
    await trio.sleep(0.55)  # six are finished
    assert books.asked == books.next == 16
    await trio.sleep(0.6)
    assert books.next == 22
    assert books.sizes == [10, 6]
    await trio.sleep(10)
    assert books.numbers == list(range(len(books.got)))
    assert await sink.ask("what are you?", within=LONG) == "sink"


async def test_a_consumer_that_does_not_finish_gets_no_more(bench: Bench, books: Books) -> None:
    await start(bench, "source", lambda: Source(books))
    await start(bench, "sink", lambda: Sink("a", books, Demand(5), seconds=LONG))
    await trio.sleep(100)
    assert books.next == 5


async def test_an_iteration_that_is_left_counts_as_finished(bench: Bench, books: Books) -> None:
    class Fussy(Sink):
        async def receive(self, message: Any) -> object:
            for number in self.inlet.take(message) or ():
                await trio.sleep(0.1)
                books.got.append(("fussy", number))
                break
            return None

    await start(bench, "source", lambda: Source(books))
    await start(bench, "sink", lambda: Fussy("a", books, Demand(5)))
    await trio.sleep(0.55)
    assert books.numbers == [0, 5, 10, 15, 20]


async def test_the_events_go_to_who_has_asked_for_the_most(bench: Bench, books: Books) -> None:
    books.limit = 0
    source = await start(bench, "source", lambda: Source(books))
    for name, largest in (("a", 3), ("b", 5), ("c", 5)):
        await start(bench, name, lambda name=name, largest=largest: Sink(name, books, Demand(largest), seconds=0))

    def two(source: Source) -> list[Any]:
        assert source.outlet.demand == 13
        return list(source.outlet.emit(range(100, 107)))

    assert await source.ask(two, within=1) == []
    await settle()
    assert (books.by("b"), books.by("c"), books.by("a")) == ([100, 101, 102, 103, 104], [105, 106], [])
    books.asked += 7


async def test_emit_gives_back_what_nobody_has_asked_for(bench: Bench, books: Books) -> None:
    books.limit = 0
    source = await start(bench, "source", lambda: Source(books))
    await start(bench, "sink", lambda: Sink("a", books, Demand(3), seconds=LONG))
    assert await source.ask(lambda source: source.outlet.emit("abcde"), within=1) == "de"
    assert await source.ask(lambda source: source.outlet.emit(["f"]), within=1) == ["f"]
    assert await source.ask(lambda source: source.outlet.demand, within=1) == 0


async def test_what_is_not_its_own_is_left_to_the_actor(bench: Bench, books: Books) -> None:
    source = await start(bench, "source", lambda: Source(books))
    stranger = await bench.spawn("stranger")
    await source.ask(lambda source: source.watch(stranger.ref), within=1)
    await bench.stop(stranger)
    assert await source.ask("hello", within=1) == "source"
    assert [type(message) for message in books.others] == [Ended, str]


async def test_a_consumer_of_two_producers_tells_them_apart(bench: Bench, books: Books) -> None:
    other = Books()
    await start(bench, "source", lambda: Source(books))
    await start(bench, "other", lambda: Source(other))

    class Both(Actor):
        async def started(self) -> None:
            self.inlets = {
                name: Inlet(self, self.system.ref(f"/{name}"), Demand(size))
                for name, size in (("source", 4), ("other", 2))
            }

        async def receive(self, message: Any) -> object:
            for name, inlet in self.inlets.items():
                for number in inlet.take(message) or ():
                    await trio.sleep(0.1)
                    books.got.append((name, number))
            return None

    await start(bench, "both", Both)
    await trio.sleep(5)
    assert books.by("source") == list(range(len(books.by("source"))))
    assert books.by("other") == list(range(len(books.by("other"))))
    assert min(len(books.by("source")), len(books.by("other"))) > 10
    books.got.clear()


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


# --- at random


@pytest.mark.parametrize("seed", range(10))
async def test_a_producer_never_emits_more_than_was_asked_whatever_happens(seed: int) -> None:
    rng, books = random.Random(seed), Books()
    async with running(Restarter) as bench:
        await start(bench, "source", lambda: Source(books), mailbox=bounded(4))
        for name in "abc":
            demand = Demand(rng.randint(1, 10))
            await start(bench, name, lambda name=name, demand=demand: Sink(name, books, demand), mailbox=bounded(3))
        for _ in range(60):
            await trio.sleep(rng.random())
            assert books.next <= books.asked
            path = rng.choice(["/source", "/a", "/b", "/c"])
            match rng.randrange(3):
                case 0:
                    bench.system.fail(path, Boom("at random"))
                case 1:
                    cell = bench.system.ref(path).target.watchable()
                    if cell is not None and cell.running:
                        cell.kill("at random")
        had = {name: len(books.by(name)) for name in "abc"}
        await trio.sleep(20)
        assert all(len(books.by(name)) > had[name] + 20 for name in "abc")
        assert len(set(books.numbers)) == len(books.numbers)
