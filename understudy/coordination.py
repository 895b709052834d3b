"""The coordination's part of the tree, beside the engines.

engines
├─ coordinator       agents, their slots, and who waits for one
└─ tasks             dynamic: an actor for each open task
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from actors.coordination.coordinator import Coordinator, CoordinatorServices
from actors.coordination.record import TaskLimits
from actors.coordination.roster import Roster
from actors.coordination.task_services import TaskServices
from actors.coordination.tasks import Tasks
from actors.engines.routing import address
from actors.users.keys import actor_name
from actors.users.task_commands import Coordination
from runtime import Mailbox
from supervisors import ChildSpec, Intensity

if TYPE_CHECKING:
    from actors.agents.step import AgentServices
    from actors.coordination.counts import CoordinationCounts
    from actors.protocol.stamps import Stamps
    from runtime import Ref, System
    from understudy.configuration.settings import Settings

COORDINATOR = "/engines/coordinator"
TASKS = "/engines/tasks"
FOREVER = float("inf")
BUDGET = Intensity(5, 60.0)
"""Of each by itself: both know again what they knew as soon as others say so, so starting them often is safe."""


@attrs.frozen(kw_only=True)
class CoordinationParts:
    """What the coordination is given.

    Attributes:
        system: the system that it runs in.
        stamps: where ids and times come from.
        agents: what agents are given.
        counts: where what is measured is put.
    """

    system: System
    stamps: Stamps
    agents: AgentServices
    counts: CoordinationCounts


def coordination(settings: Settings, system: System, counts: CoordinationCounts) -> Coordination:
    """Who does tasks, for the users' contexts."""
    return Coordination(system.ref(COORDINATOR), system.ref(TASKS), counts, settings.tasks.open_per_user)


def coordination_children(settings: Settings, parts: CoordinationParts) -> list[ChildSpec]:
    """The specs of the coordinator and of the tasks' supervisor."""
    ref = parts.system.ref
    coordinator = CoordinatorServices(
        journal=ref("/storage"),
        context=lambda user: ref(f"/users/{actor_name(user)}"),
        stamps=parts.stamps,
        agents=settings.agents,
        chains=tuple(dict.fromkeys(agent.models for agent in settings.agents.values())),
        roster=Roster(),
        counts=parts.counts,
        offline_after=settings.workers.offline_after,
    )
    tasks = TaskServices(
        users=ref("/users"),
        journal=ref("/storage"),
        coordinator=ref(COORDINATOR),
        stamps=parts.stamps,
        agents=parts.agents,
        engine=lambda task_type: _engine(parts.system, task_type),
        counts=parts.counts,
        limits=TaskLimits(
            timeout=settings.tasks.timeout,
            attempts=settings.tasks.attempts,
            queue=settings.tasks.queue,
            interruptions=settings.runs.interruptions,
        ),
    )
    keep, sweep = settings.tasks.keep, settings.tasks.sweep
    return [
        ChildSpec("coordinator", lambda: Coordinator(coordinator), mailbox=Mailbox(65_536), budget=BUDGET),
        ChildSpec("tasks", lambda: Tasks(tasks, keep, sweep), mailbox=Mailbox(8192), shutdown=FOREVER, budget=BUDGET),
    ]


def _engine(system: System, task_type: str) -> Ref[Any] | None:
    path = address(task_type)
    return None if path is None else system.ref(path)
