"""What every task is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from actors.coordination.record import TaskLimits

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.agents.step import AgentServices
    from actors.coordination.counts import CoordinationCounts
    from actors.protocol.stamps import Stamps
    from runtime import Ref


@attrs.frozen
class TaskServices:
    """Whom a task talks to, and what holds for every task.

    Attributes:
        users: the supervisor of contexts.
        journal: where records are read.
        coordinator: who grants slots.
        stamps: where ids and times come from.
        agents: what agents are given.
        engine: the address of the engine for a type of task, if there is one.
        counts: what is measured.
        limits: how long and how often a task is tried.
    """

    users: Ref[Any]
    journal: Ref[Any]
    coordinator: Ref[Any]
    stamps: Stamps
    agents: AgentServices
    engine: Callable[[str], Ref[Any] | None]
    counts: CoordinationCounts
    limits: TaskLimits = TaskLimits()
