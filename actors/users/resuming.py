"""Where a client goes on: PROTOCOL.md, "Resume". Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from actors.protocol.event_types import GapReason

if TYPE_CHECKING:
    from actors.protocol.commands import Resume
    from actors.storage.interface import Position


@attrs.frozen
class Plan:
    """How a client begins.

    Attributes:
        resumed: whether everything that it has not had follows.
        after: events after this one do.
        replayed: how many of them there are already.
        gap: why it has to load afresh, if it has to.
        lost: where `gap` is trimmed, the first and the last event that cannot be had any more.
    """

    resumed: bool
    after: int
    replayed: int
    gap: GapReason | None = None
    lost: tuple[int, int] | None = None


def plan_resume(at: Resume | None, log: Position) -> Plan:
    """Everything after the position `at`, or nothing and a gap; never a part of it. None: it was never there."""
    top = log.seq
    if at is None:
        return Plan(resumed=False, after=top, replayed=0)
    if at.epoch != log.epoch:
        return Plan(resumed=False, after=top, replayed=0, gap=GapReason.EPOCH)
    if at.seq > top:
        return Plan(resumed=False, after=top, replayed=0, gap=GapReason.AHEAD)
    if at.seq + 1 < log.first:
        lost = (at.seq + 1, log.first - 1)
        return Plan(resumed=False, after=top, replayed=0, gap=GapReason.TRIMMED, lost=lost)
    return Plan(resumed=True, after=at.seq, replayed=top - at.seq)
