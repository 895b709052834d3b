"""What the kernel tells an actor, and the reasons for which an actor ends.

These arrive through the system lane, which is never full, and are handled by `Actor.receive` like any other message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

from runtime._failure import describe

if TYPE_CHECKING:
    from runtime._address import Ref
    from runtime._tasks import ActorTask


@attrs.frozen
class Stopped:
    """It was asked to stop and did."""

    why: str = "stopped"

    def __str__(self) -> str:
        return self.why


@attrs.frozen
class Passivated:
    """It was idle and gave its place back; the next message starts it again."""

    def __str__(self) -> str:
        return "passivated"


@attrs.frozen
class Killed:
    """It was cancelled: its time to stop was over, or its host ended."""

    why: str = "killed"

    def __str__(self) -> str:
        return self.why


@attrs.frozen(eq=False)
class Crashed:
    """An exception ended it. The error's traceback has been reported and taken off, so that no frame is kept."""

    error: BaseException
    in_start: bool = False

    def __str__(self) -> str:
        where = "failed to start: " if self.in_start else ""
        return f"{where}{describe(self.error)}"


Reason: TypeAlias = Stopped | Passivated | Killed | Crashed


def is_failure(reason: Reason) -> bool:
    """Whether an end is abnormal, by OTP's meaning: not asked for."""
    return isinstance(reason, Crashed | Killed)


@attrs.frozen
class Restarted:
    """To a watcher: the actor at `ref` began its incarnation number `incarnation` after `reason`."""

    ref: Ref[Any]
    incarnation: int
    reason: Reason


@attrs.frozen
class Ended:
    """To a watcher: the actor at `ref` is gone, its names and topics are free by now, and the watch is over."""

    ref: Ref[Any]
    reason: Reason


@attrs.frozen
class ChildStarted:
    """To a host: the child's `started` has returned."""

    name: str
    ref: Ref[Any]


@attrs.frozen
class ChildEnded:
    """To a host: the child has ended for good and its mailbox is closed."""

    name: str
    ref: Ref[Any]
    reason: Reason


@attrs.frozen(eq=False)
class TaskEnded:
    """To an actor: a task that it started is over.

    Attributes:
        task: what `start` returned.
        value: what the function returned, None if it did not.
        error: the exception that ended it, or None. Its frames are gone; `trace` is their text.
        cancelled: whether it was cancelled.
    """

    task: ActorTask
    value: Any = None
    error: BaseException | None = None
    cancelled: bool = False
    trace: str = ""


@attrs.frozen(eq=False)
class Replied:
    """To an actor: how its `request` came out. Exactly one of these follows each request.

    Attributes:
        tag: what was given to `request` to tell replies apart.
        ref: who was asked.
        message: what was asked.
        value: the answer, when `error` is None.
        error: a `NotAccepted`, `TimedOut`, `HandlerFailed` or `Refused`.
    """

    tag: Any
    ref: Ref[Any]
    message: Any
    value: Any = None
    error: Exception | None = None


@attrs.frozen
class DeadLetter:
    """A message that nobody will handle.

    Attributes:
        path: where it was going.
        message: the message itself.
        reason: `dead`, `stopped`, `dropped`, …
    """

    path: str
    message: Any
    reason: str
