"""Which cell a task belongs to: known for the task of each incarnation and for each task of an actor.

One dict for each run of trio, not for each system: a handler may ask an actor of another system, and its edge has to
stand in the wait-for graph all the same.

Rejected: a context variable. Each actor would have a context with something in it instead of an empty one, which is two
more objects for the collector and a fifth of a kilobyte.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from trio.lowlevel import RunVar, Task, current_task

if TYPE_CHECKING:
    from runtime._cell import Cell
    from runtime._system import System

SYSTEM: Final[ContextVar[System | None]] = ContextVar("system", default=None)
"""The system whose actors started a task, in whatever nursery. Set once for each system, in what its tasks inherit."""
_CELLS: Final[RunVar[dict[Task, Cell]]] = RunVar("cells")


def cells_of_run() -> dict[Task, Cell]:
    """The cells of this run of trio, by their tasks. A task leaves it in its last step."""
    try:
        return _CELLS.get()
    except LookupError:
        cells: dict[Task, Cell] = {}
        _CELLS.set(cells)
        return cells


def cell_handling(cells: dict[Task, Cell]) -> Cell | None:
    """The cell whose own task runs now, in a handler or a hook; None in any other task, those of an actor included."""
    task = current_task()
    cell = cells.get(task)
    return cell if cell is not None and cell.task is task else None


def cell_of(task: Task) -> Cell | None:
    """The cell that `task` works for: its own, or that of the task in whose nursery it was started."""
    cells = cells_of_run()
    around: Task | None = task
    while around is not None:
        cell = cells.get(around)
        if cell is not None:
            return cell
        nursery = around.parent_nursery
        around = None if nursery is None else nursery.parent_task
    return None
