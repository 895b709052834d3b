"""A user's context: the owner of the order of that user's events.

Everything that this user is to see comes through here, is given its place, committed by the journal, and only then
handed to the user's connections. The context never waits for a commit: while one batch is under way it goes on taking
events, and the next batch is everything that came meanwhile. Ephemeral events queue behind the durable ones that came
before them.

Trouble with storage does not fail a context. What producers offered stays in the outbox and is offered to the journal
again; a command, which somebody is waiting for, is refused as `unavailable`, if it is certain that nothing was done.

After a crash the new incarnation takes the top of the log as released. Its producers have had no answer and offer
again, its connections have seen `Restarted` and attach again, with the last position they have; what had been committed
and not released reaches them from the log. The journal answers in the order in which it is asked: whatever an earlier
incarnation had under way there lies below that top.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from actors.protocol.codes import ErrorCode
from actors.protocol.commands import CANCEL_RUN, GET_RUN, LIST_RUNS, START_RUN
from actors.protocol.events import with_seq
from actors.storage.interface import Record
from actors.storage.journal import TRIMMED_AT_ONCE, Append, ListState, StorageTrouble, Top, TrimLog
from actors.users.devices import Devices
from actors.users.keys import OPEN, runs_of
from actors.users.messages import (
    Acked,
    Attach,
    AwaitNews,
    CommandError,
    Detach,
    Emit,
    Handle,
    Item,
    Later,
    OutcomeUnknown,
    Sync,
)
from actors.users.outbox import Entry, Outbox
from actors.users.run_commands import RunCommands
from runtime import Actor, Ended, NotAccepted, Refused, Replied, Restarted

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.operations.counters import DaemonCounters
    from actors.protocol.decode import Command
    from actors.protocol.stamps import Stamps
    from actors.storage.interface import Position
    from actors.workflows.definitions import WorkflowDefinition
    from runtime import Ref, ReplyTo

COMMIT_WITHIN: Final = 60.0
ATTACH_WITHIN: Final = 10.0
OFFER_AGAIN: Final = 0.5
"""Seconds before what storage did not take is offered again."""
TRIM_EVERY: Final = 600.0


class LogReplaced(Exception):
    """Another log has taken the place of the user's: what this incarnation knows of it means nothing any more."""


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
        self._devices = Devices(self)
        self._epoch = ""
        self._found = 0
        """The log's top when this incarnation began."""
        self._released: int | None = None
        """The last seq that was handed to the connections; None until it is known where this incarnation begins."""
        self._active_at = 0.0
        self._awaiting: list[tuple[int, ReplyTo]] = []
        self.commands = RunCommands(self)

    async def started(self) -> None:
        self._trim()
        self._ask_top()
        self._ask_open()
        self._active_at = self.now()
        self.timer("idle", self._settings.idle_after, _LookIdle(), every=self._settings.idle_after)
        self.timer("trim", TRIM_EVERY, _Trim(), every=TRIM_EVERY)

    async def receive(self, message: Any) -> object:
        match message:
            case Emit(items):
                self._emit(items)
            case Replied():
                message.tag(message)
            case Attach():
                self._attach(message)
            case Handle(command):
                return self._handle(command)
            case Acked(_, seq):
                if self._released is not None:
                    self.services.counters.events_delivered += self._devices.acked(seq, self._released)
            case AwaitNews(seq):
                self._await_news(seq, self.defer())
            case Sync():
                self._answer_when_committed()
            case Detach(ref) | Ended(ref) | Restarted(ref):
                if self._devices.forget(ref):
                    self._active_at = self.now()
            case Later(call):
                call()
            case _LookIdle():
                self._look_idle()
            case _Trim():
                self._trim()
        return None

    def inspect(self) -> dict[str, Any]:
        return {"connections": len(self._devices), "outbox": len(self._outbox)}

    def later(self, key: object, delay: float, call: Callable[[], None]) -> None:
        """Have `call` called in `delay` seconds; a new one takes the place of an old one with the same key."""
        self.timer(key, delay, Later(call))

    # --- events on their way out

    def _emit(self, items: tuple[Item, ...]) -> None:
        self._active_at = self.now()
        self._count_emitted(self._outbox.add_all(items))
        self._answer_when_committed()

    def _answer_when_committed(self) -> None:
        """Answer the message in hand when everything that is in the outbox by now has left it."""
        reply = self.defer()

        def left() -> None:
            reply.answer(True)

        self._outbox.add(Entry(None, released=left))
        self._pump()

    def commit(
        self,
        item: Item,
        committed: Callable[[], None],
        refused: Callable[[CommandError | OutcomeUnknown], None],
    ) -> None:
        """Commit a command's event and what belongs to it.

        `committed` is called before the event goes to any connection, so that a reply sent there comes first.
        `refused` with `CommandError`: nothing was done, and it is forgotten. With `OutcomeUnknown`: it may have been
        done, it is offered again, and `committed` follows, or the end of this incarnation.
        """

        def told(trouble: object) -> None:
            refused(CommandError(ErrorCode.UNAVAILABLE, retry_after=1.0) if _is_clean(trouble) else OutcomeUnknown())

        self._outbox.add(Entry(item, released=committed, refused=told))
        self._count_emitted([item])
        self._pump()

    def _count_emitted(self, items: list[Item]) -> None:
        self.services.counters.events_emitted += sum(not item.again for item in items if item.event is not None)

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
        item = entry.item
        assert item is not None
        if item.event is None:
            return Record(item.id, None, (), item.effects)
        return Record(item.id, entry.frame(), (self.user,), item.effects)

    def _appended(self, replied: Replied) -> None:
        if replied.error is None:
            self._outbox.committed(replied.value)
            self._pump()
        else:
            self._outbox.failed(replied.error, clean=_is_clean(replied.error))
            self.later("offer", OFFER_AGAIN, self._pump)

    def _release(self, entry: Entry) -> None:
        if entry.released is not None:
            entry.released()
        event = None if entry.item is None else entry.item.event
        if event is None:
            return
        self._devices.see(event)
        if not event.durable:
            self._devices.deliver(entry.frame(), None)
            return
        assert entry.outcome is not None
        assert self._released is not None
        self.commands.see(event)
        ((_, seq),) = entry.outcome.seqs
        if seq > self._released:
            self._released = seq
            self.services.counters.events_committed += 1
            self._devices.deliver(with_seq(entry.frame(), seq), seq)
            self._tell_news()
        elif seq <= self._found:
            # An earlier incarnation had it committed, and ended before it knew: connections have it from the log.
            self.services.counters.events_committed += 1

    # --- who polls

    def _await_news(self, seq: int, reply: ReplyTo) -> None:
        """Keep one who waits for an event after `seq`."""
        self._awaiting.append((seq, reply))
        self._tell_news()

    def _tell_news(self) -> None:
        """Answer those for whom there is news by now, or who have gone: an answer that is kept back is kept in mind."""
        if self._released is None:
            return
        awaiting, self._awaiting = self._awaiting, []
        for seq, reply in awaiting:
            if seq < self._released or not reply.wanted:
                reply.answer(True)
            else:
                self._awaiting.append((seq, reply))

    # --- how things stand

    def _ask_top(self) -> None:
        self.request(self.services.journal, Top(self.user), COMMIT_WITHIN, tag=self._top_known)

    def _top_known(self, replied: Replied) -> None:
        if replied.error is not None:
            self.later("top", OFFER_AGAIN, self._ask_top)
            return
        self._begin_at(replied.value)
        self._pump()

    def _begin_at(self, position: Position) -> int:
        """Where this incarnation stands; it begins with the first answer, when it has had nothing committed yet."""
        if self._released is None:
            self._epoch = position.epoch
            self._released = self._found = position.seq
            self._devices.log_found(position.seq)
            self._tell_news()
        elif position.epoch != self._epoch:
            raise LogReplaced(self.user)
        return self._released

    def _ask_open(self) -> None:
        query = ListState(OPEN, prefix=runs_of(self.user))
        self.request(self.services.journal, query, COMMIT_WITHIN, tag=self._open_known)

    def _open_known(self, replied: Replied) -> None:
        if replied.error is None:
            self.commands.opened(replied.value)
        else:
            self.later("open", OFFER_AGAIN, self._ask_open)

    def _trim(self) -> None:
        limits = self._settings
        order = TrimLog(self.user, self.services.stamps.wall(), limits.log_events, limits.log_seconds)
        self.request(self.services.journal, order, COMMIT_WITHIN, tag=self._trimmed)

    def _trimmed(self, replied: Replied) -> None:
        if replied.error is None and replied.value.events >= TRIMMED_AT_ONCE:
            self._trim()  # there is more

    # --- connections

    def _attach(self, message: Attach) -> None:
        self._active_at = self.now()
        reply = self.defer()

        def top_known(replied: Replied) -> None:
            if replied.error is not None:
                reply.answer(Refused(CommandError(ErrorCode.UNAVAILABLE, retry_after=1.0)))
                return
            released = self._begin_at(replied.value)
            if not reply.wanted:  # nobody would know where its events begin
                reply.answer(None)
                return
            reply.answer(self._devices.attach(message, replied.value, released))

        self.request(self.services.journal, Top(self.user), ATTACH_WITHIN, tag=top_known)

    def _look_idle(self) -> None:
        quiet = self.now() - self._active_at >= self._settings.idle_after
        if quiet and not len(self._devices) and not len(self._outbox) and self.commands.idle:
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


def _is_clean(error: object) -> bool:
    """Whether an append that came out so has certainly done nothing."""
    if isinstance(error, Refused):
        return isinstance(error.reason, StorageTrouble) and error.reason.kind == "unavailable"
    return isinstance(error, NotAccepted)
