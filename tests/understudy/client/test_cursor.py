from __future__ import annotations

import pytest

from understudy.client import Event, Position
from understudy.client.cursor import Cursor, Verdict

HERE = Position("e1", 5)


@pytest.mark.parametrize(
    ("kind", "after", "verdict"),
    [
        ("message", Position("e1", 6), "due"),
        ("message", Position("e1", 5), "repeat"),
        ("message", Position("e1", 1), "repeat"),
        ("message", Position("e1", 7), "hole"),
        ("message", Position("e2", 6), "hole"),
        ("agent_delta", None, "due"),
        ("gap", Position("e2", 90), "due"),
        ("gap", Position("e1", 2), "due"),  # ahead: the log was cut back
    ],
)
def test_positions_decide(kind: str, after: Position | None, verdict: Verdict) -> None:
    assert Cursor(HERE, HERE).judge(Event(type=kind), after) == verdict


def test_where_nothing_is_known_everything_is_due_and_the_first_start_is_taken() -> None:
    cursor = Cursor()
    assert cursor.judge(Event(type="message"), Position("e1", 9)) == "due"
    cursor.adopt(HERE)
    cursor.adopt(Position("e2", 0))
    assert (cursor.processed, cursor.handed) == (HERE, HERE)


def test_what_is_in_hand_is_not_processed() -> None:
    cursor = Cursor(HERE, HERE)
    cursor.hand(None)
    cursor.hand(Position("e1", 6))
    assert cursor.processed == HERE
    cursor.mark_processed()
    assert cursor.processed == Position("e1", 6)
