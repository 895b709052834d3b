"""parallel_mind: a graph of tasks on typed workers, each begun as soon as what it waits for has ended.

Workers are shared by all executions, fairly between users. A task that fails is tried again; one whose last try failed
fails alone, and what waits for it is skipped. What its understudy does is the same graph, one task after the other.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

import attrs
import trio

from actors.engines.graph import Defaults, WorkTask, in_order, may_begin, read_graph
from actors.engines.places import Places
from actors.engines.strategy import Cancellable, Desk, Outcome
from actors.engines.workers import Assignment, WorkEnd, Worker
from actors.protocol.catalogue import CATALOGUE, Failure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from random import Random

    from structlog.typing import FilteringBoundLogger

    from actors.engines.messages import Execute

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 10.0


@attrs.frozen
class GraphLimits:
    """`tasks` of one graph at most; `workers` of all executions at once, see `Places`."""

    tasks: int = 100
    workers: int = 20


@attrs.frozen
class TaskEnd:
    """How a task of a graph ended, after so many tries."""

    status: Literal["completed", "failed", "skipped"]
    end: WorkEnd | None
    attempts: int
    seconds: float

    def shown(self, task: WorkTask) -> dict[str, Any]:
        """As plain JSON values."""
        end = self.end
        failure = None if end is None else end.failure
        shown = {
            "name": task.name,
            "worker": task.worker,
            "status": self.status,
            "attempts": self.attempts,
            "duration_ms": int(self.seconds * 1000),
            "result": None if end is None else end.text,
            "error": CATALOGUE[failure].sentence if failure else None,
            "degraded": True if end is not None and end.degraded else None,
            "details": None if end is None or not end.details else end.details,
        }
        return {name: value for name, value in shown.items() if value is not None}


SKIPPED: Final = TaskEnd("skipped", None, 0, 0.0)


@attrs.frozen
class Crew:
    """What does the tasks.

    Attributes:
        workers: by type.
        agents: names of agents that a task may want.
        defaults: for what a task does not say.
        limits: see there.
        rng: for the jitter of pauses.
        log: for the causes of failures.
    """

    workers: Mapping[str, Worker]
    agents: frozenset[str]
    defaults: Defaults
    limits: GraphLimits
    rng: Random
    log: FilteringBoundLogger


class ParallelMind:
    """See the module. With `in_turn`, one task after the other."""

    def __init__(self, crew: Crew, *, in_turn: bool = False) -> None:
        self._crew = crew
        self._in_turn = in_turn
        self._places = Places(crew.limits.workers)

    def problems(self, execute: Execute) -> dict[str, str]:
        return self._read(execute)[1]

    async def close(self) -> None:
        """Holds nothing."""

    async def run(self, execute: Execute, desk: Desk) -> Outcome:
        tasks, _ = self._read(execute)
        ends: dict[str, TaskEnd] = {}

        def ended(task: WorkTask, end: TaskEnd) -> None:
            ends[task.name] = end
            desk.so_far.update(summary(tasks, ends))
            desk.told(len(ends), len(tasks))

        desk.so_far.update(summary(tasks, ends))
        desk.told(0, len(tasks))
        if self._in_turn:
            for task in in_order(tasks):
                ended(task, await self._do(task, execute, ends))
        else:
            await self._all_at_once(tasks, execute, desk, ends, ended)
        return outcome_of(tasks, ends)

    def _read(self, execute: Execute) -> tuple[tuple[WorkTask, ...], dict[str, str]]:
        crew = self._crew
        return read_graph(
            execute.parameters,
            execute.description,
            workers=tuple(crew.workers),
            agents=sorted(crew.agents),
            most=crew.limits.tasks,
            defaults=crew.defaults,
        )

    async def _all_at_once(
        self, tasks: Sequence[WorkTask], execute: Execute, desk: Desk, ends: dict[str, TaskEnd], ended: Any
    ) -> None:
        tell, hear = trio.open_memory_channel[tuple[WorkTask, TaskEnd | Exception]](math.inf)

        async def one(task: WorkTask) -> None:
            try:
                end: TaskEnd | Exception = await self._do(task, execute, ends)
            except Exception as error:  # noqa: BLE001 - a defect; raised by whoever waits
                end = error
            tell.send_nowait((task, end))

        begun: dict[str, Cancellable] = {}
        try:
            while len(ends) < len(tasks):
                for task in may_begin(tasks, begun, ends):
                    begun[task.name] = desk.start(partial(one, task), name=f"task {task.name}")
                task, end = await hear.receive()
                if isinstance(end, Exception):
                    raise end
                ended(task, end)
        finally:
            for started in begun.values():
                started.cancel("nobody waits for it any more")

    async def _do(self, task: WorkTask, execute: Execute, ends: Mapping[str, TaskEnd]) -> TaskEnd:
        """One task with all its tries; never longer than the execution may last, which ends whoever awaits this."""
        if any(ends[name].status != "completed" for name in task.depends_on):
            return SKIPPED
        inputs = {name: ends[name].end for name in task.depends_on}
        began: float | None = None
        attempt = 0
        while True:
            attempt += 1
            async with self._places.one(execute.user):  # not while it rests between two tries
                now = trio.current_time()
                began = now if began is None else began
                deadline = min(execute.deadline, now + task.timeout)
                assignment = Assignment(task, execute.description, execute.user, deadline, inputs, execute.priority)
                end = await self._try(assignment)
            if end.failure is None:
                return TaskEnd("completed", end, attempt, trio.current_time() - began)
            if attempt > task.retries or not CATALOGUE[end.failure].retryable:
                return TaskEnd("failed", end, attempt, trio.current_time() - began)
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** (attempt - 1))
            await trio.sleep(pause * (0.5 + self._crew.rng.random() / 2))

    async def _try(self, assignment: Assignment) -> WorkEnd:
        work = self._crew.workers[assignment.task.worker]
        try:
            with trio.CancelScope(deadline=assignment.deadline):
                return await work(assignment)
        except Exception:  # a worker is a plug-in: its failure is the task's, and it is told
            self._crew.log.exception("worker failed", worker=assignment.task.worker)
            return WorkEnd(None, failure=Failure.INTERNAL)
        return WorkEnd(None, failure=Failure.ENGINE_TIMEOUT)


def summary(tasks: Sequence[WorkTask], ends: Mapping[str, TaskEnd]) -> dict[str, Any]:
    """The result so far: each task that has ended, and how many of all have."""
    return {
        "tasks": [ends[task.name].shown(task) for task in tasks if task.name in ends],
        "finished": len(ends),
        "total": len(tasks),
        "failed": [task.name for task in tasks if task.name in ends and ends[task.name].status != "completed"],
    }


def outcome_of(tasks: Sequence[WorkTask], ends: Mapping[str, TaskEnd]) -> Outcome:
    """A graph is failed only where no task of it came to a result."""
    result = summary(tasks, ends)
    degraded = any(end.end is not None and end.end.degraded for end in ends.values())
    if any(end.status == "completed" for end in ends.values()):
        return Outcome(result, degraded=degraded)
    tries = [ends[task.name].end for task in tasks if task.name in ends]
    failures = [end.failure for end in tries if end is not None and end.failure is not None]
    return Outcome(result, degraded=degraded, failure=failures[0] if failures else Failure.INTERNAL)
