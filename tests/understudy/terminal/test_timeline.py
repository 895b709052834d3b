"""The chart under a run's closing table: from the daemon's times alone, whatever became of the connection."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.protocol.timestamp import format_timestamp
from understudy.client import Event, RunView
from understudy.terminal.screen import PlainScreen, TerminalScreen
from understudy.terminal.timeline import Lane, Timeline, drawn, mark, missed, timeline_rows

START = 1_795_000_000.0


def event(at: float, kind: str, **metadata: Any) -> Event:
    return Event(type=kind, timestamp=format_timestamp(START + at), run_id="r1", metadata=metadata)


def step(at: float, name: str, status: str, attempt: int = 1) -> Event:
    return event(at, "agent_status", step=name, status=status, attempt=attempt)


def marked(*events: Event) -> Timeline:
    timeline = Timeline()
    for each in events:
        timeline = mark(timeline, each)
    return timeline


FAN_OUT = (
    event(0.0, "run_status", status="running"),
    step(0.5, "a", "started"),
    step(0.5, "b", "started"),
    step(1.0, "a", "thinking"),
    step(2.0, "b", "error"),
    step(2.5, "b", "started", 2),
    event(2.7, "agent_response", step="b", attempt=2),
    step(4.5, "a", "completed"),
    step(6.0, "b", "completed", 2),
    step(6.0, "c", "started"),
    step(80.0, "c", "completed"),
    event(80.0, "run_status", status="completed"),
)


def test_start_length_and_attempts_of_each_step() -> None:
    timeline = marked(*FAN_OUT)
    assert timeline.length == pytest.approx(80.0)
    assert [cells for cells, _ in timeline_rows(timeline)] == [
        ("a", "+0.5 s", "4.0 s", "1"),
        ("b", "+0.5 s", "5.5 s", "2"),
        ("c", "+6.0 s", "1 min 14 s", "1"),
    ]


def test_what_was_not_seen_is_left_out() -> None:
    timeline = marked(event(0.0, "run_status", status="running"), step(3.0, "a", "completed", 2))
    assert timeline_rows(timeline) == [(("a", "", "", "2"), None)]


def test_a_step_that_is_not_over_goes_to_the_end() -> None:
    timeline = marked(event(0.0, "run_status"), step(1.0, "a", "started"), event(3.0, "run_status", status="cancelled"))
    [(cells, lane)] = timeline_rows(timeline)
    assert cells == ("a", "+1.0 s", "2.0 s", "1")
    assert lane == Lane(pytest.approx(1.0), pytest.approx(3.0))


def test_of_a_step_whose_end_was_missed_no_length_is_made_up() -> None:
    seen = marked(
        event(0.0, "run_status"), *(step(1.0, name, "started") for name in "abc"), step(2.0, "a", "completed")
    )
    timeline = mark(missed(seen, {"a", "b"}), event(9.0, "run_status", status="completed"))
    assert [cells for cells, _ in timeline_rows(timeline)] == [
        ("a", "+1.0 s", "1.0 s", "1"),
        ("b", "", "", "1"),
        ("c", "+1.0 s", "8.0 s", "1"),
    ]


def test_an_event_without_a_time_changes_nothing() -> None:
    strange = Event(type="agent_status", timestamp="yesterday", metadata={"step": "a", "status": "started"})
    assert marked(strange) == Timeline()
    before = marked(*FAN_OUT)
    assert mark(before, event(99.0, "agent_status", status="started")).spans == before.spans


def test_a_clock_that_was_set_back_makes_no_negative_times() -> None:
    timeline = marked(event(10.0, "run_status"), step(5.0, "a", "started"), step(4.0, "a", "completed"))
    assert timeline_rows(timeline) == [(("a", "+0.0 s", "0.0 s", "1"), Lane(0.0, 0.0))]


@given(st.floats(0, 100), st.floats(0, 100), st.floats(0.1, 100), st.integers(1, 60))
def test_a_bar_stays_in_its_place_and_is_never_empty(begin: float, more: float, length: float, width: int) -> None:
    begin, end = min(begin, length), min(begin + more, length)
    bar = drawn(Lane(begin, end), length, width)
    assert bar.count("#") >= 1
    assert len(bar) <= width
    assert bar.strip(" ") == "#" * bar.count("#")


def test_where_nothing_is_known_no_bar_is_drawn() -> None:
    assert drawn(None, 5.0, 10) == drawn(Lane(0.0, 0.0), 0.0, 10) == ""


def test_plain_lines() -> None:
    out = io.StringIO()
    PlainScreen(out).summary(RunView(run_id="r1", status="completed"), marked(*FAN_OUT[:9]), 6.0)
    lines = out.getvalue().splitlines()
    first = lines.index("step  start   time   attempts")
    assert lines[first + 1 : first + 3] == [
        "a     +0.5 s  4.0 s  1            " + "#" * 27,
        "b     +0.5 s  5.5 s  2            " + "#" * 37,
    ]


def test_without_events_there_is_no_chart() -> None:
    out = io.StringIO()
    PlainScreen(out).summary(RunView(run_id="r1", status="completed"), Timeline(), 6.0)
    assert "attempts" not in out.getvalue()


@pytest.mark.parametrize("width", [60, 100])
def test_on_a_terminal_the_bars_take_the_rest_of_the_width(width: int) -> None:
    out = io.StringIO()
    screen = TerminalScreen(out, colour=False, width=width)
    screen.summary(RunView(run_id="r1", status="completed"), marked(*FAN_OUT[:9]), 6.0)
    rows = [line for line in out.getvalue().splitlines() if "█" in line]
    assert len(rows) == 2
    assert all(len(line) <= width for line in rows)
    assert rows[1].count("█") > rows[0].count("█") > width // 6
