"""The mailbox beyond its fast path: overflow policies, waiting senders, weights, and how it closes.

`capacity` is what the fast path of `tell` compares with. It is the spec's capacity while the cell is plain and open,
and −1 whenever a message needs a closer look: senders are waiting (a later `tell` must not overtake them), the mailbox
is weighed, the cell waits to restart (asks are refused, tells are kept), or it no longer accepts anything.

Room goes straight to the first waiting sender: while there are any, the cell takes one message at a time and fills the
freed place itself before it handles the message (`Turns.slow_turn`). Rejected: waking the sender and letting it try
again; a `tell` would then overtake it, and n senders would wake n times.

Conservation, per mailbox, at every moment outside the loop's own step:

    accepted + rejected = handled + failed + expired + dropped + undelivered + moved + waiting + in hand

The left side is counted where a message is offered, the right side where it ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trio.lowlevel import current_task, enable_ki_protection, wait_task_rescheduled

from runtime._address import Ref, check_cycle
from runtime._cells import cell_handling
from runtime._errors import Dead, Full, InvalidSpec, NotAccepted, Restarting
from runtime._lane import Lanes
from runtime._messages import DeadLetter
from runtime._request import MARK, Request
from runtime._sender import Sender
from runtime._spec import Overflow

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime._cell import Cell


class MailboxTarget(Lanes):
    """The mailbox of a cell."""

    __slots__ = ()

    # --- putting

    def _fits(self, weight: int) -> bool:
        """Whether the bound leaves room for a message of that weight."""
        mailbox = self.spec.mailbox
        if mailbox.weigher is None:
            return self.depth < mailbox.capacity
        load = self.links.load if self.links is not None else 0
        return load + weight <= mailbox.capacity or self.depth == 0

    def _has_room(self, weight: int) -> bool:
        """Whether a message that comes now may go in: nobody waits for the room there is."""
        return not (self.links is not None and self.links.senders) and self._fits(weight)

    def takes(self, message: object) -> bool:
        lane = self.lane
        if (len(lane) if lane is not None else 0) < self.capacity:
            return True
        if self.shut or self.retry_at is not None:
            return False
        weigher = self.spec.mailbox.weigher
        try:
            return self._has_room(0 if weigher is None else weigher(message))
        except Exception:  # noqa: BLE001 - it will fail in the put as well, and there it is reported
            return True

    def _weighed(self, ref: Ref[Any], item: Any) -> Any:
        """`item` with its weight, in an envelope if the mailbox is weighed."""
        weigher = self.spec.mailbox.weigher
        if weigher is None:
            return item
        request = item if item.__class__ is Request else Request(ref, item)
        weight = weigher(request.message)
        if not isinstance(weight, int) or weight < 0:
            raise InvalidSpec("mailbox.weigher", weight, "a function that gives a whole number of at least 0")
        request.weight = weight
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
        try:
            return self._by_policy(ref, self._weighed(ref, item))
        except Exception as error:  # noqa: BLE001 - the receiver's weigher or key; it must not fail in the sender
            return self._unmeasured(ref, item, error)

    def take_over(self, ref: Ref[Any], item: Any) -> bool:
        if self.shut or (self.retry_at is not None and item.__class__ is Request and item.answerable):
            return self.overflow(ref, item)
        try:
            weighed = self._weighed(ref, item)
        except Exception as error:  # noqa: BLE001 - as in `overflow`
            return self._unmeasured(ref, item, error)
        self._take_in(weighed)
        return True

    def _unmeasured(self, ref: Ref[Any], item: Any, error: Exception) -> bool:
        self.system.hook_failed(self.ref.path, self.kind, error)
        return self._reject(ref, item, "unmeasured")

    def _by_policy(self, ref: Ref[Any], item: Any) -> bool:
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

    @enable_ki_protection
    async def wait_for_room(self, ref: Ref[Any], message: object, within: float, also: tuple[Cell, ...] = ()) -> None:
        """The slow side of `Ref.send`. Room at one of `also` will do as well."""
        try:
            item = self._weighed(ref, message)
        except Exception as error:  # noqa: BLE001 - as in `overflow`
            self._unmeasured(ref, message, error)
            raise Full(ref, message) from None
        if self._has_room(item.weight if item.__class__ is Request else 0):
            self._take_in(item)
            return
        sender = Sender(ref, item, current_task(), self)  # type: ignore[arg-type]
        asker = cell_handling(self.system.cells)
        if asker is not None:
            check_cycle(asker, sender)
        wheel = self.system.wheel
        bucket = wheel.add(wheel.now() + within, sender)
        for cell in also:
            cell.adopt(sender)
        self.adopt(sender)
        sender.also = also
        if asker is not None:
            asker.waits_on = sender
        try:
            await wait_task_rescheduled(sender.abort)
        finally:
            if asker is not None:
                asker.waits_on = None
            bucket.pop(sender, None)
            for cell in (sender.holder, *sender.also):  # it may wait elsewhere by now
                cell.leave(sender)
                cell.admit()  # where messages have weights, there may be room for the next

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
            if sender.open:
                item = sender.item
                if not self._fits(item.weight if item.__class__ is Request else 0):
                    return
                self._take_in(item)
                sender.settle(None)
            del links.senders[sender]
        self._open_up()

    def _open_up(self) -> None:
        """Let the fast path work again, if nothing stands against it."""
        plain = self.spec.mailbox.weigher is None and not self.shut and self.retry_at is None
        if plain and not (self.links is not None and self.links.senders):
            self.capacity = self.spec.mailbox.capacity

    # --- closing

    def hold(self, until: float) -> None:
        """Wait for a restart at `until`: asks, queued ones included, are answered at once; tells are kept."""
        self.retry_at = until
        self.capacity = -1
        waiting = list(self.lane or ())
        asks = [item for item in waiting if item.__class__ is Request and item.answerable]
        if asks and self.lane is not None:
            self.lane.clear()  # not by `remove`, which would compare the messages: their `__eq__` is foreign code
            self.lane.extend(item for item in waiting if not (item.__class__ is Request and item.answerable))
        for item in asks:
            self._return(item, Restarting(item.ref, item.message, max(0.0, until - self.system.now())))
        self.admit()

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
                self.turn_away(sender, Dead(sender.ref, sender.message), "stopping")
            self.links.senders.clear()

    def turn_away(self, sender: Sender, error: Exception, reason: str) -> None:
        """A sender has waited in vain: count its message as refused, and let it go on."""
        if sender.open:
            self._reject(sender.ref, sender.item, reason)
            sender.settle(error)

    def hand_over(self, put: Callable[[Any], bool], refusal: Callable[[Any], NotAccepted]) -> int:
        """Move everything that waits, in order, in one step: `put` takes each item elsewhere. How many were moved.

        An ask whose asker has gone stays behind, as expired: elsewhere it would be taken for one that can be answered.
        """
        lane = self.lane
        items = [item for item in lane or () if item is not MARK]
        if lane is not None:
            lane.clear()
            if self.marked:
                lane.append(MARK)
        moved = 0
        for item in items:
            if item.__class__ is Request:
                if self.links is not None:
                    self.links.load -= item.weight
                item.weight = 0
                if not item.open:
                    self.expired += 1
                    continue
                item.withdraw()
                if not item.answerable:
                    item = item.message
            moved += 1
            self.moved += 1
            if not put(item) and item.__class__ is Request:
                item.fail(refusal(item.message))
        return moved

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
