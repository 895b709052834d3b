"""The restart record: OTP's one list of times, and the row of restarts that the backoff counts."""

from __future__ import annotations

import attrs

from supervisors._spec import Backoff, Intensity


@attrs.frozen
class Record:
    """When restarts happened within the last period, and how many there were in all."""

    times: tuple[float, ...] = ()
    total: int = 0

    def add(self, now: float, intensity: Intensity) -> tuple[Record, bool]:
        """Count a restart at `now`. The second value is whether it is within the limit.

        The window is inclusive: a restart exactly one period ago still counts (OTP's `supervisor`).
        """
        kept = tuple(time for time in self.times if time >= now - intensity.period)
        times = (*kept, now)
        return Record(times, self.total + 1), len(times) <= intensity.limit

    def used(self, now: float, intensity: Intensity) -> int:
        """How many restarts count at `now`."""
        return sum(time >= now - intensity.period for time in self.times)


@attrs.frozen
class Row:
    """Restarts in a row: those that came before the child had run quietly."""

    streak: int = 0
    began: float | None = None

    def start(self, now: float) -> Row:
        """An incarnation has begun to run."""
        return Row(self.streak, now)

    def end(self, now: float, backoff: Backoff) -> Row:
        """The incarnation has ended: one more in the row, or the first of a new one."""
        quiet = self.began is not None and now - self.began >= backoff.quiet
        return Row(1 if quiet else self.streak + 1, None)
