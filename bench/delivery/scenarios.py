"""What a scenario is: one life of a server. It gives the figures of several metrics; a metric belongs to one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from bench.figures import OWN, Better, Metric
from bench.measure import Task
from bench.program import Load

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

EVERYBODY: Final = "everybody"
"""A scenario is for every subject, or only for understudy, where there is nothing to compare with."""


@attrs.frozen
class Scenario:
    """One life of a server.

    Attributes:
        name: what its program is asked for.
        load: how much. What `actors` and `burst` are, its program says.
        quick: the same, where only is shown that it works.
        limit: seconds that it may take.
        metrics: what it gives.
        subjects: `EVERYBODY`, or the name of the only one.
    """

    name: str
    load: Load
    quick: Load
    limit: float
    metrics: tuple[Metric, ...]
    subjects: str = OWN


def metric(name: str, title: str, unit: str, better: Better = "lower", *, any_number: bool = False) -> Metric:
    return Metric(name, title, unit, better, any_number)


def load(name: str, seconds: float, actors: int, burst: int = 0) -> Load:
    return Load(name, seconds, actors, burst, 0.0)


def tasks_of(scenarios: Sequence[Scenario], *, quick: bool, large: Collection[str]) -> tuple[Task, ...]:
    """Every metric with the load of its scenario; in the quick form without the `large` ones."""
    return tuple(
        Task(each, (scenario.quick if quick else scenario.load)._replace(metric=each.name), scenario.limit)
        for scenario in scenarios
        if not (quick and scenario.name in large)
        for each in scenario.metrics
    )


def scenario_among(scenarios: Sequence[Scenario], name: str) -> Scenario:
    """The one that gives the metric of this name."""
    return next(scenario for scenario in scenarios if any(name == each.name for each in scenario.metrics))
