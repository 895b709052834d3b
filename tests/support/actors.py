"""Actors to test the kernel with, and what must hold at the end of every test.

A `Probe` writes down what happens to it, and does what a test tells it to: functions among its messages are run by its
handler. A `Bench` is a system whose root restarts what fails.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from inspect import isawaitable
from types import FunctionType
from typing import TYPE_CHECKING, Any

import attrs
import trio
from trio.testing import wait_all_tasks_blocked

from runtime import Actor, Crash, Host, Mailbox, NotAccepted, Spec, Stopped, is_failure, open_system
from runtime.testing import assert_conserved, assert_no_leaks

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
    from typing import TypeAlias

    from runtime import Counters, DeadLetter, Node, Overflow, Reason, Ref, Report, System
    from runtime._cell import Cell

    Doing: TypeAlias = Callable[..., Any]

LONG = 3600.0
"""Seconds that no test reaches by waiting for what comes."""


class Boom(Exception):
    """What actors in tests fail with."""


@attrs.define(eq=False)
class Log:
    """What happened to a probe, over all its incarnations."""

    started: list[int] = attrs.field(factory=list)
    heard: list[Any] = attrs.field(factory=list)
    ended: list[Reason] = attrs.field(factory=list)


async def run(function: Doing, *args: Any) -> Any:
    """Call a function that may be async."""
    result = function(*args)
    return await result if isawaitable(result) else result


class Probe(Actor):
    """Writes down what it hears and answers with it. Runs functions, and what `on` has for a message."""

    def __init__(
        self,
        log: Log | None = None,
        *,
        on: Mapping[Any, Doing] | None = None,
        start: Doing | None = None,
        stop: Doing | None = None,
    ) -> None:
        self.log = Log() if log is None else log
        self.on = on or {}
        self.start_with = start
        self.stop_with = stop

    async def started(self) -> None:
        self.log.started.append(self.incarnation)
        if self.start_with is not None:
            await run(self.start_with, self)

    async def receive(self, message: Any) -> object:
        if isinstance(message, FunctionType):
            return await run(message, self)
        self.log.heard.append(message)
        if message.__hash__ is not None and message in self.on:
            return await run(self.on[message], self)
        return message

    async def stopped(self, reason: Reason) -> None:
        self.log.ended.append(reason)
        if self.stop_with is not None:
            await run(self.stop_with, self)


class Batcher(Probe):
    """A probe that takes up to three messages at once."""

    batch = 3

    async def receive_batch(self, messages: Sequence[Any]) -> Sequence[object] | None:
        self.log.heard.append(list(messages))
        answers = None
        for message in messages:
            if isinstance(message, FunctionType):
                answers = await run(message, self)
            elif message in self.on:
                answers = await run(self.on[message], self)
        return messages if answers is None else answers


class OpenHost(Host, Probe):
    """A host that does what tests tell it, and whom no child's end disturbs."""

    async def receive(self, message: Any) -> object:
        return await Probe.receive(self, message)


@attrs.frozen
class Due:
    """A child's time to wait is over."""

    name: str


class Restarter(OpenHost):
    """Restarts what fails, at once or after `delay` seconds."""

    delay = 0.0

    def child_ended(self, cell: Cell, reason: Reason) -> object:
        if cell.stop_asked or not is_failure(reason):
            return super().child_ended(cell, reason)
        if self.delay > 0:
            self._cell.hold_child(cell, self.delay)
            self.timer(("due", cell.spec.name), self.delay, Due(cell.spec.name))
        else:
            self._cell.relaunch(cell, reason)
        return None

    async def receive(self, message: Any) -> object:
        if isinstance(message, Due):
            cell = self._cell.children.get(message.name)
            if cell is not None and not cell.running and not cell.stop_asked:
                self._cell.relaunch(cell, Stopped("waited"))
            return None
        return await super().receive(message)


class Later(Restarter):
    """Restarts what fails after a second."""

    delay = 1.0


@attrs.frozen(eq=False)
class Subject:
    """An actor under test: its address and its log."""

    ref: Ref[Any]
    log: Log

    @property
    def cell(self) -> Cell:
        cell: Cell = self.ref.target
        return cell

    async def do(self, function: Doing) -> Any:
        """Run `function(actor)` in its handler and give the result."""
        return await self.ref.ask(function, within=LONG)


@attrs.define(eq=False)
class Bench:
    """A running system, with what it reported and what it could not deliver."""

    system: System
    reports: list[Report]
    letters: list[DeadLetter]
    log: Log

    @property
    def root(self) -> Subject:
        return Subject(self.system.ref("/"), self.log)

    async def spawn(
        self, name: str, make: Callable[..., Actor] = Probe, *, under: Subject | None = None, **options: Any
    ) -> Subject:
        """Start a child and wait until all is quiet. `on`, `start`, `stop` are the probe's, the rest is the spec's."""
        log = Log()
        script = {key: options.pop(key) for key in ("on", "start", "stop") if key in options}
        spec = Spec(name, lambda: make(log, **script), **options)
        ref = await (under or self.root).do(lambda host: host.start_child(spec))
        await settle()
        return Subject(ref, log)

    async def stop(self, subject: Subject, **how: Any) -> None:
        """Have the root stop its child, and wait until all is quiet."""
        await self.root.do(lambda root: root.stop_child(subject.cell.spec.name, **how))
        await settle()

    def node(self, subject: Subject) -> Node:
        node = self.system.tree().find(subject.ref.path)
        assert node is not None
        return node

    def counters(self, subject: Subject) -> Counters:
        return self.node(subject).counters

    def crashes(self) -> list[Crash]:
        return [report for report in self.reports if isinstance(report, Crash)]

    def lost(self) -> list[tuple[str, Any, str]]:
        """The dead letters as tuples."""
        return [(letter.path, letter.message, letter.reason) for letter in self.letters]


@attrs.frozen
class Free:
    """An entry of the wheel that sets an event."""

    event: trio.Event

    def fire(self) -> None:
        self.event.set()


def bounded(capacity: int, overflow: Overflow | None = None, **more: Any) -> Mailbox:
    """A small mailbox."""
    return Mailbox(capacity, **more) if overflow is None else Mailbox(capacity, overflow, **more)


async def settle() -> None:
    """Wait until every task waits. Virtual time stands still meanwhile."""
    await wait_all_tasks_blocked()


async def boom(*_: Any) -> None:
    raise Boom("asked for")


async def hang(*_: Any) -> None:
    """As good as for ever."""
    await trio.sleep(LONG)


def slow_stop(seconds: float, order: list[Any], name: str) -> Any:
    """A `stopped` that takes its time and says when it was over."""

    async def stopped(_: Any) -> None:
        await trio.sleep(seconds)
        order.append(name)

    return stopped


def asking(other: Subject | Callable[[], Subject], message: Any = "ping", within: float = 5.0) -> Any:
    """A function for a handler that asks somebody else, who may be made later."""

    async def ask(_: Any) -> Any:
        target = other if isinstance(other, Subject) else other()
        return await target.ref.ask(message, within=within)

    return ask


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

    @property
    def handed_back(self) -> list[tuple[type, Any]]:
        """Of those that were not accepted: the kind of the error, and the message in it."""
        return [(type(error), error.message) for _, error in self.ended if isinstance(error, NotAccepted)]


def assert_nothing_left(system: System) -> None:
    """After the end: sums balance, also by reason, and no task, deadline, name or subscription is left."""
    assert_conserved(system)
    assert_no_leaks(system)
    drops = sum((counts["dropped"] for counts in system.totals.by_kind.values()), start=0)
    assert system.totals.drops.total() == drops


@asynccontextmanager
async def running(
    root: Callable[..., Actor] = Restarter, *, stop_within: float = 60.0, **options: Any
) -> AsyncGenerator[Bench, None]:
    """A bench, with its checks at the end. `options` are the system's."""
    reports: list[Report] = []
    letters: list[DeadLetter] = []
    log = Log()
    async with open_system(
        Spec("root", lambda: root(log)), stop_within=stop_within, report=reports.append, **options
    ) as system:
        system.dead_letters.listen(letters.append)
        await settle()
        yield Bench(system, reports, letters, log)
        await settle()
        if system.root is not None and system.root.running:
            assert_conserved(system)
    assert_nothing_left(system)
