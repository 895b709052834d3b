"""What the journal is asked about clients and how far they are, and what of it a batch begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from actors.storage.interface import Arrival, Cursor, Position, Storage, Stored

if TYPE_CHECKING:
    from collections.abc import Sequence


@attrs.frozen
class Awake:
    """How a user's log stands, and which of its events clients have acknowledged (see `Cursors.covered`)."""

    position: Position
    covered: list[tuple[int, int]]


@attrs.frozen
class Wake:
    """What a context has to know when it begins."""

    user: str

    def run(self, storage: Storage) -> Awake:
        return Awake(storage.top(self.user), storage.covered(self.user))


@attrs.frozen
class Page:
    """How a log stands, and at most so many of its events after a seq, both at one moment."""

    position: Position
    events: list[Stored]


@attrs.frozen
class ReadPage:
    """As `Read`, and how the log stands at that moment: what is missing was trimmed before, not in between."""

    user: str
    after: int
    limit: int

    def run(self, storage: Storage) -> Page:
        return Page(storage.top(self.user), storage.read(self.user, self.after, self.limit))


@attrs.frozen
class Arrived:
    """How the log of a client that has come stands, and its cursor."""

    position: Position
    cursor: Cursor


@attrs.frozen
class Arrive:
    """A client has come: find its cursor, or make one that begins at the log's top."""

    arrival: Arrival

    def run(self, storage: Storage) -> Arrived:
        (cursor,) = storage.attend((), (self.arrival,), ())
        return self.found(cursor, storage)

    def found(self, cursor: Cursor, storage: Storage) -> Arrived:
        """The answer where the cursor was looked up before."""
        return Arrived(storage.top(self.arrival.user), cursor)


@attrs.frozen
class MoveCursors:
    """Write down how far clients have come. Answer: True."""

    cursors: tuple[Cursor, ...]

    def run(self, storage: Storage) -> bool:
        storage.attend((), (), self.cursors)
        return True


@attrs.define(eq=False)
class Beforehand:
    """What of a batch is done at its beginning.

    The logs of `users` are made where there are none, `moves` are made, and then the cursors of `arrivals` are `found`.
    """

    users: list[str]
    arrivals: list[Arrival]
    moves: list[Cursor]
    found: list[Cursor] = attrs.field(factory=list)

    @classmethod
    def of(cls, messages: Sequence[Any], looks: tuple[type[Any], ...]) -> Beforehand:
        """`looks`: the kinds of messages that look at the log of their `user`, which has to be there."""
        users = [message.user for message in messages if isinstance(message, looks)]
        arrivals = [message.arrival for message in messages if isinstance(message, Arrive)]
        moves = [cursor for message in messages if isinstance(message, MoveCursors) for cursor in message.cursors]
        return cls(users, arrivals, moves)

    def take_moves(self) -> list[Cursor]:
        """The cursors to move, once."""
        moves, self.moves = self.moves, []
        return moves
