"""What waits to be written to one client, in order, counted in bytes. Pure."""

from __future__ import annotations

from collections import deque
from typing import Final

import attrs

BATCH_BYTES: Final = 65_536
"""Bytes written with one system call, at least one frame."""

PING: Final = b""
"""Stands for a ping among the frames."""


@attrs.frozen
class Batch:
    """Frames to be written together, or one ping; `durable` of them are durable events."""

    frames: list[bytes]
    durable: int

    @property
    def is_ping(self) -> bool:
        return self.frames == [PING]


class Outbound:
    """Frames on their way out. Replayed ones go at the client's pace and do not count against the limit."""

    __slots__ = ("_frames", "waiting")

    def __init__(self) -> None:
        self._frames: deque[tuple[bytes, bool, bool]] = deque()
        self.waiting = 0
        """Bytes that count against `limits.outbound_bytes`."""

    def __bool__(self) -> bool:
        return bool(self._frames)

    def add(self, frame: bytes, *, durable: bool = False, counts: bool = True) -> None:
        self._frames.append((frame, durable, counts))
        if counts:
            self.waiting += len(frame)

    def take(self) -> Batch:
        """The next batch to write. What is taken does not count any more: it is at most one batch."""
        frames: list[bytes] = []
        durable_frames = size = 0
        while self._frames and (not frames or size + len(self._frames[0][0]) <= BATCH_BYTES):
            frame, durable, counts = self._frames[0]
            if frame == PING and frames:
                break
            self._frames.popleft()
            if counts:
                self.waiting -= len(frame)
            frames.append(frame)
            durable_frames += durable
            size += len(frame)
            if frame == PING:
                break
        return Batch(frames, durable_frames)

    def clear(self) -> None:
        """Drop everything: the client will resume."""
        self._frames.clear()
        self.waiting = 0
