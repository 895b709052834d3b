"""The rules of `task_status` in the checker: whole logs pass, and each rule has a log that breaks it."""

from __future__ import annotations

from typing import Any

import pytest

from actors.protocol.events import caused_by
from actors.protocol.task_events import Priority, TaskStatus, task_assigned, task_status
from tests.support.grammar import check
from tests.support.grammar_log import Log

QUEUED, RUNNING, COMPLETED, FAILED = TaskStatus


def log_of(*told: tuple[TaskStatus, dict[str, Any]], seq: int = 0) -> Log:
    log = Log(seq=seq)
    log.welcome()
    for place, (status, more) in enumerate(told):
        event = task_status(log.stamp(), status, task_id="t1", sentence="It is so.", **more)
        log.add(caused_by(event, "c1") if place == 0 and not seq else event)
    return log


FIRST, SECOND = {"agent": "a", "attempt": 1}, {"agent": "b", "attempt": 2}
WHOLE = [
    (QUEUED, {}),
    (RUNNING, FIRST),
    (RUNNING, FIRST),
    (QUEUED, {}),
    (RUNNING, SECOND),
    (COMPLETED, {**SECOND, "result": {"x": [None]}}),
]


def rules(*told: tuple[TaskStatus, dict[str, Any]], seq: int = 0) -> set[str]:
    return {violation.rule for violation in check(log_of(*told, seq=seq).frames)}


def test_a_whole_task_passes() -> None:
    assert rules(*WHOLE) == set()
    assert rules((QUEUED, {}), (FAILED, {"error": "Cancelled."})) == set()


@pytest.mark.parametrize("place", range(len(WHOLE)))
def test_a_log_that_begins_in_the_middle_passes(place: int) -> None:
    assert rules(*WHOLE[place:], seq=5) == set()


@pytest.mark.parametrize(
    ("told", "rule"),
    [
        (WHOLE[1:], "task_order"),
        (WHOLE[:-1], "task_unfinished"),
        ([*WHOLE, (RUNNING, SECOND)], "after_task_end"),
        ([*WHOLE, WHOLE[-1]], "after_task_end"),
        ([(QUEUED, {}), (RUNNING, SECOND), (COMPLETED, SECOND)], "task_attempt"),
        ([(QUEUED, {}), (RUNNING, FIRST), (RUNNING, SECOND), (COMPLETED, SECOND)], "task_attempt"),
        ([(QUEUED, {}), (RUNNING, FIRST), (COMPLETED, SECOND)], "task_attempt"),
        ([(QUEUED, FIRST), (FAILED, {"error": "No.", "attempt": 1})], "task_attempt"),
        ([(QUEUED, {}), (RUNNING, FIRST), (FAILED, FIRST)], "task_outcome"),
        ([(QUEUED, {}), (RUNNING, FIRST), (COMPLETED, {**FIRST, "error": "No."})], "task_outcome"),
        ([(QUEUED, {}), (RUNNING, {**FIRST, "result": 1}), (COMPLETED, FIRST)], "task_outcome"),
    ],
)
def test_each_rule_has_a_log_that_breaks_it(told: list[tuple[TaskStatus, dict[str, Any]]], rule: str) -> None:
    assert rule in rules(*told)


def test_an_offer_has_its_deadline_as_a_time() -> None:
    log = log_of(*WHOLE)
    log.add(
        task_assigned(
            log.stamp(),
            task_id="t1",
            attempt=1,
            task_type="general",
            description="Do it.",
            parameters={"big": 2**60, "none": None},
            deadline=1_800_000_000.0,
        )
    )
    assert check(log.frames) == []
    metadata = log.frames[-1]["metadata"]
    assert metadata["parameters"] == {"big": str(2**60)}
    assert metadata["deadline"] == "2027-01-15T08:00:00.000Z"
    metadata["deadline"] = 5
    assert {violation.rule for violation in check(log.frames)} == {"fields"}


def test_the_most_urgent_comes_first() -> None:
    assert [priority.value for priority in sorted(Priority, key=lambda p: p.rank)] == [
        *("CRITICAL", "HIGH", "MEDIUM", "LOW"),
    ]
