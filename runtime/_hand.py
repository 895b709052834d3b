"""What a cell has in hand, and how it is counted when the hand is empty again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from runtime._errors import Refused
from runtime._failure import describe
from runtime._mailbox import MailboxTarget
from runtime._reports import RefusedTell
from runtime._request import failed

if TYPE_CHECKING:
    from runtime._request import Request


class _Nothing:
    __slots__ = ()

    def __repr__(self) -> str:
        return "NOTHING"


NOTHING: Final = _Nothing()
"""No message is in hand (None may be a message)."""


class Moved:
    """In hand, but no longer ours: the handler has forwarded it, and counted it as moved."""

    __slots__ = ("message",)

    def __init__(self, message: object) -> None:
        self.message = message


class Batch(list[Any]):
    """Several messages in hand together. A class of its own, because one message may be a list."""

    __slots__ = ()


class Hand(MailboxTarget):
    """A mailbox, and the message that was taken out of it last."""

    __slots__ = (
        "attending",
        "completed",
        "current",
        "failed_message",
        "forwarded",
        "marks",
        "request",
        "since",
        "skipped",
    )

    current: Any
    attending: bool
    """What is in hand came by the system lane."""
    request: Request | None
    since: float
    failed_message: str | None
    completed: int
    """Every item that the loop is done with, so that the fast path need not tell them apart."""
    marks: int
    skipped: int
    forwarded: int

    @property
    def handled(self) -> int:
        """Messages of the user lane whose handler returned."""
        in_hand = self.current.__class__ is Moved  # counted as forwarded, not yet as completed
        return self.completed - self.marks - self.skipped - self.forwarded + in_hand

    @property
    def in_hand(self) -> int:
        """How many messages of the user lane are being handled now."""
        current = self.current
        if current is NOTHING or self.attending or current.__class__ is Moved:
            return 0
        return len(current) if isinstance(current, Batch) else 1

    @property
    def busy(self) -> int:
        """As `in_hand`, with a message that its handler has forwarded."""
        return 1 if self.current.__class__ is Moved else self.in_hand

    @property
    def passed(self) -> int:
        """How many accepted messages have left lane and hand: the first so many, where none gives up its place."""
        return self.accepted - self.depth - self.busy

    @property
    def outstanding(self) -> int:
        lane = self.lane
        count = len(lane) - self.marked if lane else 0
        if self.current is not NOTHING:
            count += self.busy
        links = self.links
        if links is not None and links.held:
            count += sum(request.open for request in links.held)
        return count

    def handling(self) -> tuple[str | None, float]:
        current = self.current
        if current is NOTHING:
            return None, 0.0
        if isinstance(current, Moved):
            current = current.message
        if isinstance(current, Batch):
            return f"{len(current)} messages, the first {type(current[0]).__name__}", self.system.now() - self.since
        return type(current).__name__, self.system.now() - self.since

    def hand_failed(self, error: BaseException) -> None:
        """The message in hand, if it was one of the user lane, ended in `error`."""
        current, self.current = self.current, NOTHING
        if isinstance(current, Moved):
            self.completed += 1
            self.failed_message = type(current.message).__name__
        elif current is not NOTHING:
            self.failed += 1
            request, self.request = self.request, None
            if request is not None:
                failed(request, describe(error), error)
            self.failed_message = type(current).__name__

    def move_on(self) -> Any:
        """The message in hand goes elsewhere: count it as moved, once. The message.

        Raises:
            RuntimeError: no single message is in hand.
        """
        current = self.current
        if isinstance(current, Moved):
            return current.message
        if current is NOTHING or isinstance(current, Batch):
            raise RuntimeError("forwarding is for the handler of one message")
        if not self.attending:
            self.moved += 1
            self.forwarded += 1
            self.current = Moved(current)
        return current

    def unanswered(self, item: Request, answer: object) -> None:
        """The envelope of a weighed message has no asker; a refusal of it is a refused tell."""
        if answer.__class__ is Refused and not item.answerable:
            self.refused_tell(item.message)

    def refused_tell(self, message: object) -> None:
        """Refusing what nobody asked counts as handled, and is reported: somebody expected it to work."""
        self.system.report(RefusedTell(self.ref.path, type(message).__name__))
