"""The base class of actors: what an actor is made of and what it may do."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from trio.lowlevel import enable_ki_protection

from runtime._address import cycle_closed
from runtime._errors import InvalidSpec, WaitCycle
from runtime._messages import Ended, Passivated, Stopped
from runtime._request import ReplyTo, Request
from runtime._timers import SHORTEST, Timer
from runtime._turn import Stop
from runtime._work import in_process, in_thread

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Sequence

    import trio

    from runtime._address import Ref
    from runtime._cell import Cell
    from runtime._messages import Reason
    from runtime._system import System
    from runtime._tasks import ActorTask


class Actor:
    """One thing that happens at a time.

    Subclass it, keep state in attributes, override `receive`. An instance lives for one incarnation; after a crash the
    supervisor makes a new one from the spec, at the same address, with the same mailbox.

    Every method here is for the actor's own code, in its own task or tasks.
    """

    __slots__ = ("_cell",)

    hosts: ClassVar[bool] = False
    """Whether the cell holds a nursery for children. `Host` sets it."""

    announces: ClassVar[bool] = False
    """Whether the actor itself tells its host when it has started (`_cell.announce`), later than `started` returns."""

    batch: ClassVar[int] = 1
    """With more than 1, up to so many waiting messages come at once to `receive_batch`."""

    _cell: Cell

    async def started(self) -> None:
        """Run before the first message. An exception here is a failed start."""

    async def receive(self, message: Any) -> object:
        """Handle one message. The result answers an ask; return `Refused(reason)` for an expected "no".

        An exception ends this incarnation; the message is not tried again.
        """
        del message
        return None

    async def receive_batch(self, messages: Sequence[Any]) -> Sequence[object] | None:
        """Handle several messages together (see `batch`): one answer for each, or None for None to all.

        Messages from the kernel still come one by one to `receive`.
        """
        raise NotImplementedError

    async def stopped(self, reason: Reason) -> None:
        """Run at the end of every incarnation, shielded from cancellation, within the tree's grace.

        Runs also after a failed start, so attributes that `started` sets may be missing. The actor's tasks and
        children have ended by then. An exception here is reported and changes nothing.
        """

    def inspect(self) -> dict[str, Any]:
        """What a snapshot of the tree shows of this actor besides what the kernel knows. Quick, no secrets."""
        return {}

    # --- who and where

    @property
    def ref(self) -> Ref[Any]:
        """The actor's own address."""
        return self._cell.ref

    @property
    def system(self) -> System:
        return self._cell.system

    @property
    def incarnation(self) -> int:
        """0 for the first, one more after each restart."""
        return self._cell.incarnation

    @property
    def backlog(self) -> int:
        """How many messages wait in the mailbox behind what is in hand; those of the kernel are not counted."""
        return self._cell.depth

    def now(self) -> float:
        """The time of trio's clock, in seconds."""
        return self._cell.system.now()

    # --- answering later, or elsewhere

    def defer(self) -> ReplyTo:
        """Keep the right to answer the message in hand; what the handler returns is then no answer.

        While it is kept, and wanted, the actor does not passivate. For a message that nobody asked, answering does
        nothing. Not for `receive_batch`, which gives one answer for each.
        """
        cell = self._cell
        request, cell.request = cell.request, None
        if request is None or not request.answerable:
            return ReplyTo(None, None)
        request.holder = None
        if request.open:
            cell.need_links().held[request] = None
        return ReplyTo(cell, request)

    @enable_ki_protection
    def forward(self, ref: Ref[Any]) -> bool:
        """Pass the message in hand on, with the asker's right to an answer. False if `ref` did not take it.

        The asker then gets the refusal, or `WaitCycle` if `ref` waits for the asker. The right goes with the first
        call; a further one for the same message is a `tell`.

        Raises:
            RuntimeError: no single message is in hand (in `receive_batch`, `started`, `stopped`).
        """
        cell = self._cell
        message = cell.move_on()
        request, cell.request = cell.request, None
        if request is None or not request.answerable:
            return ref.tell(message)
        request.weight = 0
        cycle = cycle_closed(request, ref.target.edge())
        if cycle is not None:
            request.fail(WaitCycle(cycle))
            return False
        if ref.target.overflow(ref, request):
            return True
        request.fail(ref.target.refusal(ref, request.message))
        return False

    def request(self, ref: Ref[Any], message: object, within: float, *, tag: object = None) -> None:
        """Ask without waiting: exactly one `Replied` follows, through the system lane, within `within` seconds.

        It carries the answer, or why there is none. If this incarnation ends first, nothing follows.

        Raises:
            InvalidSpec: `within` is not a finite number.
        """
        cell = self._cell
        request = Request(ref, message)
        request.sink = cell
        request.tag = tag
        wheel = cell.system.wheel
        request.bucket = wheel.add(wheel.now() + within, request)
        cell.need_links().requests[request] = None
        if not ref.target.overflow(ref, request):
            request.fail(ref.target.refusal(ref, message))

    # --- tasks and timers

    def start(self, function: Callable[..., Awaitable[Any]], *args: Any, name: str | None = None) -> ActorTask:
        """Run `await function(*args)` beside the actor. `TaskEnded` follows, unless the actor ends first.

        The task is cancelled and joined before `stopped`.
        """
        call = partial(function, *args) if args else function
        return self._cell.start_task(call, name or label_of(function))

    def start_in_thread(
        self,
        function: Callable[..., Any],
        *args: Any,
        limiter: trio.CapacityLimiter | None = None,
        name: str | None = None,
    ) -> ActorTask:
        """Run `function(*args)`, which blocks, in a worker thread; `TaskEnded` follows as for `start`.

        If the actor ends first, the thread is left to itself and its result is dropped: threads cannot be stopped.
        `limiter` bounds how many run at once; trio's own (40) if None.
        """
        return self.start(in_thread(function, args, limiter), name=name or label_of(function))

    def start_in_process(
        self,
        function: Callable[..., Any],
        *args: Any,
        limiter: trio.CapacityLimiter | None = None,
        name: str | None = None,
    ) -> ActorTask:
        """Run `function(*args)`, which keeps a processor busy, in a worker process; `TaskEnded` follows.

        If the actor ends first, the process is killed. Function, arguments and result have to be picklable.
        `limiter` bounds how many run at once; one a processor if None.

        Raises:
            ModuleNotFoundError: the extra `understudy[processes]` is not installed.
        """
        return self.start(in_process(function, args, limiter), name=name or label_of(function))

    def timer(self, key: Hashable, delay: float, message: object, *, every: float | None = None) -> None:
        """Have `message` handled in `delay` seconds, and then, with `every`, again and again.

        One timer a key: a new one takes the place of the old. It comes through the system lane, so a full mailbox
        does not lose it, and it ends with the incarnation.

        Raises:
            InvalidSpec: `delay` or `every` is not a finite number; an earlier timer of that key goes on.
        """
        for name, seconds in (("delay", delay), ("every", every)):
            if seconds is not None and not math.isfinite(seconds):
                raise InvalidSpec(f"timer.{name}", seconds, "a finite number of seconds")
        cell = self._cell
        timers = cell.need_links().timers
        old = timers.pop(key, None)
        if old is not None:
            old.cancel()
        timer = timers[key] = Timer(cell, key, message, None if every is None else max(every, SHORTEST))
        timer.arm(cell.system.now() + max(0.0, delay))

    def cancel_timer(self, key: Hashable) -> bool:
        """Cancel the timer of that key. False if there is none."""
        links = self._cell.links
        timer = links.timers.pop(key, None) if links is not None else None
        if timer is None:
            return False
        timer.cancel()
        return True

    # --- others

    def watch(self, ref: Ref[Any]) -> None:
        """Hear of the ends of the actor at `ref`: `Restarted` each time, `Ended` once, at once if it has ended already.

        The watch ends with this incarnation; `started` is where to put it back.
        """
        cell = self._cell
        if ref not in cell.need_links().watching:
            watched = ref.target.watchable()
            if watched is None:
                cell.signal(Ended(ref, Stopped("not running")))
                return
            cell.need_links().watching[ref] = watched
            watched.need_links().watchers[cell] = ref

    def unwatch(self, ref: Ref[Any]) -> None:
        """End a watch. A notice that is already under way still comes."""
        links = self._cell.links
        watched = links.watching.pop(ref, None) if links is not None else None
        if watched is not None and watched.links is not None:
            watched.links.watchers.pop(self._cell, None)

    def subscribe(self, topic: Hashable) -> None:
        """Get everything that is published on `topic`, until `unsubscribe` or the end of this address."""
        self._cell.system.topics.subscribe(topic, self._cell)

    def unsubscribe(self, topic: Hashable) -> None:
        self._cell.system.topics.unsubscribe(topic, self._cell)

    def register(self, name: str) -> bool:
        """Take a name in the system's registry, until the end of this address. False if another has it."""
        return self._cell.system.registry.register(name, self._cell)

    # --- ending

    def stop(self, why: str = "stopped", *, drain: bool = False) -> None:
        """End after the message in hand. What is queued stays undelivered; with `drain` it is served first."""
        self._cell.signal(Stop(why, drain=drain))

    def passivate(self) -> None:
        """End if there is nothing to do: no message, no task, no answer owed, no request under way. Else nothing.

        The address stays: the next message starts the actor again, after `stopped` has returned.
        """
        cell = self._cell
        if cell.leaving is None and cell.depth == 0:
            cell.leaving = Passivated()
            cell.wished = cell.accepted


def label_of(function: object) -> str:
    """What a task that runs `function` is called, for people."""
    return str(getattr(function, "__qualname__", type(function).__name__))
