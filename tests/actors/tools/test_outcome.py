"""What a call of a tool comes to."""

from __future__ import annotations

import json
from typing import Any

import pytest

from actors.protocol.catalogue import CATALOGUE, Failure
from actors.protocol.event_types import ToolStatus
from actors.tools.context import ToolProblem
from actors.tools.outcome import MOST_CHARACTERS, failed, gave, overdue, raised


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ("text", "text"),
        (None, "null"),
        ({"password": "p", "n": 2**60}, '{"password":"p","n":1152921504606846976}'),
        ([1.5], "[1.5]"),
    ],
)
def test_the_model_gets_the_exact_result(result: Any, said: str) -> None:
    outcome = gave(result)
    assert (outcome.said, outcome.status, outcome.failure) == (said, ToolStatus.SUCCESS, None)
    assert outcome.shown is not None
    assert '"p"' not in json.dumps(outcome.shown.value)


def test_a_result_that_is_very_deep_is_told_like_any_other() -> None:
    deep: Any = 1
    for _ in range(600):
        deep = [deep]
    outcome = gave(deep)
    assert outcome.said == "[" * 600 + "1" + "]" * 600
    assert outcome.shown is not None
    assert outcome.shown.truncated


def loop() -> list[Any]:
    knot: list[Any] = []
    knot.append(knot)
    return knot


@pytest.mark.parametrize("result", [object(), {1: object()}, loop(), "x" * (MOST_CHARACTERS + 1)])
def test_a_result_that_cannot_be_told_is_a_failure(result: Any) -> None:
    outcome = gave(result)
    assert outcome.failure is Failure.TOOL
    assert outcome.shown is None


def test_failures_are_typed_for_the_model_and_worded_for_people() -> None:
    for outcome, kind, words in (
        (raised(ToolProblem("No such city.")), Failure.TOOL, "No such city."),
        (raised(ValueError("bad \ud800")), Failure.TOOL, "ValueError"),
        (raised(FileNotFoundError(2, "No such file", "/srv/secret")), Failure.TOOL, "No such file"),
        (overdue("slow", 2.5), Failure.TOOL_TIMEOUT, "2.5 seconds"),
        (failed(Failure.TOOL_UNKNOWN, "x" * 5_000), Failure.TOOL_UNKNOWN, "x"),
    ):
        told = json.loads(outcome.said)["error"]
        assert told["type"] == kind
        assert words in told["message"]
        assert len(told["message"]) <= 1_000
        assert "/srv" not in outcome.said
        assert outcome.sentence == CATALOGUE[kind].sentence
    assert overdue("slow", 1).status is ToolStatus.TIMEOUT
