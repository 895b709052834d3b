"""One task, from its acceptance to its end: waits for somebody who can do it, has it done, and is told how that went.

As with a run, every event of the task is made here and offered to its owner's context together with the record that it
leads to; a new incarnation reads the record. What was under way is then cut off, and begun again as the next attempt.

An agent of this daemon works as a child of this actor, an engine is asked by request, a worker elsewhere is told
through the coordinator, when the attempt is on the disk: so that no number of an attempt is ever given to two. What a
worker reports is kept and answered first, and told after (`reported`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from actors.coordination import record as records
from actors.coordination.board import Claim
from actors.coordination.child_agents import NOT_ANY_MORE, ChildAgents
from actors.coordination.judging import Verdict, engine_outcome, judge
from actors.coordination.messages import CancelTask, Granted, Revoked, UpdateTask
from actors.coordination.record import Outcome, TaskRecord, decode_task, failure, task_key, view
from actors.coordination.slots import Slots
from actors.coordination.task_log import TaskLog
from actors.coordination.working import STEP, EngineWork, child_name, local_work, outcome_of
from actors.engines.messages import EngineProgress
from actors.operations.channels import Channels
from actors.protocol.catalogue import Failure
from actors.protocol.codes import ErrorCode
from actors.protocol.task_events import TaskStatus, task_assigned
from actors.storage.journal import GetState
from actors.users.messages import CommandError, Later
from actors.users.producer import Producer
from actors.workflows.messages import Answered, GaveNoAnswer, StartChildAgent, UsedTool
from runtime import ChildEnded, Ended, Host, Refused, Replied, Restarted

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.coordination.messages import Outcome as CameOut
    from actors.coordination.task_services import TaskServices
    from actors.durable.supervisor import TakeUp
    from runtime import Ref, ReplyTo

READ_WITHIN: Final = 30.0
READ_AGAIN: Final = 0.3
STOP_WITHIN: Final = 5.0
SAY_EVERY: Final = 1.0
"""Seconds between two events that say only how far a task is."""
AGAIN: Final = "The task waits to be begun again."


class Task(Host):
    """See the module.

    Args:
        order: which task, and whether only to end it.
        services: whom it talks to.
    """

    def __init__(self, order: TakeUp, services: TaskServices) -> None:
        self._order = order
        self._services = services
        self._producer = Producer(self, services.users, order.user, emptied=self._all_committed, lost=_nothing)
        self._slots = Slots(self, services.coordinator)
        self._child_agents = ChildAgents(self, services.agents, services.limits.attempts, self._progress)
        self._log: TaskLog | None = None
        self._early: list[tuple[UpdateTask | CancelTask, ReplyTo]] = []
        """Those that came before the record was read, or while what a worker says is being kept."""
        self._lease_id: str | None = None
        self._engine: EngineWork | None = None
        self._began = 0.0
        self._said_at = 0.0
        self._launch: Callable[[], None] | None = None
        """What is to be done when the attempt is on the disk."""
        self._after: list[Callable[[], object]] = []
        self._lingering: dict[str, Callable[[], None]] = {}
        """Children that are being stopped; called when they are gone, it gives back their slots."""

    async def started(self) -> None:
        self._producer.open(self._read)

    async def receive(self, message: Any) -> object:
        match message:
            case Answered() | GaveNoAnswer():
                if not self._child_agents.answered(message) and self._working(message.attempt):
                    self._conclude(outcome_of(message))
                return True
            case StartChildAgent():
                return self._child_agents.start(message, self.record) if self._at_work else Refused(NOT_ANY_MORE)
            case UsedTool(step=step, tool_call_id=call):
                self._child_agents.stop_of(step, call)
            case UpdateTask() | CancelTask():
                self._ordered(message)
            case Replied():
                message.tag(message)
            case Later(call):
                call()
            case Restarted() | Ended() | Revoked():
                self._heard(message)
            case ChildEnded(name=name):
                self._child_ended(name)
            case EngineProgress(_, finished, total):
                if self._log is not None and self.record.open:
                    self._progress(f"{finished} of {total} parts are done.")
        return None

    def inspect(self) -> dict[str, Any]:
        return {} if self._log is None else {"status": self.record.status.value, "attempt": self.record.attempt}

    @property
    def log(self) -> TaskLog:
        assert self._log is not None
        return self._log

    @property
    def record(self) -> TaskRecord:
        return self.log.record

    # --- beginning

    def _read(self) -> None:
        query = GetState(records.TASKS, task_key(self._order.user, self._order.record_id))
        self.request(self._services.journal, query, READ_WITHIN, tag=self._was_read)

    def _was_read(self, replied: Replied) -> None:
        if replied.error is not None:
            self.timer("read", READ_AGAIN, Later(self._read))
            return
        record = None if replied.value is None else decode_task(replied.value)
        if record is None:
            for _, reply in self._early:
                reply.answer(Refused(CommandError(ErrorCode.NOT_FOUND)))
            self.stop("there is no such task")
            return
        self._log = TaskLog(record, self._producer, self._services.stamps)
        if record.ended:
            for message, reply in self._early:
                reply.answer(self._of_ended(message))
            self.stop("the task has ended")
            return
        self._take_up(record)
        self._carry_out_early()
        self._producer.push()

    def _take_up(self, record: TaskRecord) -> None:
        """Go on from where the last incarnation was."""
        limits = self._services.limits
        if self._order.close:
            self._end(failure(Failure.TASK_INTERRUPTED))
        elif record.reported is not None:
            self._settle(record.reported)
        elif not record.open:
            self._queue()
        elif (final := records.cut_attempt(record, limits)) is not None:
            self._end(final)
        else:
            self._services.counts.tasks["again"] += 1
            self.log.again(AGAIN, cut=True)
            self._queue()

    # --- waiting

    def _queue(self) -> None:
        """Have it done by somebody."""
        record, services = self.record, self._services
        engine = None if record.agent or record.required_capabilities else services.engine(record.task_type)
        if engine is not None:
            self._ask_engine(engine)
            return
        left = record.queued_at + services.limits.queue - services.stamps.wall()
        self.timer("unclaimed", min(left, services.limits.queue), Later(self._unclaimed))
        self._lease_id = f"{record.task_id}.{record.attempt + 1}"
        claim = Claim(
            self._lease_id,
            record.user,
            record.priority.rank,
            record.since,
            agent=record.agent or None,
            capabilities=frozenset(record.required_capabilities),
            kind=record.task_type,
            avoid=frozenset(attempt.agent_id for attempt in record.attempts),
        )
        self._slots.acquire(claim, self._granted)

    def _unclaimed(self) -> None:
        if not self.record.open and not self.record.ended:
            self._free(None)
            self._end(failure(Failure.TASK_UNCLAIMED))
            self._producer.push()

    # --- working

    @property
    def _at_work(self) -> bool:
        """Whether an attempt is open, and its end not known yet."""
        return self._log is not None and self.record.open and self.record.reported is None

    def _working(self, attempt: int) -> bool:
        """Whether it is this one."""
        return self._at_work and self.record.attempt == attempt

    def _begin(self, agent_id: str, granted: Granted | None) -> None:
        self.cancel_timer("unclaimed")
        self._began = self.now()
        self.log.begin(agent_id, None if granted is None else granted.worker)
        self._said_at = self.now()
        attempt = self.record.attempt
        self.timer("overdue", self._services.limits.timeout, Later(lambda: self._overdue(attempt)))

    def _granted(self, granted: Granted) -> None:
        self._begin(granted.agent_id, granted)
        if granted.definition is not None:
            self.start_child(local_work(self.ref, self.record, granted.definition, self._services.agents))
        else:
            self._launch = self._offer
        self._producer.push()

    def _offer(self) -> None:
        record, services = self.record, self._services
        assert self._lease_id is not None
        event = task_assigned(
            services.stamps.stamp(),
            task_id=record.task_id,
            attempt=record.attempt,
            task_type=record.task_type,
            description=record.description,
            parameters=record.parameters,
            deadline=services.stamps.wall() + services.limits.timeout - (self.now() - self._began),
        )
        self._slots.offer(self._lease_id, event)

    def _ask_engine(self, engine: Ref[Any]) -> None:
        self._begin(engine.path.rpartition("/")[2], None)
        deadline = self.now() + self._services.limits.timeout
        attempt = self.record.attempt

        def done(replied: Replied) -> None:
            if self._working(attempt):
                outcome = engine_outcome(replied)
                if isinstance(outcome, float):
                    self.timer("engine", outcome, Later(work.ask))
                else:
                    self._conclude(outcome)

        work = self._engine = EngineWork(self, engine, self.record, deadline, done)
        work.ask()

    def _overdue(self, attempt: int) -> None:
        if self._working(attempt):
            self._conclude(failure(Failure.TASK_TIMEOUT, retry=True), overdue=self._began)

    def _heard(self, message: Restarted | Ended | Revoked) -> None:
        if isinstance(message, Restarted):
            self._producer.heard(message)
        if isinstance(message, Revoked) and message.lease_id == self._lease_id and self._working(self.record.attempt):
            self._conclude(failure(Failure.WORKER_LOST, retry=True))
        self._slots.heard(message)

    def _child_ended(self, name: str) -> None:
        if self._child_agents.gone(name):
            return
        release = self._lingering.pop(name, None)
        if release is not None:
            release()
            self._producer.push()
        elif self._log is not None and name == child_name(self.record) and self._working(self.record.attempt):
            self._conclude(failure(Failure.AGENT_CRASHED, retry=True))

    # --- how it went

    def _conclude(self, outcome: Outcome, *, overdue: float | None = None, said: bool = False) -> None:
        """The open attempt has come out so; the rest as `Release` has it."""
        self._free(outcome, overdue=overdue, said=said)
        self._settle(outcome)
        self._producer.push()

    def _settle(self, outcome: Outcome) -> None:
        """End the task, or have it tried again."""
        final = outcome
        if outcome.status is TaskStatus.FAILED:
            again = records.failed_attempt(self.record, outcome, self._services.limits)
            if again is None:
                self._services.counts.tasks["again"] += 1
                self.log.again(f"{outcome.sentence or outcome.error} {AGAIN}", cut=False)
                self._queue()
                return
            final = again
        self._end(final)

    def _free(self, outcome: Outcome | None, *, overdue: float | None = None, said: bool = False) -> None:
        """Give back what the attempt had. A child keeps its slot until it has stopped."""
        for timer in ("overdue", "engine", "unclaimed"):
            self.cancel_timer(timer)
        self._launch = None
        self._child_agents.stop_of(STEP)
        if self._engine is not None:
            self._engine.cancel()
            self._engine = None
        lease_id, self._lease_id = self._lease_id, None
        if lease_id is None:
            return
        if self.record.open and outcome is not None:
            came_out: CameOut = "completed" if outcome.status is TaskStatus.COMPLETED else "failed"
            self._slots.report(lease_id, came_out, (self.now() - self._began) * 1000)
        release = partial(self._slots.release, lease_id, overdue=overdue, said=said)
        child = child_name(self.record)
        if self.child(child) is None:
            release()
        else:
            self._lingering[child] = release
            self.stop_child(child, why="the attempt is over", within=STOP_WITHIN)

    def _end(self, outcome: Outcome, *, cancelled: bool = False) -> None:
        self.log.end(outcome)
        self._services.counts.tasks["cancelled" if cancelled else outcome.status.value] += 1

    def _all_committed(self) -> None:
        after, self._after = self._after, []
        for call in after:
            call()
        launch, self._launch = self._launch, None
        if launch is not None:
            launch()
        if self._log is not None and self.record.ended and not self._lingering:
            Channels(self.system, self._services.stamps).task_completion(self.record.user, view(self.record))
            self.stop("the task has ended")

    # --- orders

    def _ordered(self, message: UpdateTask | CancelTask) -> None:
        reply = self.defer()
        if self._log is None:
            self._early.append((message, reply))
        else:
            self._carry_out(message, reply)

    def _carry_out_early(self) -> None:
        early, self._early = self._early, []
        for message, reply in early:
            self._carry_out(message, reply)

    def _carry_out(self, message: UpdateTask | CancelTask, reply: ReplyTo) -> None:
        if isinstance(message, UpdateTask):
            self._update(message, judge(self.record, message, self._services.limits), reply)
        elif self.record.reported is not None:  # what the worker says may lead to another attempt: that is cancelled
            self._early.append((message, reply))
        else:
            if not self.record.ended:
                self._free(None)
                self._end(failure(Failure.TASK_CANCELLED), cancelled=True)
            self._after.append(lambda: reply.answer(True))
            self._producer.push()

    def _of_ended(self, message: UpdateTask | CancelTask) -> object:
        """The answer to what comes when the end is on the disk."""
        if isinstance(message, CancelTask):
            return True
        verdict = judge(self.record, message, self._services.limits)
        assert isinstance(verdict, CommandError)
        return Refused(verdict)

    def _update(self, update: UpdateTask, verdict: Verdict | CommandError, reply: ReplyTo) -> None:
        """What a worker says: kept, and answered, before anybody hears of what it causes."""
        if isinstance(verdict, CommandError):
            reply.answer(Refused(verdict))
            return

        def kept() -> None:
            reply.answer(verdict.status)
            if verdict.outcome is not None:
                self._conclude(verdict.outcome, said=True)
                self._carry_out_early()

        self.log.report(verdict, update, kept)
        if verdict.outcome is None and update.sentence:
            self._progress(update.sentence, cause=update.cause if update.worker.user == self.record.user else None)
        self._producer.push()

    def _progress(self, sentence: str, cause: str | None = None) -> None:
        """Say how far it is: at most once a second, for the log is not for that."""
        self.log.note(sentence, cause)
        left = self._said_at + SAY_EVERY - self.now()
        attempt = self.record.attempt
        self.timer("say", left, Later(lambda: self._say(attempt)))

    def _say(self, attempt: int) -> None:
        if self._working(attempt):
            self._said_at = self.now()
            self.log.stands()
            self._producer.push()


def _nothing() -> None:
    """A task says nothing that is not durable."""
