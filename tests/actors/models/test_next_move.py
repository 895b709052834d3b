"""What follows a failed attempt, case by case."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from actors.models.failure import AnswerBroken, FailureFacts, classify, expired
from actors.models.next_move import Fail, FallOver, Finish, Retry, Standing, next_move
from supervisors import Outcome

FIRST = Standing(attempt=1, attempts=3, counted=False, left=100)
LAST = attrs.evolve(FIRST, attempt=3)


def facts(kind: Any, **more: Any) -> FailureFacts:
    return attrs.evolve(classify(AnswerBroken(kind, "so"), wall_time=0), **more)


DOWN = facts("server_error")
POOL = facts("timeout", counts=False)
PARKED = facts("rate_limit", counts=False, retry_after=30.0, park_for=30.0)
KEY = facts("configuration")


@pytest.mark.parametrize(
    ("standing", "why", "expected"),
    [
        (FIRST, DOWN, Retry(2.0)),
        (attrs.evolve(FIRST, attempt=2), DOWN, Retry(2.0)),
        (LAST, DOWN, FallOver(Outcome.FAILURE)),
        (attrs.evolve(FIRST, attempts=1), DOWN, FallOver(Outcome.FAILURE)),
        (attrs.evolve(FIRST, left=2.0), DOWN, FallOver(Outcome.FAILURE)),
        (FIRST, facts("unreachable"), Retry(2.0)),
        (FIRST, facts("truncated"), Retry(2.0)),
        (FIRST, facts("malformed"), Retry(2.0)),
        (FIRST, expired("first_token", 20), Retry(2.0)),
        (FIRST, facts("rate_limit"), Retry(2.0)),
        (FIRST, PARKED, Retry(2.0)),
        (LAST, PARKED, FallOver(Outcome.CANCELLED)),
        (attrs.evolve(LAST, counted=True), PARKED, FallOver(Outcome.FAILURE)),
        (FIRST, POOL, Retry(2.0)),
        (LAST, POOL, FallOver(Outcome.CANCELLED)),
        (FIRST, KEY, FallOver(Outcome.MISCONFIGURED)),
        (attrs.evolve(FIRST, counted=True), KEY, FallOver(Outcome.MISCONFIGURED)),
        (FIRST, facts("content_policy"), Fail()),
        (FIRST, facts("bad_request"), Fail()),
        (attrs.evolve(LAST, counted=True), facts("bad_request"), Fail()),
        (FIRST, facts("internal"), Fail()),
        (FIRST, expired("idle", 20, after_first_delta=True), Finish(Outcome.FAILURE)),
        (LAST, facts("truncated", after_first_delta=True, retryable=False), Finish(Outcome.FAILURE)),
        (FIRST, facts("content_policy", after_first_delta=True), Finish(Outcome.CANCELLED)),
        (FIRST, facts("configuration", after_first_delta=True), Finish(Outcome.MISCONFIGURED)),
    ],
)
def test_moves(standing: Standing, why: FailureFacts, expected: Any):
    assert next_move(standing, why, delay=2.0, affordable=True) == expected


def test_without_a_budget_there_is_no_retry():
    assert next_move(FIRST, DOWN, delay=2.0, affordable=False) == FallOver(Outcome.FAILURE)


def test_a_retry_after_beyond_the_deadline_is_not_waited_for():
    assert next_move(FIRST, PARKED, delay=101.0, affordable=True) == FallOver(Outcome.CANCELLED)
