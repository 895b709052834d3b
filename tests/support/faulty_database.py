"""A journal over a database that fails where a test says."""

from __future__ import annotations

import random
import threading
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
import trio.testing

from actors.storage import journal as journal_module
from actors.storage.database import Database
from actors.storage.interface import Appended, Cursor, Record
from actors.storage.journal import Append, Journal, StorageStatus, StorageTrouble
from runtime import HandlerFailed, Mailbox, Refused, Spec, open_system
from tests.support.actors import Restarter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from runtime import Ref, Report, System

WITHIN = 20.0


def record(name: str, user: str = "ada") -> Record:
    return Record(name, b"{%s}" % name.encode(), (user,))


def append(*names: str, user: str = "ada") -> Append:
    return Append(tuple(record(name, user) for name in names))


class Faulty:
    """A database that fails where a test says, and notes what it was asked.

    `faults`: for each of the next appends, an error to raise, before or after it was done.
    """

    def __init__(self, inner: Database, notes: Notes) -> None:
        self.inner = inner
        self.notes = notes

    def append(self, records: Sequence[Record], moves: Sequence[Cursor] = ()) -> list[Appended]:
        notes = self.notes
        notes.threads.add(threading.get_ident())
        if not records:
            notes.probes += 1
            if notes.unwritable is not None:
                raise notes.unwritable
            return self.inner.append(records, moves)
        notes.began.set()
        notes.go_on.wait(WITHIN)
        notes.transactions.append([each.event_id for each in records])
        fault = notes.faults.pop(0) if notes.faults else None
        if fault is None:
            return self.inner.append(records, moves)
        error, done = fault
        if done:
            self.inner.append(records, moves)
        raise error

    def probe(self) -> None:
        self.notes.threads.add(threading.get_ident())
        self.notes.probes += 1
        if self.notes.unwritable is not None:
            raise self.notes.unwritable
        self.inner.probe()

    def reopen(self) -> None:
        self.notes.reopened += 1
        if self.notes.unopenable:
            raise self.notes.unopenable.pop(0)
        self.inner.reopen()

    def close(self) -> None:
        self.notes.closed += 1
        self.inner.close()

    def read_several(self, *arguments: Any) -> Any:
        if self.notes.unreadable:
            raise self.notes.unreadable.pop(0)
        return self.inner.read_several(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


@attrs.define(eq=False)
class Notes:
    faults: list[tuple[BaseException, bool]] = attrs.field(factory=list)
    unopenable: list[Exception] = attrs.field(factory=list)
    unreadable: list[Exception] = attrs.field(factory=list)
    unwritable: Exception | None = None
    transactions: list[list[str]] = attrs.field(factory=list)
    threads: set[int] = attrs.field(factory=set)
    probes: int = 0
    reopened: int = 0
    closed: int = 0
    began: threading.Event = attrs.field(factory=threading.Event)
    go_on: threading.Event = attrs.field(factory=threading.Event)


@attrs.define(eq=False)
class Bench:
    system: System
    notes: Notes
    reports: list[Report]
    path: Path

    @property
    def journal(self) -> Ref[Any]:
        return self.system.ref("/storage")

    async def ask(self, message: Any) -> Any:
        return await self.journal.ask(message, WITHIN)

    async def trouble(self, message: Any) -> StorageTrouble:
        with pytest.raises(Refused) as caught:
            await self.ask(message)
        reason = caught.value.reason
        assert isinstance(reason, StorageTrouble)
        return reason

    async def works(self) -> None:
        with trio.fail_after(WITHIN):
            while await self.ask(StorageStatus()) is not None:
                await trio.sleep(0.002)

    async def together(self, *messages: Any) -> list[Any]:
        """Ask all of these, in this order, so that they are one batch behind one that is under way."""
        answers: list[Any] = [None] * len(messages)

        async def ask(index: int, message: Any) -> None:
            try:
                answers[index] = await self.ask(message)
            except Refused as error:
                answers[index] = error.reason
            except HandlerFailed as error:
                answers[index] = type(error)

        async with trio.open_nursery() as nursery:
            self.notes.began.clear()
            self.notes.go_on.clear()
            nursery.start_soon(self.ask, append("first"))
            await trio.to_thread.run_sync(self.notes.began.wait, WITHIN)
            for index, message in enumerate(messages):
                nursery.start_soon(ask, index, message)
                await trio.testing.wait_all_tasks_blocked()
            self.notes.go_on.set()
        return answers

    def commits(self) -> Callable[[], int]:
        """Tells how many transactions have been committed since."""
        counted = [0]
        connection = self.system.ref("/storage").target.actor._storage.inner._connection

        def trace(statement: str) -> None:
            counted[0] += statement == "COMMIT"

        connection.set_trace_callback(trace)
        return lambda: counted[0]

    def log(self, user: str = "ada") -> list[str]:
        """The log on the disk, read by somebody else."""
        other = Database(self.path, random=random.Random(1), wall_clock=time.time)
        try:
            return [stored.event_id for stored in other.read(user, 0, 1000)]
        finally:
            other.close()


@asynccontextmanager
async def bench(
    tmp_path: Path, *, open_storage: Callable[[], Any] | None = None, wait: bool = True, clock: float = 1000.0
) -> AsyncIterator[Bench]:
    notes = Notes()
    notes.go_on.set()
    reports: list[Report] = []
    path = tmp_path / "understudy.db"

    def opens() -> Faulty:
        return Faulty(Database(path, random=random.Random(7), wall_clock=lambda: clock), notes)

    with pytest.MonkeyPatch.context() as soon:
        soon.setattr(journal_module, "TRY_AGAIN", 0.01)
        async with open_system(Spec("root", Restarter), report=reports.append) as system:
            spec = Spec("storage", lambda: Journal(open_storage or opens), mailbox=Mailbox(10_000))
            system.root.actor.start_child(spec)  # type: ignore[union-attr]
            here = Bench(system, notes, reports, path)
            if wait:
                await here.works()
            yield here
