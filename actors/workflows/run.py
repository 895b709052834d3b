"""One run: the supervisor of its agents, whose policy knows the workflow as well as the restarts.

Every event of the run is made here, in one place and one order, and offered to the owner's context; agents only tell
what happens to them. So an agent that crashes, or this actor itself, can leave nothing open that is not closed: the
record, which is committed with the events, says what is open in the log.

A new incarnation first waits until the context has committed what the last one had offered (`Producer.open`), then
reads the record. What was open it closes as interrupted and begins again as the next attempt; what was finished it
keeps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from actors.agents.step import AgentStep
from actors.protocol.codes import ErrorCode, ErrorType
from actors.protocol.event_types import RUN_ENDS, AgentStatus, RunStatus
from actors.protocol.events import caused_by
from actors.storage.interface import DeleteState, Effect, PutState
from actors.storage.journal import GetState
from actors.users.keys import OPEN, RUNS, run_key
from actors.users.messages import CommandError, Later
from actors.users.producer import Producer
from actors.workflows import progress
from actors.workflows.events import RunEvents, child_name
from actors.workflows.messages import (
    Answered,
    CancelSteps,
    FellBack,
    GaveNoAnswer,
    Retrying,
    Situation,
    StartOver,
    StartRun,
    Thinking,
    Working,
    Wrote,
)
from actors.workflows.record import RunRecord, StepRecord, decode_record, encode_record
from runtime import ChildEnded, Host, Refused, Replied, Restarted, Spec

if TYPE_CHECKING:
    from actors.agents.step import AgentServices
    from actors.protocol.events import Event
    from actors.protocol.stamps import Stamps
    from runtime import Ref, ReplyTo

READ_WITHIN: Final = 30.0
READ_AGAIN: Final = 0.3
CANCEL_WITHIN: Final = 5.0
OF_AN_AGENT: Final = (Thinking, Wrote, Retrying, FellBack, Working, Answered, GaveNoAnswer)


@attrs.frozen
class RunServices:
    """Whom a run talks to."""

    users: Ref[Any]
    journal: Ref[Any]
    stamps: Stamps
    agents: AgentServices


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
        self._record: RunRecord | None = None
        self._cancelling: dict[str, AgentStatus] = {}
        self._cancels: list[tuple[CancelSteps, ReplyTo]] = []
        """Those that came before the record was read."""
        self._cause: str | None = None
        """The command that cancelled something, until an event has named it."""
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
            case CancelSteps():
                self._asked_to_cancel(message)
            case Later(call):
                call()
            case Restarted():
                self._producer.heard(message)
            case _StepOverdue(step):
                self._stop_step(step, AgentStatus.ERROR)
        return None

    def inspect(self) -> dict[str, Any]:
        return {} if self._record is None else {"status": str(self._record.status), "done": self._record.done}

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
            for _, reply in self._cancels:
                reply.answer(True)
            self.stop("nothing is left to do")
        else:
            agents = self._services.agents.agents
            self._record = progress.with_roles(record, {name: agent.role for name, agent in agents.items()})
            self._take_up()

    def _take_up(self) -> None:
        """Close what was open, then go on, or end."""
        close = self._order.close
        for step in self.record.steps:
            if step.open and (step.cancel or self.record.cancelled):
                self._close_step(step, progress.cancelled(step), None)
            elif step.open:
                self._close_step(step, progress.interrupted(step, again=not close), ErrorType.INTERRUPTED)
        if close and not self.record.cancelled:
            self._finish(RunStatus.FAILED, "This run was interrupted. Please start it again.")
        elif self.record.status == RunStatus.QUEUED:
            self._say_status(RunStatus.RUNNING, "Work has begun.")
        cancels, self._cancels = self._cancels, []
        for order, reply in cancels:
            self._cancel(order, reply)
        self._go_on()

    # --- events

    @property
    def record(self) -> RunRecord:
        assert self._record is not None
        return self._record

    def _put_record(self) -> PutState:
        return PutState(RUNS, run_key(self.record.user, self.record.run_id), encode_record(self.record))

    def _say(self, event: Event, *effects: Effect) -> None:
        """Have an event committed with the record as it now stands."""
        self._producer.add(event, *((self._put_record(), *effects) if event.durable else effects))

    def _say_where(self, step: StepRecord, event: Event) -> None:
        """Where an open attempt stands: the record keeps what was said last, for `get_run`."""
        self._record = self.record.put(progress.standing(step, event.metadata["status"], event.content))
        self._say(event)

    def _say_status(self, status: RunStatus, sentence: str, *effects: Effect) -> None:
        self._record = attrs.evolve(self.record, status=status.value, sentence=sentence)
        event = self._events.status(self.record)
        self._say(self._caused(event) if status is RunStatus.CANCELLED else event, *effects)

    def _caused(self, event: Event) -> Event:
        """The first event that a cancel_run causes names it."""
        cause, self._cause = self._cause, None
        return event if cause is None else caused_by(event, cause)

    def _all_committed(self) -> None:
        if self._ending:
            self.stop("the run has ended")

    def _start_over(self) -> None:
        """The context has begun anew and knows nothing of answers in progress: have them told from their beginning."""
        for agent in self.children.values():
            agent.tell(StartOver())

    # --- steps

    def _go_on(self) -> None:
        """Begin what may begin; end the run if it has ended; offer what came of it."""
        while not self._ending and (ready := progress.ready(self.record)):
            for step in ready:
                self._begin(step)
        ended = None if self._ending else progress.verdict(self.record)
        if ended is not None:
            self._finish(ended, ENDINGS[ended])
        self._producer.push()

    def _begin(self, step: StepRecord) -> None:
        """Open the next attempt in record and log, and start its agent, unless the step was cancelled before."""
        services = self._services.agents
        definition = services.agents[step.agent]
        wall = self._services.stamps.wall()
        step = progress.begun(step, wall)
        self._record = self.record.put(step)
        self._say(self._events.started(self.record, step))
        if step.cancel:
            self._close_step(step, progress.cancelled(step), None)
            return
        left = progress.time_left(step, wall)
        if left is not None:
            self.timer(("overdue", step.name), left, _StepOverdue(step.name))
        situation = Situation(
            run=self.ref,
            run_id=self.record.run_id,
            user=self.record.user,
            step=step.name,
            attempt=step.attempt,
            mission=step.mission,
            brief=self.record.brief,
        )
        earlier = services.earlier(self.record, step)
        self.start_child(Spec(child_name(step), lambda: AgentStep(situation, definition, earlier, services)))

    def _close_step(self, before: StepRecord, after: StepRecord, error_type: ErrorType | None) -> None:
        """Close an open attempt in record and log: with `error_type` as an error, without as cancelled."""
        self._record = self.record.put(after)
        if error_type is None:
            event = self._events.agent(self.record, before, AgentStatus.CANCELLED, after.sentence)
            self._say(self._caused(event))
        else:
            self._say(self._events.failed(self.record, before, error_type))
        if after.ended:
            self._step_ended(after)

    def _step_ended(self, step: StepRecord) -> None:
        """Nothing more will be done about it: say how far the run is, unless it ends with it."""
        self.cancel_timer(("overdue", step.name))
        if not self._order.close and progress.verdict(self.record) is None:
            self._say_status(RunStatus.RUNNING, f"{self.record.done} of {len(self.record.steps)} steps are done.")

    def _finish(self, status: RunStatus, sentence: str) -> None:
        self._ending = True
        self._say_status(status, sentence, DeleteState(OPEN, run_key(self.record.user, self.record.run_id)))

    # --- what agents tell

    def _from_agent(self, message: Any) -> object:
        if self._record is None:
            return None  # waited in the mailbox while this actor crashed: from an agent that ended with it
        record, events = self._record, self._events
        step = record.step(message.step)
        if not step.open or step.attempt != message.attempt or step.name in self._cancelling:
            return None  # from an attempt that is closed already, or about to be
        match message:
            case Thinking():
                self._say_where(step, events.thinking(record, step))
            case Wrote():
                self._say(events.wrote(record, step, message))
            case Working():
                self._say(events.working(record, step, message))
            case Retrying():
                self._say_where(step, events.retrying(record, step, message))
            case FellBack():
                self._say_where(step, events.fell_back(record, step, message))
            case Answered():
                self._answered(step, message)
                self._go_on()
            case GaveNoAnswer(_, _, error_type):
                self._close_step(step, progress.failed(step, error_type), error_type)
                self._go_on()
        self._producer.push()
        return True

    def _answered(self, step: StepRecord, answer: Answered) -> None:
        done = progress.answered(step, answer)
        self._record = self.record.put(done)
        # Both are in one `Emit`, so they are committed together: an answer without its end would be a broken log.
        self._say(self._events.response(self.record, step, answer))
        self._say(self._events.agent(self.record, step, AgentStatus.COMPLETED, done.sentence, model=answer.model))
        self._step_ended(done)

    def _agent_ended(self, ended: ChildEnded) -> None:
        """An agent's actor is gone. If its attempt is still open, it is closed here."""
        step = next((step for step in self.record.steps if step.open and child_name(step) == ended.name), None)
        if step is None:
            return
        wanted = self._cancelling.pop(step.name, None)
        if wanted is AgentStatus.CANCELLED:
            self._close_step(step, progress.cancelled(step), None)
        elif wanted is AgentStatus.ERROR:
            self._close_step(step, progress.failed(step, ErrorType.TIMEOUT), ErrorType.TIMEOUT)
        else:
            self._close_step(step, progress.interrupted(step, again=True), ErrorType.INTERRUPTED)
        self._go_on()

    # --- cancelling

    def _asked_to_cancel(self, order: CancelSteps) -> None:
        reply = self.defer()
        if self._record is None:
            self._cancels.append((order, reply))
        else:
            self._cancel(order, reply)
            self._go_on()

    def _cancel(self, order: CancelSteps, reply: ReplyTo) -> None:
        """Stop what is to be cancelled. Answered when the order is committed, so that no crash undoes it."""
        named = progress.named(self.record, order.agent_name)
        if not named:
            reply.answer(Refused(CommandError(ErrorCode.NOT_FOUND)))
            return
        if self._ending or (order.agent_name is not None and all(step.ended for step in named)):
            reply.answer(True)
            return
        self._record = progress.to_cancel(self.record, order.agent_name)
        effects = (self._put_record(), *order.effects)
        self._producer.change(self._services.stamps.id(), effects, lambda: void(reply.answer(True)))
        self._cause = order.cause
        for step in named:
            if step.open:
                self._stop_step(step.name, AgentStatus.CANCELLED)

    def _stop_step(self, name: str, wanted: AgentStatus) -> None:
        """Stop the step's agent; when it is gone its attempt is closed with `wanted`."""
        step = self.record.step(name)
        if step.open and name not in self._cancelling:
            self._cancelling[name] = wanted
            self.stop_child(child_name(step), why="cancelled", within=CANCEL_WITHIN)


ENDINGS: Final = {
    RunStatus.COMPLETED: "The work is done.",
    RunStatus.FAILED: "The work could not be done. Please start it again.",
    RunStatus.CANCELLED: "The work was cancelled.",
}


def void(_result: object) -> None:
    """For callbacks whose result says nothing."""
