"""One `send` that waits for room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outcome import Error, Value
from trio.lowlevel import Abort, Task, reschedule

from runtime._errors import TimedOut
from runtime._request import Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime._address import Ref
    from runtime._cell import Cell


class Sender:
    """A message at the door of a full mailbox. `holder`, the mailbox's cell, makes it an edge of the wait-for graph.

    It may wait at several doors at once, `also` at those; the first that has room takes it.

    `task` is None once it is settled. That may be before its task has run and left the queue, so whoever gives room
    looks at `open`: a message whose sender was told that it was not accepted must not be.
    """

    __slots__ = ("also", "holder", "item", "ref", "task")

    def __init__(self, ref: Ref[Any], item: Any, task: Task, holder: Cell) -> None:
        self.ref = ref
        self.item = item
        self.task: Task | None = task
        self.holder: Cell = holder
        self.also: tuple[Cell, ...] = ()

    @property
    def open(self) -> bool:
        """Whether it still waits."""
        return self.task is not None

    @property
    def message(self) -> object:
        """What the sender offered, without the envelope of a weighed mailbox."""
        item = self.item
        return item.message if item.__class__ is Request else item

    def settle(self, error: Exception | None) -> None:
        """Let the sender go on: its message was taken, or never will be."""
        task, self.task = self.task, None
        if task is not None:
            reschedule(task, Value(None) if error is None else Error(error))

    def abort(self, _raise_cancel: Callable[[], Any]) -> Abort:
        """The sending task was cancelled while it waited (trio's abort function)."""
        self.task = None
        return Abort.SUCCEEDED

    def fire(self) -> None:
        """No room by the deadline (called by the wheel)."""
        cell = self.holder
        handling, age = cell.handling()
        late = TimedOut(self.ref, self.message, state=cell.state, handling=handling, age=age, depth=cell.depth)
        cell.turn_away(self, late, "full")
