from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.client import Event, RunView, apply
from understudy.terminal.story import Closing, Heading, Item, Note, Piece, Told, tell
from understudy.terminal.words import duration, printable, status_line


def event(kind: str, content: str = "", *, step: str = "a", attempt: int = 1, **metadata: Any) -> Event:
    where = {"step": step, "attempt": attempt, "message_id": f"{step}.{attempt}"}
    return Event(type=kind, run_id="r1", agent_name=step.upper(), content=content, metadata=where | metadata)


def story(*events: Event) -> list[Item]:
    told, view, items = Told(), RunView(run_id="r1", plan=("a", "b")), []
    for one in events:
        view = apply(view, one)
        told, more = tell(told, view, one)
        items += more
    return items


def text_of(items: list[Item]) -> str:
    return "".join(item.text for item in items if isinstance(item, Piece))


def test_steps_side_by_side_are_told_one_after_the_other() -> None:
    items = story(
        event("agent_status", status="started", step="a"),
        event("agent_status", status="started", step="b"),
        event("agent_delta", "b says", offset=0, step="b"),
        event("agent_delta", "a says", offset=0, step="a"),
        event("agent_status", status="completed", step="b"),
        event("agent_delta", " more", offset=6, step="a"),
        event("agent_response", "a says more", step="a"),
        event("agent_status", status="completed", step="a"),
    )
    assert items == [
        Heading(1, 2, "a", "A"),
        Piece("a says"),
        Piece(" more"),
        Closing("done", well=True),
        Heading(2, 2, "b", "B"),
        Piece("b says"),
        Closing("done", well=True),
    ]


def test_an_answer_from_its_beginning_again_is_told_on_from_where_it_was() -> None:
    items = story(
        event("agent_delta", "one two", offset=0),
        event("agent_delta", "one", offset=0),
        event("agent_delta", " two three", offset=3),
        event("agent_response", "one two three"),
    )
    assert [item for item in items if not isinstance(item, Heading)] == [Piece("one two"), Piece(" three")]


def test_another_answer_says_that_it_starts_over() -> None:
    items = story(
        event("agent_delta", "one two", offset=0),
        event("agent_delta", "on", offset=0),
        event("agent_delta", "ly this", offset=2),
    )
    assert items[1:] == [Piece("one two"), Note("The answer starts over.", "warning"), Piece("only this")]


def test_blanks_fewer_at_the_end_are_no_other_answer() -> None:
    assert story(event("agent_delta", "one\n\n", offset=0), event("agent_response", "one"))[1:] == [Piece("one\n\n")]


def test_an_attempt_that_vanished_without_an_end_gives_up_the_floor() -> None:
    items = story(
        event("agent_delta", "first", offset=0),
        event("agent_status", status="started", attempt=2),
        event("agent_delta", "second", offset=0, attempt=2),
    )
    assert items[2] == Note("a was interrupted and begins again.", "warning")
    assert items[3:] == [Heading(1, 2, "a", "A"), Piece("second")]


@given(st.text(max_size=40), st.lists(st.integers(0, 40), max_size=12))
def test_however_often_it_comes_from_its_beginning_the_text_is_told_once(text: str, cuts: list[int]) -> None:
    events = [event("agent_delta", text[:cut], offset=0) for cut in cuts]
    assert text_of(story(*events, event("agent_response", text))) == text


@pytest.mark.parametrize(("seconds", "words"), [(0.04, "0.0 s"), (59.9, "59.9 s"), (65, "1 min 05 s")])
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_nothing_printed_can_steer_a_terminal() -> None:
    assert printable("a\x1b[2J\x07\x9b\r\u202eb\n\tc 日本 👩‍🚀") == "a[2Jb\n\tc 日本 👩‍🚀"


def test_the_status_line_says_where_the_run_stands() -> None:
    view = RunView(run_id="r1")
    assert status_line(None, 1, None) == "starting · 1.0 s"
    assert status_line(view, 1, None) == "queued · 1.0 s"
    assert status_line(view, 1, "Connection lost.") == "Connection lost. · 1.0 s"
    view = apply(RunView(run_id="r1", plan=("a", "b"), done=1), event("agent_status", status="thinking", step="b"))
    assert status_line(view, 61, None) == "step 2 of 2 · b is thinking · 1 min 01 s"
    view = apply(view, event("agent_delta", "t", offset=0, step="b"))
    assert "b is answering" in status_line(view, 1, None)
    view = apply(view, event("tool_executing", tool_name="search", step="b"))
    assert "b is using search" in status_line(view, 1, None)
