"""Tasks of an actor: where it waits for what is not a message.

A handler that awaits a socket or a model sees neither stop nor pause nor cancel. So that waiting happens in a task,
started by `Actor.start`. It runs in the nursery of the actor's *host*, under a scope of its own; how it ends comes back
as `TaskEnded`. The cell cancels and joins its tasks before the actor's `stopped`.

Rejected: a nursery in each actor (1.2 KB and three times the teardown for actors that may never start a task), and a
nursery opened inside a handler that outlives it (it corrupts the stack of scopes and ends the program).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import trio
from trio.lowlevel import enable_ki_protection, reschedule

from runtime._failure import strip, text_of
from runtime._messages import TaskEnded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from runtime._cell import Cell


class ActorTask:
    """A running task of an actor. Its `name` is for people."""

    __slots__ = ("_cell", "_function", "_scope", "name", "task")

    def __init__(self, cell: Cell, function: Callable[[], Awaitable[Any]], name: str) -> None:
        self._cell: Cell | None = cell
        self._function: Callable[[], Awaitable[Any]] | None = function
        self._scope = trio.CancelScope()
        self.name = name
        self.task: trio.lowlevel.Task | None = None

    def __repr__(self) -> str:
        return f"<ActorTask {self.name}>"

    @property
    def ended(self) -> bool:
        return self._cell is None

    def cancel(self, reason: str | None = None) -> None:
        """Cancel it. `TaskEnded` follows when it is over. Does nothing if it is over already."""
        self._scope.cancel(reason=reason)

    @enable_ki_protection
    async def run(self) -> None:
        """The body of the task. Lets nothing out but the host's own cancellation."""
        cell, function = self._cell, self._function
        assert cell is not None
        assert function is not None
        task = self.task = trio.lowlevel.current_task()
        cell.system.cells[task] = cell
        passing: BaseException | None = None
        ended = TaskEnded(self, cancelled=True)
        try:
            with self._scope:
                value = await function()
                ended = TaskEnded(self, value=value)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it must not cancel the host's other children
            passing, failure = split_cancelled(error)
            if failure is not None:
                ended = TaskEnded(self, error=failure, trace=text_of(failure))
                strip(failure)
        del cell.system.cells[task]
        self._cell = self._function = self.task = None
        function = None
        links = cell.links
        assert links is not None
        links.tasks.pop(self, None)
        if links.joiner is not None:
            if not links.tasks:
                joiner, links.joiner = links.joiner, None
                reschedule(joiner)
        else:
            cell.signal(ended)
        if passing is not None:
            try:
                raise passing
            finally:
                del passing, cell, links


def split_cancelled(error: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """(what belongs to an outer scope and must go on, what is a failure of our own).

    Called outside the scope of the actor or task. If nothing outside is cancelled, a Cancelled is one that was kept and
    raised again in the wrong place: in the host's nursery it would end every sibling, so it is a failure.
    """
    if trio.current_effective_deadline() > -math.inf:
        return None, error
    if isinstance(error, trio.Cancelled):
        return error, None
    if isinstance(error, BaseExceptionGroup):
        passing, failure = error.split(trio.Cancelled)
        return passing, failure
    return None, error
