"""Which facts are alerts, and how an operator reads them.

Names of parts and of models stand in them; no user, no path of a file, no provider's words. What was the cause stands
in the log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actors.operations.reports import component
from runtime import ChildRestart, GaveUp, Stuck, Switched

if TYPE_CHECKING:
    from actors.operations.alerts import Alerts, Severity
    from actors.operations.counters import DaemonCounters
    from actors.storage.journal import StorageTrouble
    from actors.users.silence import SilentFailure
    from runtime import Report

STORAGE: Final = "storage_unavailable"
STAND_IN: Final = "fallback"
RESTART_LIMIT: Final = "restart_limit"
STUCK: Final = "actor_stuck"
SILENT: Final = "silent_failures"
ISOLATION: Final = "isolation_violations"
DRAINING: Final = "draining"

NOT_STORED: Final = "Storage is not available. What would have to be kept is refused; it is tried again every second."
FOREIGN: Final = "An event was about to go to somebody else than its owner, and was refused. This is a defect."
LEAVING: Final = "The daemon is going down."
UNHEARD: Final = {
    "unacknowledged": "Events that a connected client should have acknowledged were not.",
    "uncommitted": "Events have been waiting to be committed for too long.",
}


class Alarms:
    """Raises alerts, and resolves them. Call all of it in trio's thread.

    Args:
        alerts: where they are raised.
        counters: say how often something has happened.
    """

    def __init__(self, alerts: Alerts, counters: DaemonCounters) -> None:
        self._alerts = alerts
        self._counters = counters
        self._leads: dict[str, str | None] = {}
        """The lead of each fallback that was ever switched, by path: the first that was in charge."""

    def report(self, report: Report) -> None:
        """Something that the kernel reports."""
        match report:
            case Switched(path, active, before):
                self._switched(path, active, before)
            case ChildRestart(path):
                self._restarted(path)
            case GaveUp(path, escalated=escalated):
                message = f"A part of {component(path)} has failed so often that it was given up."
                severity: Severity = "critical" if escalated else "warning"
                self._alerts.happened(RESTART_LIMIT, severity, message, times=self._counters.give_ups)
            case Stuck(path):
                message = f"A part of {component(path)} has work and gets none of it done."
                self._alerts.happened(STUCK, "warning", message, times=self._counters.stuck)

    def storage(self, trouble: StorageTrouble | None) -> None:
        """How storage stands."""
        if trouble is None:
            self._alerts.over(STORAGE)
        else:
            self._alerts.begins(STORAGE, "critical", NOT_STORED)

    def silent_failure(self, failure: SilentFailure) -> None:
        """Events that everybody believes delivered."""
        times = self._counters.silent_failures[failure.kind]
        self._alerts.happened(SILENT, "critical", UNHEARD[failure.kind], times=times)

    def isolation(self) -> None:
        """An event was refused at the last check before the wire."""
        self._alerts.happened(ISOLATION, "critical", FOREIGN, times=self._counters.isolation_violations)

    def draining(self) -> None:
        """The daemon leaves. It is not resolved: who comes back finds another one."""
        self._alerts.begins(DRAINING, "warning", LEAVING)

    def _switched(self, path: str, active: str | None, before: str | None) -> None:
        """A fallback has put another target in charge."""
        lead = self._leads.setdefault(path, before)
        name = path.rpartition("/")[2]
        if active == lead:
            self._alerts.over(STAND_IN, subject=path)
        elif active is None:
            message = f"{name}: nobody is left. What needs it gets the answer of last resort until one is back."
            self._alerts.begins(STAND_IN, "critical", message, subject=path)
        else:
            self._alerts.begins(STAND_IN, "warning", f"{name}: {active} stands in for {lead}.", subject=path)

    def _restarted(self, path: str) -> None:
        """A fallback that is started again, or with what is above it, begins with its lead."""
        for subject in self._alerts.open_of(STAND_IN):
            if subject == path or subject.startswith(f"{path}/"):
                self._alerts.over(STAND_IN, subject=subject)
