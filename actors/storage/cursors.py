"""The table of cursors, as the database uses it: each function works within a transaction of its caller."""

from collections.abc import Sequence
from sqlite3 import Connection
from typing import Final

import attrs

from actors.storage import together
from actors.storage.interface import CURSOR_LIFETIME, MOST_CURSORS, Arrival, Cursor

SEEN_AGAIN: Final = 3600.0
"""Seconds after which it is written anew that a client was seen: a month need not be known to the second, and thousands
that come back at once should have nothing to write."""


def find_all(connection: Connection, arrivals: Sequence[Arrival]) -> list[Cursor | None]:
    """The cursor of each client that has come, unless it was forgotten."""
    return [
        None if cursor is None or _forgotten(cursor.seen, arrival) else cursor
        for cursor, arrival in zip(together.cursors(connection, arrivals), arrivals, strict=True)
    ]


def is_settled(cursor: Cursor, arrival: Arrival) -> bool:
    """Whether an arrival leaves nothing to write."""
    return arrival.now < cursor.seen + SEEN_AGAIN


@attrs.define(eq=False)
class _Clients:
    """A user's log, with the cursors of the clients, and what of them is to be written."""

    log: int
    epoch: str
    top: int
    cursors: dict[str, Cursor]
    changed: dict[str, Cursor] = attrs.field(factory=dict)
    gone: set[str] = attrs.field(factory=set)

    def enter(self, arrival: Arrival) -> Cursor:
        """A client has come."""
        cursor = self.cursors.get(arrival.client_id)
        if cursor is None or _forgotten(cursor.seen, arrival):
            self._make_room(arrival)
            self._put(Cursor(arrival.user, arrival.client_id, self.epoch, self.top, None, arrival.now))
            return attrs.evolve(self.cursors[arrival.client_id], new=True)
        if not is_settled(cursor, arrival):
            self._put(attrs.evolve(cursor, seen=arrival.now))
        return cursor

    def _put(self, cursor: Cursor) -> None:
        self.cursors[cursor.client_id] = self.changed[cursor.client_id] = cursor

    def _make_room(self, arrival: Arrival) -> None:
        """For one more: who was not seen for too long goes, then who was not for the longest."""
        over = len(self.cursors) + 1 - MOST_CURSORS
        for cursor in sorted(self.cursors.values(), key=lambda each: (each.seen, each.client_id)):
            if cursor.client_id not in arrival.keep and (over > 0 or _expired(cursor.seen, arrival)):
                del self.cursors[cursor.client_id]
                self.changed.pop(cursor.client_id, None)
                self.gone.add(cursor.client_id)
                over -= 1


def enter_all(connection: Connection, arrivals: Sequence[Arrival]) -> list[Cursor]:
    """Note that clients have come, whose logs there are: their cursors, made where there are none.

    Each finds what those before it have left: of two that are one client, the second is no new one.
    """
    users = {
        user: _Clients(log, epoch, top, {client_id: Cursor(user, client_id, *row) for client_id, *row in rows})
        for user, (log, epoch, top, rows) in together.clients(connection, [each.user for each in arrivals]).items()
    }
    entered = [users[arrival.user].enter(arrival) for arrival in arrivals]
    connection.executemany(
        "DELETE FROM cursor WHERE log = ? AND client_id = ?",
        [(each.log, client_id) for each in users.values() for client_id in each.gone],
    )
    connection.executemany(
        "INSERT OR REPLACE INTO cursor VALUES (?, ?, ?, ?, ?, ?)",
        [
            (each.log, cursor.client_id, cursor.epoch, cursor.came_in, cursor.acked, cursor.seen)
            for each in users.values()
            for cursor in each.changed.values()
        ],
    )
    return entered


def move(connection: Connection, cursors: Sequence[Cursor]) -> None:
    """Set cursors. One that was forgotten meanwhile stays so: a user's clients would come to be more than may be."""
    connection.executemany(
        "UPDATE cursor SET epoch = ?, came_in = ?, acked = ?, seen = ?"
        " WHERE log = (SELECT id FROM logs WHERE user = ?) AND client_id = ?",
        [(each.epoch, each.came_in, each.acked, each.seen, each.user, each.client_id) for each in cursors],
    )


def _forgotten(seen: float, arrival: Arrival) -> bool:
    """Whether the client that has come was last seen too long ago to be known still."""
    return _expired(seen, arrival) and arrival.client_id not in arrival.keep


def _expired(seen: float, arrival: Arrival) -> bool:
    return seen < arrival.now - CURSOR_LIFETIME
