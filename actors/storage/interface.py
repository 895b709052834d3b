"""What the rest of the daemon may ask of storage, whatever keeps it.

**Log.** Each user has one log, which comes into being when it is first named, with an `epoch` of its own. `append`
gives each event the next `seq` of each log it belongs to, from 1 and without a gap, for ever: what is trimmed is not
given out again. Within one log an event's id is unique: a second offer is answered like the first, and its effects are
not applied again. That is remembered for as long as the log holds the event; for a record without a body, 24 hours.

**Cursors.** How far each client of a user has come in the user's log. They are made in one commit with whatever else is
asked for, outlive a `kill -9` like everything else, and are forgotten when nobody has seen the client for 30 days, or
when a user has more than 50 of them.

**State.** Bytes under a space and a key, changed only as effects of records, so that they share an event's fate.

**Memory.** Texts of each user that can be searched; see `memory`.

All of it is synchronous and for one thread at a time.
"""

from collections.abc import Sequence
from typing import Any, Final, Protocol

import attrs

from actors.storage.memory import MemoryStore, PutMemory

REPLY_LIFETIME: Final = 24 * 3600.0
"""Seconds for which a command's reply is kept."""

CURSOR_LIFETIME: Final = 30 * 24 * 3600.0
"""Seconds after which a client that was not seen is forgotten."""

MOST_CURSORS: Final = 50
"""Clients of one user that are remembered."""

LARGEST_VALUE: Final = 64 * 1024 * 1024
"""Bytes of one body, value or reply."""


def _check_text(instance: Any, attribute: "attrs.Attribute[Any]", value: Any) -> None:
    """A text that cannot be stored would sink the whole batch, other users' records too: refused where it is made."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"{type(instance).__name__}.{attribute.name} must be a text that is not empty")
    if not value.isascii():
        value.encode()


def _check_bytes(instance: Any, attribute: "attrs.Attribute[Any]", value: Any) -> None:
    if not isinstance(value, bytes) or len(value) > LARGEST_VALUE:
        raise ValueError(f"{type(instance).__name__}.{attribute.name} must be bytes, at most {LARGEST_VALUE}")


@attrs.frozen
class PutState:
    """Set a key's value."""

    space: str = attrs.field(validator=_check_text)
    key: str = attrs.field(validator=_check_text)
    value: bytes = attrs.field(validator=_check_bytes)


@attrs.frozen
class DeleteState:
    """Forget a key; nothing happens where there is none."""

    space: str = attrs.field(validator=_check_text)
    key: str = attrs.field(validator=_check_text)


@attrs.frozen
class KeepReply:
    """Keep the reply to a user's command. Of two for one command the first stays.

    `digest` is what a repeat is compared by; `at` the time of the command in seconds since 1970.
    """

    user: str = attrs.field(validator=_check_text)
    command_id: str = attrs.field(validator=_check_text)
    digest: bytes = attrs.field(validator=_check_bytes)
    reply: bytes = attrs.field(validator=_check_bytes)
    at: float = attrs.field(converter=float)


Effect = PutState | DeleteState | KeepReply | PutMemory


@attrs.frozen
class Record:
    """What is committed or not as one: an event, the users in whose logs it belongs, and what shares its fate.

    Without a `body` there are only effects, and no users. ValueError for a record that could not be stored.
    """

    event_id: str = attrs.field(validator=_check_text)
    body: bytes | None = attrs.field(validator=attrs.validators.optional(_check_bytes))
    users: tuple[str, ...] = attrs.field()
    effects: tuple[Effect, ...] = ()

    @users.validator
    def _check_users(self, attribute: "attrs.Attribute[tuple[str, ...]]", users: tuple[str, ...]) -> None:
        for user in users:
            _check_text(self, attribute, user)
        if (self.body is None) != (not users):
            raise ValueError("an event belongs into the log of at least one user, and only an event does")
        if len(set(users)) < len(users):
            raise ValueError("an event stands in a user's log once")


@attrs.frozen
class Appended:
    """What became of one record: its `seq` in each user's log, in the order of the record's users.

    `repeated`: the event was in one of these logs already. Then nothing was done, and `seqs` names those of the
    record's users in whose logs the first offer put it.
    """

    event_id: str
    seqs: tuple[tuple[str, int], ...]
    repeated: bool


Outcome = Appended


@attrs.frozen
class Stored:
    """One event of a log, its bytes as they were offered."""

    seq: int
    event_id: str
    body: bytes


@attrs.frozen
class Position:
    """How a log stands: `first` is the lowest seq still held (`seq` + 1 if none is), `seq` the top, 0 if empty."""

    epoch: str
    first: int
    seq: int


@attrs.frozen
class KeptReply:
    """The reply to a command that was carried out; `at` in seconds since 1970."""

    digest: bytes
    reply: bytes
    at: float


@attrs.frozen
class Cursor:
    """How far one client of a user has come.

    Attributes:
        epoch: of the log in which it stands. Where the user has another log by now, and it was told so and has
            acknowledged nothing since, `came_in` is a position in that one.
        came_in: the log's top when the client was first seen, or was last told to begin afresh.
        acked: the last event that it has processed; None if it never said so. Below `came_in`: where it stood when it
            was told to begin afresh, and has acknowledged nothing since.
        seen: seconds since 1970.
        new: whether it was made for the arrival that asks for it.
    """

    user: str = attrs.field(validator=_check_text)
    client_id: str = attrs.field(validator=_check_text)
    epoch: str = attrs.field(validator=_check_text)
    came_in: int
    acked: int | None
    seen: float
    new: bool = False

    @property
    def seq(self) -> int:
        """Where the client goes on if it does not say itself how far it is."""
        return self.came_in if self.acked is None else self.acked


@attrs.frozen
class Arrival:
    """A client has come, at `now` (seconds since 1970). `keep`: clients of its user that must not be forgotten."""

    user: str = attrs.field(validator=_check_text)
    client_id: str = attrs.field(validator=_check_text)
    now: float
    keep: tuple[str, ...] = ()


@attrs.frozen
class Trimmed:
    """How much one call of `trim` forgot. Where `events` reaches its limit there may be more to forget."""

    events: int
    replies: int


@attrs.frozen
class Waking:
    """A user becomes active: what is to be done and looked up then.

    Attributes:
        now, max_events, max_age, limit: the log is trimmed first, as `Log.trim` has it.
        lists: spaces and prefixes; all of the state whose key begins so is wanted.
        keep: as `Log.trim` has it.
    """

    user: str = attrs.field(validator=_check_text)
    now: float
    max_events: int
    max_age: float
    limit: int
    lists: tuple[tuple[str, str], ...] = ()
    keep: int | None = None


@attrs.frozen
class Awake:
    """How a user's things stand, all at one moment.

    Attributes:
        position: of the log.
        covered: what the user's clients have acknowledged between them: of each that did, the event after which it came
            in and the last one, where these are of the log as it is now.
        trimmed: what was forgotten just before.
        lists: for each that was wanted, keys in order of code points, and values.
    """

    position: Position
    covered: list[tuple[int, int]]
    trimmed: Trimmed
    lists: tuple[list[tuple[str, bytes]], ...]


class Log(Protocol):
    """Every user's log, with the replies kept beside it."""

    def append(self, records: Sequence[Record], moves: Sequence[Cursor] = ()) -> list[Outcome]:
        """Commit all `records` in one transaction; the outcomes in the same order. `moves` as `attend` has it.

        Raises CommitFailed (nothing committed, safe to offer again), CommitUnknown (reopen, then offer again), or
        DatabaseDamaged.
        """

    def read(self, user: str, after: int, limit: int) -> list[Stored]:
        """At most `limit` events after the seq `after`, in order. Raises DatabaseUnavailable or DatabaseDamaged."""

    def read_several(self, wanted: Sequence[tuple[str, int, int]]) -> list[list[Stored]]:
        """For each user, seq and count: so many events behind this seq, those that are held, in order. Raises as `read`
        does."""

    def top(self, user: str) -> Position:
        """How the user's log stands; it is made where there was none. Raises as `append` and `read` do."""

    def tops(self, users: Sequence[str]) -> list[Position]:
        """How the logs of these users stand, each of whom has one. Raises as `read` does."""

    def find_reply(self, user: str, command_id: str) -> KeptReply | None:
        """The reply kept for a user's command."""

    def trim(
        self, user: str, *, now: float, max_events: int, max_age: float, limit: int, keep: int | None = None
    ) -> Trimmed:
        """Forget at most `limit` of the log's oldest events beyond `max_events`, or older than `max_age` seconds, but
        none from the seq `keep` on; and the user's replies older than a day. `now` in seconds since 1970. Raises as
        `append` does."""


class Cursors(Protocol):
    """How far each client of a user has come."""

    def attend(self, users: Sequence[str], arrivals: Sequence[Arrival], moves: Sequence[Cursor]) -> list[Cursor]:
        """Make a log for each of `users` and of the arrivals' that has none, set the cursors `moves` that are still
        remembered, then look up the cursor of each arrival: a `new` one, at the log's top, of who was not known.

        One transaction, and none where nothing is to be written. Doing it twice does no harm. Raises as `append` does.
        """


class State(Protocol):
    """Bytes under a space and a key; written by the effects of records."""

    def get_state(self, space: str, key: str) -> bytes | None:
        """The value of a key, None where there is none. Raises DatabaseUnavailable or DatabaseDamaged."""

    def list_state(
        self, space: str, *, prefix: str = "", after: str = "", limit: int = 1_000
    ) -> list[tuple[str, bytes]]:
        """At most `limit` keys that begin with `prefix`, and their values, in order of code points, from behind
        `after`."""


class Storage(Log, Cursors, State, MemoryStore, Protocol):
    """The whole of it, with what keeps it alive."""

    def wake(self, wakings: Sequence[Waking]) -> list[Awake]:
        """Users become active, each of whom has a log. Raises as `append` and `read` do."""

    def check(self) -> None:
        """Look the file through. Raises DatabaseDamaged or DatabaseUnavailable."""

    def probe(self) -> None:
        """Find out whether it can be written: write as much as a batch of events may need, and take it back. Raises as
        `append` does. (An empty transaction writes nothing, and so finds a lock, but no full disk.)"""

    def reopen(self) -> None:
        """Close and open again, after CommitUnknown or DatabaseUnavailable. Raises as opening does; may be repeated."""

    def close(self) -> None:
        """Let go of the file. Closing twice does nothing."""
