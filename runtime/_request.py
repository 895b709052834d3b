"""The envelope of what is more than a bare message: an ask, a request, a weighed or deferred message.

Mailboxes hold bare messages; only these carry an envelope, because an envelope for each tell would cost a third of the
rate. A `Request` is a one-shot reply slot: the first of answer, failure, deadline and departure of the asker settles
it, and everything later is dropped before it can reach anybody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from outcome import Error, Value
from trio.lowlevel import Abort, Task, enable_ki_protection, reschedule

from runtime._errors import HandlerFailed, NotAccepted, Refused, TimedOut
from runtime._messages import Replied

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime._address import Ref
    from runtime._cell import Cell
    from runtime._wheel import Bucket


class Request:
    """One message with what travels with it.

    `open` is whether anybody still waits. `holder` is the cell that has it now: the edge of the wait-for graph is
    (asker, holder), so forwarding moves the edge and deferring, which sets `holder` to None, removes it.
    """

    __slots__ = ("bucket", "holder", "message", "open", "ref", "settle", "sink", "tag", "task", "weight")

    def __init__(self, ref: Ref[Any], message: Any, task: Task | None = None) -> None:
        self.ref = ref
        self.message = message
        self.task = task
        self.sink: Cell | None = None
        self.tag: Any = None
        self.holder: Cell | None = None
        self.bucket: Bucket | None = None
        self.open = True
        self.weight = 0
        self.settle: Callable[[object, bool], None] | None = None
        """For switches: called with (answer, False) when answered, with (None, True) when the asker is cancelled or the
        message is handed back, and never when it failed or timed out."""

    @property
    def answerable(self) -> bool:
        """Whether an answer is expected at all; a weighed tell has none."""
        return self.task is not None or self.sink is not None

    @enable_ki_protection
    def answer(self, value: object) -> bool:
        """Settle with a handler's result. A returned `Refused` is raised at the asker; no other value is."""
        if self.settle is not None and self.open:
            settle, self.settle = self.settle, None
            settle(value, False)
        if value.__class__ is Refused:
            return self.fail(Refused(value.reason))  # raised there, so it gathers frames there
        task = self.task
        if task is not None:
            if self.open:
                self.open = False
                reschedule(task, Value(value))
                return True
            return False
        return self._notify(value, None)

    @enable_ki_protection
    def fail(self, error: Exception) -> bool:
        """Settle with an error. One that hands the message back says nothing about whoever was asked."""
        if self.settle is not None and self.open and isinstance(error, NotAccepted):
            self.withdraw()
        task = self.task
        if task is not None:
            if self.open:
                self.open = False
                reschedule(task, Error(error))
                return True
            return False
        return self._notify(None, error)

    def _notify(self, value: object, error: Exception | None) -> bool:
        sink = self.sink
        if sink is None or not self.open:
            return False
        self.open = False
        if self.bucket is not None:
            self.bucket.pop(self, None)
            self.bucket = None
        if sink.links is not None and sink.links.requests.pop(self, False) is None:
            sink.signal(Replied(self.tag, self.ref, self.message, value, error))
        return True

    def abandon(self) -> None:
        """The asker has gone: whoever comes to the message skips it."""
        self.open = False
        self.withdraw()
        if self.bucket is not None:
            self.bucket.pop(self, None)
            self.bucket = None

    def withdraw(self) -> None:
        """Tell the switch that this was no evidence."""
        if self.settle is not None:
            settle, self.settle = self.settle, None
            settle(None, True)

    def abort(self, _raise_cancel: Callable[[], Any]) -> Abort:
        """The asking task was cancelled while it waited (trio's abort function)."""
        self.open = False
        self.withdraw()
        return Abort.SUCCEEDED

    def fire(self) -> None:
        """The deadline has come (called by the wheel)."""
        self.bucket = None
        holder = self.holder
        if holder is None:
            timed_out = TimedOut(self.ref, self.message, state="deferred", handling=None, age=0.0, depth=0)
        else:
            handling, age = holder.handling()
            timed_out = TimedOut(
                self.ref, self.message, state=holder.state, handling=handling, age=age, depth=holder.depth
            )
        self.fail(timed_out)


class ReplyTo:
    """The right to answer one message later. Made by `Actor.defer`.

    Answering after the asker has gone does nothing: it never fails the one who answers. The answer may be given from
    anywhere in the same thread. If the actor ends first, the asker gets `HandlerFailed`.
    """

    __slots__ = ("_cell", "_request")

    def __init__(self, cell: Cell | None, request: Request | None) -> None:
        self._cell = cell
        self._request = request

    @property
    def wanted(self) -> bool:
        """Whether somebody still waits for the answer."""
        return self._request is not None and self._request.open

    @enable_ki_protection
    def answer(self, value: object) -> bool:
        """Give the answer (a `Refused` is raised at the asker). False if nobody waits any more."""
        request, self._request = self._request, None
        if request is None:
            return False
        cell, self._cell = self._cell, None
        if cell is not None and cell.links is not None:
            cell.links.held.pop(request, None)
        return request.answer(value)


MARK: Final = Request(cast("Any", None), None)
MARK.open = False
"""Sits at the left of a lane and says: look at the signals first."""


def failed(request: Request, detail: str, cause: BaseException | None) -> None:
    """Tell the asker, if it still waits, that the handler failed."""
    if request.open and request.answerable:
        error = HandlerFailed(request.ref, request.message, detail)
        error.__cause__ = cause
        request.fail(error)
