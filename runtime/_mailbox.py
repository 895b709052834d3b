"""The mailbox beyond its fast path: overflow policies, waiting senders, weights, and the system lane.

Two lanes. The *user* lane is a deque of bare messages and `Request` envelopes, bounded by the spec. The *system* lane
(`signals`) is unbounded and written only by the kernel. Rather than look for signals before each message, the kernel
puts one marker at the left of the user lane: the loop finds it as its next item.

`capacity` is what the fast path of `tell` compares with. It is the spec's capacity while the cell is plain and open,
and −1 whenever a message needs a closer look: senders are waiting (a later `tell` must not overtake them), the mailbox
is weighed, the cell waits to restart (asks are refused, tells are kept), or it no longer accepts anything.

Room goes straight to the first waiting sender: while there are any, the cell takes one message at a time and fills the
freed place itself before it handles the message (`Cell._slow_turn`). Rejected: waking the sender and letting it try
again; a `tell` would then overtake it, and n senders would wake n times.

Conservation, per mailbox, at every moment outside the loop's own step:

    accepted + rejected = handled + failed + expired + dropped + undelivered + moved + waiting + in hand

The left side is counted where a message is offered, the right side where it ends.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from outcome import Error, Value
from trio.lowlevel import Abort, Task, current_task, enable_ki_protection, reschedule, wait_task_rescheduled

from runtime._address import CURRENT, Ref, Target, check_cycle
from runtime._errors import Dead, Full, NotAccepted, Restarting, TimedOut
from runtime._links import Links
from runtime._messages import DeadLetter
from runtime._request import MARK, Request
from runtime._spec import Overflow

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime._cell import Cell
    from runtime._spec import Spec
    from runtime._system import System


class Sender:
    """One `send` that waits for room. `holder` makes it an edge of the wait-for graph."""

    __slots__ = ("holder", "item", "ref", "task")

    def __init__(self, ref: Ref[Any], item: Any, task: Task, holder: Cell) -> None:
        self.ref = ref
        self.item = item
        self.task: Task | None = task
        self.holder: Cell = holder

    def settle(self, error: Exception | None) -> None:
        """Let the sender go on: its message was taken, or never will be."""
        task, self.task = self.task, None
        if task is not None:
            reschedule(task, Value(None) if error is None else Error(error))

    def abort(self, _raise_cancel: Callable[[], Any]) -> Abort:
        self.task = None
        return Abort.SUCCEEDED

    def fire(self) -> None:
        """No room by the deadline (called by the wheel)."""
        cell = self.holder
        handling, age = cell.handling()
        self.settle(TimedOut(self.ref, self.item, state=cell.state, handling=handling, age=age, depth=cell.depth))


class MailboxTarget(Target):
    """The mailbox of a cell."""

    __slots__ = (
        "accepted",
        "capacity",
        "dropped",
        "expired",
        "failed",
        "lane",
        "links",
        "marked",
        "moved",
        "peak",
        "ref",
        "rejected",
        "retry_at",
        "shut",
        "signals",
        "spec",
        "state",
        "system",
        "undelivered",
        "waiter",
    )

    def __init__(self, ref: Ref[Any], spec: Spec, system: System) -> None:
        self.ref = ref
        self.spec = spec
        self.system = system
        self.state = "starting"
        self.lane: deque[Any] | None = None
        self.signals: deque[Any] | None = None
        self.marked = False
        self.waiter: Task | None = None
        self.links: Links | None = None
        self.shut = False
        self.retry_at: float | None = None
        self.capacity: int = -1 if spec.mailbox.weigher is not None else spec.mailbox.capacity
        self.accepted = self.rejected = 0
        self.failed = self.expired = self.dropped = self.undelivered = self.moved = 0
        self.peak = 0

    # --- what others may ask

    @property
    def depth(self) -> int:
        """How many messages wait in the user lane."""
        return len(self.lane) - self.marked if self.lane else 0

    def handling(self) -> tuple[str | None, float]:
        """The type of the message in hand, and its age in seconds."""
        raise NotImplementedError

    def need_links(self) -> Links:
        links = self.links
        if links is None:
            links = self.links = Links()
        return links

    def edge(self) -> Cell | None:
        return self  # type: ignore[return-value]

    def watchable(self) -> Cell | None:
        return self  # type: ignore[return-value]

    # --- putting

    def _put(self, item: Any) -> None:
        lane = self.lane
        if lane is None:
            lane = self.lane = deque()
        lane.append(item)
        self.accepted += 1
        task = self.waiter
        if task is not None:
            self.waiter = None
            reschedule(task)

    def _has_room(self, weight: int) -> bool:
        mailbox = self.spec.mailbox
        if self.links is not None and self.links.senders:
            return False
        if mailbox.weigher is None:
            return self.depth < mailbox.capacity
        load = self.links.load if self.links is not None else 0
        return load + weight <= mailbox.capacity or self.depth == 0

    def _weighed(self, ref: Ref[Any], item: Any) -> Any:
        """`item` with its weight, in an envelope if the mailbox is weighed."""
        weigher = self.spec.mailbox.weigher
        if weigher is None:
            return item
        if item.__class__ is Request:
            item.weight = weigher(item.message)
            return item
        request = Request(ref, item)
        request.weight = weigher(item)
        return request

    def _take_in(self, item: Any) -> None:
        if item.__class__ is Request:
            request: Request = item
            request.holder = self  # type: ignore[assignment]
            if request.weight:
                self.need_links().load += request.weight
        self._put(item)

    def overflow(self, ref: Ref[Any], item: Any) -> bool:
        """Everything that the fast path of `tell` and `ask` leaves over."""
        if self.shut:
            return self._reject(ref, item, "stopping")
        if self.retry_at is not None and item.__class__ is Request and item.answerable:
            return self._reject(ref, item, "restarting")
        item = self._weighed(ref, item)
        weight = item.weight if item.__class__ is Request else 0
        if self._has_room(weight):
            self._take_in(item)
            return True
        match self.spec.mailbox.overflow:
            case Overflow.WAIT | Overflow.REJECT:
                return self._reject(ref, item, "full")
            case Overflow.DROP_NEWEST:
                return self._reject(ref, item, "newest")
            case Overflow.DROP_OLDEST:
                while not self._has_room(weight):
                    self._drop(self._pop_oldest(), "oldest")
                self._take_in(item)
                return True
            case Overflow.CONFLATE:
                return self._conflate(ref, item)

    def _pop_oldest(self) -> Any:
        assert self.lane is not None
        if self.marked:  # the marker is always the leftmost
            self.lane.popleft()
            oldest = self.lane.popleft()
            self.lane.appendleft(MARK)
            return oldest
        return self.lane.popleft()

    def _conflate(self, ref: Ref[Any], item: Any) -> bool:
        key_of = self.spec.mailbox.key
        assert key_of is not None and self.lane is not None  # noqa: PT018
        message = item.message if item.__class__ is Request else item
        key = key_of(message)
        lane = self.lane
        for index in range(len(lane) - 1, -1, -1):
            older = lane[index]
            if older is MARK:
                continue
            if key_of(older.message if older.__class__ is Request else older) == key:
                lane[index] = item
                self.accepted += 1
                if item.__class__ is Request:
                    item.holder = self  # type: ignore[assignment]
                    self.need_links().load += item.weight
                self._drop(older, "conflated")
                return True
        return self._reject(ref, item, "full")

    def _drop(self, item: Any, reason: str) -> None:
        """A message that had been accepted makes way. A displaced ask is answered at once."""
        self.dropped += 1
        links = self.need_links()
        links.drops[reason] += 1
        message = item
        if item.__class__ is Request:
            request: Request = item
            message = request.message
            links.load -= request.weight
            if request.answerable:
                request.fail(Full(request.ref, message))
        self.system.dead_letters.add(DeadLetter(self.ref.path, message, reason))

    def _reject(self, ref: Ref[Any], item: Any, reason: str) -> bool:
        self.rejected += 1
        self.dropped += 1
        self.need_links().drops[reason] += 1
        message = item.message if item.__class__ is Request else item
        self.system.dead_letters.add(DeadLetter(ref.path, message, reason))
        return False

    def refusal(self, ref: Ref[Any], message: object) -> NotAccepted:
        if self.shut:
            return Dead(ref, message)
        if self.retry_at is not None:
            return Restarting(ref, message, max(0.0, self.retry_at - self.system.now()))
        return Full(ref, message)

    # --- waiting for room

    def accepting(self) -> Cell | None:
        waits = self.spec.mailbox.overflow is Overflow.WAIT and not self.shut
        return self if waits else None  # type: ignore[return-value]

    async def wait_for_room(self, ref: Ref[Any], message: object, within: float) -> None:
        """The slow side of `Ref.send`."""
        item = self._weighed(ref, message)
        if self._has_room(item.weight if item.__class__ is Request else 0):
            self._take_in(item)
            return
        task = current_task()
        asker = CURRENT.get()
        sender = Sender(ref, item, task, self)  # type: ignore[arg-type]
        if asker is not None and asker.task is not task:
            asker = None
        if asker is not None:
            check_cycle(asker, sender)
        wheel = self.system.wheel
        bucket = wheel.add(wheel.now() + within, sender)
        self.adopt(sender)
        if asker is not None:
            asker.waits_on = sender
        try:
            await wait_task_rescheduled(sender.abort)
        finally:
            if asker is not None:
                asker.waits_on = None
            bucket.pop(sender, None)
            sender.holder.leave(sender)  # it may wait elsewhere by now

    def adopt(self, sender: Sender) -> None:
        """Let a sender wait for room here, behind those who wait already."""
        sender.holder = self  # type: ignore[assignment]
        self.need_links().senders[sender] = None
        self.capacity = -1
        self._mark()

    def leave(self, sender: Sender) -> None:
        """A sender waits no longer."""
        if self.links is not None and self.links.senders.pop(sender, True) is None:
            self._open_up()

    def admit(self) -> None:
        """Give the room there is to the senders who wait, in their order."""
        links = self.links
        if links is None:
            return
        while links.senders:
            sender = next(iter(links.senders))
            item = sender.item
            weight = item.weight if item.__class__ is Request else 0
            mailbox = self.spec.mailbox
            used = self.depth if mailbox.weigher is None else links.load + weight - 1
            if used >= mailbox.capacity and self.depth > 0:
                return
            del links.senders[sender]
            self._take_in(item)
            sender.settle(None)
        self._open_up()

    def _open_up(self) -> None:
        """Let the fast path work again, if nothing stands against it."""
        plain = self.spec.mailbox.weigher is None and not self.shut and self.retry_at is None
        if plain and not (self.links is not None and self.links.senders):
            self.capacity = self.spec.mailbox.capacity

    # --- the system lane

    @enable_ki_protection
    def signal(self, signal: object) -> None:
        """Put something in the system lane. Never refused."""
        signals = self.signals
        if signals is None:
            signals = self.signals = deque()
        signals.append(signal)
        self._mark()

    def _mark(self) -> None:
        if not self.marked:
            self.marked = True
            lane = self.lane
            if lane is None:
                lane = self.lane = deque()
            lane.appendleft(MARK)
        task = self.waiter
        if task is not None:
            self.waiter = None
            reschedule(task)

    # --- closing

    def hold(self, until: float) -> None:
        """Wait for a restart at `until`: asks, queued ones included, are answered at once; tells are kept."""
        self.retry_at = until
        self.capacity = -1
        for item in [item for item in self.lane or () if item.__class__ is Request and item.answerable]:
            assert self.lane is not None
            self.lane.remove(item)
            self._return(item, Restarting(item.ref, item.message, max(0.0, until - self.system.now())))

    def reopen(self) -> None:
        """The restart is under way: asks are queued again."""
        self.retry_at = None
        self._open_up()

    def shut_down(self) -> None:
        """Accept nothing more; what is queued stays queued."""
        self.shut = True
        self.capacity = -1
        if self.links is not None:
            for sender in list(self.links.senders):
                sender.settle(Dead(sender.ref, sender.item))
            self.links.senders.clear()

    def hand_over(self, put: Callable[[Any], bool], refusal: Callable[[Any], NotAccepted]) -> int:
        """Move everything that waits, in order, in one step: `put` takes each item elsewhere. How many were moved."""
        lane = self.lane
        items = [item for item in lane or () if item is not MARK]
        if lane is not None:
            lane.clear()
            if self.marked:
                lane.append(MARK)
        for item in items:
            self.moved += 1
            if item.__class__ is Request:
                if self.links is not None:
                    self.links.load -= item.weight
                item.weight = 0
                item.settle = None
                if not item.answerable:
                    item = item.message
            if not put(item) and item.__class__ is Request:
                item.fail(refusal(item.message))
        return len(items)

    def _return(self, item: Request, error: NotAccepted) -> None:
        if self.links is not None:
            self.links.load -= item.weight
        if item.open:
            self.undelivered += 1
            item.fail(error)
        else:
            self.expired += 1

    def empty_out(self, reason: str) -> None:
        """Count what is still queued as undelivered, hand asks back, make dead letters of the rest."""
        self.shut_down()
        lane, self.lane = self.lane, None
        self.marked = False
        self.signals = None
        for item in lane or ():
            if item is MARK:
                continue
            if item.__class__ is Request:
                if item.answerable:
                    self._return(item, Dead(item.ref, item.message))
                    continue
                item = item.message
            self.undelivered += 1
            self.system.dead_letters.add(DeadLetter(self.ref.path, item, reason))
