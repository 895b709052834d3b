"""What waits to be written to one client, in order, counted in bytes. Pure."""

from __future__ import annotations

from itertools import accumulate, takewhile
from typing import TYPE_CHECKING, Final

import attrs

from actors.gateway.conflation import conflate
from actors.gateway.frames import PING_FRAME, text_header

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors.protocol.events import Event

BATCH_BYTES: Final = 65_536
"""Bytes written with one system call, at least one frame."""


@attrs.frozen
class Out:
    """One message to write. That of an event is made once, and shared by all connections of the user.

    Attributes:
        frame: its bytes; none stand for a ping.
        seq: of a durable event.
        replayed: whether it comes from the log; then it does not count against the limit.
        event: what the frame says, where it is ephemeral and may give way to newer ones.
    """

    frame: bytes
    seq: int | None = None
    replayed: bool = False
    event: Event | None = None
    header: bytes = attrs.field(init=False, repr=False, eq=False)
    """What makes a frame of WebSocket of it: a server's frames are the same for everybody."""

    @header.default
    def _header(self) -> bytes:
        return text_header(len(self.frame)) if self.frame else PING_FRAME


PING: Final = Out(b"")
"""Stands for a ping among the messages."""


@attrs.frozen
class Batch:
    """Messages to be written together, in order.

    Attributes:
        outs: each by itself.
        frames: all of them, as they go over the wire.
        size: bytes of the messages.
        seqs: of the durable events.
        ephemeral: how many messages there are besides; a ping is none.
    """

    outs: Sequence[Out]
    frames: bytes
    size: int
    seqs: Sequence[int]
    ephemeral: int


def batch_of(outs: Sequence[Out]) -> Batch:
    """These messages as one batch."""
    seqs: list[int] = []
    pings = size = 0
    pieces: list[bytes] = []
    for out in outs:
        pieces.append(out.header)
        pieces.append(out.frame)
        size += len(out.frame)
        if out.seq is not None:
            seqs.append(out.seq)
        elif not out.frame:
            pings += 1
    return Batch(outs, b"".join(pieces), size, seqs, len(outs) - len(seqs) - pings)


class Outbound:
    """Messages on their way out. Replayed ones go at the client's pace and do not count against the limit."""

    __slots__ = ("_fresh", "_outs", "_size", "_whole", "waiting")

    def __init__(self) -> None:
        self._outs: list[Out] = []
        self._whole: Batch | None = None  # what waits, where all of it came as one batch
        self._size = 0  # bytes of all of them
        self._fresh = False  # something has come since that may give way, or may have to
        self.waiting = 0
        """Bytes that count against `limits.outbound_bytes`."""

    def __len__(self) -> int:
        return len(self._outs)

    def add(self, out: Out) -> None:
        self._whole = None
        self._outs.append(out)
        if out.event is not None:
            self._fresh = True
        size = len(out.frame)
        self._size += size
        if not out.replayed:
            self.waiting += size

    def add_batch(self, batch: Batch) -> None:
        """Live events that come together. Where nothing else waits, they are written as they are."""
        self._whole = None if self._outs else batch
        self._outs += batch.outs
        if batch.ephemeral:
            self._fresh = True
        self._size += batch.size
        self.waiting += batch.size

    def take(self) -> Batch | None:
        """The next batch to write, if there is one. What is taken does not count any more: it is at most one batch."""
        outs, whole = self._outs, self._whole
        if not outs:
            return None
        self._whole = None
        if self._size <= BATCH_BYTES:
            self._outs = []
            self._size = self.waiting = 0
            return whole or batch_of(outs)
        count = self._first_batch
        self._outs = outs[count:]
        self._measure()
        return batch_of(outs[:count])

    @property
    def _first_batch(self) -> int:
        """How many make up a batch."""
        sizes = accumulate(len(out.frame) for out in self._outs)
        return max(1, sum(1 for _ in takewhile(lambda size: size <= BATCH_BYTES, sizes)))

    def _measure(self) -> None:
        """Add up what waits."""
        self._size = sum(len(out.frame) for out in self._outs)
        self.waiting = sum(len(out.frame) for out in self._outs if not out.replayed)

    def conflate(self) -> int:
        """Let what is ephemeral give way to what is newer, since the client lags; how many messages that spares it."""
        if not self._fresh:
            return 0
        self._fresh = False
        self._whole = None
        before = len(self._outs)
        self._outs = conflate(self._outs)
        self._measure()
        return before - len(self._outs)

    def clear(self) -> None:
        """Drop everything: the client will resume."""
        self._outs = []
        self._whole = None
        self._size = self.waiting = 0
