"""What is counted of tasks, and what there is now of agents and of those who wait. One a daemon."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import attrs

from actors.coordination.board import Board
from actors.protocol.task_events import Priority

if TYPE_CHECKING:
    from collections.abc import Callable

TASK_COUNTS: Final = ("submitted", "completed", "failed", "cancelled", "again")
"""What is counted of tasks."""


def _nobody() -> dict[str, int]:
    return {}


@attrs.define(eq=False)
class CoordinationCounts:
    """Counters of one daemon; whoever does the thing counts it, once, when it has happened.

    Attributes:
        tasks: submitted; completed, failed and cancelled, by how they ended; again: attempts that others followed.
        board: of the coordinator as it is now.
        agents: how many there are in each state, now.
    """

    tasks: Counter[str] = attrs.field(factory=Counter)
    board: Board = attrs.field(factory=Board)
    agents: Callable[[], dict[str, int]] = _nobody

    def waiting(self) -> dict[str, int]:
        """Claims that wait, by priority."""
        ranks = Counter(claim.rank for claim in self.board.waiting)
        return {priority.value: ranks[priority.rank] for priority in Priority}
