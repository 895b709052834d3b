"""What the kernel reports: structured facts for whoever runs the system. Formatting is the listener's business.

A system has one `report` function. The default does nothing. It is called synchronously, in the task where the fact
happened, so it must be quick. The error in a report still has its traceback during the call, and loses it afterwards.
"""

from __future__ import annotations

from typing import TypeAlias

import attrs


@attrs.frozen(eq=False)
class Crash:
    """An incarnation ended with an exception (or was cancelled over its deadline: `error` is None then)."""

    path: str
    kind: str
    incarnation: int
    message: str | None
    error: BaseException | None
    detail: str


@attrs.frozen
class RefusedTell:
    """A handler refused a message for which nobody waits."""

    path: str
    message: str


@attrs.frozen(eq=False)
class HookFailed:
    """`stopped` raised, or was cut off at the end of its grace (`error` is None then). Or a function that a spec names
    (a weigher, a key, a judge, a chain's last word), or a host's `revive`, raised in somebody's `tell` or answer."""

    path: str
    kind: str
    error: BaseException | None


@attrs.frozen
class StopOverdue:
    """The deadline of the tree has passed and these have not ended, deepest first. Trio cannot abandon a task."""

    paths: tuple[str, ...]


@attrs.frozen
class ChildRestart:
    """A supervisor starts a child again."""

    path: str
    reason: str
    restarts: int
    limit: int
    delay: float


@attrs.frozen
class GaveUp:
    """A restart limit is used up. `escalated` is whether the supervisor ends with it."""

    path: str
    reason: str
    restarts: int
    period: float
    escalated: bool


@attrs.frozen
class Switched:
    """A fallback put another target in charge."""

    path: str
    active: str | None
    before: str | None
    reason: str


@attrs.frozen
class Stuck:
    """An actor has had work and finished none of it for some time."""

    path: str
    kind: str
    state: str
    handling: str | None
    age: float
    depth: int


@attrs.frozen
class LoopBlocked:
    """The loop has not turned for `seconds`. `path` and `message` name the actor whose handler holds it, if any."""

    path: str | None
    message: str | None
    seconds: float
    stack: str


Report: TypeAlias = Crash | RefusedTell | HookFailed | StopOverdue | ChildRestart | GaveUp | Switched | Stuck
