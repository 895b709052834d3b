"""Looking things up for many users at once.

After a restart thousands of users come back within seconds. Asked for one user after the other, each small statement
costs more around it than in it: its preparation, and twice the interpreter's lock, for which the worker thread has to
wait each time. So what is asked for is handed to SQLite as a table, and a statement answers for all of them.

Everything here only reads.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from sqlite3 import Connection
from typing import Any, Final

import attrs

from actors.storage.interface import REPLY_LIFETIME, Arrival, Awake, Cursor, Position, Stored, Trimmed, Waking

AT_ONCE: Final = 200
"""Rows that are asked for with one statement."""
ABOVE_EVERY_TEXT: Final = b""
"""To SQLite any blob is. (A range without an end would need an OR, for which it walks over all that is behind.)"""


@attrs.frozen
class Standing:
    """How one log stands; `oldest` is when the first of its events was stored (seconds since 1970), None if there is
    none."""

    position: Position
    oldest: float | None


def standings(connection: Connection, users: Iterable[str]) -> dict[str, Standing]:
    """How the logs of these users stand; who has none is left out."""
    rows = _answers(
        connection,
        "user",
        [(user,) for user in dict.fromkeys(users)],
        "SELECT logs.user, epoch, coalesce(seq, top + 1), top, at FROM asked CROSS JOIN logs ON logs.user = asked.user"
        " LEFT JOIN log ON log.log = logs.id AND seq = (SELECT min(seq) FROM log WHERE log = logs.id)",
    )
    return {user: Standing(Position(epoch, first, top), at) for user, epoch, first, top, at in rows}


def with_log(connection: Connection, users: Iterable[str]) -> set[str]:
    """Those of the users who have a log."""
    rows = _answers(
        connection,
        "user",
        [(user,) for user in users],
        "SELECT logs.user FROM asked CROSS JOIN logs ON logs.user = asked.user",
    )
    return {user for (user,) in rows}


def outgrown(connection: Connection, wakings: Sequence[Waking]) -> list[Waking]:
    """Those of them whose log or replies have to be trimmed. Nearly always that is none."""
    logs = standings(connection, [waking.user for waking in wakings])
    rows = _answers(
        connection,
        "user, before",
        [(waking.user, waking.now - REPLY_LIFETIME) for waking in wakings],
        "SELECT logs.user FROM asked CROSS JOIN logs ON logs.user = asked.user"
        " WHERE EXISTS (SELECT 1 FROM reply WHERE log = logs.id AND at < asked.before)",
    )
    replied = {user for (user,) in rows}
    return [waking for waking in wakings if waking.user in replied or _has_outgrown(logs[waking.user], waking)]


def _has_outgrown(log: Standing, waking: Waking) -> bool:
    """Whether a log holds more than it need, or anything that is too old."""
    first, top = log.position.first, log.position.seq
    too_old = log.oldest is not None and log.oldest < waking.now - waking.max_age
    return first <= top and (first <= top - waking.max_events or too_old)


def awake(connection: Connection, wakings: Sequence[Waking], trimmed: Mapping[str, Trimmed]) -> list[Awake]:
    """What the users who wake have to know; `trimmed` is what was forgotten of those whose logs were trimmed."""
    users = [waking.user for waking in wakings]
    logs = standings(connection, users)
    ranges = covered(connection, users)
    listed = iter(lists(connection, [wanted for waking in wakings for wanted in waking.lists]))
    return [
        Awake(
            logs[waking.user].position,
            ranges[waking.user],
            trimmed.get(waking.user, Trimmed(0, 0)),
            tuple(islice(listed, len(waking.lists))),
        )
        for waking in wakings
    ]


def cursors(connection: Connection, arrivals: Sequence[Arrival]) -> list[Cursor | None]:
    """The cursor of each client that has come, however old; None where there is none."""
    rows = _answers(
        connection,
        "number, user, client_id",
        [(number, arrival.user, arrival.client_id) for number, arrival in enumerate(arrivals)],
        "SELECT number, cursor.epoch, came_in, acked, seen FROM asked CROSS JOIN logs ON logs.user = asked.user"
        " CROSS JOIN cursor ON cursor.log = logs.id AND cursor.client_id = asked.client_id",
    )
    found: list[Cursor | None] = [None] * len(arrivals)
    for number, *row in rows:
        found[number] = Cursor(arrivals[number].user, arrivals[number].client_id, *row)
    return found


def clients(connection: Connection, users: Iterable[str]) -> dict[str, tuple[int, str, int, list[tuple[Any, ...]]]]:
    """Of each of these users, who have a log: its number, epoch and top, and of each client its id and its cursor as
    `Cursor` has it."""
    named = [(user,) for user in dict.fromkeys(users)]
    logs = "SELECT logs.user, logs.id, epoch, top FROM asked CROSS JOIN logs ON logs.user = asked.user"
    found: dict[str, tuple[int, str, int, list[tuple[Any, ...]]]]
    found = {user: (log, epoch, top, []) for user, log, epoch, top in _answers(connection, "user", named, logs)}
    select = (
        "SELECT logs.user, client_id, cursor.epoch, came_in, acked, seen FROM asked"
        " CROSS JOIN logs ON logs.user = asked.user CROSS JOIN cursor ON cursor.log = logs.id"
    )
    for user, *row in _answers(connection, "user", named, select):
        found[user][3].append(tuple(row))
    return found


def covered(connection: Connection, users: Iterable[str]) -> dict[str, list[tuple[int, int]]]:
    """What the clients of each have acknowledged between them; see `interface.Awake`."""
    named = dict.fromkeys(users)
    ranges: dict[str, list[tuple[int, int]]] = {user: [] for user in named}
    rows = _answers(
        connection,
        "user",
        [(user,) for user in named],
        "SELECT logs.user, came_in, acked FROM asked CROSS JOIN logs ON logs.user = asked.user"
        " CROSS JOIN cursor ON cursor.log = logs.id AND cursor.epoch = logs.epoch"
        " WHERE acked > came_in ORDER BY came_in",
    )
    for user, came_in, acked in rows:
        ranges[user].append((came_in, acked))
    return ranges


def lists(connection: Connection, wanted: Sequence[tuple[str, str]]) -> list[list[tuple[str, bytes]]]:
    """For each space and prefix the keys of the state that begin so, and their values, in order of code points."""
    found: list[list[tuple[str, bytes]]] = [[] for _ in wanted]
    rows = _answers(
        connection,
        "number, space, low, high",
        [(number, space, prefix, _behind(prefix)) for number, (space, prefix) in enumerate(wanted)],
        "SELECT number, key, value FROM asked CROSS JOIN state"
        " ON state.space = asked.space AND key >= low AND key < high",
    )
    for number, key, value in rows:
        found[number].append((key, value))
    for listed in found:
        listed.sort()
    return found


def pages(connection: Connection, wanted: Sequence[tuple[str, int, int]]) -> list[list[Stored]]:
    """For each user, seq and count: so many events of the user's log that follow this seq, as far as they are held."""
    found: list[list[Stored]] = [[] for _ in wanted]
    rows = _answers(
        connection,
        "number, user, after, last",
        [(number, user, after, after + count) for number, (user, after, count) in enumerate(wanted)],
        "SELECT number, seq, event_id, body FROM asked CROSS JOIN logs ON logs.user = asked.user"
        " CROSS JOIN log ON log.log = logs.id AND seq > after AND seq <= last",
    )
    for number, *row in rows:
        found[number].append(Stored(*row))
    for page in found:  # SQLite would copy all rows into a table for it, on the disk where they are many
        page.sort(key=lambda stored: stored.seq)
    return found


def _answers(connection: Connection, columns: str, asked: Sequence[tuple[Any, ...]], select: str) -> list[Any]:
    """The rows of `select`, in which `asked` is a table with these columns."""
    answers: list[Any] = []
    for start in range(0, len(asked), AT_ONCE):
        rows = asked[start : start + AT_ONCE]
        row = f"({', '.join('?' * len(rows[0]))})"
        statement = f"WITH asked ({columns}) AS (VALUES {', '.join([row] * len(rows))}) {select}"
        answers += connection.execute(statement, [value for row in rows for value in row]).fetchall()
    return answers


def _behind(prefix: str) -> str | bytes:
    """The least that is above all texts that begin with `prefix`, in the order of code points."""
    kept = prefix.rstrip(chr(0x10FFFF))
    if not kept:
        return ABOVE_EVERY_TEXT
    last = ord(kept[-1]) + 1
    return kept[:-1] + chr(0xE000 if 0xD800 <= last <= 0xDFFF else last)
