"""A user's context: the owner of the order of that user's events.

Everything that this user is to see comes through here, is given its place, committed by the journal, and only then
handed to the user's connections. The context never waits for a commit: while one batch is under way it goes on taking
events, and the next batch is everything that came meanwhile. Ephemeral events queue behind the durable ones that came
before them.

Trouble with storage does not fail a context. What producers offered stays in the outbox and is offered to the journal
again; a command, which somebody is waiting for, is refused as `unavailable`.

After a crash the new incarnation takes the top of the log as released. Its producers have had no answer and offer
again, its connections have seen `Restarted` and attach again, with the last position they have; what had been committed
and not released reaches them from the log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from actors.protocol.codes import ErrorCode
from actors.protocol.commands import CANCEL_RUN, GET_RUN, LIST_RUNS, START_RUN
from actors.protocol.events import with_seq
from actors.storage.interface import Appended, Effect, Record
from actors.storage.journal import Append, ListState, StorageTrouble, Top, TrimLog
from actors.users.keys import OPEN, runs_of
from actors.users.live import LiveTexts
from actors.users.messages import Attach, Attached, CommandError, Deliver, Detach, Emit, Handle, OutcomeUnknown, Sync
from actors.users.outbox import Entry, Outbox
from actors.users.run_commands import RunCommands
from runtime import Actor, Ended, Refused, Replied, Restarted

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.operations.counters import DaemonCounters
    from actors.protocol.decode import Command
    from actors.protocol.events import Event
    from actors.protocol.stamps import Stamps
    from actors.storage.interface import Position
    from actors.workflows.definitions import WorkflowDefinition
    from runtime import Ref

COMMIT_WITHIN: Final = 60.0
OFFER_AGAIN: Final = 0.5
"""Seconds before what storage did not take is offered again."""
TRIM_EVERY: Final = 600.0


@attrs.frozen
class ContextSettings:
    """What a context needs to know. Times in seconds."""

    idle_after: float
    log_events: int
    log_seconds: float


@attrs.frozen
class Services:
    """The others that a context talks to, and where its ids, times and counts go."""

    journal: Ref[Any]
    runs: Ref[Any]
    stamps: Stamps
    workflows: dict[str, WorkflowDefinition]
    counters: DaemonCounters


@attrs.frozen
class _OfferAgain:
    """Timer: offer to the journal what it did not take."""


@attrs.frozen
class _AskTop:
    """Timer: ask the journal again how the log stands."""


@attrs.frozen
class _LookIdle:
    """Timer: end if nothing has happened."""


@attrs.frozen
class _Trim:
    """Timer: have the log forget what it need not hold."""


class UserContext(Actor):
    """See the module.

    Args:
        user: the user's id.
        settings: limits and times.
        services: whom it talks to.
    """

    def __init__(self, user: str, settings: ContextSettings, services: Services) -> None:
        self.user = user
        self._settings = settings
        self.services = services
        self._outbox = Outbox()
        self._connections: dict[Ref[Any], str] = {}
        self._live = LiveTexts()
        self._released: int | None = None
        self._active_at = 0.0
        self.commands = RunCommands(self)

    async def started(self) -> None:
        self.request(self.services.journal, Top(self.user), COMMIT_WITHIN, tag=self._top_known)
        self.request(
            self.services.journal, ListState(OPEN, prefix=runs_of(self.user)), COMMIT_WITHIN, tag=self.commands.opened
        )
        self._active_at = self.now()
        self.timer("idle", self._settings.idle_after, _LookIdle(), every=self._settings.idle_after)
        self.timer("trim", 0.0, _Trim(), every=TRIM_EVERY)

    async def receive(self, message: Any) -> object:
        match message:
            case Emit(items):
                return self._emit(items)
            case Replied():
                message.tag(message)
            case Attach():
                return self._attach(message)
            case Handle(command):
                return self._handle(command)
            case Sync():
                reply = self.defer()
                self._offer(Entry(None, released=lambda: void(reply.answer(True))))
            case Detach(connection):
                self._forget(connection)
            case Ended(ref) | Restarted(ref):
                self._forget(ref)
            case _OfferAgain():
                self._pump()
            case _AskTop():
                self.request(self.services.journal, Top(self.user), COMMIT_WITHIN, tag=self._top_known)
            case _LookIdle():
                self._look_idle()
            case _Trim():
                limits = self._settings
                now = self.services.stamps.wall()
                self.services.journal.tell(TrimLog(self.user, now, limits.log_events, limits.log_seconds))
        return None

    def inspect(self) -> dict[str, Any]:
        return {"connections": len(self._connections), "outbox": len(self._outbox)}

    # --- events on their way out

    def _emit(self, items: tuple[Any, ...]) -> object:
        self._active_at = self.now()
        reply = self.defer()
        for item in items:
            self._outbox.add(Entry(item.event, item.effects))
        self._offer(Entry(None, released=lambda: void(reply.answer(True))))
        return None

    def _offer(self, entry: Entry) -> None:
        self._outbox.add(entry)
        self._pump()

    def commit(
        self,
        event: Event,
        effects: tuple[Effect, ...],
        committed: Callable[[], None],
        refused: Callable[[CommandError | OutcomeUnknown], None],
    ) -> None:
        """Commit a command's event and what belongs to it.

        `committed` is called before the event goes to any connection, so that a reply sent there comes first.
        `refused` with `CommandError`: nothing was done, and it is forgotten. With `OutcomeUnknown`: it may have been
        done, it is offered again, and `committed` may still be called.
        """

        def taken_back(trouble: object) -> None:
            clean = isinstance(trouble, StorageTrouble) and trouble.kind == "unavailable"
            refused(CommandError(ErrorCode.UNAVAILABLE) if clean else OutcomeUnknown())

        self._offer(Entry(event, effects, released=committed, refused=taken_back))

    def _pump(self) -> None:
        """Let out what may leave, and have the next batch committed."""
        if self._released is None:
            return
        for entry in self._outbox.leaving():
            self._release(entry)
        batch = self._outbox.batch()
        if batch:
            records = tuple(self._record(entry) for entry in batch)
            self.request(self.services.journal, Append(records), COMMIT_WITHIN, tag=self._appended)

    def _record(self, entry: Entry) -> Record:
        assert entry.event is not None
        return Record(entry.event.id, entry.frame(), (self.user,), entry.effects)

    def _appended(self, replied: Replied) -> None:
        if replied.error is None:
            self._outbox.committed(replied.value)
            self._pump()
            return
        reason = replied.error.reason if isinstance(replied.error, Refused) else replied.error
        clean = isinstance(reason, StorageTrouble) and reason.kind == "unavailable"
        self._outbox.failed(reason, clean=clean)
        self.timer("offer", OFFER_AGAIN, _OfferAgain())

    def _release(self, entry: Entry) -> None:
        event = entry.event
        if event is None:
            assert entry.released is not None
            entry.released()
            return
        if entry.released is not None:
            entry.released()
        if not event.durable:
            self._live.take(event)
            self._deliver(entry.frame(), None)
            return
        assert entry.outcome is not None
        self.commands.see(event)
        seq = self._own_seq(entry.outcome)
        assert self._released is not None
        if seq <= self._released:
            return  # an earlier incarnation had it committed: connections have it from the log
        self._released = seq
        self._live.take(event)
        self.services.counters.events_committed += 1
        self._deliver(with_seq(entry.frame(), seq), seq)

    def _own_seq(self, outcome: Appended) -> int:
        return next((seq for user, seq in outcome.seqs if user == self.user), 0)

    def _deliver(self, frame: bytes, seq: int | None) -> None:
        deliver = Deliver(self.user, frame, seq)
        for connection in self._connections:
            # A refusal is counted at the connection's mailbox; the connection sees the missing seq and closes.
            connection.tell(deliver)

    # --- connections

    def _top_known(self, replied: Replied) -> None:
        if replied.error is None:
            self._released = replied.value.seq
            self._pump()
        else:
            self.timer("top", OFFER_AGAIN, _AskTop())

    def _attach(self, message: Attach) -> object:
        reply = self.defer()

        def top_known(replied: Replied) -> None:
            if replied.error is not None:
                reply.answer(Refused(CommandError(ErrorCode.UNAVAILABLE, retry_after=1.0)))
                return
            position: Position = replied.value
            if self._released is None:  # the journal answers in order: nothing of this incarnation is committed yet
                self._released = position.seq
            self._connections[message.connection] = message.client_id
            self.watch(message.connection)
            self._active_at = self.now()
            reply.answer(Attached(position.epoch, position.first, self._released, self._live.frames()))

        self.request(self.services.journal, Top(self.user), 10.0, tag=top_known)
        return None

    def _forget(self, connection: Ref[Any]) -> None:
        if self._connections.pop(connection, None) is not None:
            self.unwatch(connection)
            self._active_at = self.now()

    def _look_idle(self) -> None:
        quiet = self.now() - self._active_at >= self._settings.idle_after
        if quiet and not self._connections and not len(self._outbox) and not self.commands.active:
            self.passivate()

    # --- commands

    def _handle(self, command: Command) -> object:
        self._active_at = self.now()
        match command.type:
            case type_ if type_ == START_RUN:
                return self.commands.start(command)
            case type_ if type_ == CANCEL_RUN:
                return self.commands.cancel(command)
            case type_ if type_ == GET_RUN:
                return self.commands.get(command)
            case type_ if type_ == LIST_RUNS:
                return self.commands.list(command)
            case _:
                return Refused(CommandError(ErrorCode.UNAVAILABLE))


def void(_result: object) -> None:
    """For callbacks whose result says nothing."""
