"""What a workflow is, before it runs: named steps, the agent of each, and what each waits for.

A definition is checked whole before anything starts. The checks are pure functions that return every problem as a
sentence, so that the configuration can tell all of them at once, each with the file and line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

PREVIOUS: tuple[str, ...] = ("<the step before>",)
"""The default of `depends_on`: the step before in the list. No step can be called this, names have no spaces."""


@attrs.frozen
class StepDefinition:
    """One step of a workflow.

    Parameters:
        name: unique in the workflow.
        agent: the name of the agent that does it.
        mission: what this step asks of the agent beyond the agent's own instructions; may be empty.
        depends_on: the steps that must have ended before this one starts, whatever became of them. Left out, it is the
            step before in the list; an empty tuple waits for nothing.
        on_failure: whether the run goes on without this step's answer, or stops.
        timeout: seconds from the start of the step, all attempts together; None for no limit of its own.
    """

    name: str
    agent: str
    mission: str = ""
    depends_on: tuple[str, ...] = PREVIOUS
    on_failure: Literal["continue", "stop"] = "continue"
    timeout: float | None = None


def in_sequence(steps: Iterable[StepDefinition]) -> tuple[StepDefinition, ...]:
    """The steps, with `PREVIOUS` replaced by the name of the step before; nothing for the first."""
    resolved: list[StepDefinition] = []
    for step in steps:
        if step.depends_on == PREVIOUS:
            before = (resolved[-1].name,) if resolved else ()
            step = attrs.evolve(step, depends_on=before)
        resolved.append(step)
    return tuple(resolved)


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


def check_workflows(workflows: Iterable[WorkflowDefinition], agents: Collection[str]) -> list[str]:
    """Every problem of these workflows, each sentence led by the workflow's name."""
    return [
        f'workflow "{workflow.name}": {problem}'
        for workflow in workflows
        for problem in check_workflow(workflow, agents)
    ]


def check_workflow(workflow: WorkflowDefinition, agents: Collection[str]) -> list[str]:
    """Every problem of one workflow, in words; `agents` are the names that its steps may use.

    No problem means: at least one step, names unique, agents and dependencies known, no cycle, every step reachable.
    """
    if not workflow.steps:
        return ["it has no steps; give it at least one"]
    problems: list[str] = []
    steps: dict[str, StepDefinition] = {}
    for step in workflow.steps:
        if step.name in steps:
            problems.append(f'two steps are named "{step.name}"; names must be unique')
        steps.setdefault(step.name, step)
        if step.agent not in agents:
            known = ", ".join(sorted(agents)) or "none"
            problems.append(f'step "{step.name}" names the unknown agent "{step.agent}"; known: {known}')
    for step in workflow.steps:
        problems.extend(
            f'step "{step.name}" depends on "{name}", which is no step of this workflow; known: {", ".join(steps)}'
            for name in dict.fromkeys(step.depends_on)
            if name not in steps
        )
    if len(steps) == len(workflow.steps):  # with two steps of one name, what follows would speak of the wrong one
        problems.extend(_waiting(steps))
    return problems


def _waiting(steps: Mapping[str, StepDefinition]) -> list[str]:
    """The cycles among the steps, and the steps that can never start since they wait for what does not end."""
    # A step stays while something that it waits for stays; one that waits for an unknown step stays in any case.
    never = _peel(steps, lambda on, left: on in left or on not in steps)
    problems: list[str] = []
    named: set[str] = set()
    for cycle in _cycles(_peel(never, lambda on, left: on in left)):
        named.update(cycle)
        problems.append(f"these steps wait for each other: {' → '.join([*cycle, cycle[0]])}")
    for name, step in never.items():
        blocking = [on for on in step.depends_on if on in never]
        if name not in named and blocking:
            problems.append(f'step "{name}" can never start, because it waits for "{blocking[0]}", which cannot end')
    return problems


def _peel(
    steps: Mapping[str, StepDefinition], holds: Callable[[str, Mapping[str, StepDefinition]], bool]
) -> dict[str, StepDefinition]:
    """What is left when steps that nothing holds are taken away until there are no more of them."""
    left = dict(steps)
    before = -1
    while before != len(left):
        before = len(left)
        for name, step in steps.items():
            if name in left and not any(holds(on, left) for on in step.depends_on):
                del left[name]
    return left


def _cycles(steps: Mapping[str, StepDefinition]) -> list[list[str]]:
    """Cycles among steps each of which waits for another; no two share a step, each is in the order of waiting."""
    cycles: list[list[str]] = []
    seen: set[str] = set()
    for start in steps:
        walk: dict[str, None] = {}
        name = start
        while name not in seen and name not in walk:
            walk[name] = None
            name = next(on for on in steps[name].depends_on if on in steps)
        if name in walk:
            path = list(walk)
            cycles.append(path[path.index(name) :])
        seen.update(walk)
    return cycles
