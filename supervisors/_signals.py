"""What a supervisor hears of its children, and what it orders: the two sides of a decision, as values."""

from __future__ import annotations

from typing import TypeAlias

import attrs

from runtime import Reason
from supervisors._spec import ChildSpec

# Signals


@attrs.frozen
class Begin:
    """The supervisor has started: start the children."""


@attrs.frozen
class Add:
    """A child to start now, after all others."""

    spec: ChildSpec


@attrs.frozen
class HasStarted:
    name: str


@attrs.frozen
class HasEnded:
    name: str
    reason: Reason


@attrs.frozen
class Dismiss:
    """The child is to end for good. One that lives is told so by whoever sends this signal."""

    name: str
    reason: Reason


@attrs.frozen
class HasPassivated:
    name: str


@attrs.frozen
class Woken:
    """A message has come for a passive child."""

    name: str


@attrs.frozen
class Due:
    """The delay of `name`'s restart is over; for a group, that of the child which caused it."""

    name: str


Signal: TypeAlias = Begin | Add | HasStarted | HasEnded | Dismiss | HasPassivated | Woken | Due

# Orders


@attrs.frozen
class Launch:
    """Start a child: its first incarnation, or the next one in the same cell. `reason` is why the last one ended."""

    name: str
    reason: Reason | None = None


@attrs.frozen
class StopChild:
    name: str


@attrs.frozen
class Hold:
    """Show the child as waiting for `delay` seconds."""

    name: str
    delay: float


@attrs.frozen
class Remind:
    """Come back with `Due` after `delay` seconds."""

    name: str
    delay: float


@attrs.frozen
class Close:
    """The child has ended for good: its address is dead."""

    name: str
    reason: Reason


@attrs.frozen
class Announce:
    """All children have started for the first time."""


@attrs.frozen
class Restarting:
    """For the report: a restart was granted."""

    name: str
    reason: Reason
    used: int
    limit: int
    delay: float


@attrs.frozen
class GiveUp:
    """The budget is spent, or a first start failed: stop everything and fail."""

    name: str
    reason: Reason
    restarts: int
    period: float


@attrs.frozen
class ShutDown:
    """Significant children have ended by themselves: the supervisor ends, normally."""

    name: str
    reason: Reason


Order: TypeAlias = Launch | StopChild | Hold | Remind | Close | Announce | Restarting | GiveUp | ShutDown
