"""The cell: what an address stands for while its actor lives.

The cell (address, mailbox, counters) outlives the task. Each incarnation is a new task in the host's nursery, in a
pristine context, with a new cancel scope in its own frame: a scope that was cancelled once stays cancelled, and a
context that was inherited would leak one user's variables into another's actor.

Rejected: one task for the life of the address, which waits parked for its supervisor's verdict. It saves 10 µs a
restart and keeps the dead incarnation's frames, its context and its scope.

Nothing leaves `run` but a cancellation that belongs to the host's nursery. Anything else, SystemExit and groups
included, would cancel every sibling.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

import trio
from trio.lowlevel import Abort, current_task, enable_ki_protection, wait_task_rescheduled

from runtime._actor import Actor
from runtime._errors import InvalidSpec
from runtime._failure import describe, strip
from runtime._hand import NOTHING
from runtime._hosting import NO_CHILDREN, Hosting, IncarnationEnded
from runtime._messages import Crashed, Ended, Killed, Passivated, Reason, Stopped, is_failure
from runtime._reports import Crash, HookFailed
from runtime._request import failed
from runtime._tasks import ActorTask, split_cancelled
from runtime._turn import Stop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from runtime._address import Ref, Target
    from runtime._host import Host
    from runtime._spec import Spec
    from runtime._system import Owner, System
    from runtime._wheel import Bucket

LAST_ERROR_LENGTH: Final = 500
TASK_NAME: Final = f"{__name__}.Cell.run"
"""What trio calls the task. It would work that out, and keep it, for each one anew."""


class Cell(Hosting):
    """An actor's place in the tree."""

    __slots__ = (
        "actor",
        "deadline",
        "incarnation",
        "kill_why",
        "kind",
        "last_error",
        "owner",
        "passing",
        "running",
        "scope",
        "stop_asked",
    )

    def __init__(self, ref: Ref[Any], spec: Spec, owner: Owner, system: System) -> None:
        mailbox = spec.mailbox
        # the mailbox
        self.ref = ref
        self.spec = spec
        self.system = system
        self.kind = "?"
        self.state = "starting"
        self.lane = self.signals = self.waiter = self.links = self.retry_at = None
        self.marked = self.shut = False
        self.capacity = mailbox.capacity if mailbox.weigher is None else -1
        self.accepted = self.rejected = 0
        self.failed = self.expired = self.dropped = self.undelivered = self.moved = 0
        self.peak = 0
        # the message in hand
        self.current = NOTHING
        self.attending = False
        self.request = self.failed_message = None
        self.since = 0.0
        self.completed = self.marks = self.skipped = self.forwarded = 0
        # the loop
        self.task = self.waits_on = self.leaving = None
        self.signalled = self.wished = 0
        # the children
        self.children = NO_CHILDREN
        self.nursery = None
        self.stop_by = math.inf
        # the incarnations
        self.owner = owner
        self.actor: Any = None
        self.scope: trio.CancelScope | None = None
        self.incarnation = 0
        self.running = self.stop_asked = False
        self.kill_why: str | None = None
        self.deadline: Bucket | None = None
        self.passing: BaseException | None = None
        self.last_error: str | None = None

    # --- orders from the host

    def launch(self) -> None:
        """Start an incarnation. Returns at once."""
        self.state = "starting"
        self.running = True
        self.kill_why = None
        self.failed_message = None
        if self.deadline is not None:
            self.cancel_deadline()
        within = self.spec.start_within
        if within < math.inf:
            self.deadline = self.system.wheel.add(self.system.now() + within, self)
        nursery = self.owner.nursery
        assert nursery is not None
        self.system.pristine.run(partial(nursery.start_soon, self.run, name=TASK_NAME))

    def request_stop(self, why: str, by: float = math.inf, *, drain: bool = False) -> None:
        """End after the message in hand, cancelled at the time `by`. A later call can only shorten the time.

        Without a time, the deadline of a start that is under way still holds.
        """
        self.stop_by = min(self.stop_by, by)
        if self.stop_by < math.inf:
            self.cancel_deadline()
            self.deadline = self.system.wheel.add(self.stop_by, self)
        self.signal(Stop(why, drain=drain))

    def kill(self, why: str) -> None:
        """Cancel what the actor is doing, its tasks and its children. `stopped` still runs."""
        self.kill_why = why
        if self.scope is not None:
            self.scope.cancel(reason=why)
        if self.nursery is not None:
            self.nursery.cancel_scope.cancel(reason=why)

    def fire(self) -> None:
        """The time to start, or to stop, is over (called by the wheel)."""
        self.deadline = None
        starting = self.stop_by == math.inf
        self.kill(f"did not start within {self.spec.start_within:g} s" if starting else "did not stop in time")

    def cancel_deadline(self) -> None:
        if self.deadline is not None:
            self.deadline.pop(self, None)
            self.deadline = None

    def end(self, reason: Reason, target: Target) -> None:
        """The address leads to `target` from now on. First what the actor held is free, then watchers hear of it."""
        self.state = "ended"
        self.ref.target = target
        self.cancel_deadline()
        self.empty_out("dead" if is_failure(reason) else "stopped")
        self.system.forget(self)
        links, self.links = self.links, None
        if links is None:
            return
        notice = Ended(self.ref, reason)
        for watcher, ref in links.watchers.items():
            if watcher.links is not None:
                watcher.links.watching.pop(ref, None)
            watcher.signal(notice)

    # --- one incarnation

    @enable_ki_protection
    async def run(self) -> None:
        """One incarnation, from making the instance to telling the host that it is over."""
        task = self.task = current_task()
        self.system.cells[task] = self
        actor: Actor | None = None
        reason: Reason | None = None
        try:
            actor = self._make()
        except BaseException as error:  # noqa: BLE001 - whatever a factory raises is a failed start
            reason = self._crashed(error, in_start=True)
        else:
            if actor.hosts:
                reason = await self._live_as_host(actor)
            else:  # as `_live`, which would be one more coroutine: a quarter of a kilobyte for each actor
                try:
                    with trio.CancelScope() as self.scope:
                        if self.kill_why is not None:
                            self.scope.cancel(reason=self.kill_why)
                        await actor.started()
                        self._has_started(actor)
                        reason = await self.serve(actor)
                except BaseException as error:  # noqa: BLE001 - an actor may fail with anything; the host decides
                    reason = self._failed(error)
                reason = reason or self._killed()
        self.state = "stopping"
        if self.stop_by == math.inf:
            self.cancel_deadline()
        await self._finish(actor, reason)
        passing, self.passing = self.passing, None
        del self.system.cells[task]
        self.actor = self.scope = self.task = actor = None
        self.current = NOTHING
        self.running = False
        self.owner.signal(IncarnationEnded(self, reason))
        del reason
        if passing is not None:
            try:
                raise passing
            finally:
                del passing

    def _make(self) -> Actor:
        actor = self.spec.start()
        if not isinstance(actor, Actor):
            raise InvalidSpec(f"{self.spec.name}.start()", type(actor).__name__, "an Actor")
        self.kind = type(actor).__name__
        actor._cell = self  # noqa: SLF001 - the kernel's own field
        self.actor = actor
        return actor

    async def _live(self, actor: Actor) -> Reason:
        """From `started` to the last message. Raises nothing."""
        reason: Reason | None = None
        try:
            with trio.CancelScope() as self.scope:
                if self.kill_why is not None:
                    self.scope.cancel(reason=self.kill_why)
                await actor.started()
                self._has_started(actor)
                reason = await self.serve(actor)
        except BaseException as error:  # noqa: BLE001 - an actor may fail with anything; the host decides
            reason = self._failed(error)
        return reason or self._killed()

    def _failed(self, error: BaseException) -> Crashed | None:
        """What left the scope, as a reason; None if it is a cancellation from outside, which is kept to go on."""
        self.passing, failure = split_cancelled(error)
        return None if failure is None else self._crashed(failure, in_start=self.state == "starting")

    def _killed(self) -> Reason:
        why = self.kill_why or "its host ended"
        if self.kill_why is not None:
            self.last_error = why
            self.system.report(Crash(self.ref.path, self.kind, self.incarnation, self.failed_message, None, why))
        return Killed(why)

    def _has_started(self, actor: Actor) -> None:
        self.state = "running"
        if self.stop_by == math.inf:
            self.cancel_deadline()
        if not actor.announces:
            self.owner.signal(self)

    def announce(self) -> None:
        """Tell the host that this child has started."""
        self.owner.signal(self)

    async def _live_as_host(self, actor: Actor) -> Reason:
        """As `_live`, with a nursery around it, and no child left behind.

        One that is cancelled while it stops its children was killed, whatever had made it stop.
        """
        reason: Reason = Killed("its host ended")
        cut_short = True
        passing: BaseException | None = None
        try:
            async with trio.open_nursery() as self.nursery:
                reason = await self._live(actor)
                self.state = "stopping"
                if self.passing is not None:
                    raise self.passing
                await self._end_tasks()
                await self.stop_children(together=cast("Host", actor).independent)
                cut_short = False
        except BaseException as error:  # noqa: BLE001 - only cancellations can come; the rest would be a defect
            passing, failure = split_cancelled(error)
            if failure is not None:
                reason = self._crashed(failure, in_start=False)
        self.passing = passing
        if cut_short and not is_failure(reason):
            reason = self._killed()
        self.nursery = None
        self.close_orphans()
        self.signals = None
        return reason

    def _crashed(self, error: BaseException, *, in_start: bool) -> Crashed:
        detail = describe(error)[:LAST_ERROR_LENGTH]
        self.last_error = detail
        message = None if in_start else self.failed_message
        self.system.report(Crash(self.ref.path, self.kind, self.incarnation, message, error, detail))
        strip(error)
        return Crashed(error, in_start)

    async def _end_tasks(self) -> None:
        """Cancel the actor's tasks and wait for them: none outlives its actor."""
        links = self.links
        if links is None or not links.tasks:
            return
        for task in list(links.tasks):
            task.cancel("its actor ended")
        with trio.CancelScope(shield=True):
            while links.tasks:
                links.joiner = self.task
                await wait_task_rescheduled(_never_abort)
        links.joiner = None

    async def _finish(self, actor: Actor | None, reason: Reason) -> None:
        """Everything that ends with an incarnation, then the hook, then what the hook has begun."""
        await self._let_go(reason)
        if actor is not None and type(actor).stopped is not Actor.stopped:
            await self._run_hook(actor, reason)
            await self._let_go(reason)

    async def _let_go(self, reason: Reason) -> None:
        """Tasks, timers, requests, watches, answers owed and signals: none of them outlives its incarnation."""
        await self._end_tasks()
        links = self.links
        if links is not None:
            for timer in links.timers.values():
                timer.cancel()
            links.timers.clear()
            for request in list(links.requests):
                request.abandon()
            links.requests.clear()
            for ref, watched in links.watching.items():
                if watched.links is not None and watched.links.watchers.get(self) is ref:
                    del watched.links.watchers[self]
            links.watching.clear()
            held, links.held = links.held, {}
            for request in held:
                failed(request, str(reason), reason.error if isinstance(reason, Crashed) else None)
        if self.signals:
            self.signals.clear()

    async def _run_hook(self, actor: Actor, reason: Reason) -> None:
        try:
            with trio.CancelScope(shield=True, deadline=self.system.grace_until()) as scope:
                await actor.stopped(reason)
            if scope.cancelled_caught:
                self.system.report(HookFailed(self.ref.path, self.kind, None))
        except BaseException as error:  # noqa: BLE001 - a hook that fails must not keep the actor from ending
            passing, failure = split_cancelled(error)
            self.passing = self.passing or passing
            if failure is not None:
                self.system.hook_failed(self.ref.path, self.kind, failure)

    # --- as a host

    async def take_signal(self, actor: Any, signal: Any) -> None:
        if signal.__class__ is IncarnationEnded:
            signal = self._child_ended(actor, signal.cell, signal.reason)
        elif signal.__class__ is Cell:
            # A child has started. The cell itself is the news: an object for each would be ten thousand more for the
            # collector. It may have ended since: that follows, and is another matter than a start that failed.
            signal = actor.child_started(signal)
        if signal is not None:
            self.current = signal
            await actor.receive(signal)

    def _child_ended(self, actor: Any, cell: Cell, reason: Reason) -> object:
        if self.children.get(cell.spec.name) is not cell:
            return None
        if isinstance(reason, Passivated):
            if cell.stop_asked:  # whoever was told to stop is not to be woken
                reason = Stopped()
            elif self.settle_passive(cell):
                return None
            else:
                return actor.child_passivated(cell)
        return actor.child_ended(cell, reason)

    def start_task(self, function: Callable[[], Awaitable[Any]], name: str) -> ActorTask:
        nursery = self.owner.nursery
        assert nursery is not None
        task = ActorTask(self, function, name)
        links = self.need_links()
        links.tasks[task] = None
        if links.joiner is not None:  # begun by a task that is being ended
            task.cancel("its actor ended")
        self.system.pristine.run(nursery.start_soon, task.run)
        return task


def _never_abort(_raise_cancel: Callable[[], Any]) -> Abort:
    """Joining is shielded, so nothing can ask for this."""
    return Abort.FAILED
