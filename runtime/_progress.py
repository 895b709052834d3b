"""How far a cell has got in the turn that it is in the middle of.

The loop keeps its position in local variables and brings the counters up once a turn, which is what makes it fast. A
handler that awaits holds the loop in the middle of a turn, for seconds perhaps, and whoever looks then must not see
counts that are seconds old. So the position is read where it is: in the frame of the loop. That costs the one who looks
a microsecond, and the loop nothing.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from runtime._turn import INNER, Turns

if TYPE_CHECKING:
    from types import FrameType

SERVE: Final = Turns.serve.__code__


def completed_now(cell: Turns) -> int:
    """What the cell's loop is done with: `completed`, and what the turn under way has added."""
    frame = loop_frame(cell)
    if frame is None:
        return cell.completed
    local = frame.f_locals
    if "i" not in local:
        return cell.completed
    turn: int = local["done"] + local["o"] * len(INNER) + local["i"]
    return max(cell.completed, turn)  # between two turns the variables are those of the last one


def loop_frame(cell: Turns) -> FrameType | None:
    """The frame of `serve`, whether its task waits or is the one that asks."""
    if cell.task is None:
        return None
    coroutine: Any = cell.task.coro
    while coroutine is not None:
        if getattr(coroutine, "cr_code", None) is SERVE:
            found: FrameType | None = coroutine.cr_frame
            return found
        coroutine = getattr(coroutine, "cr_await", None)
    frame: FrameType | None = sys._getframe()  # noqa: SLF001 - a task that runs shows its frames only here
    while frame is not None:
        if frame.f_code is SERVE and frame.f_locals["self"] is cell:
            return frame
        frame = frame.f_back
    return None
