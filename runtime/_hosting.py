"""The part of a cell that starts, stops and loses children: mechanism only. Policy lives in `supervisors`.

Children run in the nursery that the host's cell holds. Starting one returns at once: its mailbox accepts from that
moment, and `ChildStarted` tells when its `started` has returned, so ten thousand children do not start one by one.

A child that failed waits, mailbox open, for the host's decision: start it again in the same cell (`relaunch`), later
(`hold`), or close it (`close`). Only closing touches the address.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from trio.lowlevel import checkpoint, wait_task_rescheduled

from runtime._errors import InvalidSpec
from runtime._messages import Killed, Passivated, Reason, Restarted, Stopped, is_failure
from runtime._passive import PassiveTarget
from runtime._turn import Turns

if TYPE_CHECKING:
    import trio

    from runtime._address import Target
    from runtime._cell import Cell
    from runtime._spec import Spec

STOPS_PER_PASS: Final = 256
"""Children told to stop between two checkpoints: cancelling 10,000 at once would freeze the loop for 200 ms."""
RESERVE: Final = 0.1
"""Seconds of the deadline kept back for each sibling that is still to be stopped, where there is that much."""


NO_CHILDREN: Final[dict[str, Any]] = {}
"""The children of everybody who has none: most actors never have any."""


class IncarnationEnded:
    """From a child's cell to its host's: the task is over."""

    __slots__ = ("cell", "reason")

    def __init__(self, cell: Cell, reason: Reason) -> None:
        self.cell = cell
        self.reason = reason


class Hosting(Turns):
    """A cell as a host of other cells."""

    __slots__ = ("children", "nursery", "stop_by")

    children: dict[str, Cell]
    nursery: trio.Nursery | None
    stop_by: float

    def make_child(self, spec: Spec) -> Cell:
        """A cell for `spec`, with its mailbox open, not yet launched.

        Raises:
            InvalidSpec: the name is taken, or the host has no place for children (before `started`, in `stopped`).
        """
        if self.nursery is None:
            raise InvalidSpec("start_child", spec.name, f"children while {self.ref.path} lives")
        if spec.name in self.children:
            raise InvalidSpec("name", spec.name, f"a name that no child of {self.ref.path} has")
        cell = self.system.make_cell(self.path_of(spec.name), spec, self)
        if self.children is NO_CHILDREN:
            self.children = {}
        self.children[spec.name] = cell
        return cell

    def path_of(self, name: str) -> str:
        """The path of a child of that name."""
        own = self.ref.path
        return f"{own}{name}" if own.endswith("/") else f"{own}/{name}"

    def relaunch(self, cell: Cell, reason: Reason) -> None:
        """The same cell, the same mailbox, a new incarnation."""
        cell.incarnation += 1
        cell.stop_asked = False
        cell.stop_by = math.inf
        cell.leaving = None
        cell.reopen()
        self.tell_watchers(cell, Restarted(cell.ref, cell.incarnation, reason))
        cell.launch()

    def hold_child(self, cell: Cell, delay: float) -> None:
        """Keep a failed child waiting for `delay` seconds, visible as such."""
        cell.state = "waiting"
        cell.hold(self.system.now() + delay)

    def stop_child(self, cell: Cell, why: str, by: float = math.inf, *, drain: bool = False) -> None:
        """Ask a child to end by the time `by`; then it is cancelled. A child without a task is closed at once."""
        cell.stop_asked = True
        if cell.running:
            cell.request_stop(why, by, drain=drain)
        else:
            self.signal(IncarnationEnded(cell, Stopped(why)))

    def tell_watchers(self, cell: Cell, notice: object) -> None:
        if cell.links is not None:
            for watcher in list(cell.links.watchers):
                watcher.signal(notice)

    def settle_passive(self, cell: Cell) -> bool:
        """A child has passivated. True if messages came meanwhile, and it goes on at once."""
        if cell.depth and not self.shut:
            self.relaunch(cell, Passivated())
            return True
        self.close(cell, Passivated())
        return False

    def close(self, cell: Cell, reason: Reason) -> None:
        """The end of a child, for good or until it is woken. A second call does nothing."""
        if self.children.get(cell.spec.name) is not cell:
            return
        del self.children[cell.spec.name]
        self.system.keep_ref(cell.ref)
        target: Target = self.system.dead
        if isinstance(reason, Passivated):
            target = PassiveTarget(self.system, self, cell.spec)  # type: ignore[arg-type]
        cell.end(reason, target)
        if is_failure(reason):
            self.system.bury(cell)

    # --- ending

    async def stop_children(self, *, together: bool) -> None:
        """Stop the children, newest first; `together` for children that do not depend on each other.

        Each has what is left of `stop_by`, less a reserve for those still to come, and never more than its spec's
        `shutdown`. One that is not gone by then is cancelled, and waited for.
        """
        pending = list(reversed(self.children.values()))
        if together:
            for index, cell in enumerate(pending, 1):
                self._stop_one(cell, 0)
                if index % STOPS_PER_PASS == 0:
                    await checkpoint()
            await self._gone(pending)
            return
        for index, cell in enumerate(pending):
            self._stop_one(cell, len(pending) - index - 1)
            await self._gone([cell])

    def _stop_one(self, cell: Cell, to_come: int) -> None:
        now = self.system.now()
        by = now + cell.spec.shutdown
        if self.stop_by < math.inf:
            left = max(0.0, self.stop_by - now)
            by = min(by, self.stop_by - to_come * min(RESERVE, left / (2 * (to_come + 1))))
        self.stop_child(cell, "its host stopped", by)

    async def _gone(self, cells: list[Cell]) -> None:
        """Wait until these children are gone. Everything else in the system lane has lost its meaning."""
        while any(self.children.get(cell.spec.name) is cell for cell in cells):
            signals = self.signals
            while signals:
                signal = signals.popleft()
                if signal.__class__ is IncarnationEnded:
                    self.close(signal.cell, signal.reason)
            if any(self.children.get(cell.spec.name) is cell for cell in cells):
                self.unmark()
                self.waiter = self.task
                await wait_task_rescheduled(self)

    def close_orphans(self) -> None:
        """After the nursery: whoever is left was cancelled with it."""
        for cell in list(reversed(self.children.values())):
            self.close(cell, Killed("its host ended"))
