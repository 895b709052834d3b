"""The arithmetic of the benchmarks."""

from __future__ import annotations

import math
from typing import Any

import pytest

from bench.figures import OWN, Figure, Metric, Results, advantage, in_turn, quietness

RATE = Metric("tell", "messages told", "/s", "higher")
DELAY = Metric("restart", "crash to serving", "µs", "lower")


def results(**changes: Any) -> Results:
    given = {
        "bench": "kernel",
        "machine": {"cores": 2},
        "metrics": (RATE, DELAY),
        "figures": {"tell": {OWN: Figure.of([3.0, 1.0, 2.0]), "pykka": Figure.of([1.0])}},
        "missing": {"erlang": "there is no `erl`"},
        "failed": {},
    }
    return Results(**{**given, **changes})


def test_a_figure_is_median_and_spread():
    assert Figure.of([3.0, 1.0, 2.0]) == Figure(median=2.0, min=1.0, max=3.0, runs=3)
    assert Figure.of([1.0, 2.0]).median == 1.5


@pytest.mark.parametrize("values", [[], [0.0], [1.0, -1.0], [math.nan], [math.inf]])
def test_what_is_no_measurement_is_refused(values: list[float]):
    with pytest.raises(ValueError, match=r"no run|no positive number"):
        Figure.of(values)


def test_the_ratio_is_above_one_where_we_are_better_whichever_way_is_good():
    assert advantage(400.0, 100.0, "higher") == 4.0
    assert advantage(100.0, 400.0, "higher") == 0.25
    assert advantage(100.0, 400.0, "lower") == 4.0
    assert advantage(400.0, 100.0, "lower") == 0.25


def test_it_is_said_how_quiet_the_machine_was():
    assert quietness([0.99, 0.43, 1.0]) == "99 % of it in the middle run, 43 % in the worst"
    assert quietness([]) == "unknown"


def test_subjects_take_turns():
    assert in_turn(["a", "b", "c"], 2) == ["a", "b", "c", "a", "b", "c"]


def test_the_json_object_has_the_shape_that_is_promised():
    assert results().as_json() == {
        "bench": "kernel",
        "machine": {"cores": 2},
        "metrics": {
            "tell": {
                "unit": "/s",
                "better": "higher",
                OWN: {"median": 2.0, "min": 1.0, "max": 3.0, "runs": 3},
                "pykka": {"median": 1.0, "min": 1.0, "max": 1.0, "runs": 1},
            },
            "restart": {"unit": "µs", "better": "lower"},
        },
        "missing": {"erlang": "there is no `erl`"},
    }


def test_the_json_object_names_what_failed():
    failed = {"tapio-py": {"tell": "not done within 60 s"}}
    assert results(failed=failed).as_json()["failed"] == failed
