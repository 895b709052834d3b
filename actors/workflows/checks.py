"""Whether a workflow can run: every problem of it as a sentence, so that all can be told at once. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from actors.workflows.definitions import BRIEF
from actors.workflows.sequence import waited_for

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from actors.workflows.definitions import StepDefinition, WorkflowDefinition

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


def check_workflows(workflows: Iterable[WorkflowDefinition], agents: Collection[str]) -> list[str]:
    """Every problem of these workflows, each sentence led by the workflow's name."""
    return [
        f'workflow "{workflow.name}": {problem}'
        for workflow in workflows
        for problem in check_workflow(workflow, agents)
    ]


def check_workflow(workflow: WorkflowDefinition, agents: Collection[str]) -> list[str]:
    """Every problem of one workflow, in words; `agents` are the names that its steps may use.

    No problem means: at least one step, names fit and unique, agents, dependencies, inputs and batches known, no cycle,
    every step reachable, each batch in one piece, and what follows a validated batch waits for its validation.
    """
    if not workflow.steps:
        return ["it has no steps; give it at least one"]
    problems: list[str] = []
    steps: dict[str, StepDefinition] = {}
    for step in workflow.steps:
        problems.extend(_bad_name(step))
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
        problems.extend(_inputs(steps))
        problems.extend(_batches(steps))
    return problems


def _bad_name(step: StepDefinition) -> Iterator[str]:
    if _NAME.fullmatch(step.name) is None:
        yield f'step "{step.name[:80]}" has a name that cannot be used; allowed: 1 to 64 letters, digits, - and _'
    elif step.name == BRIEF:
        yield f'no step can be named "{BRIEF}", which among the inputs of a step means the client\'s brief'


def _inputs(steps: Mapping[str, StepDefinition]) -> Iterator[str]:
    depends_on = {name: step.depends_on for name, step in steps.items()}
    for name, step in steps.items():
        if step.inputs is None:
            continue
        waits = waited_for(name, depends_on)
        for wanted in dict.fromkeys(step.inputs):
            if wanted == BRIEF:
                continue
            if wanted not in steps:
                known = ", ".join([BRIEF, *steps])
                yield f'step "{name}" has the unknown input "{wanted}"; known: {known}'
            elif wanted not in waits:
                yield f'step "{name}" has the input "{wanted}", for which it does not wait; add it to depends_on'


def _batches(steps: Mapping[str, StepDefinition]) -> Iterator[str]:
    depends_on = {name: step.depends_on for name, step in steps.items()}
    waits = {name: waited_for(name, depends_on) for name, step in steps.items() if step.batch or step.validates}
    members: dict[str, list[str]] = {}
    before: str = ""
    for name, step in steps.items():
        if step.batch and step.batch in members and step.batch != before:
            yield f'the steps of batch "{step.batch}" do not stand together; move "{name}" to the others'
        if step.batch:
            members.setdefault(step.batch, []).append(name)
        before = step.batch
    for name, step in steps.items():
        if step.validates and step.validates not in members:
            known = ", ".join(members) or "none"
            yield f'step "{name}" validates the unknown batch "{step.validates}"; known: {known}'
        elif step.validates:
            missing = [member for member in members[step.validates] if member not in waits[name]]
            if missing:
                yield f'step "{name}" validates batch "{step.validates}", but does not wait for "{missing[0]}"'
            yield from _unheld(step, steps, list(members), waits)


def _unheld(
    gate: StepDefinition, steps: Mapping[str, StepDefinition], batches: list[str], waits: Mapping[str, set[str]]
) -> Iterator[str]:
    """Steps of later batches that do not wait for the validation `gate`."""
    later = batches[batches.index(gate.validates) + 1 :]
    for name, step in steps.items():
        if step.batch in later and gate.name not in waits[name]:
            yield (
                f'step "{name}" of batch "{step.batch}" does not wait for "{gate.name}", '
                f'which validates batch "{gate.validates}"'
            )


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
