"""A benchmark in its short form, as a person runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from bench.figures import OWN
from bench.measure import ROOT

if TYPE_CHECKING:
    from bench.delivery.comparing import Comparison

WITHIN = 110
"""Seconds."""


def run_short(bench: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end, which must be a good one."""
    command = [sys.executable, "-m", "bench", bench, "--quick", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=WITHIN, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def short_form(bench: str, *subjects: str, only: tuple[str, ...] = ()) -> dict[str, Any]:
    """What `--json` gives for these subjects, and for `only` these scenarios if any are named."""
    options = ["--json", "--subjects", *subjects, *(["--only", *only] if only else [])]
    found: dict[str, Any] = json.loads(run_short(bench, *options).stdout)
    return found


def sane(comparison: Comparison, found: dict[str, Any], scenarios: tuple[str, ...]) -> dict[str, float]:
    """Every metric of these scenarios has our figure, nothing is missing and nothing failed; gives the medians."""
    assert (found["bench"], found["missing"]) == (comparison.name, {})
    assert "failed" not in found
    metrics = [metric for each in comparison.scenarios if each.name in scenarios for metric in each.metrics]
    assert set(found["metrics"]) == {metric.name for metric in metrics}
    for metric in metrics:
        entry = found["metrics"][metric.name]
        assert (entry["unit"], entry["better"]) == (metric.unit, metric.better)
        assert 0 < entry[OWN]["min"] <= entry[OWN]["median"] <= entry[OWN]["max"] < 1e7
        assert entry[OWN]["runs"] == 1
    return {name: entry[OWN]["median"] for name, entry in found["metrics"].items()}


def belongs_to_one_scenario(comparison: Comparison) -> None:
    """Every metric does."""
    names = [metric.name for scenario in comparison.scenarios for metric in scenario.metrics]
    assert len(set(names)) == len(names)
    for scenario in comparison.scenarios:
        assert {comparison.scenario_of(metric.name).name for metric in scenario.metrics} == {scenario.name}


def leaves_the_large_out(comparison: Comparison, *, most: int) -> None:
    """The short form does, and loads nothing with more than `most`."""
    short, whole = (
        {comparison.scenario_of(task.metric.name).name for task in comparison.tasks(quick=quick)}
        for quick in (True, False)
    )
    assert whole - short == set(comparison.large)
    assert max(task.load.actors for task in comparison.tasks(quick=True)) <= most
