"""The tables of memories, as the database uses them: each function works within a transaction of its caller.

A memory's row number is made of its user's log number (high half) and a number of its own, so the memories of a user
are one stretch of the index. Every search is bounded to it, which is quick, and means that the index of other users'
words is not even walked over. A comparison of the user stands in the other statements.

The index is FTS5's, used for what it is good at: which memories of the stretch hold a word. Its `bm25` is not used: it
counts words over all users, so what one user stores would move another's results, and it walks over all of them. What
ranking needs is counted here, from the user's own.
"""

from collections.abc import Iterable, Sequence
from heapq import nlargest, nsmallest
from math import log
from sqlite3 import Connection
from typing import Any, Final

from actors.storage.memory import MOST_FOUND, Filter, Match, Matches, Memory, PutMemory, overflow, worth_of
from actors.storage.words import words_of

TABLES: Final = (
    """
    CREATE TABLE memory (
        id INTEGER PRIMARY KEY, log INTEGER NOT NULL, memory_id TEXT NOT NULL, content_type TEXT NOT NULL,
        content TEXT NOT NULL, created REAL NOT NULL, used REAL NOT NULL, uses INTEGER NOT NULL DEFAULT 0,
        successes INTEGER NOT NULL DEFAULT 0, failures INTEGER NOT NULL DEFAULT 0, length INTEGER NOT NULL,
        vector_model TEXT, vector BLOB, UNIQUE (log, memory_id)
    )
    """,
    "CREATE TABLE memory_tag (memory INTEGER NOT NULL, tag TEXT NOT NULL, PRIMARY KEY (memory, tag)) WITHOUT ROWID",
    "CREATE VIRTUAL TABLE memory_words USING fts5 (words, tokenize = 'unicode61 remove_diacritics 0')",
)

_STRETCH: Final = 1 << 32
_COLUMNS: Final = (
    "memory_id, content_type, content, created, used, uses, successes, failures, vector, vector_model, length, id"
)


def put(connection: Connection, log_id: int, memory: PutMemory) -> None:
    """Store a memory in the stretch of its user's log, then let the least worth go where there are too many."""
    low, high = _stretch(log_id)
    (top,) = connection.execute("SELECT max(id) FROM memory WHERE id BETWEEN ? AND ?", (low, high)).fetchone()
    words = words_of(" ".join([memory.content, *memory.tags]))
    row = low if top is None else top + 1
    kept = (row, log_id, memory.memory_id, memory.content_type, memory.content)
    measured = (memory.at, memory.at, len(words), memory.vector_model, memory.vector)
    inserted = connection.execute(
        "INSERT INTO memory (id, log, memory_id, content_type, content, created, used, length, vector_model, vector)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (log, memory_id) DO NOTHING",
        kept + measured,
    ).rowcount
    if not inserted:
        return
    connection.execute("INSERT INTO memory_words (rowid, words) VALUES (?, ?)", (row, " ".join(words)))
    tags = [(row, tag) for tag in dict.fromkeys(memory.tags)]
    connection.executemany("INSERT INTO memory_tag VALUES (?, ?)", tags)
    (count,) = connection.execute("SELECT count(*) FROM memory WHERE log = ?", (log_id,)).fetchone()
    going = overflow(count, memory.most)
    if going:
        _delete(connection, _least_worth(connection, log_id, going, now=memory.at, keep=row))


def search(connection: Connection, user: str, words: Sequence[str], only: Filter, recent: int) -> Matches:
    """See `MemoryStore.search_memory`."""
    log_id = _log_of(connection, user)
    low, high = _stretch(log_id)
    memories, mean = connection.execute(
        "SELECT count(*), coalesce(avg(length), 0) FROM memory WHERE log = ?", (log_id,)
    ).fetchone()
    holding = [_holding(connection, word, low, high) for word in words]
    rough: dict[int, float] = {}
    for rows in holding:
        for row in rows:
            rough[row] = rough.get(row, 0.0) + log(1 + memories / len(rows))
    wanted = _of_filter(connection, log_id, only)
    if wanted is not None:
        rough = {row: score for row, score in rough.items() if row in wanted}
    chosen = nlargest(MOST_FOUND, rough, key=lambda row: (rough[row], row))
    if recent:
        order = "SELECT id FROM memory WHERE log = ? ORDER BY used DESC, id DESC LIMIT ?"
        last = [row for (row,) in connection.execute(order, (log_id, recent)) if wanted is None or row in wanted]
        chosen = list(dict.fromkeys([*chosen, *last]))
    found = tuple(_match(connection, log_id, row, words) for row in chosen)
    return Matches(tuple(words), tuple(map(len, holding)), memories, mean, found)


def mark(connection: Connection, user: str, memory_ids: Sequence[str], now: float, success: bool | None) -> int:
    """See `MemoryStore.mark_memories`."""
    log_id = _log_of(connection, user)
    change = {None: "uses = uses + 1", True: "successes = successes + 1", False: "failures = failures + 1"}[success]
    statement = f"UPDATE memory SET {change}, used = max(used, ?) WHERE log = ? AND memory_id = ?"  # noqa: S608 - ours
    return sum(
        connection.execute(statement, (now, log_id, memory_id)).rowcount for memory_id in dict.fromkeys(memory_ids)
    )


def forget(connection: Connection, user: str, memory_ids: Sequence[str]) -> int:
    """See `MemoryStore.forget_memories`."""
    log_id = _log_of(connection, user)
    find = "SELECT id FROM memory WHERE log = ? AND memory_id = ?"
    rows = [connection.execute(find, (log_id, memory_id)).fetchone() for memory_id in dict.fromkeys(memory_ids)]
    going = [row[0] for row in rows if row is not None]
    _delete(connection, going)
    return len(going)


def count(connection: Connection, user: str) -> int:
    """See `MemoryStore.count_memories`."""
    select = "SELECT count(*) FROM memory WHERE log = ?"
    (found,) = connection.execute(select, (_log_of(connection, user),)).fetchone()
    return int(found)


def _log_of(connection: Connection, user: str) -> int:
    """The number of the user's log. Without one there are no memories either: a number that none has."""
    row = connection.execute("SELECT id FROM logs WHERE user = ?", (user,)).fetchone()
    return -1 if row is None else int(row[0])


def _stretch(log_id: int) -> tuple[int, int]:
    return log_id * _STRETCH, (log_id + 1) * _STRETCH - 1


def _holding(connection: Connection, word: str, low: int, high: int) -> list[int]:
    """The memories of the stretch that hold a word. It has neither quotes nor operators: it comes from `words_of`."""
    match = "SELECT rowid FROM memory_words WHERE memory_words MATCH ? AND rowid BETWEEN ? AND ?"
    return [row for (row,) in connection.execute(match, (f'"{word.replace(chr(34), "")}"', low, high))]


def _of_filter(connection: Connection, log_id: int, only: Filter) -> set[int] | None:
    """Which memories of the user the filter lets through; None: all."""
    if not only.tags and only.content_type is None:
        return None
    of_type = "SELECT id FROM memory WHERE log = ? AND (? IS NULL OR content_type = ?)"
    rows = {row for (row,) in connection.execute(of_type, (log_id, only.content_type, only.content_type))}
    low, high = _stretch(log_id)
    for tag in only.tags:
        tagged = "SELECT memory FROM memory_tag WHERE memory BETWEEN ? AND ? AND tag = ?"
        rows &= {row for (row,) in connection.execute(tagged, (low, high, tag))}
    return rows


def _match(connection: Connection, log_id: int, row: int, words: Sequence[str]) -> Match:
    """One memory with the counts of the query's words in it."""
    select = f"SELECT {_COLUMNS} FROM memory WHERE log = ? AND id = ?"  # noqa: S608 - the names of our own columns
    *fields, length, _ = connection.execute(select, (log_id, row)).fetchone()
    (held,) = connection.execute("SELECT words FROM memory_words WHERE rowid = ?", (row,)).fetchone()
    tags = connection.execute("SELECT tag FROM memory_tag WHERE memory = ? ORDER BY tag", (row,))
    padded = f" {held.replace(' ', '  ')} "  # each word between spaces of its own, so that neighbours do not share one
    counts = tuple(padded.count(f" {word} ") for word in words)
    return Match(_memory(fields, tuple(tag for (tag,) in tags)), counts, length)


def _memory(fields: Sequence[Any], tags: tuple[str, ...]) -> Memory:
    memory_id, content_type, content, created, used, uses, successes, failures, vector, vector_model = fields
    return Memory(
        memory_id, content_type, content, tags, created, used, uses, successes, failures, vector, vector_model
    )


def _least_worth(connection: Connection, log_id: int, going: int, *, now: float, keep: int) -> list[int]:
    """The memories of the user that are worth the least; never the one that has just come."""
    select = "SELECT id, created, used, uses, successes, failures FROM memory WHERE log = ? AND id != ?"
    worth = {
        row: worth_of(age=now - created, idle=now - used, uses=uses, successes=successes, failures=failures)
        for row, created, used, uses, successes, failures in connection.execute(select, (log_id, keep))
    }
    return nsmallest(going, worth, key=lambda row: (worth[row], row))


def _delete(connection: Connection, rows: Iterable[int]) -> None:
    keys = [(row,) for row in rows]
    for statement in (
        "DELETE FROM memory WHERE id = ?",
        "DELETE FROM memory_tag WHERE memory = ?",
        "DELETE FROM memory_words WHERE rowid = ?",
    ):
        connection.executemany(statement, keys)
