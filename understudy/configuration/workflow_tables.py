"""The shape of `[workflows.NAME]` and `[approvals]`, and what is made of a workflow's table."""

from typing import Annotated, Literal

import attrs

from actors.agents.definitions import AgentDefinition
from actors.workflows.definitions import ApprovalPolicy, StepDefinition, WorkflowDefinition
from actors.workflows.sequence import PREVIOUS
from understudy.configuration.kinds import NAMED, TITLE, Range
from understudy.configuration.sources import Path, Source

Seconds = Annotated[float, Range(0.01, 86_400, "seconds")]
Patience = Annotated[float, Range(0.01, 31_536_000, "seconds")]
Name = Annotated[str, NAMED]


@attrs.frozen
class ApprovalSettings:
    """`[approvals]`: how long an answer waits for a person, and what becomes of it then."""

    timeout: Patience
    on_timeout: Literal["reject", "approve", "wait"]


@attrs.frozen
class StepTable:
    """One of the `steps` of a workflow. Without `depends_on` it follows the step or the batch before it in the list."""

    name: Name
    agent: Name
    mission: str = ""
    depends_on: tuple[Name, ...] | None = None
    on_failure: Literal["continue", "stop"] = "continue"
    timeout: Seconds | None = None
    batch: Name | None = None
    scope: str = ""
    deliverable: str = ""
    inputs: tuple[Name, ...] | None = None
    validates: Name | None = None
    approval: bool | None = None
    approval_timeout: Patience | None = None
    approval_on_timeout: Literal["reject", "approve", "wait"] | None = None


@attrs.frozen
class WorkflowTable:
    """`[workflows.NAME]`."""

    title: Annotated[str, TITLE]
    steps: tuple[StepTable, ...]
    on_restart: Literal["resume", "fail"] | None = None
    approval_timeout: Patience | None = None
    approval_on_timeout: Literal["reject", "approve", "wait"] | None = None


def workflow_definition(
    name: str,
    table: WorkflowTable,
    agents: dict[str, AgentDefinition],
    approvals: ApprovalSettings,
    on_restart: Literal["resume", "fail"],
    derived: dict[Path, Source],
) -> WorkflowDefinition:
    """The workflow of a table. What it leaves open is as in `[approvals]` and, for `on_restart`, as given."""
    place = ("workflows", name)
    if table.on_restart is None:
        derived[*place, "on_restart"] = Source("derived", "as runs.on_restart")
    steps: list[StepDefinition] = []
    for index, step in enumerate(table.steps):
        agent = agents.get(step.agent)
        if step.approval is None and agent is not None and agent.approval:
            derived[*place, "steps", index, "approval"] = Source("derived", f"as agents.{step.agent}.approval")
        steps.append(_step(step, table, agent, approvals))
    return WorkflowDefinition(name=name, title=table.title, steps=steps, on_restart=table.on_restart or on_restart)


def _step(
    step: StepTable, workflow: WorkflowTable, agent: AgentDefinition | None, approvals: ApprovalSettings
) -> StepDefinition:
    always = agent is not None and agent.approval if step.approval is None else step.approval
    policy = ApprovalPolicy(
        always=always,
        within=step.approval_timeout or workflow.approval_timeout or approvals.timeout,
        on_timeout=step.approval_on_timeout or workflow.approval_on_timeout or approvals.on_timeout,
    )
    return StepDefinition(
        name=step.name,
        agent=step.agent,
        mission=step.mission,
        depends_on=PREVIOUS if step.depends_on is None else step.depends_on,
        on_failure=step.on_failure,
        timeout=step.timeout,
        batch=step.batch or "",
        scope=step.scope,
        deliverable=step.deliverable,
        inputs=step.inputs,
        validates=step.validates or "",
        approval=policy,
    )
