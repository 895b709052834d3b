"""One call of a tool, carried out: a coroutine on the loop, anything else in a thread.

A thread cannot be stopped. One whose call is over (it took too long, or the attempt has ended) goes on by itself, keeps
its place among the threads of tools, and what it gives is dropped and counted. So tools that hang can take all threads:
who then finds none is told so, and so is the operator. A call that is over before a thread has begun with it is never
begun, and a file that is all but in its place is not put there.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import attrs
import trio

from actors.tools import outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors.tools.context import ToolContext
    from actors.tools.definitions import ToolDefinition
    from actors.tools.outcome import Outcome
    from actors.tools.toolbox import ToolBox


class Execution:
    """Args:
    tool: what is called.
    values: with what.
    context: for whom.
    box: the threads, and where it is counted.
    """

    def __init__(self, tool: ToolDefinition, values: Mapping[str, Any], context: ToolContext, box: ToolBox) -> None:
        self._tool = tool
        self._values = values
        self._context = context
        self._box = box
        # One of the two is set in the thread and read in the loop, the other the other way round, each set before the
        # other is read: so at least one side sees what the other has done.
        self._begun = False
        self._over = False
        self._skipped = False
        self._done = False
        self._left = False

    async def run(self) -> Any:
        """What the tool gives. Cancellation: a coroutine is cancelled, a thread is left to itself."""
        if self._tool.is_async:
            return await self._tool.call(self._values, self._context)
        token = trio.lowlevel.current_trio_token()
        try:
            return await trio.to_thread.run_sync(
                self._in_thread, token, limiter=self._box.threads, abandon_on_cancel=True
            )
        except trio.Cancelled:
            self._leave()
            raise

    def overdue(self) -> Outcome:
        """What its end is, since its time is over. It is being cancelled."""
        tool = self._tool
        if tool.is_async or self._leave():
            return outcome.overdue(tool.name, tool.timeout)
        if self._box.log is not None:
            self._box.log.error("no thread was free for a tool", tool=tool.name, left=self._box.counts.threads_left)
        return outcome.not_begun(tool.name, tool.timeout)

    def _in_thread(self, token: trio.lowlevel.TrioToken) -> Any:
        self._begun = True
        try:
            if self._over:
                self._skipped = True
                return None
            return self._tool.call(self._values, self._own())
        finally:
            with suppress(trio.RunFinishedError):  # nobody is left to count
                token.run_sync_soon(self._thread_ended)

    def _own(self) -> ToolContext:
        """The context, of which nothing is written any more once the call is over."""
        shelf = self._context.artifacts
        if shelf is None:
            return self._context
        return attrs.evolve(self._context, artifacts=attrs.evolve(shelf, wanted=lambda: not self._over))

    def _leave(self) -> bool:
        """Nobody waits any more. Whether a thread had begun, which then goes on by itself."""
        self._over = True
        if self._begun and not self._done and not self._left:
            self._left = True
            self._box.counts.threads_left += 1
        return self._begun

    def _thread_ended(self) -> None:
        """In the loop."""
        self._done = True
        counts, name = self._box.counts, self._tool.name
        if self._left:
            counts.threads_left -= 1
        if self._over and not self._skipped:
            counts.late[counts.label(name)] += 1
            if self._box.log is not None:
                self._box.log.warning("late result of a tool dropped", tool=name, run_id=self._context.run_id)
