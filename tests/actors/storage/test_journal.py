"""The one actor that touches the database: batches, order, trouble and recovery, on real files and threads."""

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
from actors.storage.attending import Arrive, MoveCursors, ReadPage, Wake
from actors.storage.database import Database
from actors.storage.errors import CommitFailed, CommitUnknown, DatabaseDamaged, DatabaseUnavailable, StorageError
from actors.storage.interface import Appended, Arrival, Cursor, KeepReply, Position, PutState, Record, Stored, Trimmed
from actors.storage.journal import (
    Append,
    FindReply,
    GetState,
    Journal,
    ListState,
    Read,
    StorageStatus,
    StorageTrouble,
    Top,
    TrimLog,
)
from runtime import Crash, HandlerFailed, Mailbox, Refused, Spec, open_system
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

    def read(self, *arguments: Any) -> Any:
        if self.notes.unreadable:
            raise self.notes.unreadable.pop(0)
        return self.inner.read(*arguments)

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

    async with open_system(Spec("root", Restarter), report=reports.append) as system:
        spec = Spec("storage", lambda: Journal(open_storage or opens), mailbox=Mailbox(10_000))
        system.root.actor.start_child(spec)  # type: ignore[union-attr]
        here = Bench(system, notes, reports, path)
        if wait:
            await here.works()
        yield here


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "TRY_AGAIN", 0.01)


class TestCommitting:
    async def test_what_is_answered_is_on_the_disk(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as here:
            answer = await here.ask(append("a", "b"))
            assert answer == (
                Appended("a", (("ada", 1),), repeated=False),
                Appended("b", (("ada", 2),), repeated=False),
            )
            assert here.log() == ["a", "b"]
            assert (await here.ask(append("b", "c")))[0] == Appended("b", (("ada", 2),), repeated=True)
            assert here.log() == ["a", "b", "c"]

    async def test_neighbouring_appends_are_one_transaction_each_with_its_own_answer(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as here:
            answers = await here.together(append("a"), append("b", "c"), append(), append("d", user="bob"))
            assert here.notes.transactions == [["first"], ["a", "b", "c", "d"]]
            assert [[outcome.event_id for outcome in answer] for answer in answers] == [["a"], ["b", "c"], [], ["d"]]
            assert answers[1][1].seqs == (("ada", 4),)
            assert answers[3][0].seqs == (("bob", 1),)

    async def test_queries_run_in_their_place_among_the_appends(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as here:
            answers = await here.together(
                Top("ada"), append("a"), Top("ada"), Read("ada", 0, 9), append("b"), Top("ada"), StorageStatus()
            )
            assert here.notes.transactions == [["first"], ["a"], ["b"]]
            assert [answers[index].seq for index in (0, 2, 5)] == [1, 2, 3]
            assert [stored.event_id for stored in answers[3]] == ["first", "a"]
            assert answers[6] is None

    async def test_every_query(self, tmp_path: Path) -> None:
        async with bench(tmp_path, clock=5000.0) as here:
            effects = (PutState("s", "u/1", b"x"), PutState("s", "u/2", b"y"), KeepReply("ada", "c", b"d", b"r", 1.0))
            await here.ask(Append((Record("a", b"{}", ("ada",), effects),)))
            assert await here.ask(Read("ada", 0, 5)) == [Stored(1, "a", b"{}")]
            position = await here.ask(Top("ada"))
            assert isinstance(position, Position)
            assert (position.first, position.seq) == (1, 1)
            assert (await here.ask(FindReply("ada", "c"))).reply == b"r"
            assert await here.ask(FindReply("ada", "other")) is None
            assert await here.ask(GetState("s", "u/1")) == b"x"
            assert await here.ask(ListState("s", prefix="u/", after="u/1")) == [("u/2", b"y")]
            assert await here.ask(TrimLog("ada", 5000.0, 0, 100.0)) == Trimmed(1, 0)
            assert (await here.ask(Top("ada"))).first == 2

    async def test_a_batch_is_worked_off_in_a_thread_while_the_loop_goes_on(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as here:
            await here.together(append("a"))
            assert threading.get_ident() not in here.notes.threads

    async def test_many_writers(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as here:

            async def write(user: str) -> None:
                for number in range(20):
                    (outcome,) = await here.ask(append(f"{user}{number}", user=user))
                    assert outcome.seqs == ((user, number + 1),)

            async with trio.open_nursery() as nursery:
                for number in range(10):
                    nursery.start_soon(write, f"u{number}-")
            assert len(here.notes.transactions) < 200
            assert here.log("u3-") == [f"u3-{number}" for number in range(20)]


class TestClients:
    async def test_who_comes_is_known_from_then_on(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as here:
            await here.ask(append("a"))
            first = await here.ask(Arrive(Arrival("ada", "c", 5.0)))
            assert (first.position.seq, first.cursor.came_in, first.cursor.new) == (1, 1, True)
            assert await here.ask(MoveCursors((attrs.evolve(first.cursor, acked=1),))) is True
            again = await here.ask(Arrive(Arrival("ada", "c", 5.0)))
            assert (again.cursor.acked, again.cursor.new) == (1, False)
            assert (await here.ask(Wake("ada"))).covered == []
            page = await here.ask(ReadPage("ada", 0, 5))
            assert (page.position.seq, [stored.seq for stored in page.events]) == (1, [1])

    async def test_all_who_come_in_one_batch_share_a_commit(self, tmp_path: Path) -> None:
        """New users and new clients, with everything that their contexts ask in between."""
        async with bench(tmp_path) as here:
            commits = here.commits()
            storm: list[Any] = [
                message
                for n in range(40)
                for message in (
                    TrimLog(f"u{n}", 5000.0, 10, 10.0),
                    Wake(f"u{n}"),
                    ListState("s"),
                    Arrive(Arrival(f"u{n}", "c", 5.0)),
                )
            ]
            answers = await here.together(*storm)
            assert all(answer.cursor.new for answer in answers[3::4])
            assert commits() == 2  # the one that held the others up, and theirs

    async def test_moves_before_an_arrival_are_seen_by_it_and_the_rest_goes_with_an_append(
        self, tmp_path: Path
    ) -> None:
        async with bench(tmp_path) as here:
            cursor = (await here.ask(Arrive(Arrival("ada", "c", 5.0)))).cursor
            moved = attrs.evolve(cursor, acked=0, new=False)
            answers = await here.together(MoveCursors((moved,)), Arrive(Arrival("ada", "c", 5.0)), append("a"))
            assert answers[1].cursor == moved
            commits = here.commits()
            await here.together(MoveCursors((attrs.evolve(moved, acked=1),)), append("b"), Top("ada"))
            assert commits() == 2
            assert (await here.ask(Arrive(Arrival("ada", "c", 5.0)))).cursor.acked == 1

    async def test_a_move_whose_append_failed_is_refused(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as here:
            cursor = (await here.ask(Arrive(Arrival("ada", "c", 5.0)))).cursor
            here.notes.faults = []
            inner = here.system.ref("/storage").target.actor._storage
            original = inner.append

            def fails(records: Any, moves: Any = ()) -> Any:
                if moves:
                    raise CommitFailed("full")
                return original(records, moves)

            inner.append = fails
            answers = await here.together(MoveCursors((attrs.evolve(cursor, acked=1),)), append("b"))
            assert [answer.kind for answer in answers] == ["unavailable", "unavailable"]
            inner.append = original
            await here.works()
            assert (await here.ask(Arrive(Arrival("ada", "c", 5.0)))).cursor.acked is None

    @pytest.mark.parametrize("lasts", [False, True])
    async def test_trouble_with_those_who_come(self, tmp_path: Path, lasts: bool) -> None:
        async with bench(tmp_path) as here:
            inner = here.system.ref("/storage").target.actor._storage
            tries: list[int] = []

            def attend(*arguments: Any) -> Any:
                tries.append(1)
                if lasts or len(tries) == 1:
                    raise CommitUnknown("fsync")
                return inner.inner.attend(*arguments)

            inner.attend = attend
            if lasts:
                answers = await here.together(Arrive(Arrival("ada", "c", 5.0)), append("a"))
                assert [answer.kind for answer in answers] == ["unavailable", "unavailable"]
            else:
                assert (await here.ask(Arrive(Arrival("ada", "c", 5.0)))).cursor.new
            assert here.notes.reopened >= 1


class TestTrouble:
    async def test_a_commit_that_failed_was_not_done_and_everything_behind_it_is_refused(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as here:
            here.notes.unwritable = CommitFailed("disk full")
            await here.works()
            answers_task: list[Any] = []
            here.notes.faults = [(CommitFailed("disk full"), False)]
            # the first of `together` is the one that fails
            async with trio.open_nursery() as nursery:
                here.notes.began.clear()
                here.notes.go_on.clear()

                async def first() -> None:
                    answers_task.append(await here.trouble(append("a")))

                nursery.start_soon(first)
                await trio.to_thread.run_sync(here.notes.began.wait, WITHIN)
                here.notes.go_on.set()
            full = StorageTrouble("unavailable", "disk full")
            assert answers_task == [full]
            for message in (append("b"), Top("ada"), GetState("s", "k")):
                assert await here.trouble(message) == full
            assert await here.ask(StorageStatus()) == full
            assert here.system.ref("/storage").target.actor.inspect() == {"storage": "disk full"}
            here.notes.unwritable = None
            await here.works()
            assert here.system.ref("/storage").target.actor.inspect() == {"storage": "ok"}
            await here.ask(append("a", "b"))
            assert here.log() == ["a", "b"]
            assert here.reports == []

    async def test_within_a_batch_what_came_before_the_trouble_is_done(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as here:
            here.notes.unwritable = CommitFailed("still full")
            faults: list[tuple[BaseException, bool]] = [(CommitFailed("full"), False)]

            async def later() -> list[Any]:
                return await here.together(
                    append("a"), Top("ada"), append("b"), append("c"), Top("ada"), StorageStatus(), append("d")
                )

            # the first two transactions (first, a) work; the third fails
            inner = here.system.ref("/storage").target.actor._storage
            original = inner.append

            def fails_third(records: Any, moves: Any) -> Any:
                if records and len(here.notes.transactions) == 2:
                    here.notes.faults = faults
                return original(records, moves)

            inner.append = fails_third
            answers = await later()
            full = StorageTrouble("unavailable", "full")
            assert [outcome.event_id for outcome in answers[0]] == ["a"]
            assert answers[1].seq == 2
            assert answers[2:] == [full] * 5
            here.notes.unwritable = None
            inner.append = original
            await here.works()
            assert here.log() == ["first", "a"]

    @pytest.mark.parametrize("done", [True, False])
    async def test_an_unknown_outcome_is_looked_up(self, tmp_path: Path, done: bool) -> None:
        async with bench(tmp_path) as here:
            here.notes.faults = [(CommitUnknown("fsync"), done)]
            (outcome,) = await here.ask(append("a"))
            assert outcome == Appended("a", (("ada", 1),), repeated=done)
            assert here.notes.reopened == 1
            assert here.log() == ["a"]
            assert await here.ask(StorageStatus()) is None

    @pytest.mark.parametrize(
        "second", [CommitUnknown("again"), CommitFailed("full"), DatabaseDamaged(Path("x"), "malformed")], ids=repr
    )
    async def test_where_that_does_not_settle_it_nobody_knows(self, tmp_path: Path, second: StorageError) -> None:
        """Also where the second try says clearly that nothing was done: that was the second."""
        async with bench(tmp_path) as here:
            here.notes.faults = [(CommitUnknown("fsync"), True), (second, False)]
            answer = await here.trouble(append("a"))
            assert answer.kind == "unknown"
            await here.works()
            (outcome,) = await here.ask(append("a"))
            assert outcome.repeated

    async def test_nor_where_the_file_cannot_be_opened(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as here:
            for error in (DatabaseUnavailable("locked"), PermissionError("no")):
                here.notes.faults = [(CommitUnknown("fsync"), False)]
                here.notes.unopenable = [error, error]
                assert (await here.trouble(append(f"a{error}"))).kind == "unknown"
                await here.works()
            assert here.log() == []

    async def test_what_was_not_touched_was_not_done(self, tmp_path: Path) -> None:
        """Only those in the transaction have an unknown outcome; what comes behind them has not."""
        async with bench(tmp_path) as here:
            here.notes.unwritable = CommitFailed("full")
            inner = here.system.ref("/storage").target.actor._storage
            original = inner.append

            def fails(records: Any, moves: Any) -> Any:
                if records and here.notes.transactions:
                    here.notes.faults = [(CommitUnknown("fsync"), False)]
                return original(records, moves)

            inner.append = fails
            answers = await here.together(append("a"), append("b"), Top("ada"), append("c"), StorageStatus())
            assert [answer.kind for answer in answers] == ["unknown", "unknown", *["unavailable"] * 3]
            assert (await here.trouble(append("d"))).kind == "unavailable"

    async def test_damage_found_while_writing_is_trouble_that_was_not_done(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as here:
            here.notes.faults = [(DatabaseDamaged(here.path, "malformed"), False)]
            trouble = await here.trouble(append("a"))
            assert trouble.kind == "unavailable"
            assert "damaged" in trouble.detail

    async def test_a_reading_that_fails_is_trouble(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as here:
            here.notes.unreadable = [DatabaseUnavailable("I/O")]
            assert await here.trouble(Read("ada", 0, 1)) == StorageTrouble("unavailable", "I/O")
            await here.works()
            assert await here.ask(Read("ada", 0, 1)) == []

    async def test_a_full_disk(self, tmp_path: Path) -> None:
        """A real one, as far as SQLite knows: the file may have no more pages."""
        path = tmp_path / "understudy.db"
        pages = [60]

        def opens() -> Database:
            return Database(path, random=random.Random(7), wall_clock=time.time, max_pages=pages[0])

        async with bench(tmp_path, open_storage=opens) as here:
            large = Record("large", b"x" * 300_000, ("ada",))
            await here.ask(append("a"))
            trouble = await here.trouble(Append((large,)))
            assert trouble.kind == "unavailable"
            await here.works()
            assert [stored.event_id for stored in await here.ask(Read("ada", 0, 9))] == ["a"]
            await here.ask(append("b"))
            assert here.log() == ["a", "b"]


class TestOpening:
    async def test_until_it_opens_everything_is_refused(self, tmp_path: Path) -> None:
        tries: list[int] = []

        def opens() -> Database:
            tries.append(1)
            if len(tries) < 4:
                raise DatabaseUnavailable("locked") if len(tries) % 2 else OSError("stale handle")
            return Database(tmp_path / "understudy.db", random=random.Random(7), wall_clock=time.time)

        async with bench(tmp_path, open_storage=opens, wait=False) as here:
            trouble = await here.trouble(append("a"))
            assert trouble.kind == "unavailable"
            await here.works()
            await here.ask(append("a"))
            assert len(tries) == 4
            assert here.reports == []

    async def test_a_stray_tell_is_passed_over(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as here:
            here.journal.tell(Top("ada"))
            assert (await here.ask(append("a")))[0].event_id == "a"


class TestEnding:
    async def test_what_is_under_way_at_the_stop_is_finished_and_the_file_closed(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as here:
            answers: list[Any] = []

            async def ask() -> None:
                answers.append(await here.ask(append("a")))

            async with trio.open_nursery() as nursery:
                here.notes.began.clear()
                here.notes.go_on.clear()
                nursery.start_soon(ask)
                await trio.to_thread.run_sync(here.notes.began.wait, WITHIN)
                here.system.root.actor.stop_child("storage", within=0.05)  # type: ignore[union-attr]
                await trio.sleep(0.1)  # beyond its time: a thread cannot be cancelled
                assert here.notes.closed == 0
                here.notes.go_on.set()
            assert answers[0][0].event_id == "a"
            with trio.fail_after(WITHIN):
                while here.notes.closed == 0:
                    await trio.sleep(0.002)
            assert here.log() == ["a"]

    async def test_a_crash_in_the_middle_of_a_batch(self, tmp_path: Path) -> None:
        """Nobody who was in it knows what became of it; everybody else waits for the next incarnation."""
        async with bench(tmp_path) as here:
            here.notes.faults = [(ZeroDivisionError(), False)]
            here.notes.transactions.clear()

            class Odd:
                def run(self, storage: Any) -> object:
                    raise ZeroDivisionError

            here.notes.faults.clear()
            answers = await here.together(append("a"), Odd(), append("b"))
            assert answers == [HandlerFailed] * 3
            assert [report.kind for report in here.reports if isinstance(report, Crash)] == ["Journal"]
            (outcome,) = await here.ask(append("a"))
            assert outcome.repeated
            assert here.notes.closed == 1
            assert here.log() == ["first", "a"]

    async def test_a_restart_serves_what_waited(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as here:
            await here.ask(append("a"))
            here.system.fail("/storage", RuntimeError("planned"))
            (outcome,) = await here.ask(append("b"))
            assert outcome.seqs == (("ada", 2),)
            assert here.notes.closed == 1

    async def test_one_that_never_opened_ends_too(self, tmp_path: Path) -> None:
        def opens() -> Database:
            raise DatabaseUnavailable("locked")

        async with bench(tmp_path, open_storage=opens, wait=False) as here:
            assert (await here.trouble(Top("ada"))).kind == "unavailable"
