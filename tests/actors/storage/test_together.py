"""Looking up for many users at once: the same answers as one by one, and a few statements instead of thousands."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.storage import together
from actors.storage.attending import Arrive, Read, Wake, look_up
from actors.storage.database import Database
from actors.storage.interface import (
    REPLY_LIFETIME,
    Arrival,
    Cursor,
    KeepReply,
    Position,
    PutState,
    Record,
    Trimmed,
    Waking,
)
from actors.storage.together import AT_ONCE
from tests.support.examples import examples

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DAY = 24 * 3600.0
NOW = 2_000_000_000.0
ODD = ("ada", "Ada", "ada/", "a%", "a_", "42", "a\0b", "é", "\U0010ffff", "'; --", "a b")
"""Names that a statement might take for something else."""


class Clock:
    """The database's wall clock."""

    now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def database(tmp_path: Path, clock: Clock) -> Iterator[Database]:
    database = Database(tmp_path / "understudy.db", random=random.Random(1), wall_clock=clock)
    yield database
    database.close()


def waking(user: str, **changes: Any) -> Waking:
    given: dict[str, Any] = {"now": NOW, "max_events": 100, "max_age": 7 * DAY, "limit": 1000, **changes}
    return Waking(user, **given)


def events(user: str, count: int, name: str = "e") -> list[Record]:
    return [Record(f"{user}{name}{n}", b"{%d}" % n, (user,)) for n in range(count)]


def test_every_user_gets_their_own(database: Database) -> None:
    for number, user in enumerate(ODD):
        state = PutState("s", f"{user}{number}/1", user.encode())
        database.append([*events(user, number), Record(f"{user}!", None, (), (state,))])
        database.attend((user,), (Arrival(user, "c", NOW),), ())
        epoch = database.top(user).epoch
        database.append(events(user, 2, "later"), [Cursor(user, "c", epoch, number, number + 1, NOW)])
    lists = [(("s", f"{user}{number}/"), ("other", "")) for number, user in enumerate(ODD)]
    awake = database.wake([waking(user, lists=wanted) for user, wanted in zip(ODD, lists, strict=True)])
    for number, (user, found) in enumerate(zip(ODD, awake, strict=True)):
        assert found.position == database.top(user)
        assert found.position.seq == number + 2
        assert found.covered == [(number, number + 1)]
        assert found.lists == ([(f"{user}{number}/1", user.encode())], [])
    assert database.tops(ODD) == [each.position for each in awake]
    pages = database.read_several([(user, 1, 3) for user in ODD])
    assert pages == [database.read(user, 1, 3) for user in ODD]


def test_more_users_than_go_into_one_statement(database: Database) -> None:
    users = [f"u{n}" for n in range(2 * AT_ONCE + 3)]
    database.attend(users, [Arrival(user, "c", NOW) for user in users], ())
    database.append([record for user in users for record in events(user, 2)])
    assert [each.seq for each in database.tops(users)] == [2] * len(users)
    assert [len(page) for page in database.read_several([(user, 0, 9) for user in users])] == [2] * len(users)
    again = database.attend((), [Arrival(user, "c", NOW) for user in users], ())
    assert [(cursor.user, cursor.new) for cursor in again] == [(user, False) for user in users]


def test_a_storm_takes_few_statements(database: Database) -> None:
    users = [f"u{n}" for n in range(AT_ONCE)]
    database.attend(users, [Arrival(user, "c", NOW) for user in users], ())
    statements: list[str] = []
    assert database._connection is not None
    database._connection.set_trace_callback(statements.append)
    looks = [
        look
        for user in users
        for look in (
            Wake(waking(user, lists=(("s", f"{user}/"),))),
            Arrive(Arrival(user, "c", NOW)),
            Read(user, 0, 9),
        )
    ]
    cursors = iter(database.attend(users, [look.arrival for look in looks if isinstance(look, Arrive)], ()))
    answers = look_up(looks, cursors, database)
    assert len(answers) == len(looks)
    assert len(statements) < 12


def test_the_answers_stand_in_the_order_of_the_questions(database: Database) -> None:
    users = ("b", "a", "c")
    database.append([record for n, user in enumerate(users) for record in events(user, n + 1)])
    cursors = iter(database.attend((), [Arrival(user, "x", NOW) for user in ("c", "b")], ()))
    looks = [Read("c", 1, 9), Arrive(Arrival("c", "x", NOW)), Wake(waking("a")), Arrive(Arrival("b", "x", NOW))]
    page, of_c, of_a, of_b = look_up(looks, cursors, database)
    assert [stored.seq for stored in page] == [2, 3]
    assert (of_c.position.seq, of_c.cursor.user) == (3, "c")
    assert of_a.position.seq == 2
    assert (of_b.position.seq, of_b.cursor.user) == (1, "b")


def test_who_was_not_seen_for_too_long_is_not_found(database: Database) -> None:
    database.attend((), (Arrival("ada", "c", NOW),), ())
    later = NOW + 31 * DAY
    (forgotten,) = database.attend((), (Arrival("ada", "c", later),), ())
    assert forgotten.new
    (known,) = database.attend((), (Arrival("ada", "c", later + 31 * DAY, keep=("c",)),), ())
    assert not known.new


# --- trimming on waking


def test_only_the_logs_that_need_it_are_trimmed(database: Database, clock: Clock) -> None:
    clock.now = NOW - 8 * DAY
    database.append(events("old", 3))
    database.append([Record("reply", b"{}", ("asked",), (KeepReply("asked", "c", b"d", b"r", clock.now),))])
    clock.now = NOW
    database.append([*events("old", 2, "new"), *events("long", 5), *events("fresh", 4)])
    database.attend(("empty",), (), ())
    asked = [waking(user, max_events=4) for user in ("old", "long", "fresh", "empty")]
    found = {each.user: one for each, one in zip(asked, database.wake(asked), strict=True)}
    assert {user: one.trimmed.events for user, one in found.items()} == {"old": 3, "long": 1, "fresh": 0, "empty": 0}
    assert {user: one.position.first for user, one in found.items()} == {"old": 4, "long": 2, "fresh": 1, "empty": 1}
    (with_reply,) = database.wake([waking("asked", max_age=30 * DAY)])
    assert with_reply.trimmed == Trimmed(0, 1)
    assert database.find_reply("asked", "c") is None


def test_where_nothing_is_to_be_trimmed_nothing_is_written(database: Database) -> None:
    database.append([*events("ada", 3), Record("r", None, (), (KeepReply("ada", "c", b"d", b"r", NOW),))])
    assert database._connection is not None
    before = database._connection.total_changes
    database.wake([waking("ada", max_events=3)])
    assert database._connection.total_changes == before


def test_ids_of_records_without_a_body_are_forgotten_after_a_day(database: Database, clock: Clock) -> None:
    clock.now = NOW - REPLY_LIFETIME - 1
    change = Record("change", None, (), (PutState("s", "k", b"1"),))
    database.append([change])
    clock.now = NOW
    database.attend(("ada",), (), ())
    database.wake([waking("ada")])
    (outcome,) = database.append([change])
    assert not outcome.repeated


def test_a_long_log_is_trimmed_by_so_many_events_at_a_time(database: Database) -> None:
    database.append(events("ada", 30))
    (found,) = database.wake([waking("ada", max_events=5, limit=10)])
    assert found.trimmed.events == 10
    assert found.position == Position(found.position.epoch, 11, 30)


# --- prefixes

texts = st.text(st.sampled_from(["a", "b", "/", "\0", "\ud7ff", "\ue000", "\U0010ffff"]), max_size=4)


@given(st.lists(texts.filter(bool), max_size=12, unique=True), st.lists(texts, min_size=1, max_size=6))
@settings(max_examples=examples(0.6))
def test_a_list_holds_what_begins_with_its_prefix_and_nothing_else(keys: list[str], prefixes: list[str]) -> None:
    import sqlite3

    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE state (space TEXT, key TEXT, value BLOB)")
    rows = [("s", key, b"v") for key in keys] + [("t", key, b"w") for key in keys]
    connection.executemany("INSERT INTO state VALUES (?, ?, ?)", rows)
    found = together.lists(connection, [("s", prefix) for prefix in prefixes])
    connection.close()
    assert found == [[(key, b"v") for key in sorted(keys) if key.startswith(prefix)] for prefix in prefixes]


def test_what_is_found_is_not_copied_to_put_it_in_order(database: Database) -> None:
    connection = database._connection
    assert connection is not None
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    together.pages(connection, [("ada", 0, 9), ("bob", 0, 9)])
    together.lists(connection, [("s", "ada/"), ("s", "bob/")])
    connection.set_trace_callback(None)
    plan = [row[3] for statement in statements for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
    assert len(statements) == 2
    assert not [step for step in plan if "TEMP B-TREE" in step]


def test_what_lies_behind_a_prefix_is_not_walked_over(database: Database) -> None:
    def steps() -> int:
        """How much SQLite has to do to list what is ada's."""
        ticks: list[None] = []
        connection = database._connection
        assert connection is not None
        connection.set_progress_handler(lambda: ticks.append(None), 1)
        assert together.lists(connection, [("s", "ada/")]) == [[("ada/1", b"v")]]
        connection.set_progress_handler(None, 1)
        return len(ticks)

    database.append([Record("ada's", None, (), (PutState("s", "ada/1", b"v"),))])
    before = steps()
    of_others = tuple(PutState("s", f"bob/{number}", b"v") for number in range(1000))
    database.append([Record("others'", None, (), of_others)])
    assert steps() < before + 100
