"""Turns what the kernel reports into lines of the log and counts.

One line a report, the cause in it: tracebacks are for operators and appear here and nowhere else. A report is made in
the task where the fact happened, so this must be quick. A traceback costs a millisecond to format, and a hundred actors
that fail for the same reason have one cause: after a few equal reports in a second the rest are only counted, and the
log says that they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, assert_never

import trio

from actors.operations.counters import DaemonCounters, count_bounded
from actors.operations.throttle import Throttle
from runtime import (
    ChildFailed,
    ChildRestart,
    Crash,
    GaveUp,
    HookFailed,
    LoopBlocked,
    RefusedTell,
    Report,
    StopOverdue,
    Stuck,
    Switched,
)
from supervisors import RestartLimitReached

if TYPE_CHECKING:
    from collections.abc import Hashable

    from structlog.typing import FilteringBoundLogger

    from actors.operations.alarms import Alarms
    from actors.storage.journal import StorageTrouble
    from actors.users.silence import SilentFailure

EQUAL_A_SECOND: Final = 5
MOST_LABELS: Final = 100
_PASSED_ON: Final = (RestartLimitReached, ChildFailed)
"""A host ends with these because a child did, and that crash has been told, with its traceback."""


class ReportLog:
    """What `System(report=...)` wants.

    Args:
        log: where the lines go. Errors are handed on as `exc_info`, to be formatted while they have their traceback, or
            not at all if the level is not logged.
        counters: `crashes`, `restarts`, `switches`, `give_ups` and their like are counted here, each report once,
            whether or not it is logged.
        alarms: hears of everything too, once it is counted and logged; None: there are no alerts.
        equal_a_second: so many equal reports in a second are logged. Crashes are equal when the kind of actor, the type
            of the message in hand, the type of the error and the line that raised it are.
    """

    def __init__(
        self,
        log: FilteringBoundLogger,
        counters: DaemonCounters,
        alarms: Alarms | None = None,
        *,
        equal_a_second: int = EQUAL_A_SECOND,
    ) -> None:
        self._log = log
        self._alarms = alarms
        self._counters = counters
        self._throttle = Throttle(equal_a_second)
        self._storage: str | None = None

    def __call__(self, report: Report) -> None:
        """Count it, and log it unless too many equal ones came before. Call it in trio's thread."""
        now = trio.current_time()
        self._tell_untold(self._throttle.over(now))
        match report:
            case Crash():
                self._crash(report, now)
            case ChildRestart():
                self._restart(report, now)
            case GaveUp():
                self._gave_up(report, now)
            case Switched():
                self._switched(report, now)
            case RefusedTell():
                self._counters.refused_tells += 1
                key = ("message refused", component(report.path), report.message)
                self._line("warning", key, now, actor=report.path, refused=report.message)
            case HookFailed():
                self._hook_failed(report, now)
            case StopOverdue():
                self._counters.overdue_stops += 1
                self._line("critical", ("not ended in time",), now, actors=list(report.paths))
            case Stuck():
                self._stuck(report, now)
            case _:
                assert_never(report)
        if self._alarms is not None:
            self._alarms.report(report)

    def loop_blocked(self, blocked: LoopBlocked) -> None:
        """What `watch_loop` wants. Called in its thread, while the loop is blocked: trio's clock is not at hand there,
        and there is no need to hold back, for a block is told once.
        """
        self._counters.loop_blocks += 1
        fields = {"actor": blocked.path, "handling": blocked.message, "seconds": blocked.seconds}
        known = {name: value for name, value in fields.items() if value is not None}
        self._log.critical("loop blocked", **known, exception=f"Stack of the loop:\n{blocked.stack}")

    def silent_failure(self, failure: SilentFailure) -> None:
        """What the users' contexts want. It has been counted there; people are to be told. Call it in trio's thread."""
        now = trio.current_time()
        self._tell_untold(self._throttle.over(now))
        fields = {"kind": failure.kind, "user": failure.user, "events": failure.events, "seconds": failure.seconds}
        if failure.clients:
            fields["clients"] = list(failure.clients)
        self._line("critical", ("silent failure", failure.kind), now, **fields)
        if self._alarms is not None:
            self._alarms.silent_failure(failure)

    def storage(self, trouble: StorageTrouble | None) -> None:
        """What the journal wants, as often as it likes: a line when storage is in trouble, when that is another, and
        when it is over. Call it in trio's thread.
        """
        if self._alarms is not None:
            self._alarms.storage(trouble)
        detail = None if trouble is None else trouble.detail
        if detail == self._storage:
            return
        self._storage = detail
        if detail is None:
            self._log.info("storage works again")
        else:
            self._log.error("storage unavailable", cause=detail)

    def close(self) -> None:
        """Say how many reports of the last second were left out. For the end of the daemon."""
        self._tell_untold(self._throttle.end())

    def _crash(self, crash: Crash, now: float) -> None:
        self._counters.crashes[crash.kind] += 1
        error = crash.error
        fields: dict[str, Any] = {"actor": crash.path, "kind": crash.kind, "incarnation": crash.incarnation}
        if crash.message is not None:
            fields["handling"] = crash.message
        if error is None:
            self._line("error", ("actor cancelled", crash.kind, crash.message), now, **fields, cause=crash.detail)
            return
        key = ("actor crashed", crash.kind, crash.message, type(error), _place(error))
        if not isinstance(error, _PASSED_ON):
            fields["exc_info"] = error
        self._line("error", key, now, **fields, cause=crash.detail)

    def _restart(self, restart: ChildRestart, now: float) -> None:
        where = component(restart.path)
        count_bounded(self._counters.restarts, where, MOST_LABELS)
        self._line(
            "warning",
            ("actor restarts", where),
            now,
            actor=restart.path,
            cause=restart.reason,
            used=restart.restarts,
            limit=restart.limit,
            delay=round(restart.delay, 3),
        )

    def _gave_up(self, gave_up: GaveUp, now: float) -> None:
        self._counters.give_ups += 1
        self._counters.escalations += gave_up.escalated
        self._line(
            "critical" if gave_up.escalated else "error",
            ("restart limit reached", component(gave_up.path), gave_up.escalated),
            now,
            actor=gave_up.path,
            cause=gave_up.reason,
            restarts=gave_up.restarts,
            period=gave_up.period,
            escalated=gave_up.escalated,
        )

    def _switched(self, switched: Switched, now: float) -> None:
        count_bounded(self._counters.switches, switched.path, MOST_LABELS)
        fields = {"fallback": switched.path, "active": switched.active, "before": switched.before}
        key = ("fallback switched", switched.path)
        self._line("warning", key, now, **fields, cause=switched.reason)

    def _stuck(self, stuck: Stuck, now: float) -> None:
        self._counters.stuck += 1
        fields: dict[str, Any] = {"actor": stuck.path, "kind": stuck.kind, "state": stuck.state, "waiting": stuck.depth}
        if stuck.handling is not None:
            fields |= {"handling": stuck.handling, "seconds": round(stuck.age, 3)}
        self._line("error", ("actor stuck", stuck.kind, stuck.handling), now, **fields)

    def _hook_failed(self, failed: HookFailed, now: float) -> None:
        self._counters.hook_failures += 1
        fields: dict[str, Any] = {"actor": failed.path, "kind": failed.kind}
        if failed.error is None:
            self._line("error", ("hook cut off", failed.kind), now, **fields)
            return
        key = ("hook failed", failed.kind, type(failed.error), _place(failed.error))
        self._line("error", key, now, **fields, exc_info=failed.error)

    def _line(self, level: str, key: tuple[object, ...], now: float, **fields: Any) -> None:
        """One line, named by the first part of the key, unless there have been too many of the same key."""
        verdict = self._throttle.admit(key, now)
        if not verdict.tell:
            return
        if verdict.untold:
            fields["left_out_before"] = verdict.untold
        if verdict.last:
            fields["note"] = "more like this within this second are only counted"
        getattr(self._log, level)(str(key[0]), **fields)

    def _tell_untold(self, untold: dict[Hashable, int]) -> None:
        for key, count in untold.items():
            assert isinstance(key, tuple)
            about = [part.__name__ if isinstance(part, type) else str(part) for part in key[1:] if part is not None]
            self._log.warning("reports left out", of=key[0], count=count, about=" ".join(about))


def component(path: str) -> str:
    """The part of the daemon that a path belongs to: `/users/u1/x` is of `users`, the root itself of `/`."""
    return path.strip("/").partition("/")[0] or "/"


def _place(error: BaseException) -> tuple[str, int] | None:
    """The line that raised it: two errors of one type from one place are the same trouble."""
    traceback = error.__traceback__
    if traceback is None:
        return None
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback.tb_frame.f_code.co_filename, traceback.tb_lineno
