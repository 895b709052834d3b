"""What a workflow is, before it runs: named steps, the agent of each, and what each waits for.

A definition is checked whole before anything starts: see `checks`. What a step waits for by default is in `sequence`.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs

from actors.workflows.sequence import PREVIOUS, in_sequence

OnTimeout: TypeAlias = Literal["reject", "approve", "wait"]
"""What becomes of an answer about which nobody has decided in time. "wait": there is no such time."""

BRIEF = "brief"
"""Among the inputs of a step: the client's brief. So no step may be called this."""


@attrs.frozen
class ApprovalPolicy:
    """When an answer is held until somebody decides about it, and what happens if nobody does.

    Parameters:
        always: every answer of the step is held; else only where the session's mode says so.
        within: seconds in which somebody has to decide.
        on_timeout: what then becomes of it.
    """

    always: bool = False
    within: float = 3600.0
    on_timeout: OnTimeout = "reject"


@attrs.frozen
class StepDefinition:
    """One step of a workflow.

    Parameters:
        name: unique in the workflow.
        agent: the name of the agent that does it.
        mission: what this step asks of the agent beyond the agent's own instructions; may be empty.
        depends_on: the steps that must have ended before this one starts, whatever became of them. Left out, it is what
            stands before it in the list, a step or a whole batch; an empty tuple waits for nothing.
        on_failure: whether the run goes on without this step's answer, or stops.
        timeout: seconds from the start of the step, all attempts together; None for no limit of its own. It does not
            count while the step is paused, or its answer waits for a decision.
        batch: the name of the batch that it belongs to. Steps of one batch stand together in the list, and start
            together unless they say otherwise.
        scope: what its work may touch, and what not; may be empty.
        deliverable: what its answer has to be; may be empty.
        inputs: what the prompt holds: `BRIEF`, and names of steps that it waits for, at any remove; None for all.
        validates: the name of a batch: this step judges what that batch has delivered. Its answer begins with a line
            that approves or rejects; what depends on it is not begun unless it approves.
        approval: when its answer is held until somebody decides.
    """

    name: str
    agent: str
    mission: str = ""
    depends_on: tuple[str, ...] = PREVIOUS
    on_failure: Literal["continue", "stop"] = "continue"
    timeout: float | None = None
    batch: str = ""
    scope: str = ""
    deliverable: str = ""
    inputs: tuple[str, ...] | None = None
    validates: str = ""
    approval: ApprovalPolicy = ApprovalPolicy()


@attrs.frozen
class WorkflowDefinition:
    """A workflow: its name, a title for people, and its steps in the order in which they were written.

    `depends_on` of every step is resolved: it names steps, and never holds `PREVIOUS`. `on_restart` is what becomes of
    a run that was cut, by the end of the daemon or by a crash of its own actor: "resume" begins the step that was cut
    again and goes on, "fail" ends the run.
    """

    name: str
    title: str
    steps: tuple[StepDefinition, ...] = attrs.field(converter=in_sequence)
    on_restart: Literal["resume", "fail"] = "resume"
