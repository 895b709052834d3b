"""What is said to and by a user's context."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from actors.protocol.codes import ErrorCode
from actors.protocol.decode import Command
from actors.protocol.events import Event
from actors.storage.interface import Effect
from runtime import Ref


@attrs.frozen
class Item:
    """One event on its way to a user's log or connections, and what is to be committed with it.

    Attributes:
        event: None for a change of state of which nobody is told, which then has the id `change`.
        effects: what shares its fate.
        change: see `event`.
        again: whether the context may have been offered it before.
    """

    event: Event | None
    effects: tuple[Effect, ...] = ()
    change: str = ""
    again: bool = False

    @property
    def id(self) -> str:
        return self.change if self.event is None else self.event.id

    @property
    def durable(self) -> bool:
        """Whether it has to be committed before what comes behind it may leave."""
        return self.event is None or self.event.durable


@attrs.frozen
class Emit:
    """Items of a producer, in order. Asked: answered True when the durable ones are committed. Told: ephemeral only.

    The durable ones are committed together or not at all. A producer keeps them until the answer, has one such batch
    under way at a time, and offers it again when there is none: their ids make that harmless.
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
        incarnation: of the context; what an earlier one has delivered is in the log, or was overtaken by `live`.
    """

    epoch: str
    first: int
    seq: int
    live: tuple[bytes, ...]
    incarnation: int = 0


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
        incarnation: of the context that sends it.
    """

    owner: str
    frame: bytes
    seq: int | None
    incarnation: int = 0


@attrs.frozen
class Acked:
    """From a connection: its client has processed every event up to `seq`."""

    client_id: str
    seq: int


@attrs.frozen
class AwaitNews:
    """Answered True when the user's log has an event after `seq`, at once if it has one already."""

    seq: int


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


@attrs.frozen(eq=False)
class Later:
    """Timer of an actor whose `receive` calls `call`: what could not be done just now."""

    call: Callable[[], None]
