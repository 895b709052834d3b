from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO
from typing import Any, Protocol

import pytest
import trio
from trio.testing import MockClock

from actors.operations.counters import DaemonCounters
from actors.operations.reports import ReportLog, component
from actors.users.silence import SilentFailure
from runtime import (
    ChildFailed,
    ChildRestart,
    Crash,
    Crashed,
    GaveUp,
    HookFailed,
    LoopBlocked,
    RefusedTell,
    StopOverdue,
    Stuck,
    Switched,
    System,
)
from supervisors import RestartLimitReached
from tests.support.small_daemon import Fail, Refuse, admit, settled
from understudy.logs import open_log


class Daemon(Protocol):
    system: System
    counters: DaemonCounters
    out: StringIO


class Book:
    """A report log and the lines that it has written."""

    def __init__(self, level: str = "info") -> None:
        self.out = StringIO()
        self.counters = DaemonCounters()
        self.report = ReportLog(open_log(self.out, style="json", level=level), self.counters)

    @property
    def lines(self) -> list[dict[str, Any]]:
        return lines_of(self.out)


def lines_of(out: StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def broken(text: str) -> Exception:
    try:
        raise LookupError(text)
    except LookupError as error:
        return error


def broken_elsewhere(text: str) -> Exception:
    try:
        raise LookupError(text)
    except LookupError as error:
        return error


def crash(error: BaseException | None = None, path: str = "/users/u1", message: str | None = "Work") -> Crash:
    return Crash(path, "UserContext", 2, message, error, f"{type(error).__name__}: {error}")


async def test_a_silent_failure_is_a_critical_line_and_a_flood_of_them_is_not() -> None:
    book = Book()
    for number in range(30):
        book.report.silent_failure(SilentFailure(f"u{number}", "unacknowledged", 2, 60.0, ("c",)))
    book.report.silent_failure(SilentFailure("u1", "uncommitted", 1, 60.0))
    first, *rest = book.lines
    assert (first["level"], first["event"], first["kind"]) == ("critical", "silent failure", "unacknowledged")
    assert (first["user"], first["events"], first["seconds"], first["clients"]) == ("u0", 2, 60.0, ["c"])
    assert len(rest) == 5
    assert (rest[-1]["kind"], "clients" in rest[-1]) == ("uncommitted", False)


async def test_a_crash_is_one_line_with_its_traceback() -> None:
    book = Book()
    book.report(crash(broken("no such thing")))
    [line] = book.lines
    assert line["event"] == "actor crashed"
    assert line["level"] == "error"
    assert (line["actor"], line["kind"], line["incarnation"], line["handling"]) == (
        "/users/u1",
        "UserContext",
        2,
        "Work",
    )
    assert line["cause"] == "LookupError: no such thing"
    assert "Traceback (most recent call last)" in line["exception"]
    assert "in broken\n" in line["exception"]
    assert book.counters.crashes == {"UserContext": 1}


async def test_a_crash_at_the_start_was_handling_nothing() -> None:
    book = Book()
    book.report(crash(broken("x"), message=None))
    assert "handling" not in book.lines[0]


async def test_one_that_was_cancelled_has_no_traceback() -> None:
    book = Book()
    book.report(Crash("/runs/r", "Run", 0, "Step", None, "did not stop in time (/runs/r)"))
    [line] = book.lines
    assert line["event"] == "actor cancelled"
    assert line["cause"] == "did not stop in time (/runs/r)"
    assert "exception" not in line
    assert book.counters.crashes == {"Run": 1}


@pytest.mark.parametrize(
    "make",
    [
        lambda reason: RestartLimitReached("/users", reason, 3, 5.0),
        lambda reason: ChildFailed("/users/u1", reason),
    ],
)
async def test_what_a_child_has_caused_is_not_told_with_a_traceback_again(
    make: Callable[[Crashed], Exception],
) -> None:
    book = Book()
    error = make(Crashed(broken("the cause")))
    book.report(Crash("/users", "Users", 0, None, error, f"{type(error).__name__}: {error}"))
    [line] = book.lines
    assert "the cause" in line["cause"]
    assert "exception" not in line


async def test_equal_crashes_are_only_counted_after_some_and_the_log_says_so(autojump_clock: MockClock) -> None:
    book = Book()
    for index in range(50):
        book.report(crash(broken(f"text {index}"), path=f"/users/u{index}"))
    assert [line["actor"] for line in book.lines] == [f"/users/u{index}" for index in range(5)]
    assert [line.get("note") for line in book.lines] == [None] * 4 + [
        "more like this within this second are only counted"
    ]
    assert book.counters.crashes == {"UserContext": 50}

    await trio.sleep(1.5)
    book.report(crash(broken("later")))
    told, line = book.lines[5:]
    assert (told["event"], told["of"], told["count"]) == ("reports left out", "actor crashed", 45)
    assert "LookupError" in told["about"]
    assert line["cause"] == "LookupError: later"


async def test_a_new_window_tells_what_the_last_one_left_out(autojump_clock: MockClock) -> None:
    book = Book()
    book.report(RefusedTell("/clerk", "Other"))
    await trio.sleep(0.5)
    for _ in range(7):
        book.report(crash(broken("x")))
    await trio.sleep(0.75)
    book.report(RefusedTell("/clerk", "Other"))  # looks at the windows, and the crashes' is not over yet
    await trio.sleep(0.5)
    book.report(crash(broken("x")))
    assert book.lines[-1]["left_out_before"] == 2


async def test_different_crashes_do_not_hide_each_other(autojump_clock: MockClock) -> None:
    book = Book()
    for _ in range(10):
        book.report(crash(broken("x")))
        book.report(crash(broken_elsewhere("x")))
        book.report(crash(ValueError("never raised")))
    assert len(book.lines) == 15


async def test_the_end_says_what_was_left_out_last(autojump_clock: MockClock) -> None:
    book = Book()
    for _ in range(8):
        book.report(crash(broken("x")))
    book.report.close()
    assert book.lines[-1]["count"] == 3
    book.report.close()
    assert len(book.lines) == 6


class Counting(Exception):
    """Counts how often somebody wants its text."""

    formatted = 0

    def __str__(self) -> str:
        self.formatted += 1
        return "counted"


async def test_left_out_reports_are_not_formatted(autojump_clock: MockClock) -> None:
    book = Book()
    errors = [Counting() for _ in range(1000)]
    for error in errors:
        book.report(Crash("/users/u", "UserContext", 0, None, error, "detail"))
    assert [bool(error.formatted) for error in errors] == [True] * 5 + [False] * 995
    quiet, unseen = Book(level="critical"), Counting()
    quiet.report(Crash("/users/u", "UserContext", 0, None, unseen, "detail"))
    assert unseen.formatted == 0
    assert quiet.counters.crashes.total() == 1


async def test_a_restart() -> None:
    book = Book()
    book.report(ChildRestart("/users/u1", "LookupError: x", 2, 3, 0.123456))
    [line] = book.lines
    expected = {"event": "actor restarts", "level": "warning", "actor": "/users/u1", "cause": "LookupError: x"}
    assert line.items() >= {**expected, "used": 2, "limit": 3, "delay": 0.123}.items()
    assert book.counters.restarts == {"users": 1}


@pytest.mark.parametrize(("escalated", "level"), [(False, "error"), (True, "critical")])
async def test_giving_up(escalated: bool, level: str) -> None:
    book = Book()
    book.report(GaveUp("/users/u1", "LookupError: x", 3, 5.0, escalated=escalated))
    [line] = book.lines
    assert (line["event"], line["level"], line["escalated"]) == ("restart limit reached", level, escalated)
    assert (book.counters.give_ups, book.counters.escalations) == (1, escalated)


async def test_a_switch() -> None:
    book = Book()
    book.report(Switched("/models/chain", "backup", "lead", "lead is open"))
    book.report(Switched("/models/chain", None, "backup", "backup is open"))
    first, second = book.lines
    assert (first["fallback"], first["active"], first["before"]) == ("/models/chain", "backup", "lead")
    assert second["active"] is None
    assert book.counters.switches == {"/models/chain": 2}


async def test_a_refused_tell() -> None:
    book = Book()
    book.report(RefusedTell("/runs", "Cancel"))
    [line] = book.lines
    assert (line["event"], line["actor"], line["refused"]) == ("message refused", "/runs", "Cancel")
    assert book.counters.refused_tells == 1


async def test_a_hook() -> None:
    book = Book()
    book.report(HookFailed("/runs/r", "Run", broken("in stopped")))
    book.report(HookFailed("/runs/r", "Run", None))
    failed, cut_off = book.lines
    assert failed["event"] == "hook failed"
    assert "in stopped" in failed["exception"]
    assert cut_off["event"] == "hook cut off"
    assert "exception" not in cut_off
    assert book.counters.hook_failures == 2


async def test_an_overdue_stop() -> None:
    book = Book()
    book.report(StopOverdue(("/runs/r", "/runs")))
    [line] = book.lines
    assert (line["level"], line["actors"]) == ("critical", ["/runs/r", "/runs"])
    assert book.counters.overdue_stops == 1


async def test_a_stuck_actor() -> None:
    book = Book()
    book.report(Stuck("/storage", "Journal", "running", "Append", 12.3456, 40))
    book.report(Stuck("/users", "Users", "starting", None, 0.0, 1))
    busy, starting = book.lines
    expected = {"event": "actor stuck", "level": "error", "actor": "/storage", "kind": "Journal", "state": "running"}
    assert busy.items() >= {**expected, "handling": "Append", "seconds": 12.346, "waiting": 40}.items()
    assert "handling" not in starting
    assert book.counters.stuck == 2


async def test_a_blocked_loop_is_told_from_another_thread() -> None:
    book = Book()
    await trio.to_thread.run_sync(book.report.loop_blocked, LoopBlocked("/runs/r", "Step", 0.5, "  File x, line 1\n"))
    await trio.to_thread.run_sync(book.report.loop_blocked, LoopBlocked(None, None, 0.5, ""))
    of_an_actor, of_nobody = book.lines
    expected = {"event": "loop blocked", "level": "critical", "actor": "/runs/r", "handling": "Step", "seconds": 0.5}
    assert of_an_actor.items() >= expected.items()
    assert "File x, line 1" in of_an_actor["exception"]
    assert "actor" not in of_nobody
    assert book.counters.loop_blocks == 2


@pytest.mark.parametrize(("path", "part"), [("/users/u%2F1/x", "users"), ("/clerk", "clerk"), ("/", "/")])
def test_the_component_of_a_path(path: str, part: str) -> None:
    assert component(path) == part


async def test_in_a_running_system(daemon: Daemon) -> None:
    daemon.system.ref("/clerk").tell(Fail("planted here"))
    daemon.system.ref("/clerk").tell(Refuse())
    await settled()
    crashed, restarts, refused = lines_of(daemon.out)
    assert (crashed["actor"], crashed["handling"], crashed["cause"]) == ("/clerk", "Fail", "RuntimeError: planted here")
    assert "small_daemon.py" in crashed["exception"]
    assert (restarts["event"], restarts["delay"]) == ("actor restarts", 0.0)
    assert (refused["event"], refused["refused"]) == ("message refused", "Refuse")
    assert daemon.system.report_failures == 0


async def test_fifty_crashes_at_once_are_five_lines(autojump_clock: MockClock, daemon: Daemon) -> None:
    for visitor in await admit(daemon.system, *(f"v{index}" for index in range(50))):
        visitor.tell(Fail())
    await settled()
    assert daemon.counters.crashes == {"Visitor": 50}
    assert [line["event"] for line in lines_of(daemon.out)] == ["actor crashed"] * 5
