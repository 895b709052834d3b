"""Child agents, as far as the record decides."""

from __future__ import annotations

import attrs

from actors.workflows import attempts, progress
from actors.workflows.children import DEEPEST, MOST_OF_A_RUN, living, new_child, waits_for_child, with_child
from actors.workflows.definitions import StepDefinition, WorkflowDefinition
from actors.workflows.messages import StartChildAgent
from actors.workflows.record import RunRecord, StepRecord, decode_record, encode_record, new_record

ROLES = {"analyst": "Analyst", "writer": "Writer"}
FLOW = WorkflowDefinition("w", "W", (StepDefinition("a", "analyst"), StepDefinition("b", "writer")))
ORDER = StartChildAgent("b", 1, "c1", "analyst", "Look.")


def record() -> RunRecord:
    return new_record("ada", "r1", "s1", FLOW, "Tea", "now")


def child(made: RunRecord, order: StartChildAgent = ORDER) -> StepRecord:
    found = new_child(made, order, ROLES)
    assert isinstance(found, StepRecord)
    return found


def test_a_child_is_named_by_its_parent_and_sees_what_that_sees() -> None:
    made = with_child(record(), first := child(record()))
    assert (first.name, first.parent, first.parent_call, first.depth, first.depends_on) == ("b.1", "b", "c1", 1, ("a",))
    second = child(made)
    assert second.name == "b.2"
    below = child(made, attrs.evolve(ORDER, step="b.1"))
    assert (below.name, below.depth) == ("b.1.1", 2)
    assert made.steps == record().steps
    assert made.done == 0
    assert decode_record(encode_record(made)) == made


def test_there_is_no_child_of_an_unknown_agent_too_deep_or_too_many() -> None:
    assert "analyst, writer" in str(new_child(record(), attrs.evolve(ORDER, agent="eve"), ROLES))
    deep = with_child(record(), attrs.evolve(child(record()), depth=DEEPEST))
    assert "10 levels" in str(new_child(deep, attrs.evolve(ORDER, step="b.1"), ROLES))
    many = attrs.evolve(record(), children=tuple(child(record()) for _ in range(MOST_OF_A_RUN)))
    assert "no more" in str(new_child(many, ORDER, ROLES))


def test_who_lives_is_known_by_step_and_call() -> None:
    made = with_child(record(), attrs.evolve(child(record()), open=True, status="started"))
    assert [one.name for one in living(made, "b")] == ["b.1"]
    assert [one.name for one in living(made, "b", "c1")] == ["b.1"]
    assert living(made, "b", "c2") == living(made, "a") == []
    assert waits_for_child(made, made.step("b"))
    ended = made.put(attrs.evolve(made.step("b.1"), open=False, status="completed"))
    assert living(ended, "b") == []
    assert not waits_for_child(ended, ended.step("b"))


def test_a_run_whose_only_work_is_a_child_that_rests_has_come_to_rest() -> None:
    made = record()
    parent = attempts.standing(attempts.begun(made.steps[0], 1.0), "thinking", "Thinking.")
    made = made.put(parent)
    order = attrs.evolve(ORDER, step="a")
    made = attrs.evolve(with_child(made, child(made, order)), paused=True)
    begun = attempts.begun(made.children[0], 2.0, held=True)
    assert not progress.at_rest(made.put(begun))
    assert progress.at_rest(made.put(attempts.resting(begun, 3.0)))
    assert not progress.at_rest(made)  # without a child that is open, the parent is at work itself
