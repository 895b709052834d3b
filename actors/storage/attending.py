"""What the journal is asked about clients and how far they are, and what of it a batch begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from actors.storage.interface import Arrival, Cursor, Position, Storage, Stored, Waking

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@attrs.frozen
class Wake:
    """What a context has to know when it begins. Answer: an `Awake`."""

    waking: Waking

    @property
    def user(self) -> str:
        return self.waking.user


@attrs.frozen
class Read:
    """At most `limit` events of a user's log after the seq `after`. Answer: a list of `Stored`."""

    user: str
    after: int
    limit: int


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
    """A client has come: find its cursor, or make one that begins at the log's top. Answer: an `Arrived`."""

    arrival: Arrival


Look = Wake | Arrive | Read
"""What thousands ask at the same time after a restart, and what is therefore looked up for many at once."""


def look_up(looks: Sequence[Look], cursors: Iterator[Cursor], storage: Storage) -> list[object]:
    """The answers to neighbouring looks. `cursors` are those of the arrivals, which were noted before.

    Reading comes first: where a log is trimmed on the way, that was asked for later, or may as well have been.
    """
    reads = [(look.user, look.after, look.limit) for look in looks if isinstance(look, Read)]
    pages = iter(storage.read_several(reads) if reads else ())
    wakings = [look.waking for look in looks if isinstance(look, Wake)]
    awake = iter(storage.wake(wakings) if wakings else ())
    users = [look.arrival.user for look in looks if isinstance(look, Arrive)]
    tops = iter(storage.tops(users) if users else ())
    answers: list[object] = []
    for look in looks:
        match look:
            case Wake():
                answers.append(next(awake))
            case Arrive():
                answers.append(Arrived(next(tops), next(cursors)))
            case Read():
                answers.append(next(pages))
    return answers


@attrs.frozen
class MoveCursors:
    """Write down how far clients have come. Answer: True."""

    cursors: tuple[Cursor, ...]


@attrs.define(eq=False)
class Beforehand:
    """What of a batch is done at its beginning.

    The logs of `users` are made where there are none, `moves` are made, and then the cursors of `arrivals` are `found`.
    """

    users: list[str]
    arrivals: list[Arrival]
    moves: list[Cursor]
    found: Iterator[Cursor] = attrs.field(factory=lambda: iter(()))

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
