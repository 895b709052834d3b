"""What an agent is given for one attempt at a step: its task in words, and the material to work with. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.agents.prompts import EarlierStep
from actors.workflows.definitions import BRIEF
from actors.workflows.verdict import FORM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors.workflows.record import RunRecord, StepRecord

AGAIN = (
    "Your answer before, which stands last in the material, was not released. The person who decides says, behind it, "
    "what is to be different. Write the whole answer again, with that change and no other."
)


def task_of(step: StepRecord) -> str:
    """What the step asks, in words; empty where it asks nothing beyond the agent's own instructions."""
    parts = [
        step.mission.strip(),
        f"Scope: {step.scope.strip()}" if step.scope.strip() else "",
        f"Deliverable: {step.deliverable.strip()}" if step.deliverable.strip() else "",
        FORM if step.validates else "",
        AGAIN if step.revision is not None else "",
    ]
    return "\n\n".join(part for part in parts if part)


def brief_of(record: RunRecord, step: StepRecord) -> str:
    """The brief, if the step is given it."""
    return record.brief if step.inputs is None or BRIEF in step.inputs else ""


def material_of(step: StepRecord, earlier: Sequence[EarlierStep]) -> tuple[EarlierStep, ...]:
    """What of the earlier answers the step is given, and its own answer that was not released, with what was said."""
    given = [other for other in earlier if step.inputs is None or other.step in step.inputs]
    if step.revision is not None:
        role = step.role or step.agent
        given.append(EarlierStep(step.name, f"{role} (your answer before)", step.revision.text))
        given.append(EarlierStep(step.name, "person who decides", step.revision.feedback))
    return tuple(given)
