"""What is said to and by a user's context."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import attrs

from actors.gateway.outbound import Batch
from actors.protocol.codes import ErrorCode
from actors.protocol.commands import Resume
from actors.protocol.decode import Command
from actors.protocol.events import Event
from actors.storage.interface import Effect
from actors.users.continuity import Continuity
from actors.users.resuming import Plan
from runtime import Ref, Refused


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
    """Items of a producer, in order. Asked: answered True when the durable ones are committed, and all are sent: what
    comes of it comes behind them. Told: ephemeral only.

    The durable ones are committed together or not at all. A producer keeps them until the answer, has one such batch
    under way at a time, and offers it again when there is none: their ids make that harmless.
    """

    items: tuple[Item, ...]


@attrs.frozen
class Sync:
    """Answered True when everything that this producer had emitted before is committed."""


@attrs.frozen
class Back:
    """A connection was attached to an earlier incarnation of the context.

    Attributes:
        sent: the last event that was given out to it.
        acked: the highest ack that came on it; None if none did.
    """

    sent: int
    acked: int | None


@attrs.frozen
class Attach:
    """A connection wants this user's events from now on, and takes the place of an older one of the same client.

    Answered with `Attached`, or refused with `CommandError`, or with `Replaced` where there is a newer one.

    Attributes:
        connection: who asks.
        client_id: of its client.
        hello_at: when its hello was heard (trio's clock).
        resume: how far the client says that it is.
        back: where this is not the first time; nothing is resumed then.
    """

    connection: Ref[Any]
    client_id: str
    hello_at: float = 0.0
    resume: Resume | None = None
    back: Back | None = None


@attrs.frozen
class Attached:
    """The connection is registered: every event after `seq` comes to it.

    Attributes:
        epoch: of the user's log.
        first: the lowest seq that the log still holds.
        seq: the last event before the live ones.
        live: frames that give the text so far of each answer in progress.
        incarnation: of the context; what an earlier one has delivered is in the log, or was overtaken by `live`.
        plan: where the client begins; None where it is back.
        counts: where what is sent to this user is counted.
    """

    epoch: str
    first: int
    seq: int
    live: tuple[bytes, ...]
    incarnation: int = 0
    plan: Plan | None = None
    counts: Continuity = attrs.field(factory=Continuity)


@attrs.frozen
class Replaced:
    """To a connection: a newer one of the same client has taken its place. Nothing from it counts any more."""


@attrs.frozen
class LastHeard:
    """To a connection: answered with the time (trio's clock) at which anything last came from its client."""


@attrs.frozen
class Detach:
    """The connection wants no more events."""

    connection: Ref[Any]


@attrs.frozen
class Deliver:
    """To a connection: events of its user that were released together, made once for all connections.

    Attributes:
        owner: whose events they are; the connection compares it with its own user before it writes.
        batch: the events as they are written.
        incarnation: of the context that sends them.
    """

    owner: str
    batch: Batch
    incarnation: int = 0


@attrs.frozen
class SendTogether:
    """From a context to itself, behind what waits in its mailbox: send what was released until here."""


@attrs.frozen
class ToClient:
    """One ephemeral event for this client alone; nothing happens where it is not connected."""

    client_id: str
    event: Event


@attrs.frozen
class Acked:
    """From a connection: its client has processed every event up to `seq`. `hello_at` as in `Attach`."""

    client_id: str
    seq: int
    hello_at: float = 0.0


@attrs.frozen
class Acknowledge:
    """Over HTTP: the same. Answered True when it is on the disk, or refused with `CommandError`.

    `client_id`: empty for one who does not say who it is; then there is nothing to be stored.
    """

    client_id: str
    seq: int


@attrs.frozen
class Poll:
    """Over HTTP: where does this client go on? Answered with `Polled`, or refused with `CommandError`.

    `client_id` as in `Acknowledge`; `resume`, how far it says that it is, counts as an ack.
    """

    client_id: str
    resume: Resume | None


@attrs.frozen
class Polled:
    """How the user's log stands, where the client begins in it, and where what is sent to it is counted."""

    epoch: str
    seq: int
    plan: Plan
    counts: Continuity


@attrs.frozen
class AwaitNews:
    """Answered True when the user's log has an event after `seq`, at once if it has one already.

    Answered False when the same client asks again, or has a WebSocket: nobody waits for this answer any more.
    """

    seq: int
    client_id: str = ""


@attrs.frozen
class Handle:
    """A command of this user. Answered with the reply's metadata (a dict), or refused with `CommandError`.

    From a connection it names the client and when its hello was heard, and is refused with `Replaced` where a newer
    one has taken the connection's place. `role`: what its user may do.
    """

    command: Command
    client_id: str = ""
    hello_at: float = 0.0
    role: str = "user"


@attrs.frozen
class CommandError:
    """Why a command was not carried out."""

    code: ErrorCode
    content: str | None = None
    details: dict[str, Any] | None = None
    retry_after: float | None = None


NOT_NOW: Final = Refused(CommandError(ErrorCode.UNAVAILABLE, retry_after=1.0))
"""What is needed for it cannot be reached in this moment."""


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
