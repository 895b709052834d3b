"""Cursors in the database: who is known, who is forgotten, what outlives the process, and what costs a commit."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import attrs
import pytest

from actors.storage import cursors
from actors.storage.cursors import SEEN_AGAIN
from actors.storage.database import Database
from actors.storage.interface import CURSOR_LIFETIME, MOST_CURSORS, Arrival, Cursor, Record, Waking
from tests.support.stored_users import users_of

NOW = 2_000_000_000.0


@attrs.define
class Commits:
    """Counts the transactions that wrote something, as SQLite counts them."""

    database: Database

    def __call__(self) -> int:
        connection = self.database._connection
        assert connection is not None
        return int(connection.total_changes)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "understudy.db", random=Random(1), wall_clock=lambda: NOW)
    yield database
    database.close()


def events(count: int, *, user: str = "ann", start: int = 1) -> list[Record]:
    return [Record(f"{user}{n}", b"{}", (user,)) for n in range(start, start + count)]


def arrive(
    database: Database, client_id: str, *, user: str = "ann", now: float = NOW, keep: tuple[str, ...] = ()
) -> Cursor:
    (cursor,) = database.attend((), (Arrival(user, client_id, now, keep),), ())
    return cursor


def move(
    database: Database, client_id: str, acked: int, *, came_in: int = 0, now: float = NOW, epoch: str = ""
) -> None:
    epoch = epoch or database.top("ann").epoch
    database.attend((), (), (Cursor("ann", client_id, epoch, came_in, acked, now),))


def test_a_new_client_comes_in_at_the_top_and_is_known_from_then_on(database: Database) -> None:
    database.append(events(3))
    epoch = database.top("ann").epoch
    assert arrive(database, "c") == Cursor("ann", "c", epoch, 3, None, NOW, new=True)
    database.append(events(1, start=4))
    known = arrive(database, "c")
    assert known == Cursor("ann", "c", epoch, 3, None, NOW)
    assert known.seq == 3
    database.reopen()
    assert arrive(database, "c") == known


def test_a_client_of_somebody_unknown_makes_the_log(database: Database) -> None:
    cursor = arrive(database, "c", user="new")
    assert (cursor.came_in, cursor.new) == (0, True)
    assert database.top("new").epoch == cursor.epoch
    assert users_of(database) == ["new"]


def test_the_same_name_of_another_user_is_another_client(database: Database) -> None:
    arrive(database, "c")
    assert arrive(database, "c", user="bob").new


def test_a_cursor_is_moved_and_one_that_was_forgotten_stays_so(database: Database) -> None:
    arrive(database, "c")
    move(database, "c", 7, came_in=2)
    assert (arrive(database, "c").acked, arrive(database, "c").came_in) == (7, 2)
    assert arrive(database, "c").seq == 7
    move(database, "never was", 3)
    assert arrive(database, "never was").new


def test_moves_may_go_with_an_append_and_share_its_fate(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    cursor = arrive(database, "c")
    moved = attrs.evolve(cursor, acked=1, new=False)
    database.append(events(1), (moved,))
    assert arrive(database, "c").acked == 1

    def fails(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(database, "_apply", fails)
        with pytest.raises(ZeroDivisionError):
            database.append(events(1, start=2), (attrs.evolve(moved, acked=2),))
    assert arrive(database, "c").acked == 1


def test_who_was_not_seen_for_30_days_is_forgotten(database: Database) -> None:
    for client_id in ("a", "b", "open"):
        arrive(database, client_id)
    later = NOW + CURSOR_LIFETIME
    assert not arrive(database, "a", now=later).new
    assert arrive(database, "b", now=later + 1, keep=("open",)).new
    assert not arrive(database, "open", now=later + 1, keep=("open",)).new


def test_fifty_are_kept_and_the_longest_unseen_goes_first(database: Database) -> None:
    for number in range(MOST_CURSORS):
        arrive(database, f"c{number}", now=NOW + number)
    move(database, "c0", 1, now=NOW + 100)
    assert arrive(database, "one more", now=NOW + 200, keep=("c1",)).new
    gone = [n for n in range(MOST_CURSORS) if database.attend((), (), ()) == [] and is_gone(database, f"c{n}")]
    assert gone == [2]


def is_gone(database: Database, client_id: str) -> bool:
    connection = database._connection
    assert connection is not None
    return connection.execute("SELECT 1 FROM cursor WHERE client_id = ?", (client_id,)).fetchone() is None


def test_who_is_open_is_never_forgotten_though_they_be_more_than_fifty(database: Database) -> None:
    everybody = tuple(f"c{number}" for number in range(MOST_CURSORS + 5))
    for client_id in everybody:
        arrive(database, client_id, keep=everybody)
    assert not any(is_gone(database, client_id) for client_id in everybody)


def test_what_was_covered_is_told_of_this_log_only(database: Database) -> None:
    for client_id, came_in, acked in (("a", 3, 9), ("b", 0, 2), ("c", 4, 4)):
        arrive(database, client_id)
        move(database, client_id, acked, came_in=came_in)
    arrive(database, "never acked")
    arrive(database, "of another log")
    move(database, "of another log", 50, epoch="old")
    database.top("nobody")
    wakings = [Waking(user, NOW, 100, 7 * 86_400.0, 1000) for user in ("ann", "nobody")]
    assert [each.covered for each in database.wake(wakings)] == [[(0, 2), (3, 9)], []]


def test_what_has_nothing_to_write_costs_nothing(database: Database) -> None:
    arrive(database, "c")
    changes = Commits(database)
    before = changes()
    arrive(database, "c", now=NOW + SEEN_AGAIN - 1)
    database.attend(("ann",), (), ())
    assert changes() == before
    arrive(database, "c", now=NOW + SEEN_AGAIN)
    assert changes() == before + 1
    assert arrive(database, "c", now=NOW + SEEN_AGAIN).seen == NOW + SEEN_AGAIN


def test_the_log_is_not_cut_from_where_it_is_to_be_kept(database: Database) -> None:
    database.append(events(5))
    how = {"now": NOW, "max_events": 1, "max_age": 1e9, "limit": 100}
    assert database.trim("ann", keep=3, **how).events == 2  # type: ignore[arg-type]
    assert database.top("ann").first == 3
    assert database.trim("ann", keep=1, **how).events == 0  # type: ignore[arg-type]
    assert database.trim("ann", **how).events == 2  # type: ignore[arg-type]


KILLED = """
import os, signal, sys
from pathlib import Path
from random import Random
from typing import Any
from actors.storage.database import Database
from actors.storage.interface import Arrival, Cursor

database = Database(Path(sys.argv[1]), random=Random(1), wall_clock=lambda: 0.0)
(cursor,) = database.attend((), (Arrival("ann", "c", 5.0),), ())
database.attend((), (), (Cursor("ann", "c", cursor.epoch, 0, 4, 6.0),))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_cursors_outlive_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "understudy.db"
    assert subprocess.run([sys.executable, "-c", KILLED, path], check=False).returncode == -signal.SIGKILL
    database = Database(path, random=Random(1), wall_clock=lambda: NOW)
    assert arrive(database, "c", now=7.0).acked == 4
    database.close()


def rows(database: Database) -> list[tuple[Any, ...]]:
    connection = database._connection
    assert connection is not None
    select = "SELECT user, client_id, came_in, acked, seen FROM cursor JOIN logs ON log = logs.id ORDER BY 1, 2"
    return list(connection.execute(select))


@pytest.mark.parametrize("seed", range(5))
def test_who_comes_together_is_treated_as_who_comes_one_after_the_other(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cursors, "MOST_CURSORS", 3)
    rng, now = Random(seed), NOW
    together, apart = (
        Database(tmp_path / name, random=Random(1), wall_clock=lambda: NOW) for name in ("together", "apart")
    )
    for number in range(40):
        now += rng.choice([0.0, 1.0, 2 * SEEN_AGAIN, CURSOR_LIFETIME / 2, CURSOR_LIFETIME + 1])
        for each in (together, apart):
            each.append([Record(f"e{number}", b"{}", (f"u{number % 3}",))])
        arrivals = [
            Arrival(
                f"u{rng.randrange(3)}",
                f"c{rng.randrange(6)}",
                now + rng.choice([0.0, 0.5]),
                tuple(f"c{rng.randrange(6)}" for _ in range(rng.randrange(3))),
            )
            for _ in range(rng.randrange(1, 8))
        ]
        answers = together.attend((), arrivals, ())
        one_by_one = [apart.attend((), (arrival,), ())[0] for arrival in arrivals]
        assert [attrs.evolve(each, epoch="e") for each in answers] == [
            attrs.evolve(each, epoch="e") for each in one_by_one
        ]
        assert rows(together) == rows(apart)
    together.close()
    apart.close()


def test_looking_them_up_takes_as_many_statements_however_many_come(database: Database) -> None:
    connection = database._connection
    assert connection is not None

    def selects(arrivals: list[Arrival]) -> int:
        said: list[str] = []
        connection.set_trace_callback(said.append)
        assert all(cursor.new for cursor in database.attend((), arrivals, ()))
        connection.set_trace_callback(None)
        return sum("FROM asked" in statement for statement in said)

    database.top("ann")
    few = selects([Arrival("ann", "first", NOW)])
    assert selects([Arrival("ann", f"c{number}", NOW) for number in range(40)]) == few
    database.attend([f"u{number}" for number in range(100)], (), ())
    assert selects([Arrival(f"u{number}", "c", NOW) for number in range(100)]) == few
