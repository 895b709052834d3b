"""What a step waits for where it does not say so: what stands before it in the list. Pure.

The list is a sequence of places. A step by itself is a place; the steps of one batch, which stand together, are one
place. Every step of a place waits for all steps of the place before. So a step between two batches, such as one that
validates the first, waits for the whole of the one and is waited for by the whole of the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from actors.workflows.definitions import StepDefinition

PREVIOUS: Final[tuple[str, ...]] = ("<the step before>",)
"""The default of `depends_on`: what stands before in the list. No step can be called this, names have no spaces."""


def in_sequence(steps: Iterable[StepDefinition]) -> tuple[StepDefinition, ...]:
    """The steps, with `PREVIOUS` replaced by the names of the place before; nothing for the first place."""
    resolved: list[StepDefinition] = []
    before: tuple[str, ...] = ()
    here: list[str] = []
    batch = ""
    for step in steps:
        if here and not (step.batch and step.batch == batch):
            before, here = tuple(here), []
        here.append(step.name)
        batch = step.batch
        resolved.append(attrs.evolve(step, depends_on=before) if step.depends_on == PREVIOUS else step)
    return tuple(resolved)


def waited_for(name: str, depends_on: Mapping[str, Iterable[str]]) -> set[str]:
    """All steps that this one waits for, at any remove. `depends_on`: by name; unknown names wait for nothing."""
    found: set[str] = set()
    waiting = list(depends_on.get(name, ()))
    while waiting:
        other = waiting.pop()
        if other not in found:
            found.add(other)
            waiting += depends_on.get(other, ())
    return found
