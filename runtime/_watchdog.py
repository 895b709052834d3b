"""Two ways to find what does not get on.

`Watchdog` is an actor that counts *progress*: messages finished. An actor that has work and has finished nothing since
the last look is stuck, whatever else it does. Rejected: pings. An idle ping is answered by an actor whose real work has
stopped, and counts as activity where it should be the question.

`watch_loop` finds a loop that is blocked *while* it is blocked. Nothing that runs on the loop can do that, so a thread
does: it misses the beat, looks at the frames of the loop's thread, and names the cell, its message and the stack.
"""

from __future__ import annotations

import sys
import threading
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import attrs

from runtime._actor import Actor
from runtime._hand import NOTHING
from runtime._progress import completed_now
from runtime._reports import LoopBlocked, Stuck
from runtime._turn import Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runtime._cell import Cell
    from runtime._system import System

EVERY: Final = 1.0
STUCK_AFTER: Final = 10.0
CELLS_A_LOOK: Final = 1000
"""Cells looked at without a pause: some two milliseconds."""
BLOCKED_AFTER: Final = 0.5


@attrs.frozen
class _Look:
    """Timer: look at the next part of the tree."""


@attrs.define(eq=False)
class _Seen:
    """What a cell had finished when it was first seen without progress, and whether that was reported."""

    finished: int
    since: float
    reported: bool = False


class Watchdog(Actor):
    """Reports `Stuck` for each actor that has had work for `after` seconds and finished none of it.

    It is reported once for each time it gets stuck. Put it under any host; it watches the whole system.

    Args:
        after: seconds.
        every: seconds between two looks at the same actor, at least.
    """

    def __init__(self, after: float = STUCK_AFTER, every: float = EVERY) -> None:
        self._after = after
        self._every = every
        self._seen: dict[Cell, _Seen] = {}
        self._round: list[Cell] = []

    async def started(self) -> None:
        self.timer("look", self._every, _Look())

    async def receive(self, message: Any) -> object:
        if isinstance(message, _Look):
            self._look()
        return None

    def _look(self) -> None:
        if not self._round:
            root = self.system.root
            self._round = [] if root is None else list(cells_below(root))
        for cell in self._round[:CELLS_A_LOOK]:
            self._judge(cell)
        del self._round[:CELLS_A_LOOK]
        if not self._round:
            for cell in [cell for cell in self._seen if cell.state == "ended"]:
                del self._seen[cell]
        self.timer("look", 0.0 if self._round else self._every, _Look())

    def _judge(self, cell: Cell) -> None:
        has_work = cell.depth > 0 or cell.current is not NOTHING
        if not has_work or cell is self._cell or cell.state in {"suspended", "waiting", "ended"}:
            self._seen.pop(cell, None)
            return
        finished = completed_now(cell) + cell.failed + cell.signalled
        now = self.now()
        seen = self._seen.get(cell)
        if seen is None or seen.finished != finished:
            self._seen[cell] = _Seen(finished, now)
        elif now - seen.since >= self._after and not seen.reported:
            seen.reported = True
            handling, age = cell.handling()
            self.system.report(Stuck(cell.ref.path, cell.kind, cell.state, handling, age, cell.depth))


def cells_below(cell: Cell) -> Iterator[Cell]:
    """A cell and all below it, parents first."""
    yield cell
    for child in list(cell.children.values()):
        yield from cells_below(child)


class _Beat:
    """An entry of the wheel that says again and again that the loop is alive."""

    __slots__ = ("_every", "_system", "count", "running")

    def __init__(self, system: System, every: float) -> None:
        self._system = system
        self._every = every
        self.count = 0
        self.running = True

    def fire(self) -> None:
        self.count += 1
        if self.running:
            self._system.wheel.add(self._system.now() + self._every, self)


@contextmanager
def watch_loop(
    system: System, on_blocked: Callable[[LoopBlocked], None], *, after: float = BLOCKED_AFTER
) -> Iterator[None]:
    """For the length of the block, have a thread look whether the loop still turns.

    Args:
        system: whose loop; enter the block in the loop's own thread, while the system runs.
        on_blocked: called *in the watching thread*, while the loop is still blocked, once for each time.
        after: seconds without a turn, of real time, that count as blocked.
    """
    beat = _Beat(system, after / 4)
    beat.fire()
    loop = threading.get_ident()
    stop = threading.Event()

    def watch() -> None:
        last, reported = -1, False
        while not stop.wait(after):
            if beat.count != last:
                last, reported = beat.count, False
            elif not reported:
                reported = True
                on_blocked(describe_block(loop, after))

    thread = threading.Thread(target=watch, name="loop watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        beat.running = False
        stop.set()
        thread.join()


def describe_block(thread: int, after: float) -> LoopBlocked:
    """What the loop in `thread` is doing at this moment."""
    frame = sys._current_frames().get(thread)  # noqa: SLF001 - the one way to see another thread's stack
    path: str | None = None
    message: str | None = None
    stack = "".join(traceback.format_stack(frame)) if frame is not None else ""
    while frame is not None:
        owner = frame.f_locals.get("self")
        if frame.f_code.co_name in _LOOPS and isinstance(owner, Turns):
            path, message = owner.ref.path, owner.handling()[0]
            break
        frame = frame.f_back
    return LoopBlocked(path, message, after, stack)


_LOOPS: Final = frozenset({"serve", "handle", "handle_batch", "take_signals"})
