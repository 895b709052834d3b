"""One actor of an engine: takes so many executions at once, lets so many wait, and hands on what is too much.

Each execution is a task of the actor, with its deadline, so it can be cancelled, and its end comes back through the
system lane: an engine that is suspended finishes what it has, and takes nothing new. A handler never waits.

What it has no room for it gives back to the address that it came from, having told the fallback there that it is not
to be asked for a moment: so the way to the understudy is the same, whether the engine has failed, is suspended, or is
full. An understudy that has no room refuses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from actors.engines.line import WaitingLine
from actors.engines.messages import (
    BadExecution,
    Cancel,
    EngineBusy,
    EngineProgress,
    EngineResult,
    EngineUnavailable,
    Execute,
)
from actors.engines.strategy import Desk, Misfit, Outcome, Unavailable
from actors.models.lease import Queued
from actors.models.leaseholder import Leaseholder
from actors.protocol.catalogue import Failure
from runtime import Actor, Refused, Restarted, TaskEnded

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import FilteringBoundLogger

    from actors.engines.counts import EngineCounts, Load
    from actors.engines.strategy import Strategy
    from runtime import ActorTask, Reason, Ref, ReplyTo

LOOK_EVERY: Final = 0.5
"""Seconds between two looks at whether anybody still waits for what is under way."""
COME_BACK: Final = 1.0


@attrs.frozen
class Part:
    """Which part an actor has in an engine.

    Attributes:
        name: who did it, in results.
        understudy_of: the engine in whose place it stands; None for the engine itself.
        limit: executions at once; `queue`: how many may wait.
        strategy: makes the strategy, for what asks models on the actor's behalf.
        address: where what is too much is given back to, after `step_aside`. None: it is refused.
        other: the engine's other actor, which may have what is to be cancelled.
    """

    name: str
    understudy_of: str | None
    limit: int
    queue: int
    strategy: Callable[[Leaseholder], Strategy]
    address: Ref[Any] | None = None
    step_aside: Callable[[], None] | None = None
    other: Ref[Any] | None = None

    @property
    def alone(self) -> bool:
        """Whether nothing stands in for it, nor it for another: then it says itself how the engine stands."""
        return self.address is None and self.understudy_of is None


@attrs.define(eq=False)
class _Job:
    """One execution, from its arrival to its end."""

    execute: Execute
    reply: ReplyTo
    arrived: float
    desk: Desk
    task: ActorTask | None = None

    @property
    def user(self) -> str:
        return self.execute.user


@attrs.frozen
class _Look:
    """Timer: whether anybody still waits."""


class Engine(Actor):
    """See the module.

    Args:
        part: what it does.
        counts: of the whole engine.
        load: this actor's own.
        log: for operators.
    """

    def __init__(self, part: Part, counts: EngineCounts, load: Load, log: FilteringBoundLogger) -> None:
        self._part = part
        self._counts = counts
        self._load = load
        self._log = log
        self._line: WaitingLine[_Job] = WaitingLine(part.queue)
        self._running: dict[ActorTask, _Job] = {}

    async def started(self) -> None:
        self._leases = Leaseholder(self)
        self._strategy = self._part.strategy(self._leases)
        self._measure()
        if self._part.alone:
            self._counts.state = "running"

    async def stopped(self, reason: Reason) -> None:
        del reason
        self._counts.failed += len(self._running) + len(self._line)
        self._running.clear()
        self._load.executing = self._load.queued = 0
        if self._part.alone:
            self._counts.state = "offline"
        if hasattr(self, "_strategy"):
            await self._strategy.close()

    async def receive(self, message: Any) -> object:
        match message:
            case Execute():
                return self._take(message)
            case Cancel():
                self._cancel_by_name(message)
            case TaskEnded(task) if task in self._running:
                self._ended(self._running.pop(task), message)
            case _Look():
                self._look()
            case Restarted() | Queued():
                self._leases.heard(message)
        return None

    def inspect(self) -> dict[str, Any]:
        return {"executing": len(self._running), "queued": len(self._line)}

    # --- taking

    def _take(self, execute: Execute) -> Refused | None:
        problems = self._strategy.problems(execute)
        if problems:
            return Refused(BadExecution(problems))
        room = len(self._running) < self._part.limit
        if not room and self._line.full:
            return self._too_much()
        if self._part.understudy_of is not None:
            self._counts.diverted += 1
        reply = self.defer()
        job = _Job(execute, reply, self.now(), Desk(self.start, lambda done, of: self._progress(execute, done, of)))
        if room:
            self._begin(job)
        else:
            self._line.add(job)
        self._measure()
        if len(self._running) + len(self._line) == 1:
            self.timer("look", LOOK_EVERY, _Look())
        return None

    def _too_much(self) -> Refused | None:
        address, step_aside = self._part.address, self._part.step_aside
        if address is None or step_aside is None:
            self._counts.refused += 1
            return Refused(EngineBusy(COME_BACK))
        step_aside()
        self.forward(address)
        return None

    def _begin(self, job: _Job) -> None:
        job.task = self.start(self._work, job, name=f"execution {job.execute.task_type}")
        self._running[job.task] = job

    async def _work(self, job: _Job) -> Outcome:
        """In the execution's own task."""
        with trio.CancelScope(deadline=job.execute.deadline):
            return await self._strategy.run(job.execute, job.desk)
        return Outcome(job.desk.so_far, failure=Failure.ENGINE_TIMEOUT)

    def _progress(self, execute: Execute, finished: int, total: int) -> None:
        if execute.progress is not None:
            execute.progress.tell(EngineProgress(execute.key, finished, total))

    # --- ending

    def _ended(self, job: _Job, ended: TaskEnded) -> None:
        if ended.cancelled:
            self._counts.cancelled += 1
            self._answer(job, Outcome(job.desk.so_far, failure=Failure.INTERRUPTED))
        elif isinstance(ended.error, Unavailable):
            self._counts.failed += 1
            job.reply.answer(Refused(EngineUnavailable(COME_BACK)))
        elif isinstance(ended.error, Misfit):
            self._counts.failed += 1
            job.reply.answer(Refused(BadExecution(ended.error.fields)))
        elif ended.error is not None:
            self._log.error("engine failed", engine=self._part.name, actor=self.ref.path, cause=ended.trace)
            self._counts.failed += 1
            self._answer(job, Outcome(job.desk.so_far, failure=Failure.INTERNAL), defect=True)
        else:
            self._count(job, ended.value)
            self._answer(job, ended.value)
        self._go_on()

    def _count(self, job: _Job, outcome: Outcome) -> None:
        if outcome.failure is not None:
            self._counts.failed += 1
            return
        self._counts.completed += 1
        self._counts.milliseconds += (self.now() - job.arrived) * 1000

    def _answer(self, job: _Job, outcome: Outcome, *, defect: bool = False) -> None:
        stands_in = self._part.understudy_of
        job.reply.answer(
            EngineResult(
                engine=self._part.name,
                task_type=job.execute.task_type,
                status="completed" if outcome.failure is None else "failed",
                result=outcome.result,
                degraded=outcome.degraded or stands_in is not None,
                diverted_from=stands_in,
                failure=outcome.failure,
                duration_ms=int((self.now() - job.arrived) * 1000),
                defect=defect,
            )
        )

    def _go_on(self) -> None:
        """Begin what there is room for now."""
        while len(self._running) < self._part.limit:
            job = self._line.next(each.user for each in self._running.values())
            if job is None:
                break
            self._begin(job)
        self._measure()

    def _look(self) -> None:
        now = self.now()
        self._cancel(lambda job: not job.reply.wanted)
        for job in self._line:
            if now >= job.execute.deadline:
                self._line.leave(job)
                self._counts.failed += 1
                self._answer(job, Outcome({}, failure=Failure.ENGINE_TIMEOUT))
        self._measure()
        if self._running or len(self._line):
            self.timer("look", LOOK_EVERY, _Look())

    def _cancel_by_name(self, cancel: Cancel) -> None:
        """It comes to whoever is in charge now; the execution may have begun at the other."""
        mine = self._cancel(lambda job: job.user == cancel.user and job.execute.key == cancel.key)
        if not mine and not cancel.passed_on and self._part.other is not None:
            self._part.other.tell(attrs.evolve(cancel, passed_on=True))

    def _cancel(self, unwanted: Callable[[_Job], bool]) -> bool:
        """Whether there was any."""
        under_way = [task for task, job in self._running.items() if unwanted(job)]
        waiting = [job for job in self._line if unwanted(job)]
        for task in under_way:
            task.cancel("nobody wants it any more")
        for job in waiting:
            self._line.leave(job)
            self._counts.cancelled += 1
            self._answer(job, Outcome({}, failure=Failure.INTERRUPTED))
        self._measure()
        return bool(under_way or waiting)

    def _measure(self) -> None:
        self._load.executing, self._load.queued = len(self._running), len(self._line)
