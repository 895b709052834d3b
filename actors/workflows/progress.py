"""What follows from how a run stands: pure functions of its record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from actors.protocol.event_types import AgentStatus, RunStatus
from actors.workflows.children import waits_for_child
from actors.workflows.orders import held
from actors.workflows.sequence import waited_for
from actors.workflows.verdict import APPROVED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors.workflows.record import RunRecord, StepRecord

ENDINGS: Final = {
    RunStatus.COMPLETED: "The work is done.",
    RunStatus.FAILED: "The work could not be done. Please start it again.",
    RunStatus.CANCELLED: "The work was cancelled.",
}


def ready(record: RunRecord) -> list[StepRecord]:
    """The steps to begin now: not begun, or to be begun again, and everything they wait for has ended.

    While a run is paused none is begun, but of an agent that was resumed by itself; while it is suspended, none at all.
    One whose agent was paused by itself is begun, so that people see who is waited for, and then rests before its first
    call.
    """
    if record.cancelled or record.suspended or stopped_by(record) is not None:
        return []
    ended = {step.name for step in record.steps if step.ended}
    return [
        step
        for step in record.steps
        if not step.status and ended.issuperset(step.depends_on) and (step.pause is False or not record.paused)
    ]


def at_rest(record: RunRecord) -> bool:
    """Whether nothing moves, and nothing will before somebody resumes the run or an agent."""
    if record.cancelled or verdict(record) is not None:
        return False
    if any(_moves(record, step) for step in record.everything):
        return False
    begins = ready(record)
    paused = record.paused or record.suspended or bool(begins) or any(step.rests for step in record.everything)
    return paused and all(held(record, step) for step in begins)


def resting(record: RunRecord) -> str:
    """What is said of a run that has come to rest."""
    return "Work is paused by the operator." if record.suspended else "Work is paused."


def _moves(record: RunRecord, step: StepRecord) -> bool:
    return step.open and not step.rests and step.proposal is None and not waits_for_child(record, step)


def awaits_decision(record: RunRecord) -> bool:
    """Whether all that the run can do is to wait until somebody decides about an answer."""
    waits = any(step.proposal is not None for step in record.steps)
    return waits and not any(step.open and step.proposal is None for step in record.everything) and not ready(record)


def unapproved(step: StepRecord) -> bool:
    """Whether this step validates a batch, and has ended without approving it."""
    return bool(step.validates) and step.ended and step.verdict != APPROVED


def held_back(record: RunRecord, step: StepRecord) -> StepRecord | None:
    """The validation that has not approved, and for which this step waits at any remove; None if there is none."""
    gates = [other for other in record.steps if unapproved(other)]
    if not gates:
        return None
    waits = waited_for(step.name, {other.name: other.depends_on for other in record.steps})
    return next((gate for gate in gates if gate.name in waits), None)


def stopped_by(record: RunRecord) -> StepRecord | None:
    """The step whose failure stops the run, if one has. A validation fails by not approving, too."""
    return next((step for step in record.steps if step.on_failure == "stop" and _has_failed(step)), None)


def _has_failed(step: StepRecord) -> bool:
    without = step.ended and step.text is None and step.status != AgentStatus.CANCELLED
    return without or (step.text is not None and unapproved(step))


def verdict(record: RunRecord) -> RunStatus | None:
    """How the run has ended; None while it has not.

    It has failed only if a step with `on_failure` stop failed or no step gave an answer.
    """
    if any(step.open for step in record.everything):
        return None
    if record.cancelled:
        return RunStatus.CANCELLED
    if stopped_by(record) is not None:
        return RunStatus.FAILED
    if not all(step.ended for step in record.steps):
        return None
    return RunStatus.COMPLETED if any(step.text is not None for step in record.steps) else RunStatus.FAILED


def ending(record: RunRecord, status: RunStatus) -> str:
    """The last sentence of a run that ends so."""
    gate = stopped_by(record) if status is RunStatus.FAILED else next(filter(unapproved, record.steps), None)
    if gate is None or not unapproved(gate) or status is RunStatus.CANCELLED:
        return ENDINGS[status]
    why = gate.reason or "Its validation has not ended well."
    held = f'Batch "{gate.validates}" was not approved, so nothing that builds on it was begun. {why}'
    return held if status is RunStatus.FAILED else f"The work is done as far as it was approved. {held}"


def with_roles(record: RunRecord, roles: Mapping[str, str]) -> RunRecord:
    """The record with the role of each step's agent, as it is defined now; `roles` by the agent's name.

    An agent that was taken out of the configuration keeps the role that it had.
    """
    steps = (attrs.evolve(step, role=roles.get(step.agent, step.role or step.agent)) for step in record.steps)
    return attrs.evolve(record, steps=tuple(steps))
