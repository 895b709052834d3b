"""Every error of the kernel, named by whose fault it is.

`NotAccepted` and its kinds hand the message back: the target never saw it, so it is safe to offer it again elsewhere.
`HandlerFailed` and `TimedOut` say nothing about whether the work was done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

if TYPE_CHECKING:
    from runtime._address import Ref


class ActorError(Exception):
    """The root of the kernel's errors."""


class NotAccepted(ActorError):
    """The target did not take the message. It is handed back in `message`.

    Attributes:
        ref: the address that was tried.
        message: the very object that was offered.
    """

    why = "did not take the message"

    def __init__(self, ref: Ref[Any], message: object) -> None:
        super().__init__(ref, message)
        self.ref = ref
        self.message = message

    def __str__(self) -> str:
        return f"{self.ref.path} {self.why}: {type(self.message).__name__}"


class Dead(NotAccepted):
    """The target has ended, or never was."""

    why = "has ended"


class Full(NotAccepted):
    """The target's mailbox is full and its policy is not to make room."""

    why = "is full"


class Restarting(NotAccepted):
    """The target waits for its next start.

    Attributes:
        retry_after: seconds until that start, at least.
    """

    why = "is waiting to restart"

    def __init__(self, ref: Ref[Any], message: object, retry_after: float) -> None:
        super().__init__(ref, message)
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{super().__str__()}, again in {self.retry_after:.3f} s"


class TimedOut(ActorError):
    """No answer, or no room, by the deadline. What the target was doing then is part of the error.

    Attributes:
        ref: who was asked.
        message: what was asked.
        state: the target's state (`running`, `starting`, `waiting`, …).
        handling: the type of the message the target was handling, or None.
        age: seconds that handling had lasted (0.0 when idle).
        depth: how many messages waited in the target's mailbox.
    """

    def __init__(
        self, ref: Ref[Any], message: object, *, state: str, handling: str | None, age: float, depth: int
    ) -> None:
        super().__init__(ref, message)
        self.ref = ref
        self.message = message
        self.state = state
        self.handling = handling
        self.age = age
        self.depth = depth

    def __str__(self) -> str:
        doing = f"handling {self.handling} for {self.age:.3f} s" if self.handling else "idle"
        return (
            f"{self.ref.path} did not answer {type(self.message).__name__} in time: "
            f"it was {self.state}, {doing}, {self.depth} waiting"
        )


class HandlerFailed(ActorError):
    """The target failed while it handled, or held, the request. `__cause__` is its error, if there was one."""

    def __init__(self, ref: Ref[Any], message: object, detail: str) -> None:
        super().__init__(ref, message, detail)
        self.ref = ref
        self.message = message
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.ref.path} failed while handling {type(self.message).__name__}: {self.detail}"


class WaitCycle(ActorError):
    """Waiting would never end: the target waits, directly or through others, for the asker.

    Attributes:
        path: the paths of the cycle, the asker first and last.
    """

    def __init__(self, path: tuple[str, ...]) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return "waiting would close a cycle: " + " -> ".join(self.path)


@final
class Refused(ActorError):
    """An expected "no". A handler *returns* it, the asker's `ask` raises it; the handler's instance lives on.

    The asker gets an error of its own with the same reason, so one `Refused` may be returned again and again. It has no
    subclasses: the loop compares the class itself.

    Attributes:
        reason: any value that the two sides agreed on.
    """

    def __init__(self, reason: object) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"refused: {self.reason}"


class InvalidSpec(ActorError, ValueError):
    """A spec that cannot work, found before anything was started.

    Attributes:
        key: what is wrong, `value`: what it was, `allowed`: what it may be.
    """

    def __init__(self, key: str, value: object, allowed: str) -> None:
        super().__init__(key, value, allowed)
        self.key = key
        self.value = value
        self.allowed = allowed

    def __str__(self) -> str:
        return f"{self.key} is {self.value!r}; allowed: {self.allowed}"


class ChildFailed(ActorError):
    """A host without a policy ends with this when one of its children fails."""

    def __init__(self, path: str, reason: object) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class SystemFailed(ActorError):
    """`System.run` raises this when the root ended by itself with a failure."""

    def __init__(self, reason: object) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"the root ended: {self.reason}"
