"""The table of cursors, as the database uses it: each function works within a transaction of its caller."""

from collections.abc import Sequence
from sqlite3 import Connection
from typing import Final

from actors.storage import together
from actors.storage.interface import CURSOR_LIFETIME, MOST_CURSORS, Arrival, Cursor

SEEN_AGAIN: Final = 3600.0
"""Seconds after which it is written anew that a client was seen: a month need not be known to the second, and thousands
that come back at once should have nothing to write."""


def find(connection: Connection, arrival: Arrival) -> Cursor | None:
    """The cursor of a client that has come, unless it was forgotten."""
    row = connection.execute(
        "SELECT epoch, came_in, acked, seen FROM cursor"
        " WHERE log = (SELECT id FROM logs WHERE user = ?) AND client_id = ?",
        (arrival.user, arrival.client_id),
    ).fetchone()
    if row is None:
        return None
    cursor = Cursor(arrival.user, arrival.client_id, *row)
    return None if _forgotten(cursor.seen, arrival) else cursor


def find_all(connection: Connection, arrivals: Sequence[Arrival]) -> list[Cursor | None]:
    """As `find`, for each of them."""
    return [
        None if cursor is None or _forgotten(cursor.seen, arrival) else cursor
        for cursor, arrival in zip(together.cursors(connection, arrivals), arrivals, strict=True)
    ]


def is_settled(cursor: Cursor, arrival: Arrival) -> bool:
    """Whether an arrival leaves nothing to write."""
    return arrival.now < cursor.seen + SEEN_AGAIN


def enter(connection: Connection, arrival: Arrival) -> Cursor:
    """Note that a client has come, whose log there is: its cursor, made if there is none."""
    cursor = find(connection, arrival)
    if cursor is not None:
        if not is_settled(cursor, arrival):
            seen = "UPDATE cursor SET seen = ? WHERE log = (SELECT id FROM logs WHERE user = ?) AND client_id = ?"
            connection.execute(seen, (arrival.now, arrival.user, arrival.client_id))
        return cursor
    log, epoch, top = connection.execute("SELECT id, epoch, top FROM logs WHERE user = ?", (arrival.user,)).fetchone()
    _forget(connection, log, arrival)
    row = (log, arrival.client_id, epoch, top, None, arrival.now)
    connection.execute("INSERT OR REPLACE INTO cursor VALUES (?, ?, ?, ?, ?, ?)", row)
    return Cursor(arrival.user, arrival.client_id, epoch, top, None, arrival.now, new=True)


def move(connection: Connection, cursors: Sequence[Cursor]) -> None:
    """Set cursors. One that was forgotten meanwhile stays so: a user's clients would come to be more than may be."""
    connection.executemany(
        "UPDATE cursor SET epoch = ?, came_in = ?, acked = ?, seen = ?"
        " WHERE log = (SELECT id FROM logs WHERE user = ?) AND client_id = ?",
        [(each.epoch, each.came_in, each.acked, each.seen, each.user, each.client_id) for each in cursors],
    )


def _forget(connection: Connection, log: int, arrival: Arrival) -> None:
    """Make room for one more client of a user: who was not seen for too long goes, then who was not for the longest."""
    known = connection.execute("SELECT client_id, seen FROM cursor WHERE log = ? ORDER BY seen", (log,)).fetchall()
    over = len(known) + 1 - MOST_CURSORS
    for client_id, seen in known:
        if client_id not in arrival.keep and (over > 0 or _expired(seen, arrival)):
            connection.execute("DELETE FROM cursor WHERE log = ? AND client_id = ?", (log, client_id))
            over -= 1


def _forgotten(seen: float, arrival: Arrival) -> bool:
    """Whether the client that has come was last seen too long ago to be known still."""
    return _expired(seen, arrival) and arrival.client_id not in arrival.keep


def _expired(seen: float, arrival: Arrival) -> bool:
    return seen < arrival.now - CURSOR_LIFETIME
