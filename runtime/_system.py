"""A system: one tree of actors, with its wheel, its names and its counters. Two systems share nothing."""

from __future__ import annotations

import math
import random
from contextlib import asynccontextmanager
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final, Protocol
from weakref import WeakValueDictionary

import trio
from trio.lowlevel import current_clock

from runtime._address import DeadTarget, Ref
from runtime._cell import Cell
from runtime._cells import SYSTEM, cells_of_run
from runtime._deadletters import DeadLetters
from runtime._errors import SystemFailed
from runtime._failure import strip
from runtime._graves import Graves
from runtime._hosting import IncarnationEnded
from runtime._messages import Crashed, Killed
from runtime._registry import Registry
from runtime._reports import HookFailed, StopOverdue
from runtime._timers import Deadline
from runtime._topics import Topics
from runtime._tree import Totals, overdue_paths, snapshot, snapshot_in_turns
from runtime._turn import Fail, Resume, Suspend
from runtime._wheel import Wheel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from runtime._messages import Reason
    from runtime._reports import Report
    from runtime._spec import Spec
    from runtime._tree import Node

GRACE: Final = 2.0
"""Seconds that all `stopped` hooks of a tree have together at its end; at other times, each has as much."""


class TaskStatus(Protocol):
    """Trio's way of telling `nursery.start` that the task is ready."""

    def started(self, value: Any) -> None:
        """Ready, with this result."""


class Owner(Protocol):
    """Whoever holds the nursery that a cell's tasks run in, and hears of their ends."""

    nursery: trio.Nursery | None

    def signal(self, signal: object) -> None:
        """Put something in the owner's system lane."""


class _Roof:
    """What stands above the root."""

    def __init__(self) -> None:
        self.nursery: trio.Nursery | None = None
        self.reason: Reason | None = None
        self.begun = trio.Event()
        self.ended = trio.Event()

    def signal(self, signal: object) -> None:
        self.begun.set()
        if isinstance(signal, IncarnationEnded):
            self.reason = signal.reason
            self.ended.set()


class System:
    """One tree of actors. Make it inside `trio.run`.

    Args:
        report: called with each `Report`, synchronously. If it raises, the error is counted in `report_failures` and
            kept in `report_error`: whoever watches a system must not be able to stop it.
        rng: where jitter comes from.
        grace: seconds, see `GRACE`.
        on_overdue: called once with the paths of those that have not ended when the deadline of `stop` is over. A
            program ends itself here, with `os._exit`; the kernel can only name them.
    """

    def __init__(
        self,
        *,
        report: Callable[[Report], None] | None = None,
        rng: random.Random | None = None,
        grace: float = GRACE,
        on_overdue: Callable[[tuple[str, ...]], None] | None = None,
    ) -> None:
        self.now: Callable[[], float] = current_clock().current_time
        self.rng = rng if rng is not None else random.Random()
        self.wheel = Wheel(self.now)
        self.pristine = Context()
        self.pristine.run(SYSTEM.set, self)
        self.cells = cells_of_run()
        self.dead = DeadTarget(self)
        self.dead_letters = DeadLetters()
        self.registry = Registry()
        self.topics = Topics()
        self.totals = Totals()
        self.root: Cell | None = None
        self.report_failures = 0
        self.report_error: Exception | None = None
        self._report = report
        self._grace = grace
        self._graves = Graves()
        self._grace_until = math.inf
        self._on_overdue = on_overdue
        self._overdue: Deadline | None = None
        self._refs: WeakValueDictionary[str, Ref[Any]] = WeakValueDictionary()

    # --- for cells

    def ref(self, path: str) -> Ref[Any]:
        """The ref of a path, whether or not an actor is there now. At what is no actor's path nobody ever is."""
        cell = self._cell_at(path)
        if cell is not None:
            return cell.ref
        ref = self._refs.get(path)
        if ref is None:
            ref = self._refs[path] = Ref(path, self.dead)
        return ref

    def _cell_at(self, path: str) -> Cell | None:
        """The cell of a path, while it is one: then the tree itself holds the ref, and no table has to."""
        if path == "/":
            return self.root
        before, *names = path.split("/")
        cell = self.root if names and not before else None
        for name in names:
            if cell is None:
                return None
            cell = cell.children.get(name)
        return cell

    def keep_ref(self, ref: Ref[Any]) -> None:
        """Its cell is going: whoever still holds the ref, or makes an actor there again, shall have the same one."""
        self._refs[ref.path] = ref

    def make_cell(self, path: str, spec: Spec, owner: Owner) -> Cell:
        """A cell behind the ref of `path`, its mailbox open, not launched."""
        kept = self._refs.get(path) if self._refs else None
        ref = Ref(path, self.dead) if kept is None else kept
        cell = Cell(ref, spec, owner, self)
        ref.target = cell
        return cell

    def forget(self, cell: Cell) -> None:
        """A cell has ended: free its names and topics, keep its counts."""
        if cell.links is not None:
            for name in cell.links.names:
                self.registry.release(name)
            for topic in list(cell.links.topics):
                self.topics.unsubscribe(topic, cell)
        self.totals.add(cell)

    def bury(self, cell: Cell) -> None:
        """A cell has ended abnormally: keep it in snapshots for a while."""
        self._graves.add(self.now(), snapshot(cell))

    def report(self, report: Report) -> None:
        """Tell whoever listens."""
        if self._report is not None:
            try:
                self._report(report)
            except Exception as error:  # noqa: BLE001 - a listener must not be able to stop what it listens to
                self.report_failures += 1
                self.report_error = error.with_traceback(None)

    def hook_failed(self, path: str, kind: str, error: BaseException) -> None:
        """A function of the program's own, called in the middle of something else, has raised: report it, once."""
        self.report(HookFailed(path, kind, error))
        strip(error)

    def grace_until(self) -> float:
        """Until when a `stopped` hook that begins now may run."""
        return min(self.now() + self._grace, self._grace_until)

    # --- for the program

    async def run(self, root: Spec, *, task_status: TaskStatus = trio.TASK_STATUS_IGNORED) -> None:
        """Run the tree until its root has ended.

        Started by `nursery.start`, it is ready when the root has started: a supervisor, when its children have.

        Raises:
            SystemFailed: the root ended by a failure of its own.

        Cancellation: the whole tree is cancelled; `stopped` hooks still run within the grace.
        """
        roof = _Roof()
        try:
            async with trio.open_nursery() as roof.nursery:
                roof.nursery.start_soon(self.wheel.run)
                self.root = self.make_cell("/", root, roof)
                self.root.launch()
                await roof.begun.wait()
                task_status.started(self)
                await roof.ended.wait()
                roof.nursery.cancel_scope.cancel(reason="the root has ended")
        finally:
            if self._overdue is not None:
                self._overdue.cancel()
            if self.root is not None:
                self.root.end(roof.reason or Killed("its system ended"), self.dead)
        if isinstance(roof.reason, Crashed):
            raise SystemFailed(roof.reason) from roof.reason.error
        if isinstance(roof.reason, Killed) and not self.root.stop_asked:
            raise SystemFailed(roof.reason)

    def stop(self, within: float, why: str = "the system stops") -> None:
        """End the tree within `within` seconds, of which the last part is the grace of the `stopped` hooks.

        Returns at once; `run` returns when the tree has ended. A second call can only shorten the time.

        Raises:
            InvalidSpec: `within` is not a finite number.
        """
        root = self.root
        if root is None or root.state == "ended":
            return
        now = self.now()
        end = min(now + within, self._grace_until)
        grace = min(self._grace, max(0.0, end - now) / 4)
        self._grace_until = end
        if self._overdue is not None:
            self._overdue.cancel()
        self._overdue = Deadline(self.wheel, end, self._name_overdue)
        root.stop_asked = True
        root.request_stop(why, end - grace)

    def _name_overdue(self) -> None:
        assert self.root is not None
        paths = overdue_paths(self.root)
        self.report(StopOverdue(paths))
        if self._on_overdue is not None:
            self._on_overdue(paths)

    def fail(self, path: str, error: Exception) -> bool:
        """Have the actor at `path` end as if its handler had raised `error`; its supervisor decides what follows.

        For operators who want a part started anew, and for fault injection. False if no actor runs there.
        """
        return self._signal(path, Fail(error))

    def suspend(self, path: str) -> bool:
        """Have the actor at `path` leave its messages waiting; what the kernel tells it, it still handles.

        False if no actor runs there. A restart resumes it.
        """
        return self._signal(path, Suspend())

    def resume(self, path: str) -> bool:
        """End a suspension. False if no actor runs there."""
        return self._signal(path, Resume())

    def _signal(self, path: str, signal: object) -> bool:
        cell = self.ref(path).target.watchable()
        if cell is None or not cell.running:
            return False
        cell.signal(signal)
        return True

    def tree(self) -> Node:
        """A snapshot of the tree, as it is now."""
        assert self.root is not None
        return snapshot(self.root, graves=self._graves.by_parent(self.now()))

    async def tree_in_turns(self) -> Node:
        """As `tree`, for a large one: nobody is held up while it is taken, so it is not of one moment."""
        assert self.root is not None
        return await snapshot_in_turns(self.root, None, self._graves.by_parent(self.now()))


@asynccontextmanager
async def open_system(root: Spec, *, stop_within: float = 5.0, **options: Any) -> AsyncIterator[System]:
    """Run a system beside the block, and stop it at the block's end.

    Args:
        root: the root host.
        stop_within: seconds for the stop at the end.
        options: for `System`.
    """
    async with trio.open_nursery(strict_exception_groups=True) as nursery:
        system = System(**options)
        await nursery.start(system.run, root)
        try:
            yield system
        finally:
            system.stop(stop_within)
