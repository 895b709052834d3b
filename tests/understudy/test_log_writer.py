"""Lines are written by a thread: in order, in pieces, none lost without being counted, all of them at the end."""

from __future__ import annotations

import io
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest

from understudy.log_writer import LEFT_OUT, LINES_AT_ONCE, Line, LogWriter, log_writer
from understudy.logs import SCRUBBED, open_log

if TYPE_CHECKING:
    from collections.abc import Callable

MORNING = 1795163400.25
WITHIN = 20.0


class Held(io.StringIO):
    """A file that takes nothing until it is let; keeps each piece. `broken`: it refuses them."""

    def __init__(self) -> None:
        super().__init__()
        self.let = threading.Event()
        self.asked = threading.Event()
        self.pieces: list[str] = []
        self.broken = False

    def write(self, piece: str) -> int:
        self.asked.set()
        assert self.let.wait(WITHIN)
        if self.broken:
            raise OSError(28, "No space left on device")
        self.pieces.append(piece)
        return len(piece)

    @property
    def events(self) -> list[str]:
        return [json.loads(line)["event"] for line in "".join(self.pieces).splitlines()]


@pytest.fixture
def out() -> Held:
    return Held()


def events(out: io.StringIO) -> list[str]:
    return [json.loads(line)["event"] for line in out.getvalue().splitlines()]


def test_lines_come_in_their_order_and_all_of_them_at_the_end() -> None:
    out = io.StringIO()
    threads = threading.active_count()
    with log_writer(out) as writer:
        log = open_log(writer, now=lambda: MORNING)
        for number in range(100):
            log.info("line", number=number)
    assert [json.loads(line)["number"] for line in out.getvalue().splitlines()] == list(range(100))
    assert json.loads(out.getvalue().splitlines()[0])["timestamp"] == "2026-11-20T08:30:00.250Z"
    assert writer.lost == 0
    assert threading.active_count() == threads


def test_flush_waits_for_what_was_logged_before() -> None:
    out = io.StringIO()
    with log_writer(out) as writer:
        log = open_log(writer)
        for name in ("one", "two"):
            log.info(name)
            assert writer.flush(WITHIN)
            assert events(out)[-1] == name


def test_whoever_logs_does_not_wait_for_the_file(out: Held) -> None:
    with log_writer(out) as writer:
        log = open_log(writer)
        log.info("first")
        assert out.asked.wait(WITHIN)
        log.info("second")
        assert not writer.flush(0.01)
        assert out.pieces == []
        out.let.set()
        assert writer.flush(WITHIN)
    assert out.events == ["first", "second"]


def test_a_few_lines_are_formatted_at_a_time(out: Held) -> None:
    with log_writer(out) as writer:
        log = open_log(writer)
        log.info("first")
        assert out.asked.wait(WITHIN)
        for _ in range(3 * LINES_AT_ONCE):
            log.info("more")
        out.let.set()
        assert writer.flush(WITHIN)
    assert max(piece.count("\n") for piece in out.pieces) <= LINES_AT_ONCE
    assert out.events == ["first", *["more"] * (3 * LINES_AT_ONCE)]


def test_lines_without_room_are_counted_and_the_log_says_how_many(out: Held) -> None:
    with log_writer(out, most=5) as writer:
        log = open_log(writer)
        log.info("first")
        assert out.asked.wait(WITHIN)
        for number in range(8):
            log.info("line", number=number)
        assert writer.lost == 3
        out.let.set()
        assert writer.flush(WITHIN)
        log.info("after")
    assert out.events == ["first", *["line"] * 5, LEFT_OUT, "after"]
    told = json.loads("".join(out.pieces).splitlines()[-2])
    assert (told["count"], told["level"]) == (3, "warning")


def test_lines_that_the_file_does_not_take_are_counted_and_told_when_it_does(out: Held) -> None:
    out.let.set()
    out.broken = True
    with log_writer(out) as writer:
        log = open_log(writer)
        for _ in range(2):
            log.info("gone")
            assert writer.flush(WITHIN)
        assert writer.lost == 2
        out.broken = False
        log.info("back")
    assert out.events == ["back", LEFT_OUT]
    assert json.loads("".join(out.pieces).splitlines()[-1])["count"] == 2
    assert writer.lost == 2


def test_a_line_that_cannot_be_put_into_words_is_lost_alone() -> None:
    out = io.StringIO()

    def render(at: float, fields: Any) -> str:
        del at
        if fields["event"] == "odd":
            raise RuntimeError("nobody has thought of that")
        return str(fields["event"])

    with log_writer(out) as writer:
        for event in ("one", "odd", "two"):
            writer.put(Line(render, MORNING, {"event": event}))
        assert writer.flush(WITHIN)
    assert out.getvalue().splitlines() == ["one", "two", LEFT_OUT]
    assert writer.lost == 1


def test_behind_the_end_lines_are_written_at_once() -> None:
    out = io.StringIO()
    with log_writer(out) as writer:
        log = open_log(writer)
    log.info("late")
    assert events(out) == ["late"]
    assert writer.close()
    assert events(out) == ["late"]


def test_the_end_does_not_wait_for_ever_for_a_file_that_takes_nothing(out: Held) -> None:
    writer = LogWriter(out)
    log = open_log(writer)
    log.info("stays")
    assert not writer.close(0.01)
    log.info("late")
    assert not writer.close(0.01)
    assert writer.lost == 1
    out.let.set()


@pytest.mark.parametrize("style", ["json", "terminal"])
def test_what_a_line_says_is_fixed_where_it_is_logged(out: Held, style: Any) -> None:
    with log_writer(out) as writer:
        log = open_log(writer, style=style)
        log.info("first")
        assert out.asked.wait(WITHIN)
        steps = ["a"]
        error = ValueError("inside")
        try:
            raise error
        except ValueError:
            log.info("line", steps=steps, exc_info=True)
        steps.append("b")
        error.__traceback__ = None
        out.let.set()
    (line,) = (piece for piece in out.pieces if "line" in piece)
    assert "Traceback (most recent call last)" in line
    assert "'b'" not in line
    assert '"b"' not in line


SECRETS: list[Callable[[], Any]] = [
    lambda: "correct-horse",
    lambda: {"deep": ["correct-horse"]},
    lambda: ValueError("correct-horse"),
    lambda: ["Bearer correct-horse"],
]


@pytest.mark.parametrize("make", SECRETS)
@pytest.mark.parametrize("style", ["json", "terminal"])
def test_secrets_are_taken_out_whatever_they_stand_in(make: Callable[[], Any], style: Any) -> None:
    out = io.StringIO()
    with log_writer(out) as writer:
        open_log(writer, style=style, secrets=["correct-horse"]).info("line", field=make(), api_key="plain")
    assert "correct" not in out.getvalue()
    assert "plain" not in out.getvalue()
    assert SCRUBBED in out.getvalue()


def test_two_logs_share_no_writer() -> None:
    first, second = io.StringIO(), io.StringIO()
    with log_writer(first) as one, log_writer(second) as two:
        open_log(one).info("first")
        open_log(two).info("second")
    assert (events(first), events(second)) == (["first"], ["second"])
