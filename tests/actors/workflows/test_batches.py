"""Batches and the validations between them: what is begun, what is held, and what the run says of it."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from actors.agents.prompts import EarlierStep
from actors.protocol.event_types import RunStatus
from actors.workflows import progress
from actors.workflows.assignment import brief_of, material_of, task_of
from actors.workflows.attempts import answered, begun, not_begun
from actors.workflows.definitions import StepDefinition, WorkflowDefinition
from actors.workflows.messages import Answered
from actors.workflows.record import RunRecord, new_record
from actors.workflows.sequence import in_sequence, waited_for
from actors.workflows.verdict import APPROVED, BROKEN_OFF, NO_REASON, REJECTED, UNREACHED, UNREADABLE, read_verdict
from tests.support.runs_system import runs_system, workflow
from tests.support.users_system import virtual

APPROVE = ["think", "answer VERDICT: approve"]


def gated(on_failure: Any = "continue") -> WorkflowDefinition:
    return workflow(
        StepDefinition("a1", "analyst", batch="a"),
        StepDefinition("a2", "tester", batch="a"),
        StepDefinition("gate", "writer", validates="a", on_failure=on_failure),
        StepDefinition("b1", "analyst", batch="b", mission="Build."),
        StepDefinition("b2", "tester", batch="b"),
        StepDefinition("last", "writer"),
        StepDefinition("aside", "writer", depends_on=("a1",)),
    )


def test_a_batch_is_one_place_in_the_sequence() -> None:
    depends = {step.name: step.depends_on for step in gated().steps}
    assert depends == {
        "a1": (),
        "a2": (),
        "gate": ("a1", "a2"),
        "b1": ("gate",),
        "b2": ("gate",),
        "last": ("b1", "b2"),
        "aside": ("a1",),
    }


@given(st.lists(st.sampled_from(["", "x", "y"]), max_size=12))
def test_everything_waits_for_all_that_stands_before_its_place(batches: list[str]) -> None:
    steps = in_sequence(StepDefinition(f"s{n}", "agent", batch=batch) for n, batch in enumerate(batches))
    depends_on = {step.name: step.depends_on for step in steps}
    place = [
        sum(b == "" or b != batches[k - 1] for k, b in enumerate(batches[: n + 1]) if k) for n in range(len(steps))
    ]
    for number, step in enumerate(steps):
        assert waited_for(step.name, depends_on) == {f"s{n}" for n in range(len(steps)) if place[n] < place[number]}


def test_approved_the_next_batch_begins(monkeypatch: Any) -> None:
    async def main() -> None:
        async with runs_system(monkeypatch, gated(), plays={("gate", 1): APPROVE}) as here:
            run_id = await here.start()
            assert await here.ended(run_id) == "completed"
            assert here.record(run_id).sentence == "The work is done."
            assert here.record(run_id).step("gate").verdict == APPROVED
            story = here.story()
            assert story.index("gate.1 completed") < story.index("b1.1 started") < story.index("b2.1 thinking")
            gate = next(situation for situation in here.script.situations if situation.step == "gate")
            assert "VERDICT: approve" in gate.mission

    virtual(main)


@pytest.mark.parametrize("says", ["answer VERDICT: reject - No tests.", "answer Fine, go on.", "degraded", "give up"])
def test_held_the_next_batch_does_not_begin_and_the_run_says_why(says: str, monkeypatch: Any) -> None:
    async def main() -> None:
        async with runs_system(monkeypatch, gated(), plays={("gate", 1): ["think", says]}) as here:
            run_id = await here.start()
            assert await here.ended(run_id) == "completed"
            record = here.record(run_id)
            assert {step for step, _ in here.script.calls} == {"a1", "a2", "gate", "aside"}
            assert record.sentence.startswith("The work is done as far as it was approved.")
            assert 'Batch "a" was not approved' in record.sentence
            assert ("No tests." in record.sentence) == says.endswith("No tests.")
            for name in ("b1", "b2", "last"):
                assert record.step(name).status == "cancelled"
                assert record.step(name).missing == 'it was not begun, because batch "a" was not approved'

    virtual(main)


def test_held_it_may_stop_the_run(monkeypatch: Any) -> None:
    async def main() -> None:
        plays = {("gate", 1): ["think", "answer VERDICT: reject - No tests."]}
        async with runs_system(monkeypatch, gated("stop"), plays=plays) as here:
            run_id = await here.start()
            assert await here.ended(run_id) == "failed"
            record = here.record(run_id)
            assert record.sentence == 'Batch "a" was not approved, so nothing that builds on it was begun. No tests.'
            assert record.step("gate").text is not None
            assert not record.step("b1").attempt

    virtual(main)


@pytest.mark.parametrize(
    ("text", "kind", "reason"),
    [
        ("VERDICT: approve", APPROVED, ""),
        ("\n\nVERDICT: approve  \nIt is all there.", APPROVED, ""),
        ("VERDICT: approve - with a remark\n", APPROVED, ""),
        ("VERDICT: reject - No tests.\nMore.", REJECTED, "No tests."),
        ("VERDICT: reject", REJECTED, NO_REASON),
        ("VERDICT: approved", REJECTED, UNREADABLE),
        ("verdict: approve", REJECTED, UNREADABLE),
        (" VERDICT: approve", REJECTED, UNREADABLE),
        ("**VERDICT: approve**", REJECTED, UNREADABLE),
        ("I say:\nVERDICT: approve", REJECTED, UNREADABLE),
        ("", REJECTED, UNREADABLE),
    ],
)
def test_a_verdict_is_read_strictly(text: str, kind: str, reason: str) -> None:
    verdict = read_verdict(text)
    assert (verdict.kind, verdict.reason) == (kind, reason)


def test_what_was_cut_off_or_came_from_no_model_approves_nothing() -> None:
    assert read_verdict("VERDICT: approve\nAll", partial=True).reason == BROKEN_OFF
    assert read_verdict("VERD", partial=True).reason == BROKEN_OFF
    assert read_verdict("VERDICT: approve", degraded=True).reason == UNREACHED


@given(st.text(max_size=60))
def test_only_that_line_approves(text: str) -> None:
    approves = text.lstrip("\n").split("\n")[0].rstrip()
    assert (read_verdict(text).kind == APPROVED) == (
        approves == "VERDICT: approve" or approves.startswith("VERDICT: approve - ")
    )


def record_of(*steps: StepDefinition) -> RunRecord:
    return new_record("ada", "r", "s", workflow(*steps), "The brief.", "now")


def test_what_a_step_is_given() -> None:
    record = record_of(
        StepDefinition("a", "analyst"),
        StepDefinition("b", "analyst", mission="Do it. ", scope="All.", deliverable="A list.", inputs=("a",)),
        StepDefinition("c", "analyst", inputs=("brief",)),
        StepDefinition("d", "analyst"),
    )
    earlier = [EarlierStep("a", "Analyst", "A"), EarlierStep("b", "Analyst", "B")]
    b, c, d = (record.step(name) for name in "bcd")
    assert task_of(b) == "Do it.\n\nScope: All.\n\nDeliverable: A list."
    assert task_of(d) == ""
    assert (brief_of(record, b), brief_of(record, c), brief_of(record, d)) == ("", "The brief.", "The brief.")
    assert [each.step for each in material_of(b, earlier)] == ["a"]
    assert material_of(c, earlier) == ()
    assert [each.step for each in material_of(d, earlier)] == ["a", "b"]


@given(st.lists(st.sampled_from(["VERDICT: approve", "VERDICT: reject - x", "hm"]), min_size=3, max_size=3))
def test_what_waits_for_a_gate_that_has_not_approved_is_never_asked(verdicts: list[str]) -> None:
    """Four batches of two with gates between: played to the end, by the pure functions alone."""
    steps = []
    for number, batch in enumerate("abcd"):
        steps += [StepDefinition(f"{batch}{n}", "agent", batch=batch) for n in (1, 2)]
        if number < 3:
            steps.append(StepDefinition(f"gate-{batch}", "agent", validates=batch))
    record = record_of(*steps)
    asked = []
    while ready := progress.ready(record):
        for step in ready:
            gate = progress.held_back(record, step)
            record = record.put(begun(step, 1.0))
            if gate is not None:
                record = record.put(not_begun(record.step(step.name), gate))
                continue
            asked.append(step.name)
            said = verdicts["abc".index(step.validates)] if step.validates else "text"
            reply = Answered(step.name, 1, said, "m", False, False, None, 1)
            record = record.put(answered(record.step(step.name), reply))
    status = progress.verdict(record)
    assert status is RunStatus.COMPLETED
    through = next((n for n, verdict in enumerate(verdicts) if verdict != "VERDICT: approve"), 3)
    assert {name[0] for name in asked if not name.startswith("gate")} == set("abcd"[: through + 1])
    assert ("was not approved" in progress.ending(record, status)) == (through < 3)
