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
incarnation had under way there lies below that top. What the next incarnation has to know for sure, which connection
of a client is the newest, is kept outside (`Continuity`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from actors.operations.agents_at_work import AgentsAtWork
from actors.operations.channels import Channels
from actors.protocol.codes import ErrorCode
from actors.protocol.events import with_seq
from actors.storage.attending import Wake
from actors.storage.interface import Record
from actors.storage.journal import Append, StorageTrouble
from actors.users.arrivals import Arrivals
from actors.users.continuity import Continuity
from actors.users.cursor_store import CursorStore
from actors.users.decisions import Decisions
from actors.users.devices import Devices
from actors.users.dispatch import carry_out
from actors.users.keys import OPEN, runs_of
from actors.users.messages import (
    Acked,
    Acknowledge,
    Attach,
    AwaitNews,
    CommandError,
    Detach,
    Emit,
    Handle,
    Item,
    Later,
    OutcomeUnknown,
    Poll,
    Replaced,
    SendTogether,
    Sync,
    ToClient,
)
from actors.users.modes import Modes
from actors.users.news import News
from actors.users.outbox import Entry, Outbox
from actors.users.run_commands import RunCommands
from actors.users.task_commands import TaskCommands
from actors.users.trimming import Trimming
from actors.users.watch import SilenceWatch
from runtime import Actor, Ended, NotAccepted, Passivated, Refused, Replied, Restarted

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.operations.counters import DaemonCounters
    from actors.protocol.stamps import Stamps
    from actors.storage.interface import Awake, Position
    from actors.users.silence import SilentFailure
    from actors.users.task_commands import Coordination
    from actors.workflows.definitions import WorkflowDefinition
    from runtime import Reason, Ref

COMMIT_WITHIN: Final = 60.0
OFFER_AGAIN: Final = 0.5
"""Seconds before what storage did not take is offered again."""
TRIM_EVERY: Final = 600.0


class LogReplaced(Exception):
    """Another log has taken the place of the user's: what this incarnation knows of it means nothing any more."""


@attrs.frozen
class ContextSettings:
    """What a context needs to know. Times in seconds.

    `connections`: how many there may be at a time.
    `acknowledged_within`: after that, what a connected client should have acknowledged is a silent failure, and so is
    an event that is not committed yet.
    """

    idle_after: float
    log_events: int
    log_seconds: float
    acknowledged_within: float = 60.0
    connections: int = 50


def _tell_nobody(failure: SilentFailure) -> None:
    """Nobody wants to hear of silent failures beyond their being counted."""


@attrs.frozen
class Services:
    """The others that a context talks to, and where ids, times and counts go. `silent` hears of silent failures."""

    journal: Ref[Any]
    runs: Ref[Any]
    stamps: Stamps
    workflows: dict[str, WorkflowDefinition]
    counters: DaemonCounters
    silent: Callable[[SilentFailure], None] = _tell_nobody
    coordination: Coordination | None = None


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
        continuity: what the incarnation before has handed on.
    """

    def __init__(
        self, user: str, settings: ContextSettings, services: Services, continuity: Continuity | None = None
    ) -> None:
        self.user = user
        self._settings = settings
        self.services = services
        self.continuity = Continuity() if continuity is None else continuity
        self._outbox = Outbox()
        self.devices = Devices(self)
        self.cursors = CursorStore(self)
        self.news = News()
        self.silence = SilenceWatch(self, self._outbox, settings.acknowledged_within)
        self.arrivals = Arrivals(self)
        self._trimming = Trimming(self, settings)
        self.epoch = ""
        self._found = 0
        """The log's top when this incarnation began."""
        self._released: int | None = None
        """The last seq that was handed to the connections; None until it is known where this incarnation begins."""
        self._active_at = 0.0
        self.modes = Modes(self)
        self.commands = RunCommands(self)
        self.decisions = Decisions(self)
        self.tasks = TaskCommands(self)
        self._at_work = AgentsAtWork()

    async def started(self) -> None:
        self._wake()
        self._active_at = self.now()
        self.timer("idle", self._settings.idle_after, _LookIdle(), every=self._settings.idle_after)
        self.timer("trim", TRIM_EVERY, _Trim(), every=TRIM_EVERY)

    async def stopped(self, reason: Reason) -> None:
        if isinstance(reason, Passivated):
            self.continuity.newest.clear()
            self.continuity.replays.clear()  # there is no connection, and nothing waits that one had sent
        elif self.epoch:
            self.cursors.at_the_end()

    async def receive(self, message: Any) -> object:
        answer = self._take(message)
        self.devices.handled(self.backlog)
        return answer

    def _take(self, message: Any) -> object:
        match message:
            case Emit(items):
                self._emit(items)
            case Replied():
                message.tag(message)
            case Attach():
                self._active_at = self.now()
                self.arrivals.attach(message)
            case Handle(command, client_id, hello_at, role):
                if self.continuity.replaced(client_id, hello_at):
                    return Refused(Replaced())
                self._active_at = self.now()
                return carry_out(self, command, client_id, role)
            case Acked():
                self.arrivals.acked(message)
            case Poll():
                self._active_at = self.now()
                self.arrivals.poll(message)
            case Acknowledge():
                self.arrivals.acknowledge(message)
            case AwaitNews(seq, client_id):
                self.news.wait(seq, client_id, self.defer())
                self._tell_news()
            case ToClient(client_id, event):
                self.devices.deliver_to(client_id, event)
            case Sync():
                self._answer_when_committed()
            case Detach(ref) | Ended(ref) | Restarted(ref):
                if self.devices.forget(ref):
                    self._active_at = self.now()
                    self.cursors.now()
            case Later(call):
                call()
            case SendTogether():
                self.devices.send_together()
            case _LookIdle():
                self._look_idle()
            case _Trim():
                self._trimming.now()
        return None

    @property
    def most_connections(self) -> int:
        """How many this user may have at a time."""
        return self._settings.connections

    def inspect(self) -> dict[str, Any]:
        return {"connections": len(self.devices), "outbox": len(self._outbox)}

    @property
    def released(self) -> int:
        """The last event that went to the connections."""
        return self._released or 0

    def later(self, key: object, delay: float, call: Callable[[], None]) -> None:
        """Have `call` called in `delay` seconds; a new one takes the place of an old one with the same key."""
        self.timer(key, delay, Later(call))

    # --- events on their way out

    def _emit(self, items: tuple[Item, ...]) -> None:
        self._active_at = self.now()
        self._count_emitted(self._outbox.add_all(items, self.now()))
        self._answer_when_committed()

    def _answer_when_committed(self) -> None:
        """Answer the message in hand when everything that is in the outbox by now has been sent."""
        reply = self.defer()
        if reply.wanted:  # what is only told, pieces of text above all, is not answered

            def sent() -> None:
                reply.answer(True)

            self._outbox.add(Entry(None, released=lambda: self.devices.then(sent)))
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

        self._outbox.add(Entry(item, released=committed, refused=told, since=self.now()))
        self._count_emitted([item])
        self._pump()

    def _count_emitted(self, items: list[Item]) -> None:
        new = sum(not item.again for item in items if item.event is not None)
        self.services.counters.events_emitted += new
        self.continuity.attempted += new
        if items:
            self.silence.offered()

    def _pump(self) -> None:
        """Let out what may leave, and have the next batch committed."""
        if self._released is None:
            return
        for entry in self._outbox.leaving():
            self._release(entry)
        batch = self._outbox.batch()
        if batch:
            self.cursors.now()
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
        item = entry.item
        if item is None:
            return
        if item.effects:
            self.commands.repeats.committed(item.effects)
        event = item.event
        if event is None:
            return
        self.devices.see(event)
        if not event.durable:
            self.devices.deliver(entry.frame(), None, event)
            return
        assert entry.outcome is not None
        assert self._released is not None
        self.commands.see(event)
        self.tasks.see(event)
        ((_, seq),) = entry.outcome.seqs
        if seq > self._released:
            self._released = seq
            self._count_committed()
            self.devices.deliver(with_seq(entry.frame(), seq), seq)
            agent = self._at_work.see(event)
            if agent is not None:
                self.devices.send()  # what is heard of it does not come before it
                Channels(self.system, self.services.stamps).agent_status(self.user, agent)
            self.silence.committed(seq)
            self._tell_news()
        elif seq <= self._found:
            # An earlier incarnation had it committed, and ended before it knew: connections have it from the log.
            self._count_committed()

    def _count_committed(self) -> None:
        self.services.counters.events_committed += 1
        self.continuity.committed += 1

    def _tell_news(self) -> None:
        if self._released is not None:
            self.news.tell(self._released)

    # --- how things stand

    def _wake(self) -> None:
        """Ask all that this incarnation has to know, at once: after a restart thousands do."""
        waking = self._trimming.waking(((OPEN, runs_of(self.user)), self.modes.wanted))
        self.request(self.services.journal, Wake(waking), COMMIT_WITHIN, tag=self._awake)

    def _awake(self, replied: Replied) -> None:
        if replied.error is not None:
            self.later("wake", OFFER_AGAIN, self._wake)
            return
        awake: Awake = replied.value
        opened, mode = awake.lists
        self.begin_at(awake.position)
        self.devices.coverage.fill(awake.covered)
        self.modes.known(mode)
        self.commands.opened(opened)
        self._pump()
        self._trimming.go_on(awake.trimmed)

    def begin_at(self, position: Position) -> int:
        """Where this incarnation stands; it begins with the first answer, when it has had nothing committed yet."""
        if self._released is None:
            self.epoch = position.epoch
            self.continuity.begin(position.epoch)
            self._released = self._found = position.seq
            self._tell_news()
        elif position.epoch != self.epoch:
            raise LogReplaced(self.user)
        return self._released

    def _look_idle(self) -> None:
        self.devices.tidy_order()
        quiet = self.now() - self._active_at >= self._settings.idle_after
        if quiet and not len(self.devices) and not len(self._outbox) and self.commands.idle and self.cursors.idle:
            self.passivate()


def _is_clean(error: object) -> bool:
    """Whether an append that came out so has certainly done nothing."""
    if isinstance(error, Refused):
        return isinstance(error.reason, StorageTrouble) and error.reason.kind == "unavailable"
    return isinstance(error, NotAccepted)
