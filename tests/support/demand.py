"""Producers and consumers that write down what they emit and take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from runtime import Actor, Ask, Demand, Events, Inlet, Outlet, Spec
from tests.support.actors import Bench, run, settle

if TYPE_CHECKING:
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
