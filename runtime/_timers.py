"""Timers tied to an incarnation: they end with it, and a cancelled or replaced one never arrives late."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from runtime._cell import Cell
    from runtime._wheel import Bucket, Wheel

SHORTEST = 0.001


class Timer:
    """A message that an actor sends to itself later, through the system lane."""

    __slots__ = ("active", "bucket", "cell", "due", "every", "key", "message")

    def __init__(self, cell: Cell, key: Hashable, message: object, every: float | None) -> None:
        self.cell = cell
        self.key = key
        self.message = message
        self.every = every
        self.active = True
        self.bucket: Bucket | None = None
        self.due = 0.0

    def arm(self, due: float) -> None:
        self.due = due
        self.bucket = self.cell.system.wheel.add(due, self)

    def cancel(self) -> None:
        self.active = False
        if self.bucket is not None:
            self.bucket.pop(self, None)
            self.bucket = None

    def fire(self) -> None:
        """It is time (called by the wheel). A repeating one keeps its phase and skips what it missed."""
        self.bucket = None
        self.cell.signal(self)

    def taken(self) -> bool:
        """The cell has come to it: whether it still counts. Arms the next turn of a repeating one."""
        if not self.active:
            return False
        if self.every is None:
            assert self.cell.links is not None
            self.cell.links.timers.pop(self.key, None)
            self.active = False
        else:
            now = self.cell.system.now()
            missed = max(0, int((now - self.due) / self.every))
            self.arm(self.due + (missed + 1) * self.every)
        return True


class Deadline:
    """A plain callback on the wheel."""

    __slots__ = ("_bucket", "_call")

    def __init__(self, wheel: Wheel, at: float, call: Callable[[], None]) -> None:
        self._call: Callable[[], None] | None = call
        self._bucket: Bucket | None = wheel.add(at, self)

    def cancel(self) -> None:
        if self._bucket is not None:
            self._bucket.pop(self, None)
        self._bucket = self._call = None

    def fire(self) -> None:
        call = self._call
        self._bucket = self._call = None
        if call is not None:
            call()
