"""Demand: a producer emits what was asked for and no more, whoever crashes."""

from __future__ import annotations

import random
import textwrap
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime import Actor, Demand, Ended, Host, Inlet, InvalidSpec, Mailbox, Outlet, Spec, _demand, open_system
from tests.support.actors import LONG, Bench, Boom, Restarter, bounded, running, settle
from tests.support.demand import Books, Sink, Source, start

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


# --- at random


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.repeats
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
