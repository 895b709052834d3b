"""Storage on SQLite: the synchronous core that the journal calls from its worker thread.

WAL with `synchronous=FULL`: what `append` has returned for is on the disk. One connection does everything, for one
thread at a time; transactions are begun by hand (`isolation_level=None`), so that BEGIN and COMMIT stand where they are
read.

A repeat is recognised by the insert itself (`ON CONFLICT … DO NOTHING` and its row count): looking first would cost a
second descent for each event. Only an event of several logs is looked up before, since half an insert cannot be taken
back alone.
"""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from random import Random
from typing import Any, Final, TypeVar

import attrs

from actors.storage import cursors, failures, memories, together
from actors.storage.errors import (
    CommitFailed,
    CommitUnknown,
    DatabaseDamaged,
    DatabaseUnavailable,
    DataDirectoryUnusable,
)
from actors.storage.interface import (
    REPLY_LIFETIME,
    Appended,
    Arrival,
    Awake,
    Cursor,
    DeleteState,
    Effect,
    KeepReply,
    KeptReply,
    Outcome,
    Position,
    PutState,
    Record,
    Stored,
    Trimmed,
    Waking,
)
from actors.storage.memory import Filter, Matches, PutMemory
from actors.storage.schema import NOBODY, ensure_schema

DATABASE_NAME: Final = "understudy.db"
PROBE_SPACE: Final = "probe"
PROBE_BYTES: Final = 131_072

_Result = TypeVar("_Result")

_INSERT: Final = "INSERT INTO log VALUES (?, ?, ?, ?, ?) ON CONFLICT (log, event_id) DO NOTHING"
_FIND: Final = "SELECT seq FROM log WHERE log = ? AND event_id = ?"


@attrs.define
class _OpenLog:
    """One log as the running transaction sees it."""

    id: int
    stored_top: int
    top: int = attrs.field(default=attrs.Factory(lambda self: self.stored_top, takes_self=True))


class Database:
    """One database file, open. See `interface.Storage` for what its methods promise."""

    def __init__(
        self,
        path: Path,
        *,
        random: Random,
        wall_clock: Callable[[], float],
        busy_timeout: float = 2.0,
        max_pages: int | None = None,
    ) -> None:
        """Open `path`, or make it where there is none; look it through.

        `random` makes epochs: seed it from the system, and give it to nobody else, since it is used in the worker
        thread. `wall_clock` gives seconds since 1970. `busy_timeout` is how many seconds a call waits for another
        process's lock on the file. `max_pages` bounds the file, in pages of 4 KiB.

        Raises DatabaseDamaged, DatabaseForeign, DataDirectoryUnusable, or DatabaseUnavailable (a full disk, a lock).
        """
        self.path = path
        self._random = random
        self._wall_clock = wall_clock
        self._busy_timeout = busy_timeout
        self._max_pages = max_pages
        self._connection: sqlite3.Connection | None = None
        self.reopen()

    def reopen(self) -> None:
        self.close()
        self._refuse_orphaned_log()
        try:
            self._connection = sqlite3.connect(
                self.path, timeout=self._busy_timeout, isolation_level=None, check_same_thread=False
            )
            ensure_schema(self._connection, self.path)
            (mode,) = self._connection.execute("PRAGMA journal_mode = WAL").fetchone()
            self._connection.execute("PRAGMA synchronous = FULL")
            if self._max_pages is not None:
                self._connection.execute(f"PRAGMA max_page_count = {self._max_pages:d}")
            self.check()
        except sqlite3.Error as error:
            self.close()
            raise failures.of_opening(error, self.path) from error
        except BaseException:
            self.close()
            raise
        if mode != "wal":
            self.close()
            raise DataDirectoryUnusable(self.path.parent, "its file system cannot hold a write-ahead log")

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):  # it is given up either way; what was committed is on the disk
                connection.close()

    def check(self) -> None:
        rows = self._query("PRAGMA quick_check(1)")
        if rows != [("ok",)]:
            raise DatabaseDamaged(self.path, str(rows[0][0]).splitlines()[-1])

    def probe(self) -> None:
        put = "INSERT INTO state VALUES (?, 'room', ?) ON CONFLICT (space, key) DO NOTHING"
        self._commit(lambda connection: connection.execute(put, (PROBE_SPACE, bytes(PROBE_BYTES))))
        self._commit(lambda connection: connection.execute("DELETE FROM state WHERE space = ?", (PROBE_SPACE,)))

    def append(self, records: Sequence[Record], moves: Sequence[Cursor] = ()) -> list[Outcome]:
        def work(connection: sqlite3.Connection) -> list[Outcome]:
            now = self._wall_clock()
            logs: dict[str, _OpenLog] = {}
            outcomes = [self._apply(connection, record, now, logs) for record in records]
            changed = [(log.top, log.id) for log in logs.values() if log.top != log.stored_top]
            connection.executemany("UPDATE logs SET top = ? WHERE id = ?", changed)
            cursors.move(connection, moves)
            return outcomes

        return self._commit(work)

    def read(self, user: str, after: int, limit: int) -> list[Stored]:
        rows = self._query(
            "SELECT seq, event_id, body FROM log WHERE log = (SELECT id FROM logs WHERE user = ?) AND seq > ?"
            " ORDER BY seq LIMIT ?",
            (user, after, limit),
        )
        return [Stored(*row) for row in rows]

    def read_several(self, wanted: Sequence[tuple[str, int, int]]) -> list[list[Stored]]:
        return self._read(lambda connection: together.pages(connection, wanted))

    def top(self, user: str) -> Position:
        select = (
            "SELECT epoch, coalesce((SELECT min(seq) FROM log WHERE log = logs.id), top + 1), top FROM logs"
            " WHERE user = ?"
        )
        rows = self._query(select, (user,))
        if not rows:
            self._commit(lambda connection: self._open_log(connection, user))
            rows = self._query(select, (user,))
        return Position(*rows[0])

    def tops(self, users: Sequence[str]) -> list[Position]:
        standings = self._read(lambda connection: together.standings(connection, users))
        return [standings[user].position for user in users]

    def attend(self, users: Sequence[str], arrivals: Sequence[Arrival], moves: Sequence[Cursor]) -> list[Cursor]:
        named = dict.fromkeys([*users, *(arrival.user for arrival in arrivals)])
        there = self._read(lambda connection: together.with_log(connection, named))
        missing = [user for user in named if user not in there]
        if not (missing or moves):  # then there may be nothing to write, and reading costs no commit
            found = self._read(lambda connection: cursors.find_all(connection, arrivals))
            settled = [
                cursor
                for cursor, arrival in zip(found, arrivals, strict=True)
                if cursor is not None and cursors.is_settled(cursor, arrival)
            ]
            if len(settled) == len(arrivals):
                return settled

        def work(connection: sqlite3.Connection) -> list[Cursor]:
            for user in missing:
                self._open_log(connection, user)
            cursors.move(connection, moves)
            return cursors.enter_all(connection, arrivals)

        return self._commit(work)

    def wake(self, wakings: Sequence[Waking]) -> list[Awake]:
        outgrown = {each.user: each for each in self._read(lambda connection: together.outgrown(connection, wakings))}
        if wakings and self._oldest(NOBODY, below=0, before=wakings[0].now - REPLY_LIFETIME, limit=1):
            outgrown.setdefault(wakings[0].user, wakings[0])  # whatever log is trimmed, nobody's is as well
        trimmed = {
            user: self.trim(
                user,
                now=each.now,
                max_events=each.max_events,
                max_age=each.max_age,
                limit=each.limit,
                keep=each.keep,
            )
            for user, each in outgrown.items()
        }
        return self._read(lambda connection: together.awake(connection, wakings, trimmed))

    def find_reply(self, user: str, command_id: str) -> KeptReply | None:
        rows = self._query(
            "SELECT digest, reply, at FROM reply WHERE log = (SELECT id FROM logs WHERE user = ?) AND command_id = ?",
            (user, command_id),
        )
        return KeptReply(*rows[0]) if rows else None

    def search_memory(self, user: str, words: Sequence[str], only: Filter, recent: int) -> Matches:
        return self._read(lambda connection: memories.search(connection, user, words, only, recent))

    def mark_memories(self, user: str, memory_ids: Sequence[str], *, now: float, success: bool | None) -> int:
        return self._commit(lambda connection: memories.mark(connection, user, memory_ids, now, success))

    def forget_memories(self, user: str, memory_ids: Sequence[str]) -> int:
        return self._commit(lambda connection: memories.forget(connection, user, memory_ids))

    def count_memories(self, user: str) -> int:
        return self._read(lambda connection: memories.count(connection, user))

    def get_state(self, space: str, key: str) -> bytes | None:
        rows = self._query("SELECT value FROM state WHERE space = ? AND key = ?", (space, key))
        return rows[0][0] if rows else None

    def list_state(
        self, space: str, *, prefix: str = "", after: str = "", limit: int = 1_000
    ) -> list[tuple[str, bytes]]:
        rows = self._query(
            "SELECT key, value FROM state WHERE space = ? AND key >= ? AND key > ? ORDER BY key LIMIT ?",
            (space, prefix, after, limit),
        )
        return list(takewhile(lambda row: row[0].startswith(prefix), rows))

    def trim(
        self, user: str, *, now: float, max_events: int, max_age: float, limit: int = 1_000, keep: int | None = None
    ) -> Trimmed:
        rows = self._query("SELECT id, top FROM logs WHERE user = ?", (user,))
        if not rows:
            return Trimmed(0, 0)
        ((log, top),) = rows
        forgotten = self._oldest(log, below=top - max_events + 1, before=now - max_age, limit=limit)
        if keep is not None:
            forgotten = min(forgotten, keep - 1)
        bodiless = self._oldest(NOBODY, below=0, before=now - REPLY_LIFETIME, limit=limit)
        day_ago = now - REPLY_LIFETIME
        old_replies = self._query("SELECT 1 FROM reply WHERE log = ? AND at < ? LIMIT 1", (log, day_ago))
        if not (forgotten > 0 or bodiless or old_replies):  # the usual case costs no commit
            return Trimmed(0, 0)

        def work(connection: sqlite3.Connection) -> Trimmed:
            delete = "DELETE FROM log WHERE log = ? AND seq <= ?"
            connection.execute(delete, (NOBODY, bodiless))
            events = connection.execute(delete, (log, forgotten)).rowcount
            replies = connection.execute("DELETE FROM reply WHERE log = ? AND at < ?", (log, day_ago)).rowcount
            return Trimmed(events, replies)

        return self._commit(work)

    def _oldest(self, log: int, *, below: int, before: float, limit: int) -> int:
        """The seq up to which a log's oldest events are to go, 0 for none.

        They go from the front only, so that what is left has no hole, whatever the clock did meanwhile.
        """
        rows = self._query("SELECT seq, at FROM log WHERE log = ? ORDER BY seq LIMIT ?", (log, limit))
        going = list(takewhile(lambda row: row[0] < below or row[1] < before, rows))
        return int(going[-1][0]) if going else 0

    def _apply(self, connection: sqlite3.Connection, record: Record, now: float, logs: dict[str, _OpenLog]) -> Appended:
        """One record within the transaction. `logs` holds the logs named so far."""
        users = record.users or ("",)
        for user in users:
            if user not in logs:
                logs[user] = self._open_log(connection, user)
        found: list[tuple[str, int]] = []
        if len(users) > 1:
            found = self._find(connection, record.event_id, users, logs)
        if not found:
            for user in users:
                row = (logs[user].id, logs[user].top + 1, now, record.event_id, record.body)
                if not connection.execute(_INSERT, row).rowcount:
                    found = self._find(connection, record.event_id, users, logs)
                    break
                logs[user].top += 1
        if found:
            return Appended(record.event_id, tuple(found) if record.users else (), repeated=True)
        for effect in record.effects:
            self._carry_out(connection, effect, logs)
        return Appended(record.event_id, tuple((user, logs[user].top) for user in record.users), repeated=False)

    @staticmethod
    def _find(
        connection: sqlite3.Connection, event_id: str, users: Sequence[str], logs: dict[str, _OpenLog]
    ) -> list[tuple[str, int]]:
        """Where an event stands in the logs of `users`."""
        rows = ((user, connection.execute(_FIND, (logs[user].id, event_id)).fetchone()) for user in users)
        return [(user, row[0]) for user, row in rows if row is not None]

    def _carry_out(self, connection: sqlite3.Connection, effect: Effect, logs: dict[str, _OpenLog]) -> None:
        match effect:
            case PutState(space, key, value):
                connection.execute(
                    "INSERT INTO state VALUES (?, ?, ?) ON CONFLICT (space, key) DO UPDATE SET value = excluded.value",
                    (space, key, value),
                )
            case DeleteState(space, key):
                connection.execute("DELETE FROM state WHERE space = ? AND key = ?", (space, key))
            case PutMemory(user):
                if user not in logs:
                    logs[user] = self._open_log(connection, user)
                memories.put(connection, logs[user].id, effect)
            case KeepReply(user, command_id, digest, reply, at):
                if user not in logs:
                    logs[user] = self._open_log(connection, user)
                connection.execute(
                    "INSERT INTO reply VALUES (?, ?, ?, ?, ?) ON CONFLICT (log, command_id) DO NOTHING",
                    (logs[user].id, command_id, at, digest, reply),
                )

    def _open_log(self, connection: sqlite3.Connection, user: str) -> _OpenLog:
        """The user's log; made, with an epoch of its own, where there is none."""
        row = connection.execute("SELECT id, top FROM logs WHERE user = ?", (user,)).fetchone()
        if row is not None:
            return _OpenLog(*row)
        epoch = f"{self._random.getrandbits(128):032x}"
        cursor = connection.execute("INSERT INTO logs (user, epoch, top) VALUES (?, ?, 0)", (user, epoch))
        assert cursor.lastrowid is not None
        return _OpenLog(cursor.lastrowid, 0)

    def _commit(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """Run `work` in a transaction. Whatever it raises, nothing of it is committed."""
        connection = self._connection
        if connection is None:
            raise CommitFailed("the database is closed")
        committing = False
        try:
            connection.execute("BEGIN IMMEDIATE")
            result = work(connection)
            committing = True
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            rolled_back = self._roll_back(connection)
            failure = failures.of_commit(error, self.path, committing=committing, rolled_back=rolled_back)
            if isinstance(failure, CommitUnknown):  # nobody looks through a connection that may be mistaken
                self.close()
            raise failure from error
        except BaseException:
            self._roll_back(connection)
            raise
        return result

    @staticmethod
    def _roll_back(connection: sqlite3.Connection) -> bool:
        """Whether no transaction is open any more. After some errors SQLite has rolled back by itself."""
        if connection.in_transaction:
            with suppress(sqlite3.Error):  # answered by what `in_transaction` says next
                connection.execute("ROLLBACK")
        return not connection.in_transaction

    def _query(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        return self._read(lambda connection: connection.execute(sql, parameters).fetchall())

    def _read(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        if self._connection is None:
            raise DatabaseUnavailable("the database is closed")
        try:
            return work(self._connection)
        except sqlite3.Error as error:
            raise failures.of_read(error, self.path) from error

    def _refuse_orphaned_log(self) -> None:
        """SQLite deletes a write-ahead log whose database is missing or empty; it may be all that is left."""
        beside = self.path.with_name(self.path.name + "-wal")
        if beside.exists() and beside.stat().st_size and not (self.path.exists() and self.path.stat().st_size):
            raise DatabaseDamaged(self.path, f"it is missing or empty, while its write-ahead log {beside.name} is not")
