"""Alerts: what an operator has to know at once, told on `system_alerts`.

Two kinds. What lasts (storage is in trouble, an understudy stands in) is raised when it begins, told again when it
changes, and resolved when it is over, all under one `alert_id`. What has happened (events that nobody got) has no end:
it is told at most once in `QUIET` seconds, with the number of times that it has happened so far.

Each comes from the place where the fact is known, in the moment in which it is; nothing is asked for, nothing measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import attrs
import trio

from actors.protocol.channel_events import AlertView
from actors.protocol.timestamp import format_timestamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.protocol.stamps import Stamps

QUIET: Final = 60.0
"""Seconds for which what happens again is not told again."""
MOST: Final = 200
"""Alerts that may be open at a time, and things that may be quiet. There are a handful, and one a fallback."""

Severity = Literal["info", "warning", "critical"]


class Alerts:
    """One a daemon. All of it is called in trio's thread, and waits for nothing.

    Args:
        stamps: where ids and times come from.
        publish: tells whoever listens.
    """

    def __init__(self, stamps: Stamps, publish: Callable[[AlertView], object]) -> None:
        self._stamps = stamps
        self._publish = publish
        self._open: dict[tuple[str, str], AlertView] = {}
        self._told_at: dict[tuple[str, str], float] = {}

    @property
    def open(self) -> list[AlertView]:
        """Those that last, the oldest first."""
        return list(self._open.values())

    def begins(self, name: str, severity: Severity, message: str, *, subject: str = "") -> None:
        """Something lasts from now on, until `over`. Saying so again tells only what is new in it.

        `subject`: of several alerts of this name, the one that is meant.
        """
        key = name, subject
        known = self._open.get(key)
        if known is None and len(self._open) < MOST:
            self._tell(key, self._new(name, severity, message))
        elif known is not None and (known.severity, known.message) != (severity, message):
            self._tell(key, attrs.evolve(known, severity=severity, message=message))

    def over(self, name: str, *, subject: str = "") -> None:
        """It lasts no longer; nothing happens where it did not."""
        known = self._open.pop((name, subject), None)
        if known is not None:
            self._publish(attrs.evolve(known, resolved_at=format_timestamp(self._stamps.wall())))

    def open_of(self, name: str) -> list[str]:
        """The subjects of the alerts of this name that are open."""
        return [subject for each, subject in self._open if each == name]

    def happened(self, name: str, severity: Severity, message: str, *, times: int) -> None:
        """Something has happened, and by now so many times since the daemon's start, where 0 is wanted."""
        now, key = trio.current_time(), (name, message)
        told_at = self._told_at.get(key)
        if now - told_at >= QUIET if told_at is not None else len(self._told_at) < MOST:
            self._told_at[key] = now
            self._publish(attrs.evolve(self._new(name, severity, message), value=float(times), threshold=0.0))

    def _tell(self, key: tuple[str, str], alert: AlertView) -> None:
        self._open[key] = alert
        self._publish(alert)

    def _new(self, name: str, severity: Severity, message: str) -> AlertView:
        raised_at = format_timestamp(self._stamps.wall())
        return AlertView(alert_id=self._stamps.id(), name=name, severity=severity, message=message, raised_at=raised_at)
