"""What a host needs to know to start a child: validated when it is made, before anything starts."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

import attrs

from runtime._errors import InvalidSpec

if TYPE_CHECKING:
    from runtime._actor import Actor

Factory = Callable[[], "Actor"]

DEFAULT_CAPACITY: Final = 1024
DEFAULT_SHUTDOWN: Final = 5.0
DEFAULT_START_WITHIN: Final = 30.0


class Overflow(Enum):
    """What a full mailbox does with the next message."""

    WAIT = "wait"
    """`send` waits for room; a `tell` is refused and counted."""
    REJECT = "reject"
    """`tell`, `send` and `ask` are refused at once and counted."""
    DROP_OLDEST = "drop_oldest"
    """The oldest waiting message makes room and is counted."""
    DROP_NEWEST = "drop_newest"
    """The offered message is dropped and counted."""
    CONFLATE = "conflate"
    """The newest waiting message of the same key is replaced, in its place, and counted; without one, as `REJECT`."""


@attrs.frozen
class Mailbox:
    """How much may wait, and what happens beyond it.

    Attributes:
        capacity: messages, or the weigher's unit where there is one.
        overflow: see `Overflow`.
        weigher: message → weight (≥ 0), to bound the mailbox in bytes. One message is always taken by an empty mailbox,
            however heavy. Costs an envelope for each message.
        key: message → key, needed by `CONFLATE` and by nothing else.
    """

    capacity: int = DEFAULT_CAPACITY
    overflow: Overflow = Overflow.WAIT
    weigher: Callable[[Any], int] | None = None
    key: Callable[[Any], Hashable] | None = None

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.capacity, int) or self.capacity < 1:
            raise InvalidSpec("mailbox.capacity", self.capacity, "a whole number of at least 1")
        if not isinstance(self.overflow, Overflow):
            allowed = ", ".join(f"Overflow.{policy.name}" for policy in Overflow)
            raise InvalidSpec("mailbox.overflow", self.overflow, allowed)
        if self.weigher is not None and not callable(self.weigher):
            raise InvalidSpec("mailbox.weigher", self.weigher, "a function from a message to its weight, or None")
        if callable(self.key) != (self.overflow is Overflow.CONFLATE) or (self.key is not None) != callable(self.key):
            raise InvalidSpec("mailbox.key", self.key, "a function with Overflow.CONFLATE, None with any other policy")


DEFAULT_MAILBOX: Final = Mailbox()


def is_number(value: object) -> bool:
    """Whether it is a number at all, and not NaN; infinity is one."""
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)


@attrs.frozen
class Spec:
    """One child of a host.

    Attributes:
        name: the last part of its path: not empty, no "/".
        start: makes a fresh instance; called anew for each incarnation, in the child's own task.
        mailbox: its bounds.
        shutdown: seconds it may take to stop before it is cancelled. `math.inf` for hosts: the tree's deadline holds.
        start_within: seconds that `started` may take before it counts as a failed start.
    """

    name: str
    start: Factory
    mailbox: Mailbox = DEFAULT_MAILBOX
    shutdown: float = DEFAULT_SHUTDOWN
    start_within: float = DEFAULT_START_WITHIN

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name or "/" in self.name:
            raise InvalidSpec("name", self.name, 'a text that is not empty and has no "/"')
        if not callable(self.start):
            raise InvalidSpec(f"{self.name}.start", self.start, "a callable that makes an Actor")
        if not isinstance(self.mailbox, Mailbox):
            raise InvalidSpec(f"{self.name}.mailbox", self.mailbox, "a Mailbox")
        if not is_number(self.shutdown) or self.shutdown < 0:
            raise InvalidSpec(f"{self.name}.shutdown", self.shutdown, "seconds, 0 or more, or math.inf")
        if not is_number(self.start_within) or self.start_within <= 0:
            raise InvalidSpec(f"{self.name}.start_within", self.start_within, "seconds above 0, or math.inf")
