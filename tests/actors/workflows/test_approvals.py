"""What is said to a decision about a held answer, by the record alone; and the clock that it has."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio

from actors.protocol.codes import ErrorCode
from actors.users.messages import CommandError
from actors.workflows import approvals, attempts
from actors.workflows.definitions import ApprovalPolicy, StepDefinition, WorkflowDefinition
from actors.workflows.messages import Answered, Decide
from actors.workflows.record import RunRecord, new_record
from tests.support.runs_system import runs_system, workflow
from tests.support.users_system import virtual

NOW = 1_800_000_000.0
DAY = 86_400.0
POLICY = ApprovalPolicy(always=True, within=60.0)
ANSWER = Answered("a", 1, "Tea", "gpt", False, False, None, 5)
ID = approvals.approval_id_of("r1.0.1")
YES = Decide(ID, "approve", "Fine.", "ada")


def asked(policy: ApprovalPolicy = POLICY) -> RunRecord:
    """A run whose only answer waits since `NOW`."""
    flow = WorkflowDefinition("w", "W", (StepDefinition("a", "analyst", approval=policy),))
    record = new_record("ada", "r1", "s1", flow, "Tea", "now")
    step = attempts.waiting(attempts.begun(record.steps[0], NOW), NOW)
    return approvals.requested(record.put(step), step, ANSWER, "r1.0.1", NOW)


def refused(record: RunRecord, order: Decide, at: float = 1.0) -> tuple[ErrorCode, Any] | None:
    judged = approvals.judge(record, order, NOW + at)
    return (judged.code, (judged.details or {}).get("decision")) if isinstance(judged, CommandError) else None


def test_the_first_decision_is_to_be_taken() -> None:
    assert approvals.judge(asked(), YES, NOW + 1) is None
    assert approvals.judge(asked(), attrs.evolve(YES, digest=approvals.digest_of("Tea")), NOW + 1) is None


def test_one_about_something_else_is_not() -> None:
    assert refused(asked(), attrs.evolve(YES, approval_id="r1.0.2.ask")) == (ErrorCode.NOT_FOUND, None)
    assert refused(asked(), attrs.evolve(YES, digest=approvals.digest_of("Coffee"))) == (ErrorCode.CONFLICT, None)


@pytest.mark.parametrize(
    ("changes", "same"),
    [({}, True), ({"by": "bob"}, True), ({"decision": "reject"}, False), ({"feedback": "But shorter."}, False)],
)
def test_after_it_only_the_same_again_gets_the_same_answer(changes: dict[str, str], same: bool) -> None:
    record = approvals.decided(asked(), YES, NOW + 1)
    again = attrs.evolve(YES, **changes)
    if same:
        assert approvals.judge(record, again, NOW + 2) == {"approval_id": ID, "status": "approved"}
    else:
        assert refused(record, again) == (ErrorCode.CONFLICT, "approve")


@pytest.mark.parametrize(("at", "in_time"), [(59.9, True), (60.0, False), (61.0, False)])
def test_one_that_comes_when_the_time_is_over_and_nobody_has_noticed_yet(at: float, in_time: bool) -> None:
    assert refused(asked(), YES, at) == (None if in_time else (ErrorCode.EXPIRED, "reject"))


def test_where_there_is_no_such_time_none_is_late() -> None:
    assert refused(asked(ApprovalPolicy(always=True, on_timeout="wait")), YES, 1e6) is None


def test_after_the_time_decided_every_other_is_late_though_it_says_the_same() -> None:
    record = approvals.decided(asked(), Decide(ID, "reject", "", approvals.BY_TIMEOUT), NOW + 60)
    for decision in ("reject", "approve"):
        assert refused(record, Decide(ID, decision, "", "ada")) == (ErrorCode.EXPIRED, "reject")


def test_there_is_nothing_to_decide_about_an_attempt_that_has_ended() -> None:
    record = asked()
    record = approvals.withdrawn(record.put(attempts.cancelled(record.steps[0])))
    assert refused(record, YES) == (ErrorCode.EXPIRED, None)
    assert approvals.waiting(record) == []
    assert approvals.waiting(approvals.withdrawn(asked())) != []  # of one that is held nothing is withdrawn


def test_what_was_decided_is_due_until_something_has_come_of_it() -> None:
    assert approvals.due(asked()) == []
    record = approvals.decided(asked(), YES, NOW + 1)
    assert [step.name for step, _ in approvals.due(record)] == ["a"]
    assert approvals.due(record.put(attempts.answered(record.steps[0], ANSWER))) == []


def test_a_clock_that_jumps_ahead_is_noticed_within_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time to decide is wall time: a machine that slept has not stopped it."""
    jump = 0.0

    async def main() -> None:
        nonlocal jump
        policy = ApprovalPolicy(always=True, within=10 * DAY)
        flow = workflow(StepDefinition("analysis", "analyst", approval=policy, on_failure="stop"))
        async with runs_system(monkeypatch, flow) as here:
            run_id = await here.start()
            await here.until_status(run_id, "waiting_for_approval")
            stamps = here.base.system.root.children["runs"].actor._services.stamps  # type: ignore[union-attr]
            clock = stamps.wall
            monkeypatch.setattr(stamps, "wall", lambda: clock() + jump)
            await trio.sleep(DAY)
            jump = 9.5 * DAY
            assert await here.ended(run_id, within=DAY + 1) == "failed"

    virtual(main)
