"""Hosts whose children may have to wait before they start again. How long is decided elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from runtime import Host, Reason

if TYPE_CHECKING:
    from runtime._cell import Cell


@attrs.frozen
class ChildDue:
    """The delay of a child's restart is over. `reason` is why it ended."""

    name: str
    reason: Reason


class DelayingHost(Host):
    """Starts a child again at once, or after a delay in which it is visible as waiting."""

    __slots__ = ()

    async def receive(self, message: Any) -> object:
        if isinstance(message, ChildDue):
            cell = self._cell.children.get(message.name)
            if cell is not None and cell.state == "waiting" and not cell.stop_asked:
                self._cell.relaunch(cell, message.reason)
        return None

    def start_again(self, cell: Cell, reason: Reason, delay: float) -> None:
        """The next incarnation, in `delay` seconds; `reason` is why the last one ended."""
        if delay > 0:
            self._cell.hold_child(cell, delay)
            self.timer(("due", cell.spec.name), delay, ChildDue(cell.spec.name, reason))
        else:
            self._cell.relaunch(cell, reason)
