"""A run as it is kept in the key-value state: what `get_run` shows, and what a restart needs. Pure.

The record is written with the events that change it, in one commit, so that it is never ahead of or behind the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import attrs
import msgspec

from actors.protocol.event_types import AGENT_ENDS, AgentStatus, RunStatus
from actors.protocol.timestamp import format_timestamp
from actors.workflows.definitions import StepDefinition, WorkflowDefinition

DECIDED: Final = {"approve": "approved", "reject": "rejected", "modify": "modified"}
"""What is said of an approval after each decision."""


@attrs.frozen
class Cause:
    """A command whose first event is still to come: which kind of order it gave, and its id."""

    order: str
    command_id: str


@attrs.frozen
class OpenTool:
    """A tool whose `tool_executing` is in the log and whose `tool_completed` is not; `began` in seconds since 1970."""

    tool_call_id: str
    tool_name: str
    began: float


@attrs.frozen
class Proposal:
    """An answer that is held until somebody decides about it: `answer` is the `Answered` of its agent, as data."""

    approval_id: str
    answer: dict[str, Any]

    @property
    def text(self) -> str:
        return str(self.answer["text"])


@attrs.frozen
class Approval:
    """A decision about one answer, asked for or taken.

    Attributes:
        message_id: the answer's; `digest`: the SHA-256 of its text, in hex, which the decision is about.
        expires_at: when nobody may decide any more, in seconds since 1970; None: never.
        on_timeout: what then becomes of it.
        decision: the one taken; empty while there is none.
        by: who took it, or "timeout".
        cause: the id of the command that took it, which the event that tells of it names.
        withdrawn: the attempt ended before anybody decided.
    """

    approval_id: str
    step: str
    attempt: int
    message_id: str
    digest: str
    question: str
    requested_at: float
    expires_at: float | None
    on_timeout: str
    decision: str = ""
    feedback: str = ""
    by: str = ""
    decided_at: float = 0.0
    cause: str | None = None
    withdrawn: bool = False

    @property
    def open(self) -> bool:
        return not self.decision and not self.withdrawn


@attrs.frozen
class Revision:
    """What the next attempt is given besides: the answer that was not released, and what is to be different."""

    text: str
    feedback: str


@attrs.frozen
class StepRecord(StepDefinition):
    """One step: its definition, how often it was tried, how the last attempt stands, and the answer if there is one.

    Attributes:
        open: an attempt has begun, by the log, and its end is not in the log yet.
        error_type: of the last attempt, if it ended with an error.
        tools: of the open attempt, those that are open as well.
        asked: the open attempt has asked its model; there is something that an interruption would lose.
        rests: the open attempt stands before its next call and waits to be resumed.
        pause: whether its agent was asked to pause by itself (True), to go on though the run is paused (False), or
            does as the run does (None).
        began: when the step's clock was last set going, in seconds since 1970; 0 while it stands.
        spent: what the clock had counted before, in seconds.
        crashes: attempts that ended with a crash of the agent; `cuts`: those that something else cut off.
        cancel: somebody has asked for it to be cancelled.
        cause: of the last order that named this step's agent.
        proposal: the open attempt's answer, while somebody has to decide about it.
        revision: what the next attempts are to do better.
        parent: of a child agent, the step that started it; `parent_call`: the call of a tool in which it did.
        depth: of a child agent, its level: 1 for those that a step of the workflow has started.
        verdict: of a step that validates, once it has answered: approved or rejected; `reason`: in its words.
    """

    role: str = ""
    attempt: int = 0
    began: float = 0.0
    spent: float = 0.0
    crashes: int = 0
    cuts: int = 0
    cancel: bool = False
    pause: bool | None = None
    cause: Cause | None = None
    status: str = ""
    sentence: str = ""
    error_type: str = ""
    open: bool = False
    asked: bool = False
    rests: bool = False
    tools: tuple[OpenTool, ...] = ()
    text: str | None = None
    model: str | None = None
    degraded: bool = False
    partial: bool = False
    missing: str = ""
    proposal: Proposal | None = None
    revision: Revision | None = None
    verdict: str = ""
    reason: str = ""
    parent: str = ""
    parent_call: str = ""
    depth: int = 0

    @property
    def ended(self) -> bool:
        """Whether nothing more will be done about it."""
        return self.status in AGENT_ENDS and not self.open


@attrs.frozen
class RunRecord:
    """One run, with all that is needed to go on with it.

    Attributes:
        status: that of the last `run_status` in the log.
        options: as `start_run` gave them.
        on_restart: what becomes of it when it was cut: resume or fail.
        daemon: the daemon that last did something for it, by an id; empty while nothing was done.
        cancelled: somebody has asked for it to be cancelled; `paused`: to be paused.
        suspended: an operator has asked for all runs to be paused, and not yet for them to go on.
        cause: of the last order that meant the whole run.
        ended_at: when it did, in seconds since 1970.
        approvals: every decision that was asked for, in order.
        conflicts: names of files that several steps have written, with these steps; known at the end.
        children: the agents that agents have started, in order; see `children`.
    """

    user: str
    run_id: str
    session_id: str
    workflow: str
    brief: str
    created_at: str
    steps: tuple[StepRecord, ...]
    status: str = RunStatus.QUEUED
    sentence: str = ""
    options: dict[str, Any] = attrs.field(factory=dict)
    on_restart: Literal["resume", "fail"] = "resume"
    daemon: str = ""
    cancelled: bool = False
    paused: bool = False
    suspended: bool = False
    cause: Cause | None = None
    ended_at: float = 0.0
    approvals: tuple[Approval, ...] = ()
    conflicts: dict[str, tuple[str, ...]] = attrs.field(factory=dict)
    children: tuple[StepRecord, ...] = ()

    @property
    def everything(self) -> tuple[StepRecord, ...]:
        """The steps of the workflow, and the children."""
        return (*self.steps, *self.children)

    def step(self, name: str) -> StepRecord:
        return next(step for step in self.everything if step.name == name)

    def put(self, changed: StepRecord) -> RunRecord:
        if changed.parent:
            children = (changed if child.name == changed.name else child for child in self.children)
            return attrs.evolve(self, children=tuple(children))
        return attrs.evolve(self, steps=tuple(changed if s.name == changed.name else s for s in self.steps))

    @property
    def done(self) -> int:
        return sum(step.ended for step in self.steps)


def new_record(
    user: str,
    run_id: str,
    session_id: str,
    workflow: WorkflowDefinition,
    brief: str,
    created_at: str,
    options: Mapping[str, Any] | None = None,
) -> RunRecord:
    """The record of a run that has just been accepted.

    It holds the workflow as it is now: what the configuration says later does not change a run under way.
    """
    return RunRecord(
        user,
        run_id,
        session_id,
        workflow.name,
        brief,
        created_at,
        steps=tuple(StepRecord(**attrs.asdict(step, recurse=False)) for step in workflow.steps),
        options=dict(options or {}),
        on_restart=workflow.on_restart,
    )


def encode_record(record: RunRecord) -> bytes:
    return msgspec.json.encode(record)


def decode_record(stored: bytes) -> RunRecord:
    return msgspec.json.decode(stored, type=RunRecord)


def shown(stored: bytes) -> dict[str, Any]:
    """What `get_run` shows of a stored record: `run` and `steps`, as the metadata of their last events, `approvals`."""
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
        **({"conflicts": record.conflicts} if record.conflicts else {}),
    }
    return {
        "run": run,
        "steps": [_shown_step(step) for step in record.everything if step.attempt],
        "approvals": [_shown_approval(record, approval) for approval in record.approvals],
    }


def _shown_approval(record: RunRecord, approval: Approval) -> dict[str, Any]:
    """One that is open shows the answer itself: who decides has to know what about."""
    held = record.step(approval.step).proposal
    values = {
        "approval_id": approval.approval_id,
        "step": approval.step,
        "attempt": approval.attempt,
        "message_id": approval.message_id,
        "digest": approval.digest,
        "content": approval.question,
        "status": "withdrawn" if approval.withdrawn else DECIDED.get(approval.decision, "open"),
        "requested_at": format_timestamp(approval.requested_at),
        "expires_at": None if approval.expires_at is None else format_timestamp(approval.expires_at),
        "on_timeout": None if approval.expires_at is None else approval.on_timeout,
        "answer": held.text if held is not None and held.approval_id == approval.approval_id else None,
        "decision": approval.decision or None,
        "by": approval.by or None,
        "feedback": approval.feedback or None,
        "decided_at": format_timestamp(approval.decided_at) if approval.decision else None,
    }
    return {name: value for name, value in values.items() if value is not None}


def _shown_step(step: StepRecord) -> dict[str, Any]:
    values = {
        "step": step.name,
        "attempt": step.attempt,
        "status": step.status or AgentStatus.ERROR.value,  # one that was cut off, and is not begun again yet
        "role": step.role or None,
        "model": step.model,
        "content": step.sentence or None,
        "error_type": step.error_type or None,
        "degraded": step.degraded or None,
        "partial": step.partial or None,
        "parent": step.parent or None,
    }
    return {name: value for name, value in values.items() if value is not None}
