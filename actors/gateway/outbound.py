"""What waits to be written to one client, in order, counted in bytes. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from actors.gateway.conflation import conflate
from actors.gateway.frames import PING_FRAME, text_frames

if TYPE_CHECKING:
    from actors.protocol.events import Event

BATCH_BYTES: Final = 65_536
"""Bytes written with one system call, at least one frame."""


@attrs.frozen
class Out:
    """One message to write.

    Attributes:
        frame: its bytes.
        seq: of a durable event.
        replayed: whether it comes from the log; then it does not count against the limit.
        event: what the frame says, where it is ephemeral and may give way to newer ones.
    """

    frame: bytes
    seq: int | None = None
    replayed: bool = False
    event: Event | None = None


PING: Final = Out(b"")
"""Stands for a ping among the messages."""


@attrs.frozen
class Batch:
    """Frames to be written together, as they go over the wire; of how many durable and how many other messages."""

    frames: bytes
    durable: int
    ephemeral: int


class Outbound:
    """Messages on their way out. Replayed ones go at the client's pace and do not count against the limit."""

    __slots__ = ("_fresh", "_outs", "waiting")

    def __init__(self) -> None:
        self._outs: list[Out] = []
        self._fresh = False  # something has come since that may give way, or may have to
        self.waiting = 0
        """Bytes that count against `limits.outbound_bytes`."""

    def __len__(self) -> int:
        return len(self._outs)

    def add(self, out: Out) -> None:
        self._outs.append(out)
        if out.event is not None:
            self._fresh = True
        if not out.replayed:
            self.waiting += len(out.frame)

    def take(self) -> Batch:
        """The next batch to write. What is taken does not count any more: it is at most one batch."""
        outs = self._outs
        size = count = 0
        for out in outs:
            size += len(out.frame)
            if size > BATCH_BYTES and count:
                break
            count += 1
        if count == len(outs):
            self._outs = []
            self.waiting = 0
        else:
            outs, self._outs = outs[:count], outs[count:]
            self.waiting -= sum(len(out.frame) for out in outs if not out.replayed)
        durable = sum(out.seq is not None for out in outs)
        pings = outs.count(PING)
        if not pings:
            return Batch(text_frames([out.frame for out in outs]), durable, len(outs) - durable)
        pieces = [PING_FRAME if out == PING else text_frames([out.frame]) for out in outs]
        return Batch(b"".join(pieces), durable, len(outs) - durable - pings)

    def conflate(self) -> int:
        """Let what is ephemeral give way to what is newer, since the client lags; how many messages that spares it."""
        if not self._fresh:
            return 0
        self._fresh = False
        before = len(self._outs)
        self._outs = conflate(self._outs)
        self.waiting = sum(len(out.frame) for out in self._outs if not out.replayed)
        return before - len(self._outs)

    def clear(self) -> None:
        """Drop everything: the client will resume."""
        self._outs = []
        self.waiting = 0
