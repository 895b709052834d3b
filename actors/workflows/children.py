"""Child agents: steps that an agent at work has added to its run, each begun by a call of a tool. Pure.

They are kept beside the steps of the workflow, and no part of what the run counts: it waits for none of them, its steps
do. A child lives as long as the call that started it: when that is over, whatever the way, the child is stopped. After
a restart the step that started it begins again, and starts another if it wants one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from actors.workflows.record import StepRecord

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from actors.workflows.messages import StartChildAgent
    from actors.workflows.record import RunRecord

DEEPEST: Final = 10
"""Levels of children below a step of the workflow."""
MOST_OF_A_RUN: Final = 100
"""Children of one run or task, all levels together: without an end to them, one prompt could ask for any number."""


def new_child(record: RunRecord, order: StartChildAgent, roles: Mapping[str, str]) -> StepRecord | str:
    """The step of a child that is to be started, or why there can be none, as a sentence for the model.

    `roles`: of the agents that there are, by name.
    """
    parent = record.step(order.step)
    why = refusal(order.agent, parent.depth, len(record.children), roles)
    if why is not None:
        return why
    number = 1 + sum(child.parent == parent.name for child in record.children)
    return StepRecord(
        name=f"{parent.name}.{number}",
        agent=order.agent,
        role=roles[order.agent],
        mission=order.mission,
        depends_on=parent.depends_on,  # so it is told of the same answers, and may read the same artifacts
        parent=parent.name,
        parent_call=order.tool_call_id,
        depth=parent.depth + 1,
    )


def refusal(agent: str, depth: int, before: int, agents: Collection[str]) -> str | None:
    """Why there can be no such child, as a sentence for the model; None: there can.

    Args:
        agent: which is wanted.
        depth: of who wants it.
        before: how many the run, or task, has had.
        agents: that there are, by name.
    """
    if agent not in agents:
        return f"There is no agent of this name. There are: {', '.join(sorted(agents))}."
    if depth >= DEEPEST:
        return f"No agent can be started here: this one is {DEEPEST} levels deep, and that is as deep as it goes."
    if before >= MOST_OF_A_RUN:
        return f"No agent can be started: this work has had {MOST_OF_A_RUN}, and may have no more."
    return None


def with_child(record: RunRecord, child: StepRecord) -> RunRecord:
    """The record with a child more."""
    return attrs.evolve(record, children=(*record.children, child))


def living(record: RunRecord, parent: str, call: str | None = None) -> list[StepRecord]:
    """The children of a step that have not ended; only those of one call if it is given."""
    return [
        child
        for child in record.children
        if child.parent == parent and not child.ended and call in {None, child.parent_call}
    ]


def waits_for_child(record: RunRecord, step: StepRecord) -> bool:
    """Whether a step is at work only in that a child of it is."""
    return any(child.parent == step.name and child.open for child in record.children)
