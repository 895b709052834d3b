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
from actors.protocol.codes import ErrorType
from actors.protocol.event_types import RUN_ENDS, AgentStatus, RunStatus
from actors.users.keys import run_key
from actors.users.messages import Later
from actors.users.producer import Producer
from actors.workflows import approvals, attempts, orders, progress, recovery
from actors.workflows.assignment import brief_of, material_of, task_of
from actors.workflows.attempts import AttemptLimits
from actors.workflows.child_agents import ChildAgents
from actors.workflows.consolidation import Consolidation, told
from actors.workflows.events import RunEvents, child_name
from actors.workflows.keeping import ReadKept
from actors.workflows.messages import (
    Answered,
    Decide,
    FellBack,
    GaveNoAnswer,
    Held,
    Retrying,
    Situation,
    StartChildAgent,
    StartOver,
    Steer,
    Thinking,
    UsedTool,
    UsingTool,
    Working,
    Wrote,
)
from actors.workflows.releases import Releases
from actors.workflows.run_log import RunLog
from actors.workflows.steering import Steering, of_an_ended_run
from actors.workflows.step_slots import PRIORITY, StepSlots
from runtime import ChildEnded, Ended, Host, Replied, Restarted, Spec, TaskEnded

if TYPE_CHECKING:
    from actors.agents.step import AgentServices
    from actors.durable.supervisor import TakeUp
    from actors.protocol.stamps import Stamps
    from actors.workflows.keeping import Kept
    from actors.workflows.record import RunRecord, StepRecord
    from runtime import Ref, ReplyTo

READ_WITHIN: Final = 30.0
READ_AGAIN: Final = 0.3
OF_AN_AGENT: Final = (
    *(Thinking, Wrote, Retrying, FellBack, Working, Held, UsingTool, UsedTool),
    *(StartChildAgent, Answered, GaveNoAnswer),
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
        coordinator: who grants agents their slots; None: nobody has to.
    """

    users: Ref[Any]
    journal: Ref[Any]
    stamps: Stamps
    agents: AgentServices
    daemon: str
    limits: AttemptLimits = attrs.field(factory=AttemptLimits)
    coordinator: Ref[Any] | None = None


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

    def __init__(self, order: TakeUp, services: RunServices) -> None:
        self._order = order
        self._services = services
        self._events = RunEvents(services.stamps)
        self._producer = Producer(self, services.users, order.user, emptied=self._all_committed, lost=self._start_over)
        self._log: RunLog | None = None
        self.stopping: dict[str, AgentStatus] = {}
        """Steps whose agents are being stopped, and as what their attempts will then be closed."""
        self._early: list[tuple[Steer | Decide, ReplyTo]] = []
        """Orders that came before the record was read."""
        self._releases = Releases(self, services.journal, services.stamps)
        self.slots = StepSlots(self, services.coordinator, services.stamps)
        self._steering = Steering(self)
        self._consolidation = Consolidation(self, services.agents.box.artifacts)
        agents = services.agents.agents
        self.child_agents = ChildAgents(self, agents, self._begin, self._steering.stop_step)
        self.ending = False

    async def started(self) -> None:
        self._producer.open(self._read)

    async def receive(self, message: Any) -> object:
        if isinstance(message, OF_AN_AGENT):
            return self._from_agent(message)
        match message:
            case Replied():
                message.tag(message)
            case ChildEnded(name=name):
                self.agent_gone(name)
            case TaskEnded():
                self._consolidation.heard(message)
            case Steer() | Decide():
                self._ordered(message)
            case Later(call):
                call()
            case Restarted():
                self._producer.heard(message)
                self.slots.heard(message)
            case Ended():
                self.slots.heard(message)
            case _StepOverdue(step):
                self._steering.stop_step(step, AgentStatus.ERROR)
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
        if self.ending:
            self.stop("the run has ended")

    def _start_over(self) -> None:
        """The context has begun anew and knows nothing of answers in progress: have them told from their beginning."""
        for agent in self.children.values():
            agent.tell(StartOver())

    # --- beginning

    def _read(self) -> None:
        query = ReadKept(run_key(self._order.user, self._order.record_id))
        self.request(self._services.journal, query, READ_WITHIN, tag=self._was_read)

    def _was_read(self, replied: Replied) -> None:
        if replied.error is not None:
            self.timer("read", READ_AGAIN, Later(self._read))
            return
        kept: Kept | None = replied.value
        record = None if kept is None else kept.record()
        if kept is None or record is None or record.status in RUN_ENDS:
            for order, reply in self._early:
                reply.answer(of_an_ended_run(order, record, self._services.stamps.wall()))
            self.stop("nothing is left to do")
        else:
            agents = self._services.agents.agents
            record = progress.with_roles(record, {name: agent.role for name, agent in agents.items()})
            self._take_up(record, kept)

    def _take_up(self, record: RunRecord, kept: Kept) -> None:
        """Do with what the last incarnation has left what `recovery` says, then go on, or end."""
        services = self._services
        taken = recovery.take_up(record, daemon=services.daemon, given_up=self._order.close, limits=services.limits)
        record = attrs.evolve(record, daemon=services.daemon)
        self._log = RunLog(record, kept.answers, self._events, self._producer, services.stamps)
        for closing in taken.closings:
            self.log.close(closing.before, closing.after, closing.error_type)
            if closing.after.ended and not closing.after.parent and not taken.fails:
                self.log.how_far()
        for step in taken.goes_on:
            if step.proposal is None:
                self._start_agent(step)
        for approval in approvals.waiting(self.record):
            self._releases.remind(approval)
        if taken.fails:
            self._finish(RunStatus.FAILED, INTERRUPTED)
        elif record.status == RunStatus.QUEUED:
            self.log.status(RunStatus.RUNNING, "Work has begun.")
        early, self._early = self._early, []
        for order, reply in early:
            self._carry_out(order, reply)
        self.go_on()

    # --- steps

    def go_on(self) -> None:
        """Begin what may begin; end the run if it has ended; say if it has come to rest; offer what came of it."""
        self._releases.carry_out()
        while not self.ending and (ready := progress.ready(self.record)):
            for step in ready:
                self._begin(step)
        if not self.ending:
            ended = progress.verdict(self.record)
            if ended is not None:
                if self._consolidation.done():
                    self._finish(ended, progress.ending(self.record, ended) + told(self.record.conflicts))
            elif self.record.status != RunStatus.PAUSED and progress.at_rest(self.record):
                self.log.status(RunStatus.PAUSED, progress.resting(self.record))
            else:
                self._releases.say()
        self._producer.push()

    def _finish(self, status: RunStatus, sentence: str) -> None:
        self.ending = True
        self.log.finish(status, sentence)

    def _begin(self, step: StepRecord) -> None:
        """Open the next attempt, and start its agent, unless the step was cancelled before."""
        step = self.log.begin(step)
        gate = progress.held_back(self.record, step)
        if step.cancel:
            self.close(step, attempts.cancelled(step), None)
        elif gate is not None:
            self.close(step, attempts.not_begun(step, gate), None)
        elif orders.held(self.record, step):
            self._start_agent(self.log.rest(step))
        else:
            self.set_clock(step)
            self._start_agent(step)

    def _start_agent(self, step: StepRecord) -> None:
        """Have the actor of an open attempt spawned, when there is a slot for it. One that is to rest needs none."""
        if step.agent not in self._services.agents.agents:  # since the run was accepted it has left the configuration
            after = attempts.failed(step, ErrorType.CONFIGURATION, Failure.AGENT_MISSING)
            self.close(step, after, ErrorType.CONFIGURATION)
        elif step.rests:
            self._spawn(step)
        else:
            self.slots.work(step, lambda: self._slot_granted(step.name, step.attempt))

    def _slot_granted(self, name: str, attempt: int) -> None:
        step = self.record.step(name)
        if self.listens_to(step, attempt):
            self._spawn(step)
        else:
            self.slots.free(child_name(step))

    def rest_unspawned(self, step: StepRecord) -> None:
        """For `Steering`: an attempt that waits for a slot is to rest, and so needs none."""
        self.slots.free(child_name(step))
        self.cancel_timer(("overdue", step.name))
        self._spawn(self.log.rest(step))

    def _spawn(self, step: StepRecord) -> None:
        services = self._services.agents
        situation = Situation(
            run=self.ref,
            run_id=self.record.run_id,
            user=self.record.user,
            step=step.name,
            attempt=step.attempt,
            mission=task_of(step),
            brief=brief_of(self.record, step),
            held=step.rests,
            priority=PRIORITY,
        )
        definition = services.agents[step.agent]
        earlier = material_of(step, services.earlier(self.record, step))
        self.start_child(Spec(child_name(step), lambda: AgentStep(situation, definition, earlier, services)))

    def set_clock(self, step: StepRecord) -> None:
        left = attempts.time_left(step, self._services.stamps.wall())
        if left is not None:
            self.timer(("overdue", step.name), left, _StepOverdue(step.name))

    def close(self, before: StepRecord, after: StepRecord, error_type: ErrorType | None) -> None:
        self.log.close(before, after, error_type)
        self.attempt_over(after)

    def attempt_over(self, step: StepRecord) -> None:
        """For `Releases` too: the attempt has ended, or waits for nothing but a decision."""
        self.cancel_timer(("overdue", step.name))
        self.child_agents.stop_of(step.name)
        if step.parent:
            self.child_agents.attempt_over(step)
        elif step.ended:
            self.log.how_far()

    # --- what agents tell

    def _from_agent(self, message: Any) -> object:
        if self._log is None:
            return None  # waited in the mailbox while this actor crashed: from an agent that ended with it
        log, record, events = self._log, self.record, self._events
        step = record.step(message.step)
        if not self.listens_to(step, message.attempt):
            return None
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
                self._steering.agent_rests(step, number)
            case UsingTool():
                log.using(step, message)
            case UsedTool():
                log.used(step, message)
                self.child_agents.stop_of(step.name, message.tool_call_id)
            case StartChildAgent():
                refused = self.child_agents.start(message)
                self._producer.push()
                return refused
            case Answered() if step.proposal is None:
                self._releases.answered(step, message)
            case GaveNoAnswer(_, _, error_type, failure):
                self.slots.report(step, "failed")
                self.close(step, attempts.failed(step, error_type, failure), error_type)
                self.go_on()
        self._producer.push()
        return True

    def listens_to(self, step: StepRecord, attempt: int) -> bool:
        """Whether this attempt is the open one, and not about to be closed."""
        return step.open and step.attempt == attempt and step.name not in self.stopping

    def agent_gone(self, name: str) -> None:
        """An agent's actor is gone, or will not be spawned. If its attempt is still open, it is closed here."""
        step = next((step for step in self.record.everything if step.open and child_name(step) == name), None)
        if step is None or (step.proposal is not None and step.name not in self.stopping):
            self.slots.free(name)
            return  # what it was for is done, or is held, for somebody to decide
        wanted = self.stopping.pop(step.name, None)
        if wanted is not AgentStatus.CANCELLED:
            self.slots.report(step, "failed")
        self.slots.free(name)
        if wanted is AgentStatus.CANCELLED:
            self.close(step, attempts.cancelled(step), None)
        elif wanted is AgentStatus.ERROR:
            self.close(step, attempts.failed(step, ErrorType.TIMEOUT, Failure.STEP_TIMEOUT), ErrorType.TIMEOUT)
        else:
            self.close(step, attempts.crashed(step, self._services.limits), ErrorType.INTERRUPTED)
        self.go_on()

    # --- orders

    def _ordered(self, order: Steer | Decide) -> None:
        reply = self.defer()
        if self._log is None:
            self._early.append((order, reply))
        else:
            self._carry_out(order, reply)
            self.go_on()

    def _carry_out(self, order: Steer | Decide, reply: ReplyTo) -> None:
        if isinstance(order, Decide):
            self._releases.decide(order, reply)
        else:
            self._steering.carry_out(order, reply)
