"""Keeps a log readable when the same thing happens a thousand times a second. Pure but for its own memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Hashable


@attrs.frozen
class Verdict:
    """Whether to tell of it; whether it is the last of its kind to be told for now; how many of its kind went untold
    since the last one that was told."""

    tell: bool
    last: bool
    untold: int


@attrs.define
class _Window:
    begun: float
    count: int = 0


class Throttle:
    """Lets through at most `most` occurrences of each key in each window of `seconds`, the window beginning with the
    first."""

    def __init__(self, most: int, seconds: float = 1.0) -> None:
        self._most = most
        self._seconds = seconds
        self._windows: dict[Hashable, _Window] = {}
        self._look_at = 0.0

    def admit(self, key: Hashable, now: float) -> Verdict:
        """Something of this kind has happened at `now` (seconds, never going back)."""
        window = self._windows.get(key)
        untold = 0
        if window is None or now - window.begun >= self._seconds:
            untold = self._untold(window) if window is not None else 0
            window = self._windows[key] = _Window(now)
        window.count += 1
        return Verdict(window.count <= self._most, window.count == self._most, untold)

    def over(self, now: float) -> dict[Hashable, int]:
        """Forget the windows that are over; how many went untold in them, by key, where any did.

        Looks at most once a window's length, so it may be called all the time.
        """
        if now < self._look_at:
            return {}
        self._look_at = now + self._seconds
        over = {key: window for key, window in self._windows.items() if now - window.begun >= self._seconds}
        for key in over:
            del self._windows[key]
        return {key: untold for key, window in over.items() if (untold := self._untold(window))}

    def end(self) -> dict[Hashable, int]:
        """How many have gone untold so far, by key. Afterwards everything begins anew."""
        windows, self._windows = self._windows, {}
        return {key: untold for key, window in windows.items() if (untold := self._untold(window))}

    def _untold(self, window: _Window) -> int:
        return max(0, window.count - self._most)
