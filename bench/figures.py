"""What the runs of a benchmark amount to. Pure: no clock, no process."""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING, Any, Final, Literal

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

OWN: Final = "understudy"
"""The subject that the others are compared with."""

Better = Literal["higher", "lower"]


@attrs.frozen
class Metric:
    """One thing that is measured of every subject.

    Attributes:
        name: its key in the JSON object.
        title: what it means, in a line.
        unit: of the figures, as in the JSON object.
        better: which way is good.
        any_number: whether 0 and less are figures too. Elsewhere they mean that nothing was measured.
    """

    name: str
    title: str
    unit: str
    better: Better
    any_number: bool = False


@attrs.frozen
class Figure:
    """One metric of one subject, over some runs."""

    median: float
    min: float
    max: float
    runs: int

    @classmethod
    def of(cls, values: Sequence[float], *, any_number: bool = False) -> Figure:
        """
        Raises:
            ValueError: there are no values, or one is no positive number and may not be `any_number`.
        """
        if not values:
            raise ValueError("no run gave a value")
        for value in values:
            if not math.isfinite(value) or (value <= 0 and not any_number):
                raise ValueError(f"{value} is no positive number")
        return cls(float(median(values)), float(min(values)), float(max(values)), len(values))


@attrs.frozen
class Results:
    """What one call of a benchmark found.

    Attributes:
        bench: its name.
        machine: what it ran on.
        metrics: in the order of the table.
        figures: metric → subject → figure; a subject that cannot do a metric is not there.
        missing: subject → why it could not be run at all.
        failed: subject → metric → what went wrong.
    """

    bench: str
    machine: Mapping[str, Any]
    metrics: Sequence[Metric]
    figures: Mapping[str, Mapping[str, Figure]]
    missing: Mapping[str, str]
    failed: Mapping[str, Mapping[str, str]]

    def as_json(self) -> dict[str, Any]:
        """The object of `--json`. `failed` is there only if something failed."""
        metrics = {
            metric.name: {
                "unit": metric.unit,
                "better": metric.better,
                **{subject: attrs.asdict(figure) for subject, figure in self.figures.get(metric.name, {}).items()},
            }
            for metric in self.metrics
        }
        found = {"bench": self.bench, "machine": dict(self.machine), "metrics": metrics, "missing": dict(self.missing)}
        if self.failed:
            found["failed"] = {subject: dict(metrics) for subject, metrics in self.failed.items()}
        return found


def advantage(own: float, other: float, better: Better) -> float:
    """How many times better `own` is than `other`: above 1 is better, below 1 worse, whichever way is good."""
    return own / other if better == "higher" else other / own


def quietness(shares: Sequence[float]) -> str:
    """How much of the core the programs had. All of them compute without a pause, so what is short of 100 % went to
    somebody else, and the figures with it.
    """
    if not shares:
        return "unknown"
    least, usual = round(100 * min(shares)), round(100 * median(shares))
    return f"{usual} % of it in the middle run, {least} % in the worst"


def in_turn(subjects: Iterable[str], runs: int) -> list[str]:
    """Whose turn it is: A B C A B C …, so that a change of the machine's mood falls on all alike."""
    return list(subjects) * runs
