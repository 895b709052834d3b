"""What follows from how a run stands: pure functions of its record."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from actors.protocol.event_types import AgentStatus, RunStatus
from actors.workflows.orders import held

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors.workflows.record import RunRecord, StepRecord


def ready(record: RunRecord) -> list[StepRecord]:
    """The steps to begin now: not begun, or to be begun again, and everything they wait for has ended.

    While a run is paused none is begun, but of an agent that was resumed by itself. One whose agent was paused by
    itself is begun, so that people see who is waited for, and then rests before its first call.
    """
    if record.cancelled or stopped_by(record) is not None:
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
    if any(step.open and not step.rests for step in record.steps):
        return False
    return all(held(record, step) for step in ready(record))


def stopped_by(record: RunRecord) -> StepRecord | None:
    """The step whose failure stops the run, if one has."""
    return next(
        (
            step
            for step in record.steps
            if step.on_failure == "stop" and step.ended and step.text is None and step.status != AgentStatus.CANCELLED
        ),
        None,
    )


def verdict(record: RunRecord) -> RunStatus | None:
    """How the run has ended; None while it has not.

    It has failed only if a step with `on_failure` stop failed or no step gave an answer.
    """
    if any(step.open for step in record.steps):
        return None
    if record.cancelled:
        return RunStatus.CANCELLED
    if stopped_by(record) is not None:
        return RunStatus.FAILED
    if not all(step.ended for step in record.steps):
        return None
    return RunStatus.COMPLETED if any(step.text is not None for step in record.steps) else RunStatus.FAILED


def with_roles(record: RunRecord, roles: Mapping[str, str]) -> RunRecord:
    """The record with the role of each step's agent, as it is defined now; `roles` by the agent's name.

    An agent that was taken out of the configuration keeps the role that it had.
    """
    steps = (attrs.evolve(step, role=roles.get(step.agent, step.role or step.agent)) for step in record.steps)
    return attrs.evolve(record, steps=tuple(steps))
