"""The loop of a cell: taking messages from its lane, a turn at a time.

A checkpoint for each message would cost ten times the message, so a cell handles up to 64 messages or 0.2 ms of them
before it lets others run. The clock is read every 8 messages. The slice is short because a pass over all busy actors
lasts busy actors times the slice: with 1 ms, a hundred saturated actors delay an idle neighbour's ask by a quarter of
a second.

What is kept off the path of a plain message: no wrapper around the handler (85 ns), no envelope (200 ns), no clock read
(75 ns), no look for signals (a marker in the lane instead). The counters are brought up once a turn, from the loop
variables, also when a handler fails in the middle of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from trio.lowlevel import Abort, Task, checkpoint, enable_ki_protection, wait_task_rescheduled

from runtime._errors import Refused
from runtime._failure import describe
from runtime._hand import NOTHING, Batch, Hand
from runtime._messages import Passivated, Reason, Stopped
from runtime._request import MARK, Request, failed
from runtime._timers import Timer

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime._actor import Actor
    from runtime._sender import Sender

SLICE: Final = 0.0002
"""Seconds of handling after which a turn ends."""
INNER: Final = range(8)
"""Messages between two looks at the clock."""
OUTER: Final = range(8)
"""Looks at the clock in a turn: 64 messages in all."""
SIGNALS_PER_TURN: Final = 64


class Stop:
    """In the system lane: end after the message in hand; with `drain`, after those that are queued."""

    __slots__ = ("drain", "why")

    def __init__(self, why: str, *, drain: bool = False) -> None:
        self.why = why
        self.drain = drain


class Fail:
    """In the system lane: end as if a handler had raised this error."""

    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error


class Suspend:
    """In the system lane: leave the user lane alone until `Resume`. The system lane is served on."""

    __slots__ = ()


class Resume:
    """In the system lane: serve the user lane again."""

    __slots__ = ()


class Turns(Hand):
    """A mailbox and the loop that empties it."""

    __slots__ = (
        "leaving",
        "signalled",
        "task",
        "waits_on",
        "wished",
    )

    signalled: int
    task: Task | None
    waits_on: Request | Sender | None
    leaving: Reason | None
    wished: int
    """`accepted` at the wish to passivate."""

    def __call__(self, _raise_cancel: Callable[[], Any]) -> Abort:
        """The task was cancelled while it was parked. The cell itself is what trio calls then: a bound method would be
        one more object for each parked actor.
        """
        self.waiter = None
        return Abort.SUCCEEDED

    def may_leave(self) -> bool:
        """The lane is empty and `leaving` is set: whether the cell may end now. Forgets a wish that cannot be met."""
        if not isinstance(self.leaving, Passivated):
            return True
        links = self.links
        busy = self.accepted != self.wished
        if links is not None:
            owed = any(request.open for request in links.held)
            busy = busy or owed or bool(links.tasks or links.senders or links.requests)
        if busy:
            self.leaving = None
        return not busy

    def stay(self) -> None:
        """There is work again: forget a wish to passivate."""
        if isinstance(self.leaving, Passivated):
            self.leaving = None

    @enable_ki_protection
    async def serve(self, actor: Actor) -> Reason:
        """Handle messages until it is time to end. Raises what a handler raises."""
        if actor.batch > 1:
            return await self.serve_batches(actor)
        receive: Any
        now = self.system.now
        outer, inner, size = OUTER, INNER, len(INNER)
        while True:
            lane = self.lane
            if self.links is not None and self.links.senders:
                ending = await self.slow_turn(actor)
                if ending is not None:
                    return ending
                await checkpoint()
                continue
            if not lane:
                if self.leaving is not None and self.may_leave():
                    return self.leaving
                # A parked actor holds nothing that it can make.
                self.lane = lane = receive = popleft = item = answer = None
                self.since = begun = end = 0.0
                self.waiter = self.task
                await wait_task_rescheduled(self)
                continue
            if len(lane) > self.peak:
                self.peak = self.depth
            if self.leaving is not None:
                self.stay()
            receive = actor.receive
            popleft = lane.popleft
            self.since = begun = now()
            end = begun + SLICE
            done = self.completed
            o = i = 0
            try:
                for o in outer:
                    for i in inner:
                        if not lane:  # not by IndexError: that would leave the loop's frame with an object of its own
                            break
                        item = popleft()
                        if item.__class__ is Request:
                            if item is MARK:
                                ending = await self.take_signals(actor)
                                self.marks += 1
                                if ending is not None:
                                    self.completed = done + o * size + i + 1
                                    return ending
                                if self.links is not None and self.links.senders:
                                    i += 1
                                    break
                                continue
                            if item.weight:
                                self.links.load -= item.weight  # type: ignore[union-attr]  # a weight implies links
                            if not item.open:
                                self.skipped += 1
                                continue
                            self.request = item
                            self.current = item.message
                            answer = await receive(item.message)
                            if self.request is item:
                                if not item.answer(answer):
                                    self.unanswered(item, answer)
                                self.request = None
                        else:
                            self.current = item
                            if (await receive(item)).__class__ is Refused:
                                self.refused_tell(item)
                    else:
                        if now() >= end:
                            i += 1
                            break
                        continue
                    break
                else:
                    i += 1
            except BaseException as error:
                self.completed = done + o * size + i
                self.hand_failed(error)
                raise
            self.completed = done + o * size + i
            self.current = NOTHING
            if lane:
                await checkpoint()

    async def handle(self, actor: Actor, item: Any) -> None:
        """Handle one item of the user lane, outside the fast loop."""
        message = item
        try:
            if item.__class__ is Request:
                if item.weight:
                    assert self.links is not None
                    self.links.load -= item.weight
                    self.admit()
                if not item.open:
                    self.skipped += 1
                    self.completed += 1
                    return
                self.request = item
                message = item.message
            self.current = message
            answer = await actor.receive(message)
            if item.__class__ is not Request:
                if answer.__class__ is Refused:
                    self.refused_tell(message)
            elif self.request is item:
                if not item.answer(answer):
                    self.unanswered(item, answer)
                self.request = None
        except BaseException as error:
            self.hand_failed(error)
            raise
        self.completed += 1
        self.current = NOTHING

    async def slow_turn(self, actor: Actor) -> Reason | None:
        """A turn while senders wait: each place that becomes free is filled before the message is handled."""
        links = self.links
        assert links is not None
        now = self.system.now
        self.since = begun = now()
        self.peak = max(self.peak, self.depth)
        for _ in range(len(OUTER) * len(INNER)):
            if not self.lane:
                self.admit()  # what waited here has been taken away since
            lane = self.lane
            if not lane or not links.senders or now() >= begun + SLICE:
                break
            self.stay()
            item = lane.popleft()
            if item is MARK:
                ending = await self.take_signals(actor)
                self.marks += 1
                self.completed += 1
                if ending is not None:
                    return ending
                continue
            if self.spec.mailbox.weigher is None:
                self.admit()
            await self.handle(actor, item)
        return None

    async def take_signals(self, actor: Actor) -> Reason | None:
        """Work off the system lane; while suspended, wait here for more of it. A reason means: end now."""
        while True:
            ending = await self._drain_signals(actor)
            if ending is not None or self.state != "suspended":
                return ending
            while not self.signals:
                self.waiter = self.task
                await wait_task_rescheduled(self)
            self.unmark()

    async def _drain_signals(self, actor: Actor) -> Reason | None:
        self.marked = False
        self.current = NOTHING
        signals = self.signals
        taken = 0
        while signals:
            signal = signals.popleft()
            taken += 1
            if signal.__class__ is Stop:
                if not signal.drain:
                    return Stopped(signal.why)
                self.shut_down()
                self.leaving = Stopped(signal.why)
                continue
            if signal.__class__ is Fail:
                raise signal.error
            if signal.__class__ is Suspend or signal.__class__ is Resume:
                self.state = "suspended" if signal.__class__ is Suspend else "running"
                continue
            if signal.__class__ is Timer:
                if not signal.taken():
                    continue
                signal = signal.message
            self.current = signal
            self.attending = True
            try:
                await self.take_signal(actor, signal)
            except BaseException:
                self.failed_message = type(self.current).__name__
                raise
            finally:
                self.current = NOTHING
                self.attending = False
            self.signalled += 1
            if taken % SIGNALS_PER_TURN == 0:
                await checkpoint()
        self.signals = None  # an empty deque is 0.7 KB, and most actors are signalled once, when they start
        return None

    async def take_signal(self, actor: Any, signal: Any) -> None:
        await actor.receive(signal)

    # --- batches

    async def serve_batches(self, actor: Actor) -> Reason:
        """The loop of an actor that takes up to `batch` waiting messages at once."""
        while True:
            lane = self.lane
            if not lane:
                if self.leaving is not None and self.may_leave():
                    return self.leaving
                self.lane = lane = None  # the local name would keep the empty deque, 0.7 KB, while this waits
                self.waiter = self.task
                await wait_task_rescheduled(self)
                continue
            if lane[0] is MARK:
                lane.popleft()
                ending = await self.take_signals(actor)
                if ending is not None:
                    return ending
                continue
            self.peak = max(self.peak, len(lane))
            if self.leaving is not None:
                self.stay()
            self.since = self.system.now()
            items = [lane.popleft() for _ in range(min(actor.batch, len(lane)))]
            await self.handle_batch(actor, items)
            if self.lane:
                await checkpoint()

    async def handle_batch(self, actor: Actor, items: list[Any]) -> None:
        """Handle or fail `items` together; each is counted, each ask is answered."""
        messages = Batch()
        requests: list[Request | None] = []
        for item in items:
            if item.__class__ is not Request:
                messages.append(item)
                requests.append(None)
                continue
            if item.weight:
                assert self.links is not None
                self.links.load -= item.weight
            if item.open:
                messages.append(item.message)
                requests.append(item)
            else:
                self.skipped += 1
                self.completed += 1
        if self.links is not None and self.links.senders:
            self.admit()
        if not messages:
            return
        self.current = messages
        try:
            answers = await actor.receive_batch(messages)
            if answers is not None and len(answers) != len(messages):
                raise ValueError(f"receive_batch gave {len(answers)} answers to {len(messages)} messages")
        except BaseException as error:
            self.failed += len(messages)
            self.failed_message = type(messages[0]).__name__
            self.current = NOTHING
            for request in requests:
                if request is not None:
                    failed(request, describe(error), error)
            raise
        self.completed += len(messages)
        self.current = NOTHING
        if answers is None:
            if not any(requests):
                return
            answers = [None] * len(messages)
        for request, answer, message in zip(requests, answers, messages, strict=True):
            if request is not None and request.answerable:
                request.answer(answer)
            elif answer.__class__ is Refused:
                self.refused_tell(message)
