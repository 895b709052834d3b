from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.storage.database import Database
from actors.storage.interface import (
    Appended,
    DeleteState,
    KeepReply,
    KeptReply,
    Position,
    PutState,
    Record,
    Storage,
    Stored,
    Trimmed,
)
from tests.support.stored_users import users_of

DAY = 24 * 3600.0


@attrs.define
class Clock:
    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def database(tmp_path: Path, clock: Clock) -> Iterator[Database]:
    database = Database(tmp_path / "understudy.db", random=Random(1), wall_clock=clock)
    yield database
    database.close()


def event(event_id: str, *users: str, body: bytes = b"{}") -> Record:
    return Record(event_id, body, users)


def test_the_database_keeps_the_promise_of_the_interface(database: Database) -> None:
    storage: Storage = database
    assert storage.top("ann").seq == 0


def test_each_log_counts_from_one(database: Database) -> None:
    outcomes = database.append([event("e1", "ann"), event("e2", "ann", "bob"), event("e3", "bob")])
    assert outcomes == [
        Appended("e1", (("ann", 1),), repeated=False),
        Appended("e2", (("ann", 2), ("bob", 1)), repeated=False),
        Appended("e3", (("bob", 2),), repeated=False),
    ]
    assert database.append([event("e4", "bob", "ann")])[0].seqs == (("bob", 3), ("ann", 3))
    assert [stored.event_id for stored in database.read("bob", 0, 10)] == ["e2", "e3", "e4"]


def test_reading_begins_after_a_position_and_ends_at_the_limit(database: Database) -> None:
    database.append([event(f"e{n}", "ann", body=b"%d" % n) for n in range(1, 6)])
    assert database.read("ann", 2, 2) == [Stored(3, "e3", b"3"), Stored(4, "e4", b"4")]
    assert database.read("ann", 5, 10) == []
    assert database.read("nobody", 0, 10) == []
    assert database.read("", 0, 10) == []


def test_a_repeat_is_answered_like_the_first_and_has_no_effect(database: Database) -> None:
    first = Record("e1", b"first", ("ann", "bob"), (PutState("s", "k", b"1"),))
    database.append([event("e0", "bob"), first])
    again = attrs.evolve(first, body=b"again", effects=(PutState("s", "k", b"2"),))
    assert database.append([event("e2", "ann"), again]) == [
        Appended("e2", (("ann", 2),), repeated=False),
        Appended("e1", (("ann", 1), ("bob", 2)), repeated=True),
    ]
    assert database.get_state("s", "k") == b"1"
    assert database.read("ann", 0, 1)[0].body == b"first"
    assert database.top("ann").seq == 2


def test_a_repeat_within_one_batch(database: Database) -> None:
    outcomes = database.append([event("e1", "ann"), event("e1", "ann"), event("e2", "ann")])
    assert [(outcome.seqs[0][1], outcome.repeated) for outcome in outcomes] == [(1, False), (1, True), (2, False)]


def test_a_repeat_for_more_users_names_only_those_of_the_first(database: Database) -> None:
    database.append([event("e1", "ann")])
    assert database.append([event("e1", "ann", "bob")]) == [Appended("e1", (("ann", 1),), repeated=True)]
    assert database.top("bob").seq == 0


def test_ids_are_unique_within_a_log_not_among_them(database: Database) -> None:
    database.append([event("e1", "ann")])
    assert database.append([event("e1", "bob")]) == [Appended("e1", (("bob", 1),), repeated=False)]


def test_effects_without_an_event_happen_once(database: Database) -> None:
    assert database.append([Record("x", None, (), (PutState("s", "k", b"1"),))]) == [Appended("x", (), repeated=False)]
    assert database.append([Record("x", None, (), (PutState("s", "k", b"2"),))]) == [Appended("x", (), repeated=True)]
    database.append([Record("y", None, (), (DeleteState("s", "k"), DeleteState("s", "never")))])
    assert database.get_state("s", "k") is None
    assert users_of(database) == []


def test_an_empty_batch(database: Database) -> None:
    assert database.append([]) == []


def test_state_is_listed_by_prefix_in_order_and_in_pages(database: Database) -> None:
    keys = ["a", "b", "ba", "b\U0001f600", "b\uffff", "c", "B"]
    database.append([Record("x", None, (), tuple(PutState("s", key, key.encode()) for key in keys))])
    database.append([Record("y", None, (), (PutState("t", "b", b"elsewhere"), PutState("s", "a", b"new")))])
    assert database.list_state("s", prefix="b") == [
        (key, key.encode()) for key in ["b", "ba", "b\uffff", "b\U0001f600"]
    ]
    assert [key for key, _ in database.list_state("s", prefix="b", after="b", limit=2)] == ["ba", "b\uffff"]
    assert [key for key, _ in database.list_state("s", after="b\uffff")] == ["b\U0001f600", "c"]
    assert database.list_state("s", limit=1) == [("B", b"B")]
    assert database.get_state("s", "a") == b"new"


def test_a_reply_is_kept_with_its_event_and_the_first_stays(database: Database) -> None:
    keep = KeepReply("ann", "c1", b"digest", b"reply", 5)
    database.append([Record("e1", b"{}", ("ann",), (keep,))])
    assert database.find_reply("ann", "c1") == KeptReply(b"digest", b"reply", 5.0)
    assert database.find_reply("bob", "c1") is None
    assert database.find_reply("ann", "c2") is None
    database.append([Record("e2", None, (), (attrs.evolve(keep, reply=b"other"), KeepReply("eve", "c1", b"", b"", 0)))])
    assert database.find_reply("ann", "c1") == KeptReply(b"digest", b"reply", 5.0)
    assert users_of(database) == ["ann", "eve"]


def test_a_log_has_an_epoch_of_its_own_that_outlives_the_process(database: Database) -> None:
    ann, bob = database.top("ann"), database.top("bob")
    assert (ann.first, ann.seq) == (1, 0)
    assert ann.epoch != bob.epoch
    database.reopen()
    assert database.top("ann") == ann
    database.append([event("e1", "ann")])
    assert database.top("ann") == Position(ann.epoch, 1, 1)


def trim(database: Database, *, now: float, events: int = 20_000, age: float = 7 * DAY, limit: int = 100) -> Trimmed:
    return database.trim("ann", now=now, max_events=events, max_age=age, limit=limit)


def test_a_log_is_cut_to_its_size_in_pieces(database: Database, clock: Clock) -> None:
    database.append([event(f"e{n}", "ann") for n in range(1, 11)])
    epoch = database.top("ann").epoch
    assert trim(database, now=clock.now, events=3, limit=5) == Trimmed(5, 0)
    assert trim(database, now=clock.now, events=3, limit=5) == Trimmed(2, 0)
    assert trim(database, now=clock.now, events=3, limit=5) == Trimmed(0, 0)
    assert database.top("ann") == Position(epoch, 8, 10)
    assert [stored.seq for stored in database.read("ann", 0, 10)] == [8, 9, 10]
    assert trim(database, now=clock.now, events=0, limit=5) == Trimmed(3, 0)
    assert database.top("ann") == Position(epoch, 11, 10)
    database.reopen()
    assert database.append([event("next", "ann")])[0].seqs == (("ann", 11),)


def test_a_log_is_cut_by_age_and_only_from_its_front(database: Database, clock: Clock) -> None:
    start = clock.now
    for event_id, at in (("old", 0), ("new", 8 * DAY), ("clock went back", DAY)):
        clock.now = start + at
        database.append([event(event_id, "ann")])
    assert trim(database, now=start + 8.5 * DAY) == Trimmed(1, 0)
    assert [stored.event_id for stored in database.read("ann", 0, 10)] == ["new", "clock went back"]


def test_replies_and_ids_without_events_are_forgotten_after_a_day(database: Database, clock: Clock) -> None:
    start = clock.now
    bare = Record("x", None, (), (KeepReply("ann", "old", b"", b"", start), KeepReply("bob", "old", b"", b"", start)))
    database.append([bare])
    clock.now = start + 1
    database.append([Record("y", None, (), (KeepReply("ann", "new", b"", b"", clock.now),))])
    assert trim(database, now=start + DAY) == Trimmed(0, 0)
    assert trim(database, now=start + DAY + 0.5) == Trimmed(0, 1)
    assert database.find_reply("ann", "old") is None
    assert database.find_reply("ann", "new") is not None
    assert database.find_reply("bob", "old") is not None
    assert database.append([Record("y", None, ())])[0].repeated
    assert not database.append([Record("x", None, ())])[0].repeated


def test_trimming_the_log_of_somebody_unknown(database: Database) -> None:
    assert trim(database, now=0) == Trimmed(0, 0)
    assert users_of(database) == []


def test_whatever_breaks_a_batch_leaves_nothing_of_it(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    apply: Callable[..., Appended] = database._apply

    def break_at_the_second(connection: object, record: Record, *rest: object) -> Appended:
        if record.event_id == "e2":
            raise ZeroDivisionError
        return apply(connection, record, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(database, "_apply", break_at_the_second)
        with pytest.raises(ZeroDivisionError):
            database.append([event("e1", "ann"), event("e2", "ann")])
    assert users_of(database) == []
    assert database.append([event("e1", "ann")]) == [Appended("e1", (("ann", 1),), repeated=False)]


USERS = st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True).map(tuple)
BATCHES = st.lists(st.lists(st.tuples(st.integers(0, 12), USERS), max_size=6), max_size=6)


@given(BATCHES, st.sets(st.integers(0, 5)), st.sets(st.integers(0, 5)))
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_seqs_have_no_gap_and_repeats_are_answered_alike_over_reopening(
    tmp_path_factory: pytest.TempPathFactory,
    batches: list[list[tuple[int, tuple[str, ...]]]],
    reopened: set[int],
    trimmed: set[int],
) -> None:
    clock = Clock()
    database = Database(tmp_path_factory.mktemp("db") / "d", random=Random(2), wall_clock=clock)
    logs: dict[str, list[str]] = {user: [] for user in "abc"}
    state: dict[str, bytes] = {}
    epochs = {user: database.top(user).epoch for user in logs}
    forgotten = dict.fromkeys(logs, 0)
    for number, batch in enumerate(batches):
        records = []
        expected = []
        for place, (which, users) in enumerate(batch):
            event_id = f"e{which}"
            value = f"{number}.{place}".encode()
            records.append(Record(event_id, event_id.encode(), users, (PutState("s", event_id, value),)))
            known = tuple((user, logs[user].index(event_id) + 1) for user in users if event_id in logs[user])
            if known:
                expected.append(Appended(event_id, known, repeated=True))
                continue
            for user in users:
                logs[user].append(event_id)
            state[event_id] = value
            expected.append(Appended(event_id, tuple((user, len(logs[user])) for user in users), repeated=False))
        assert database.append(records) == expected
        if number in reopened:
            database.reopen()
        alike = [
            Appended(
                one.event_id,
                tuple((user, logs[user].index(one.event_id) + 1) for user in one.users if one.event_id in logs[user]),
                repeated=True,
            )
            for one in records
        ]
        assert database.append(records) == alike
        for user, log in logs.items():
            stored = database.read(user, 0, 1_000)
            assert [(one.seq, one.event_id) for one in stored] == list(enumerate(log, 1))
            assert database.top(user) == Position(epochs[user], 1, len(log))
    for user in sorted(logs):
        if len(logs[user]) in trimmed:
            forgotten[user] = database.trim(user, now=clock.now, max_events=1, max_age=DAY).events
        fresh = database.append([Record("fresh", b"", (user,))])[0]
        assert fresh.seqs == ((user, len(logs[user]) + 1),)
        assert database.top(user) == Position(epochs[user], forgotten[user] + 1, len(logs[user]) + 1)
    assert dict(database.list_state("s")) == state
    database.close()
