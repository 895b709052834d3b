"""A run's record and what is said of it, as one: each event is offered together with the record that it leads to.

The actor of the run decides what happens; here it is written down. Nothing waits: what is said is on its way when the
actor calls `Producer.push`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs
import msgspec

from actors.durable.retention import note_end
from actors.protocol.event_types import AgentStatus, RunStatus
from actors.protocol.events import caused_by
from actors.storage.interface import DeleteState
from actors.users.keys import OPEN, run_key
from actors.workflows import approvals, attempts, orders, progress
from actors.workflows.children import with_child
from actors.workflows.events import message_id_of
from actors.workflows.keeping import Keeping
from actors.workflows.orders import Order
from actors.workflows.record import OpenTool
from actors.workflows.sweeping import ENDED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actors.protocol.codes import ErrorType
    from actors.protocol.events import Event
    from actors.protocol.stamps import Stamps
    from actors.storage.interface import Effect
    from actors.users.producer import Producer
    from actors.workflows.events import RunEvents
    from actors.workflows.messages import Answered, Decide, Steer, UsedTool, UsingTool
    from actors.workflows.record import Approval, RunRecord, StepRecord

ORDERS: Final = {RunStatus.PAUSED: Order.PAUSE, RunStatus.CANCELLED: Order.CANCEL}
"""The orders that a `run_status` may come from."""


def _nobody() -> None:
    """Nobody waits for it."""


class RunLog:
    """Made when the record has been read.

    Args:
        record: as it was read.
        answers: those of it that are kept beside it, by step.
        events: makes the events.
        producer: takes them to the owner's context.
        stamps: of whose clock times are.
    """

    def __init__(
        self, record: RunRecord, answers: Mapping[str, str], events: RunEvents, producer: Producer, stamps: Stamps
    ) -> None:
        self.record = record
        self._keeping = Keeping(self.key, answers)
        self._events = events
        self._producer = producer
        self._stamps = stamps

    @property
    def key(self) -> str:
        return run_key(self.record.user, self.record.run_id)

    # --- of the run

    def status(self, status: RunStatus, sentence: str, *effects: Effect) -> None:
        """How the run stands from now on."""
        goes_on = status is RunStatus.RUNNING and self.record.status == RunStatus.PAUSED
        self.record = attrs.evolve(self.record, status=status.value, sentence=sentence)
        order = Order.RESUME if goes_on else ORDERS.get(status)
        self._say(self._events.status(self.record), *effects, order=order)

    def child(self, child: StepRecord) -> StepRecord:
        """An agent has started another."""
        self.record = with_child(self.record, child)
        return child

    def how_far(self) -> None:
        """A step has ended: how far the run is, unless it ends with it."""
        if progress.verdict(self.record) is None:
            rests = self.record.status == RunStatus.PAUSED and progress.at_rest(self.record)
            sentence = f"{self.record.done} of {len(self.record.steps)} steps are done."
            self.status(RunStatus.PAUSED if rests else RunStatus.RUNNING, sentence)

    def conflicting(self, found: dict[str, tuple[str, ...]]) -> None:
        """What the run's last status says of files of the same name."""
        self.record = attrs.evolve(self.record, conflicts=found)

    def finish(self, status: RunStatus, sentence: str) -> None:
        """The last that is said."""
        self.record = attrs.evolve(self.record, ended_at=self._stamps.wall())
        self.status(status, sentence, DeleteState(OPEN, self.key), note_end(ENDED, self.key, self.record.ended_at))

    def order(self, steer: Steer, committed: Callable[[str], object]) -> None:
        """An order that takes effect. `committed` is then called with the status that it found, which is its answer."""
        found = self.record.status
        self.record = orders.ordered(self.record, steer.order, steer.agent_name, steer.cause)
        effects = self._put()
        if steer.keep is not None:
            answer = msgspec.json.encode({"run_id": self.record.run_id, "status": found})
            effects = (*effects, attrs.evolve(steer.keep, reply=answer))
        self._producer.change(self._stamps.id(), effects, lambda: committed(found))

    def keep(self, committed: Callable[[], object]) -> None:
        """`committed` is called when the record as it stands is on the disk."""
        self._producer.change(self._stamps.id(), self._put(), committed)

    # --- of a step

    def begin(self, step: StepRecord) -> StepRecord:
        """The next attempt."""
        held = orders.held(self.record, step)
        step = self._note(attempts.begun(step, self._stamps.wall(), held=held))
        self._say(self._events.started(self.record, step))
        return step

    def where(self, step: StepRecord, event: Event) -> None:
        """Where an open attempt stands: the record keeps what was said last, for `get_run`."""
        self._note(attempts.standing(step, event.metadata["status"], event.content))
        self._say(event, order=Order.RESUME, step=step)

    def rest(self, step: StepRecord) -> StepRecord:
        """The agent makes no further call, and its clock stands."""
        step = self._note(attempts.resting(step, self._stamps.wall()))
        self._say(self._events.paused(self.record, step), order=Order.PAUSE, step=step)
        return step

    def release(self, step: StepRecord) -> StepRecord:
        """The agent may go on; it tells itself when it does."""
        return self._note(attempts.released(step, self._stamps.wall()))

    def using(self, step: StepRecord, use: UsingTool) -> None:
        """A tool has begun; with the next call of the model the agent is thinking again."""
        self.where(step, self._events.at_a_tool(self.record, step))
        step = self.record.step(step.name)
        self._note(attempts.using(step, OpenTool(use.tool_call_id, use.tool_name, self._stamps.wall())))
        self._say(self._events.using_tool(self.record, step, use))

    def used(self, step: StepRecord, use: UsedTool) -> None:
        """A tool has ended."""
        self._note(attempts.used(step, use.tool_call_id))
        self._say(self._events.used_tool(self.record, step, use))

    def answered(self, step: StepRecord, answer: Answered) -> None:
        """The whole answer, and the end of the attempt."""
        done = self._note(attempts.answered(step, answer))
        # Both are in one `Emit`, so they are committed together: an answer without its end would be a broken log.
        self._say(self._events.response(self.record, step, answer))
        self._say(self._events.agent(self.record, step, AgentStatus.COMPLETED, done.sentence, model=answer.model))

    def hold(self, step: StepRecord, answer: Answered) -> Approval:
        """The whole answer, about which somebody has to decide before it counts."""
        now = self._stamps.wall()
        step = self._note(attempts.waiting(step, now))
        message_id = message_id_of(self.record, step)
        self.record = approvals.requested(self.record, step, answer, message_id, now)
        approval = self.record.approvals[-1]
        self._say(self._events.waiting(self.record, step))
        self._say(self._events.approval_request(self.record, step, approval, answer.text))
        return approval

    def decide(self, order: Decide, committed: Callable[[], object] | None = None) -> None:
        """A decision that counts: recorded, and then to be carried out. `committed` is called when it is."""
        self.record = approvals.decided(self.record, order, self._stamps.wall())
        effects = (*self._put(), *(() if order.keep is None else (order.keep,)))
        self._producer.change(self._stamps.id(), effects, committed or _nobody)

    def carry_out(self, step: StepRecord, approval: Approval) -> StepRecord:
        """What the decision says becomes of the answer; the step as it then is."""
        assert step.proposal is not None
        answer = approvals.held_answer(step.proposal)
        result = self._events.approval_result(self.record, step, approval)
        self._say(result if approval.cause is None else caused_by(result, approval.cause))
        if approval.decision == "approve":
            self.answered(step, answer)
        elif approval.decision == "modify":
            after = self._note(attempts.to_revise(step, approval.feedback))
            self._say(self._events.agent(self.record, step, AgentStatus.CANCELLED, after.sentence))
        else:
            after = self._note(attempts.not_released(step, in_time=approval.by != approvals.BY_TIMEOUT))
            self._say(self._events.agent(self.record, step, AgentStatus.ERROR, after.sentence))
        return self.record.step(step.name)

    def close(self, before: StepRecord, after: StepRecord, error_type: ErrorType | None) -> None:
        """The end of an attempt without an answer: with `error_type` as an error, without as cancelled."""
        for tool in before.tools:
            self._note(attempts.used(self.record.step(before.name), tool.tool_call_id))
            self._say(self._events.tool_cut_off(self.record, before, tool))
        self._note(after)
        self.record = approvals.withdrawn(self.record)
        if error_type is None:
            event = self._events.agent(self.record, before, AgentStatus.CANCELLED, after.sentence)
            self._say(event, order=Order.CANCEL, step=before)
        else:
            self._say(self._events.failed(self.record, before, error_type, after.sentence))

    def passing(self, event: Event) -> None:
        """What is not kept: a piece of text, a sign of life."""
        self._producer.add(event)

    # --- how

    def _note(self, step: StepRecord) -> StepRecord:
        self.record = self.record.put(step)
        return step

    def _put(self) -> tuple[Effect, ...]:
        return self._keeping.effects(self.record)

    def _say(self, event: Event, *effects: Effect, order: Order | None = None, step: StepRecord | None = None) -> None:
        """Have an event committed with the record as it now stands.

        `order`: the kind of order that it may come from. The first event that a command causes names it.
        """
        if order is not None:
            self.record, cause = orders.caused(self.record, order, step)
            event = event if cause is None else caused_by(event, cause)
        self._producer.add(event, *self._put(), *effects)
