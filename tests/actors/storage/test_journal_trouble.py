"""The journal in trouble: a disk that is full or fails, commits of which nobody knows, and the way back."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from actors.storage.attending import Read
from actors.storage.database import Database
from actors.storage.errors import CommitFailed, CommitUnknown, DatabaseDamaged, DatabaseUnavailable, StorageError
from actors.storage.interface import Appended, Record
from actors.storage.journal import Append, GetState, StorageStatus, StorageTrouble, Top
from tests.support.faulty_database import WITHIN, append, bench


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
