"""One run: the supervisor of its agents, whose policy knows the workflow as well as the restarts.

Every event of the run is made here, in one place and one order, and offered to the owner's context; agents only tell
what happens to them. So an agent that crashes, or this actor itself, can leave nothing open that is not closed: the
record, which is committed with the events, says what is open in the log.

A new incarnation first waits until the context has committed what the last one had offered (`Sync`), then reads the
record. What was open it closes as interrupted and begins again as the next attempt; what was finished it keeps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from actors.agents.step import AgentStep
from actors.protocol.agent_events import (
    Attempt,
    agent_delta,
    agent_progress,
    agent_response,
    agent_status,
)
from actors.protocol.codes import BUSY_RETRYING, FAILURE_SENTENCES, ErrorCode, ErrorType
from actors.protocol.event_types import RUN_ENDS, AgentStatus, RunStatus
from actors.protocol.run_events import run_status
from actors.storage.interface import DeleteState, Effect, PutState
from actors.storage.journal import GetState
from actors.users.keys import OPEN, RUNS, run_key
from actors.users.messages import CommandError, Emit, Item, Locate, Sync
from actors.users.outbox import Offers
from actors.workflows import progress
from actors.workflows.messages import (
    Answered,
    CancelSteps,
    FellBack,
    GaveNoAnswer,
    Retrying,
    Situation,
    StartRun,
    Thinking,
    Working,
    Wrote,
)
from actors.workflows.record import RunRecord, StepRecord, decode_record, encode_record
from runtime import ChildEnded, Host, Refused, Replied, Spec

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.agents.step import AgentServices
    from actors.protocol.events import Event
    from actors.protocol.stamps import Stamps
    from runtime import Ref

ASK_WITHIN: Final = 30.0
TRY_AGAIN: Final = 0.3
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
class _AskAgain:
    """Timer: ask once more."""

    ref: Ref[Any]
    message: object
    then: Callable[[Any], None]


@attrs.frozen
class _Push:
    """Timer: offer to the context what it did not take."""


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
        self._offers = Offers()
        self._record: RunRecord | None = None
        self._context: Ref[Any] | None = None
        self._cancelling: dict[str, AgentStatus] = {}
        self._cancel_asked: list[str | None] = []
        self._ending = False

    async def started(self) -> None:
        self._ask(self._services.users, Locate(self._order.user), self._located)

    async def receive(self, message: Any) -> object:
        if isinstance(message, OF_AN_AGENT):
            return self._from_agent(message)
        match message:
            case Replied():
                message.tag(message)
            case ChildEnded():
                self._agent_ended(message)
            case CancelSteps(agent_name):
                return self._cancel(agent_name)
            case _AskAgain(ref, question, then):
                self._ask(ref, question, then)
            case _Push():
                self._push()
            case _StepOverdue(step):
                self._stop_step(step, AgentStatus.ERROR)
        return None

    def inspect(self) -> dict[str, Any]:
        return {} if self._record is None else {"status": str(self._record.status), "done": self._record.done}

    # --- beginning

    def _ask(self, ref: Ref[Any], question: object, then: Callable[[Any], None]) -> None:
        """Ask until there is an answer, then call `then` with it."""

        def replied(reply: Replied) -> None:
            if reply.error is not None:
                self.timer(("ask", type(question).__name__), TRY_AGAIN, _AskAgain(ref, question, then))
            else:
                then(reply.value)

        self.request(ref, question, ASK_WITHIN, tag=replied)

    def _located(self, context: Ref[Any]) -> None:
        self._context = context
        self._ask(context, Sync(), lambda _: self._ask(self._services.journal, self._own_record(), self._loaded))

    def _own_record(self) -> GetState:
        return GetState(RUNS, run_key(self._order.user, self._order.run_id))

    def _loaded(self, stored: bytes | None) -> None:
        record = None if stored is None else decode_record(stored)
        if record is None or record.status in RUN_ENDS:
            self.stop("nothing is left to do")
            return
        self._record = record
        for step in record.steps:
            if step.open:
                self._close_step(step, progress.interrupted(step, again=not self._order.close), ErrorType.INTERRUPTED)
        if self._order.close:
            self._finish(RunStatus.FAILED, "This run was interrupted. Please start it again.")
            return
        if record.status == RunStatus.QUEUED:
            self._say_status(RunStatus.RUNNING, "Work has begun.")
        for agent_name in self._cancel_asked:
            self._cancel(agent_name)
        self._go_on()

    # --- events

    @property
    def record(self) -> RunRecord:
        assert self._record is not None
        return self._record

    def _emit(self, event: Event, *more: Effect) -> None:
        effects: tuple[Effect, ...] = more
        if event.durable:
            key = run_key(self.record.user, self.record.run_id)
            effects = (PutState(RUNS, key, encode_record(self.record)), *more)
        self._offers.add(Item(event, effects))

    def _push(self) -> None:
        """Offer what waits, unless a batch is under way."""
        batch = self._offers.next()
        if not batch:
            if self._ending and self._offers.empty:
                self.stop("the run has ended")
            return
        assert self._context is not None
        if any(item.event.durable for item in batch):
            self.request(self._context, Emit(batch), 2 * ASK_WITHIN, tag=self._offered)
        else:
            self._context.tell(Emit(batch))

    def _offered(self, replied: Replied) -> None:
        if replied.error is None:
            self._offers.done()
            self._push()
        else:
            self._offers.failed()
            self.timer("push", TRY_AGAIN, _Push())

    def _say_status(self, status: RunStatus, sentence: str, *effects: Effect) -> None:
        self._record = record = attrs.evolve(self.record, status=status.value, sentence=sentence)
        event = run_status(
            self._services.stamps.stamp(),
            status,
            session_id=record.session_id,
            run_id=record.run_id,
            workflow=record.workflow,
            steps=[step.name for step in record.steps],
            done=record.done,
            content=sentence,
        )
        self._emit(event, *effects)

    def _attempt(self, step: StepRecord) -> Attempt:
        record = self.record
        return Attempt(
            agent_name=step.role or step.agent,
            session_id=record.session_id,
            run_id=record.run_id,
            step=step.name,
            attempt=step.attempt,
        )

    def _say_agent(self, step: StepRecord, status: AgentStatus, sentence: str, **more: Any) -> None:
        stamp = self._services.stamps.stamp()
        role = step.role or None
        self._emit(agent_status(stamp, self._attempt(step), status, sentence=sentence, role=role, **more))

    # --- steps

    def _go_on(self) -> None:
        """Begin what may begin; end the run if it has ended; offer what came of it."""
        if not self._ending:
            for step in progress.ready(self.record):
                self._begin(step)
            ended = progress.verdict(self.record)
            if ended is not None:
                self._finish(ended, ENDINGS[ended])
        self._push()

    def _begin(self, step: StepRecord) -> None:
        services = self._services.agents
        definition = services.agents[step.agent]
        if step.timeout is not None and step.attempt == 0:
            self.timer(("overdue", step.name), step.timeout, _StepOverdue(step.name))
        step = progress.begun(step, definition.role)
        self._record = self.record.put(step)
        self._say_agent(step, AgentStatus.STARTED, step.sentence, task=step.mission or None)
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
        spec = Spec(child_name(step), lambda: AgentStep(situation, definition, earlier, services))
        self.start_child(spec)

    def _close_step(self, before: StepRecord, after: StepRecord, error_type: ErrorType | None) -> None:
        """Close an open attempt in record and log: with `error_type` as an error, without as cancelled."""
        self.cancel_timer(("overdue", before.name)) if after.ended else None
        self._record = self.record.put(after)
        if error_type is None:
            self._say_agent(before, AgentStatus.CANCELLED, after.sentence)
        else:
            sentence = FAILURE_SENTENCES[error_type]
            self._say_agent(before, AgentStatus.ERROR, sentence, error_type=error_type)

    def _finish(self, status: RunStatus, sentence: str) -> None:
        self._ending = True
        key = run_key(self.record.user, self.record.run_id)
        self._say_status(status, sentence, DeleteState(OPEN, key))
        self._push()

    # --- what agents tell

    def _from_agent(self, message: Any) -> object:
        step = self.record.step(message.step)
        if not step.open or step.attempt != message.attempt or step.name in self._cancelling:
            return None  # from an attempt that is closed already
        match message:
            case Thinking():
                self._say_agent(step, AgentStatus.THINKING, f"{step.role} is thinking.")
            case Wrote(_, _, offset, text):
                stamp = self._services.stamps.stamp()
                message_id = message_id_of(self.record, step)
                self._emit(agent_delta(stamp, self._attempt(step), message_id=message_id, offset=offset, text=text))
            case Retrying(_, _, error_type, delay):
                busy = error_type is ErrorType.RATE_LIMIT
                sentence = BUSY_RETRYING if busy else "AI service did not answer. Trying again..."
                self._say_agent(
                    step, AgentStatus.RETRYING, sentence, error_type=error_type, retry_after=round(delay, 3)
                )
            case FellBack(_, _, model, error_type):
                sentence = "Another AI model takes over." if model else "No AI model can be reached right now."
                self._say_agent(step, AgentStatus.FALLBACK, sentence, model=model, error_type=error_type)
            case Working(_, _, elapsed_ms, tokens):
                stamp = self._services.stamps.stamp()
                sentence = f"{step.role} is working."
                attempt = self._attempt(step)
                self._emit(agent_progress(stamp, attempt, sentence=sentence, elapsed_ms=elapsed_ms, tokens=tokens))
            case Answered():
                self._answered(step, message)
            case GaveNoAnswer(_, _, error_type):
                self._close_step(step, progress.failed(step, error_type), error_type)
                self._go_on()
                return True
        self._push()
        return True

    def _answered(self, step: StepRecord, answer: Answered) -> None:
        self.cancel_timer(("overdue", step.name))
        done = progress.answered(step, answer)
        self._record = self.record.put(done)
        response = agent_response(
            self._services.stamps.stamp(),
            self._attempt(step),
            message_id=message_id_of(self.record, step),
            text=answer.text,
            model=answer.model,
            duration_ms=answer.duration_ms,
            degraded=answer.degraded,
            partial=answer.partial,
            usage=answer.usage,
        )
        self._offers.add(Item(response))  # committed in one batch with the record that the next event carries
        self._say_agent(step, AgentStatus.COMPLETED, done.sentence, model=answer.model)
        self._say_progress()
        self._go_on()

    def _say_progress(self) -> None:
        """A step has ended: how far the run is."""
        if progress.verdict(self.record) is None:
            self._say_status(RunStatus.RUNNING, f"{self.record.done} of {len(self.record.steps)} steps are done.")

    def _agent_ended(self, ended: ChildEnded) -> None:
        """An agent's actor is gone. If its attempt is still open, it is closed here."""
        if self._record is None:
            return
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

    def _cancel(self, agent_name: str | None) -> object:
        if self._record is None:
            self._cancel_asked.append(agent_name)
            return None
        named = [s for s in self.record.steps if agent_name in {None, s.role, s.agent, s.name}]
        if not named:
            return Refused(CommandError(ErrorCode.NOT_FOUND))
        if agent_name is None:
            self._record = attrs.evolve(self.record, cancelled=True)
        for step in named:
            if step.open:
                self._stop_step(step.name, AgentStatus.CANCELLED)
            elif agent_name is not None and not step.status:
                self._record = self.record.put(progress.cancelled(step))
        self._go_on()
        return None

    def _stop_step(self, name: str, wanted: AgentStatus) -> None:
        """Stop the step's agent; when it is gone its attempt is closed with `wanted`."""
        step = self.record.step(name)
        if not step.open or name in self._cancelling:
            return
        self._cancelling[name] = wanted
        if self.child(child_name(step)) is not None:
            self.stop_child(child_name(step), why="cancelled", within=CANCEL_WITHIN)


ENDINGS: Final = {
    RunStatus.COMPLETED: "The work is done.",
    RunStatus.FAILED: "The work could not be done. Please start it again.",
    RunStatus.CANCELLED: "The work was cancelled.",
}


def child_name(step: StepRecord) -> str:
    """The name of the actor that does the present attempt at a step."""
    return f"{step.name}-{step.attempt}"


def message_id_of(record: RunRecord, step: StepRecord) -> str:
    """One message for each attempt at a step, the same over restarts of the run's actor."""
    return f"{record.run_id}.{record.steps.index(record.step(step.name))}.{step.attempt}"
