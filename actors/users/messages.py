"""What is said to and by a user's context."""

from __future__ import annotations

from typing import Any

import attrs

from actors.protocol.codes import ErrorCode
from actors.protocol.decode import Command
from actors.protocol.events import Event
from actors.storage.interface import Effect
from runtime import Ref


@attrs.frozen
class Item:
    """One event on its way to a user's log or connections, and what is to be committed with it."""

    event: Event
    effects: tuple[Effect, ...] = ()


@attrs.frozen
class Emit:
    """Events of a producer, in order. Asked: answered True when the durable ones are committed. Told: ephemeral only.

    A producer keeps its durable items until the answer, has one such batch under way at a time, and offers it again
    when there is none: the ids of events make that harmless.
    """

    items: tuple[Item, ...]


@attrs.frozen
class Sync:
    """Answered True when everything that this producer had emitted before is committed."""


@attrs.frozen
class Attach:
    """A connection wants this user's events from now on. Answered with `Attached`, or refused with `CommandError`."""

    connection: Ref[Any]
    client_id: str


@attrs.frozen
class Attached:
    """The connection is registered: every event after `seq` comes to it.

    Attributes:
        epoch: of the user's log.
        first: the lowest seq that the log still holds.
        seq: the last event before the live ones.
        live: frames that give the text so far of each answer in progress.
    """

    epoch: str
    first: int
    seq: int
    live: tuple[bytes, ...]


@attrs.frozen
class Detach:
    """The connection wants no more events."""

    connection: Ref[Any]


@attrs.frozen
class Deliver:
    """To a connection: one frame of its user.

    Attributes:
        owner: whose event it is; the connection compares it with its own user before it writes.
        frame: the bytes to write.
        seq: position in the user's log; None for an ephemeral event.
    """

    owner: str
    frame: bytes
    seq: int | None


@attrs.frozen
class Handle:
    """A command of this user. Answered with the reply's metadata (a dict), or refused with `CommandError`."""

    command: Command


@attrs.frozen
class CommandError:
    """Why a command was not carried out."""

    code: ErrorCode
    content: str | None = None
    details: dict[str, Any] | None = None
    retry_after: float | None = None


@attrs.frozen
class OutcomeUnknown:
    """A command's commit may or may not have happened: say nothing, and let the client's repeat settle it."""


@attrs.frozen
class Locate:
    """Ask the users' supervisor for the address of a user's context, started if it was not."""

    user: str
