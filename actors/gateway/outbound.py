"""What waits to be written to one client, in order, counted in bytes. Pure."""

from __future__ import annotations

from collections import deque
from typing import Final

BATCH_BYTES: Final = 65_536
"""Bytes written with one system call, at least one frame."""

PING: Final = b""
"""Stands for a ping among the frames."""


class Outbound:
    """Frames on their way out. Replayed ones go at the client's pace and do not count against the limit."""

    __slots__ = ("_frames", "waiting")

    def __init__(self) -> None:
        self._frames: deque[tuple[bytes, bool]] = deque()
        self.waiting = 0
        """Bytes that count against `limits.outbound_bytes`."""

    def __bool__(self) -> bool:
        return bool(self._frames)

    def add(self, frame: bytes, *, counts: bool = True) -> None:
        self._frames.append((frame, counts))
        if counts:
            self.waiting += len(frame)

    def take(self) -> list[bytes]:
        """The next batch to write. What is taken does not count any more: it is at most one batch."""
        batch: list[bytes] = []
        size = 0
        while self._frames and (not batch or size + len(self._frames[0][0]) <= BATCH_BYTES):
            frame, counts = self._frames[0]
            if frame == PING and batch:
                break
            self._frames.popleft()
            if counts:
                self.waiting -= len(frame)
            batch.append(frame)
            size += len(frame)
            if frame == PING:
                break
        return batch

    def clear(self) -> None:
        """Drop everything: the client will resume."""
        self._frames.clear()
        self.waiting = 0
