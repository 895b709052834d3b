from __future__ import annotations

from itertools import pairwise
from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st

from understudy.client import Event, RunView, apply, apply_delta, load

START = RunView(run_id="r1")


def event(kind: str, content: str = "", *, seq: int | None = None, run_id: str = "r1", **metadata: Any) -> Event:
    return Event(type=kind, seq=seq, run_id=run_id, agent_name="Analyst", content=content, metadata=metadata)


def step(kind: str, content: str = "", *, name: str = "analysis", attempt: int = 1, **metadata: Any) -> Event:
    return event(kind, content, step=name, attempt=attempt, **metadata)


def fold(*events: Event, view: RunView = START) -> RunView:
    for one in events:
        view = apply(view, one)
    return view


def delta(content: str, offset: int, *, message_id: str = "m1", **more: Any) -> Event:
    return step("agent_delta", content, offset=offset, message_id=message_id, **more)


# Deltas


def test_a_delta_replaces_what_stood_from_its_offset_on() -> None:
    assert apply_delta("hello", 5, " world") == "hello world"
    assert apply_delta("hello", 2, "y") == "hey"
    assert apply_delta("hello", 0, "") == ""
    assert apply_delta("hello", 6, "x") == "hello"


def test_offsets_count_code_points() -> None:
    view = fold(delta("a😀", 0), delta("é", 2))
    assert view.steps[0].text == "a😀é"


@st.composite
def streams(draw: st.DrawFn) -> tuple[str, list[Event]]:
    """An answer, and its deltas as a client may receive them.

    Any cut, neighbours joined, pieces lost, and now and then the whole text so far from offset 0, as after a reconnect.
    """
    text = draw(st.text(max_size=60))
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=12)) | {0, len(text)})
    events: list[Event] = []
    for begin, end in pairwise(cuts):
        fate = draw(st.sampled_from(["whole", "lost", "again", "joined", "overlapping"]))
        if fate == "lost":
            continue
        if fate == "again":
            events.append(delta(text[:end], 0))
        elif fate == "joined" and events:
            last = events.pop()
            offset = last.metadata["offset"]
            if offset + len(last.content) == begin:
                events.append(delta(last.content + text[begin:end], offset))
            else:
                events += [last, delta(text[begin:end], begin)]
        elif fate == "overlapping":
            back = draw(st.integers(0, begin))
            events.append(delta(text[back:end], back))
        else:
            events.append(delta(text[begin:end], begin))
    return text, events


@given(streams())
def test_whatever_is_lost_joined_or_repeated_the_text_is_a_beginning_of_the_answer_and_ends_as_it(
    stream: tuple[str, list[Event]],
) -> None:
    text, events = stream
    view = START
    for one in events:
        view = apply(view, one)
        assert text.startswith(view.steps[0].text)
        if one.metadata["offset"] == 0:
            assert view.steps[0].text == one.content
    view = apply(view, step("agent_response", text, message_id="m1", model="m"))
    assert (view.steps[0].text, view.steps[0].settled) == (text, True)


@given(streams(), streams())
def test_an_answer_that_starts_over_ends_as_the_second_one(
    first: tuple[str, list[Event]], second: tuple[str, list[Event]]
) -> None:
    text, events = second
    view = fold(*first[1], delta("", 0), *events)
    assert text.startswith(view.steps[0].text if view.steps else "")
    assert fold(step("agent_response", text, message_id="m1"), view=view).steps[0].text == text


def test_after_the_answer_no_delta_counts() -> None:
    view = fold(step("agent_response", "all of it", message_id="m1"), delta("late", 0))
    assert view.steps[0].text == "all of it"


def test_a_delta_without_a_usable_offset_changes_nothing() -> None:
    view = fold(delta("abc", 0))
    assert fold(step("agent_delta", "x", message_id="m1"), delta("x", -1), view=view) == view


def test_another_message_begins_empty() -> None:
    assert fold(delta("abc", 0), delta("x", 3, message_id="m2")).steps[0].text == ""


# Steps and runs


def test_a_step_from_its_start_to_its_end() -> None:
    view = fold(
        step("agent_status", "The analyst begins.", status="started", role="analyst"),
        step("agent_status", "Thinking.", status="thinking", model="gpt"),
        step("agent_progress", elapsed_ms=1200, tokens=40),
        step("tool_executing", tool_name="search"),
    )
    assert (view.steps[0].status, view.steps[0].tool, view.steps[0].agent_name) == ("thinking", "search", "Analyst")
    assert (view.steps[0].elapsed_ms, view.steps[0].tokens) == (1200, 40)
    view = fold(
        step("tool_completed", tool_name="search", status="success"),
        step(
            "agent_response",
            "Done.",
            model="simulated",
            degraded=True,
            partial=True,
            duration_ms=900,
            artifact="analysis.md",
            usage={"completion_tokens": 50},
        ),
        step("agent_status", "Finished.", status="completed"),
        view=view,
    )
    last = view.steps[0]
    assert (last.ended, last.tool, last.degraded, last.partial) == (True, None, True, True)
    assert (last.tokens, last.duration_ms, last.artifact) == (50, 900, "analysis.md")
    assert view.simulated


def test_a_new_attempt_begins_afresh_and_the_old_one_is_not_heard_any_more() -> None:
    view = fold(
        delta("half an ans", 0),
        step("agent_status", "Interrupted.", status="error", error_type="interrupted"),
        step("agent_status", "Again.", status="started", attempt=2),
    )
    assert (view.steps[0].attempt, view.steps[0].text, view.steps[0].error_type) == (2, "", None)
    assert fold(delta("late", 0), view=view) == view


def test_steps_stand_in_the_order_in_which_they_began() -> None:
    view = fold(
        step("agent_status", status="started", name="b"),
        step("agent_status", status="started", name="a", parent="b"),
        step("agent_status", status="completed", name="b"),
    )
    assert [(one.name, one.ended, one.parent) for one in view.steps] == [("b", True, None), ("a", False, "b")]


def test_run_status_brings_plan_and_progress() -> None:
    view = fold(
        event("run_status", status="running", workflow="delivery", steps=["a", "b"], done=1, progress=50, seq=3)
    )
    assert (view.status, view.workflow, view.plan, view.done, view.progress) == (
        "running",
        "delivery",
        ("a", "b"),
        1,
        50,
    )
    assert not view.ended
    view = fold(event("run_status", status="failed", seq=4), view=view)
    assert view.ended
    assert view.plan == ("a", "b")


def test_what_belongs_elsewhere_or_is_not_known_changes_nothing() -> None:
    view = fold(event("run_status", status="running", seq=3))
    others = (
        event("run_status", status="failed", run_id="r2"),
        event("run_status", status="failed", seq=3),
        event("agent_status", status="error"),
        event("agent_status", status="error", step="a", attempt="first"),
    )
    for other in others:
        assert apply(view, other) == view
    after = fold(step("hologram", attempt=1), view=view)
    assert [one.name for one in after.steps] == ["analysis"]


def test_a_loaded_run_keeps_known_texts_and_passes_over_what_it_holds() -> None:
    view = attrs.evolve(fold(delta("the text", 0)), as_of=2)
    run = {"status": "running", "workflow": "delivery", "steps": ["analysis", "design"], "done": 1, "progress": 50}
    steps = [
        {"step": "analysis", "attempt": 1, "status": "completed", "model": "m"},
        {"step": "design", "attempt": 2, "status": "thinking"},
        {"status": "odd"},
    ]
    loaded = load(view, run, steps, 7)
    assert [(one.name, one.attempt, one.status, one.text) for one in loaded.steps] == [
        ("analysis", 1, "completed", "the text"),
        ("design", 2, "thinking", ""),
    ]
    assert apply(loaded, event("run_status", status="failed", seq=7)) == loaded
    assert load(loaded, {"status": "failed"}, [], 6) == loaded
