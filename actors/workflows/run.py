"""One run: the supervisor of its agents, whose policy knows the workflow as well as the restarts.

Every event of the run is made here, in one place and one order, and offered to the owner's context; agents only tell
what happens to them. So an agent that crashes, or this actor itself, can leave nothing open that is not closed: the
record, which is committed with the events, says what is open in the log.

A new incarnation first waits until the context has committed what the last one had offered (`Producer.open`), then
reads the record; `recovery.take_up` says what follows from it. The decisions are pure functions of the record
(`progress`, `attempts`, `orders`, `recovery`), `RunLog` writes down what comes of them, and this actor has it done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from actors.agents.step import AgentStep
from actors.protocol.catalogue import Failure
from actors.protocol.codes import ErrorCode, ErrorType
from actors.protocol.event_types import RUN_ENDS, AgentStatus, RunStatus
from actors.storage.journal import GetState
from actors.users.keys import RUNS, run_key
from actors.users.messages import CommandError, Later
from actors.users.producer import Producer
from actors.workflows import attempts, orders, progress, recovery
from actors.workflows.attempts import AttemptLimits
from actors.workflows.events import RunEvents, child_name
from actors.workflows.messages import (
    Answered,
    FellBack,
    GaveNoAnswer,
    GoOn,
    Held,
    Hold,
    Retrying,
    Situation,
    StartOver,
    StartRun,
    Steer,
    Thinking,
    UsedTool,
    UsingTool,
    Working,
    Wrote,
)
from actors.workflows.orders import Order
from actors.workflows.record import decode_record
from actors.workflows.run_log import RunLog
from runtime import ChildEnded, Host, Refused, Replied, Restarted, Spec

if TYPE_CHECKING:
    from actors.agents.step import AgentServices
    from actors.protocol.stamps import Stamps
    from actors.workflows.record import RunRecord, StepRecord
    from runtime import Ref, ReplyTo

READ_WITHIN: Final = 30.0
READ_AGAIN: Final = 0.3
CANCEL_WITHIN: Final = 5.0
OF_AN_AGENT: Final = (
    *(Thinking, Wrote, Retrying, FellBack, Working, Held, UsingTool, UsedTool),
    *(Answered, GaveNoAnswer),
)
INTERRUPTED: Final = "This run was interrupted. Please start it again."


@attrs.frozen
class RunServices:
    """Whom a run talks to, and what holds for every run.

    Attributes:
        users: the supervisor of contexts.
        journal: where records are read.
        stamps: where ids and times come from.
        agents: what agents are given.
        daemon: an id made when the daemon started: what another one had under way was cut by its end.
        limits: how often a step is begun again.
    """

    users: Ref[Any]
    journal: Ref[Any]
    stamps: Stamps
    agents: AgentServices
    daemon: str
    limits: AttemptLimits = attrs.field(factory=AttemptLimits)


@attrs.frozen
class _StepOverdue:
    """Timer: the step's own time is over."""

    step: str


class Run(Host):
    """See the module.

    Args:
        order: which run, and whether only to close it.
        services: whom it talks to.
    """

    def __init__(self, order: StartRun, services: RunServices) -> None:
        self._order = order
        self._services = services
        self._events = RunEvents(services.stamps)
        self._producer = Producer(self, services.users, order.user, emptied=self._all_committed, lost=self._start_over)
        self._log: RunLog | None = None
        self._stopping: dict[str, AgentStatus] = {}
        """Steps whose agents are being stopped, and as what their attempts will then be closed."""
        self._holds: dict[str, int] = {}
        """How often the agent of a step was told to hold."""
        self._steers: list[tuple[Steer, ReplyTo]] = []
        """Those that came before the record was read."""
        self._ending = False

    async def started(self) -> None:
        self._producer.open(self._read)

    async def receive(self, message: Any) -> object:
        if isinstance(message, OF_AN_AGENT):
            return self._from_agent(message)
        match message:
            case Replied():
                message.tag(message)
            case ChildEnded():
                self._agent_ended(message)
            case Steer():
                self._asked_to_steer(message)
            case Later(call):
                call()
            case Restarted():
                self._producer.heard(message)
            case _StepOverdue(step):
                self._stop_step(step, AgentStatus.ERROR)
        return None

    def inspect(self) -> dict[str, Any]:
        return {} if self._log is None else {"status": str(self.record.status), "done": self.record.done}

    @property
    def log(self) -> RunLog:
        assert self._log is not None
        return self._log

    @property
    def record(self) -> RunRecord:
        return self.log.record

    def _all_committed(self) -> None:
        if self._ending:
            self.stop("the run has ended")

    def _start_over(self) -> None:
        """The context has begun anew and knows nothing of answers in progress: have them told from their beginning."""
        for agent in self.children.values():
            agent.tell(StartOver())

    # --- beginning

    def _read(self) -> None:
        query = GetState(RUNS, run_key(self._order.user, self._order.run_id))
        self.request(self._services.journal, query, READ_WITHIN, tag=self._was_read)

    def _was_read(self, replied: Replied) -> None:
        if replied.error is not None:
            self.timer("read", READ_AGAIN, Later(self._read))
            return
        record = None if replied.value is None else decode_record(replied.value)
        if record is None or record.status in RUN_ENDS:
            for _, reply in self._steers:
                reply.answer(Refused(CommandError(ErrorCode.NOT_FOUND)) if record is None else record.status)
            self.stop("nothing is left to do")
        else:
            agents = self._services.agents.agents
            record = progress.with_roles(record, {name: agent.role for name, agent in agents.items()})
            self._take_up(record)

    def _take_up(self, record: RunRecord) -> None:
        """Do with what the last incarnation has left what `recovery` says, then go on, or end."""
        services = self._services
        taken = recovery.take_up(record, daemon=services.daemon, given_up=self._order.close, limits=services.limits)
        record = attrs.evolve(record, daemon=services.daemon)
        self._log = RunLog(record, self._events, self._producer, services.stamps)
        for closing in taken.closings:
            self.log.close(closing.before, closing.after, closing.error_type)
            if closing.after.ended and not taken.fails:
                self.log.how_far()
        for step in taken.goes_on:
            self._start_agent(step)
        if taken.fails:
            self._finish(RunStatus.FAILED, INTERRUPTED)
        elif record.status == RunStatus.QUEUED:
            self.log.status(RunStatus.RUNNING, "Work has begun.")
        steers, self._steers = self._steers, []
        for order, reply in steers:
            self._steer(order, reply)
        self._go_on()

    # --- steps

    def _go_on(self) -> None:
        """Begin what may begin; end the run if it has ended; say if it has come to rest; offer what came of it."""
        while not self._ending and (ready := progress.ready(self.record)):
            for step in ready:
                self._begin(step)
        if not self._ending:
            ended = progress.verdict(self.record)
            if ended is not None:
                self._finish(ended, ENDINGS[ended])
            elif self.record.status != RunStatus.PAUSED and progress.at_rest(self.record):
                self.log.status(RunStatus.PAUSED, "Work is paused.")
        self._producer.push()

    def _finish(self, status: RunStatus, sentence: str) -> None:
        self._ending = True
        self.log.finish(status, sentence)

    def _begin(self, step: StepRecord) -> None:
        """Open the next attempt, and start its agent, unless the step was cancelled before."""
        step = self.log.begin(step)
        if step.cancel:
            self._close(step, attempts.cancelled(step), None)
        elif step.agent not in self._services.agents.agents:  # since the run was accepted it has left the configuration
            after = attempts.failed(step, ErrorType.CONFIGURATION, Failure.AGENT_MISSING)
            self._close(step, after, ErrorType.CONFIGURATION)
        elif orders.held(self.record, step):
            self._start_agent(self.log.rest(step))
        else:
            self._set_clock(step)
            self._start_agent(step)

    def _start_agent(self, step: StepRecord) -> None:
        """The actor of an open attempt."""
        services = self._services.agents
        situation = Situation(
            run=self.ref,
            run_id=self.record.run_id,
            user=self.record.user,
            step=step.name,
            attempt=step.attempt,
            mission=step.mission,
            brief=self.record.brief,
            held=step.rests,
        )
        definition, earlier = services.agents[step.agent], services.earlier(self.record, step)
        self.start_child(Spec(child_name(step), lambda: AgentStep(situation, definition, earlier, services)))

    def _set_clock(self, step: StepRecord) -> None:
        left = attempts.time_left(step, self._services.stamps.wall())
        if left is not None:
            self.timer(("overdue", step.name), left, _StepOverdue(step.name))

    def _close(self, before: StepRecord, after: StepRecord, error_type: ErrorType | None) -> None:
        self.log.close(before, after, error_type)
        self._attempt_over(after)

    def _attempt_over(self, step: StepRecord) -> None:
        self.cancel_timer(("overdue", step.name))
        if step.ended:
            self.log.how_far()

    # --- what agents tell

    def _from_agent(self, message: Any) -> object:
        if self._log is None:
            return None  # waited in the mailbox while this actor crashed: from an agent that ended with it
        log, record, events = self._log, self.record, self._events
        step = record.step(message.step)
        if not step.open or step.attempt != message.attempt or step.name in self._stopping:
            return None  # from an attempt that is closed already, or about to be
        match message:
            case Thinking():
                log.where(step, events.thinking(record, step))
            case Wrote():
                log.passing(events.wrote(record, step, message))
            case Working():
                log.passing(events.working(record, step, message))
            case Retrying():
                log.where(step, events.retrying(record, step, message))
            case FellBack():
                log.where(step, events.fell_back(record, step, message))
            case Held(number=number):
                self._agent_rests(step, number)
            case UsingTool():
                log.using(step, message)
            case UsedTool():
                log.used(step, message)
            case Answered():
                log.answered(step, message)
                self._attempt_over(self.record.step(step.name))
                self._go_on()
            case GaveNoAnswer(_, _, error_type, failure):
                self._close(step, attempts.failed(step, error_type, failure), error_type)
                self._go_on()
        self._producer.push()
        return True

    def _agent_ended(self, ended: ChildEnded) -> None:
        """An agent's actor is gone. If its attempt is still open, it is closed here."""
        step = next((step for step in self.record.steps if step.open and child_name(step) == ended.name), None)
        if step is None:
            return
        wanted = self._stopping.pop(step.name, None)
        if wanted is AgentStatus.CANCELLED:
            self._close(step, attempts.cancelled(step), None)
        elif wanted is AgentStatus.ERROR:
            self._close(step, attempts.failed(step, ErrorType.TIMEOUT, Failure.STEP_TIMEOUT), ErrorType.TIMEOUT)
        else:
            self._close(step, attempts.crashed(step, self._services.limits), ErrorType.INTERRUPTED)
        self._go_on()

    # --- orders

    def _asked_to_steer(self, steer: Steer) -> None:
        reply = self.defer()
        if self._log is None:
            self._steers.append((steer, reply))
        else:
            self._steer(steer, reply)
            self._go_on()

    def _steer(self, steer: Steer, reply: ReplyTo) -> None:
        """Carry out an order. Answered when it is committed, so that no crash undoes it."""
        before = self.record
        named = orders.named(before, steer.agent_name)
        if not named:
            reply.answer(Refused(CommandError(ErrorCode.NOT_FOUND)))
            return
        if self._ending or (steer.agent_name is not None and all(step.ended for step in named)):
            reply.answer(before.status)
            return
        self.log.order(steer, lambda status: void(reply.answer(status)))
        for step in named:
            if steer.order is Order.CANCEL:
                self._stop_step(step.name, AgentStatus.CANCELLED)
            else:
                self._hold_or_release(step.name)
        if before.status == RunStatus.PAUSED and not self.record.cancelled and not progress.at_rest(self.record):
            self.log.status(RunStatus.RUNNING, "Work goes on.")

    def _hold_or_release(self, name: str) -> None:
        """Tell an agent at work that it is to rest before its next call, or that it may go on."""
        step = self.record.step(name)
        agent = self.child(child_name(step))
        if not step.open or agent is None:
            return
        if orders.held(self.record, step):
            self._holds[name] = self._holds.get(name, 0) + 1
            agent.tell(Hold(self._holds[name]))
            return
        agent.tell(GoOn())
        if step.rests:
            self._set_clock(self.log.release(step))

    def _agent_rests(self, step: StepRecord, number: int) -> None:
        if orders.held(self.record, step) and not step.rests and number == self._holds.get(step.name):
            self.cancel_timer(("overdue", step.name))
            self.log.rest(step)
            self._go_on()

    def _stop_step(self, name: str, wanted: AgentStatus) -> None:
        """Stop the step's agent; when it is gone its attempt is closed with `wanted`."""
        step = self.record.step(name)
        if step.open and name not in self._stopping:
            self._stopping[name] = wanted
            self.stop_child(child_name(step), why="cancelled", within=CANCEL_WITHIN)


ENDINGS: Final = {
    RunStatus.COMPLETED: "The work is done.",
    RunStatus.FAILED: "The work could not be done. Please start it again.",
    RunStatus.CANCELLED: "The work was cancelled.",
}


def void(_result: object) -> None:
    """For callbacks whose result says nothing."""
