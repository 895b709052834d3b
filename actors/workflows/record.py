"""A run as it is kept in the key-value state: what `get_run` shows, and what a restart needs. Pure.

The record is written with the events that change it, in one commit, so that it is never ahead of or behind the log.
"""

from __future__ import annotations

from typing import Any

import attrs
import msgspec

from actors.protocol.event_types import AGENT_ENDS, AgentStatus, RunStatus
from actors.workflows.definitions import StepDefinition, WorkflowDefinition


@attrs.frozen
class StepRecord:
    """One step: its definition, how often it was tried, how the last attempt stands, and the answer if there is one.

    `open`: an attempt has begun, by the log, and its end is not in the log yet. `began`: when the first one did, in
    seconds since 1970. `cancel`: somebody has asked for it to be cancelled.
    """

    name: str
    agent: str
    role: str = ""
    mission: str = ""
    depends_on: tuple[str, ...] = ()
    on_failure: str = "continue"
    timeout: float | None = None
    attempt: int = 0
    began: float = 0.0
    cancel: bool = False
    status: str = ""
    sentence: str = ""
    open: bool = False
    text: str | None = None
    model: str | None = None
    degraded: bool = False
    partial: bool = False
    missing: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing more will be done about it."""
        return self.status in AGENT_ENDS and not self.open


@attrs.frozen
class RunRecord:
    """One run. `status` is that of the last `run_status` in the log."""

    user: str
    run_id: str
    session_id: str
    workflow: str
    brief: str
    created_at: str
    steps: tuple[StepRecord, ...]
    status: str = RunStatus.QUEUED
    sentence: str = ""
    cancelled: bool = False

    def step(self, name: str) -> StepRecord:
        return next(step for step in self.steps if step.name == name)

    def put(self, changed: StepRecord) -> RunRecord:
        return attrs.evolve(self, steps=tuple(changed if s.name == changed.name else s for s in self.steps))

    @property
    def done(self) -> int:
        return sum(step.ended for step in self.steps)


def new_record(
    user: str, run_id: str, session_id: str, workflow: WorkflowDefinition, brief: str, created_at: str
) -> RunRecord:
    """The record of a run that has just been accepted."""
    steps = tuple(_step(step) for step in workflow.steps)
    return RunRecord(user, run_id, session_id, workflow.name, brief, created_at, steps)


def _step(step: StepDefinition) -> StepRecord:
    return StepRecord(
        name=step.name,
        agent=step.agent,
        mission=step.mission,
        depends_on=tuple(step.depends_on),
        on_failure=step.on_failure,
        timeout=step.timeout,
    )


def encode_record(record: RunRecord) -> bytes:
    return msgspec.json.encode(record)


def decode_record(stored: bytes) -> RunRecord:
    return msgspec.json.decode(stored, type=RunRecord)


def shown(stored: bytes) -> dict[str, Any]:
    """What `get_run` shows of a stored record: `run` and `steps`, as the metadata of their last events."""
    record = decode_record(stored)
    steps = len(record.steps)
    run = {
        "run_id": record.run_id,
        "session_id": record.session_id,
        "created_at": record.created_at,
        "status": record.status,
        "workflow": record.workflow,
        "steps": [step.name for step in record.steps],
        "done": record.done,
        "progress": 100 * record.done // steps if steps else 0,
    }
    return {"run": run, "steps": [_shown_step(step) for step in record.steps if step.attempt]}


def _shown_step(step: StepRecord) -> dict[str, Any]:
    values = {
        "step": step.name,
        "attempt": step.attempt,
        "status": step.status or AgentStatus.STARTED.value,
        "role": step.role or None,
        "model": step.model,
        "content": step.sentence or None,
        "degraded": step.degraded or None,
        "partial": step.partial or None,
    }
    return {name: value for name, value in values.items() if value is not None}
