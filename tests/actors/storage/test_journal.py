"""The one actor that touches the database: batches, order, trouble and recovery, on real files and threads."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from actors.storage.attending import Arrive, MoveCursors, Read, ReadPage, Wake
from actors.storage.database import Database
from actors.storage.errors import CommitFailed, CommitUnknown, DatabaseUnavailable
from actors.storage.interface import Appended, Arrival, KeepReply, Position, PutState, Record, Stored, Trimmed, Waking
from actors.storage.journal import Append, FindReply, GetState, ListState, StorageStatus, Top, TrimLog
from runtime import Crash, HandlerFailed
from tests.support.faulty_database import WITHIN, append, bench


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
            awake = await here.ask(Wake(Waking("ada", 5000.0, 10, 10_000.0, 1000, (("s", ""),))))
            assert (awake.position, awake.covered, awake.lists) == (again.position, [], ([],))
            page = await here.ask(ReadPage("ada", 0, 5))
            assert (page.position.seq, [stored.seq for stored in page.events]) == (1, [1])

    async def test_who_wakes_loses_nothing_that_has_to_stay(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as here:
            for name in "abcd":
                await here.ask(append(name))
            awake = await here.ask(Wake(Waking("ada", 5000.0, 1, 10_000.0, 1000, keep=3)))
            assert (awake.trimmed, awake.position.first) == (Trimmed(2, 0), 3)
            awake = await here.ask(Wake(Waking("ada", 5000.0, 1, 10_000.0, 1000)))
            assert (awake.trimmed, awake.position.first) == (Trimmed(1, 0), 4)

    async def test_all_who_come_in_one_batch_share_a_commit(self, tmp_path: Path) -> None:
        """New users and new clients, with everything that their contexts ask in between."""
        async with bench(tmp_path) as here:
            commits = here.commits()
            storm: list[Any] = [
                message
                for n in range(40)
                for message in (
                    Wake(Waking(f"u{n}", 5000.0, 10, 10.0, 1000, (("s", f"u{n}/"),))),
                    ListState("s"),
                    Arrive(Arrival(f"u{n}", "c", 5.0)),
                )
            ]
            answers = await here.together(*storm)
            assert all(answer.cursor.new for answer in answers[2::3])
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

    async def test_moves_before_a_context_wakes_are_seen_by_it(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as here:
            cursor = (await here.ask(Arrive(Arrival("ada", "c", 5.0)))).cursor
            await here.ask(append("a", "b"))
            moved = MoveCursors((attrs.evolve(cursor, acked=2, new=False),))
            wake = Wake(Waking("ada", 5000.0, 10, 10_000.0, 1000))
            answers = await here.together(moved, wake, append("c"))
            assert answers[0] is True
            assert answers[1].covered == [(0, 2)]

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
