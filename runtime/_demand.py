"""Demand: consumers say how many events they want, and a producer never emits more than that.

    class Numbers(Actor):
        async def started(self):
            self.next = 0
            self.outlet = Outlet(self)

        async def receive(self, message):
            if self.outlet.heard(message):
                count = self.outlet.demand
                left = self.outlet.emit(range(self.next, self.next + count))
                self.next += count - len(left)

    class Adder(Actor):
        async def started(self):
            self.sum = 0
            self.inlet = Inlet(self, self.system.ref("/numbers"), Demand(10))

        async def receive(self, message):
            events = self.inlet.take(message)
            if events is None:
                return self.sum
            for number in events:
                await trio.sleep(0.01)
                self.sum += number

A consumer asks for `max_demand` events when it subscribes, and again, up to as many, when it has finished so many that
no more than `min_demand` are under way. Where several wait, the one with the most credit is next (as in GenStage).

When a consumer crashes or ends, its credit is gone, and its next incarnation subscribes anew. It has lost the `Events`
in hand; what waits in its mailbox it gets beside what it asks for anew, or, if the address has ended, is undelivered.
When a producer crashes or ends, its consumers subscribe again, at once or, while it cannot be reached, every `retry`
seconds; lost is what it had made and not emitted. Nothing is repeated, and nothing is lost to a full mailbox: `Ask` and
`Subscribe` are tried again, and `emit` gives back what nobody took.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from runtime._errors import InvalidSpec
from runtime._messages import Ended, Restarted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runtime._actor import Actor
    from runtime._address import Ref

RETRY = 1.0


@attrs.frozen
class Ask:
    """To a producer: `count` events more for `consumer`. The number of the subscription tells it from earlier ones."""

    consumer: Ref[Any]
    subscription: tuple[int, int]
    count: int


@attrs.frozen
class Subscribe(Ask):
    """To a producer: from now on, and to begin with `count` events. It takes the place of an earlier subscription."""


@attrs.frozen
class Events:
    """To a consumer: what it has asked for."""

    producer: Ref[Any]
    subscription: tuple[int, int]
    items: tuple[Any, ...]


@attrs.frozen
class _Again:
    """To itself: a mailbox was full, or gone; try it again."""

    side: object


@attrs.frozen
class Demand:
    """What a consumer asks for: `pending` events are asked for and not finished. By default the minimum is half."""

    max_demand: int = 1000
    min_demand: int = attrs.Factory(lambda self: self.max_demand // 2, takes_self=True)
    pending: int = 0

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.max_demand, int) or self.max_demand < 1:
            raise InvalidSpec("demand.max_demand", self.max_demand, "a whole number of at least 1")
        if not isinstance(self.min_demand, int) or not 0 <= self.min_demand < self.max_demand:
            raise InvalidSpec("demand.min_demand", self.min_demand, "a whole number from 0, less than max_demand")

    def finish(self, count: int) -> Demand:
        """So many of the events that were asked for are finished."""
        return attrs.evolve(self, pending=self.pending - count)

    def ask(self) -> tuple[Demand, int]:
        """How many to ask for now: none while more than the minimum are under way."""
        count = 0 if self.pending > self.min_demand else self.max_demand - self.pending
        return attrs.evolve(self, pending=self.pending + count), count


@attrs.define
class Credit:
    """What a producer may still emit to a consumer; `blocked` while the consumer's mailbox takes nothing."""

    subscription: tuple[int, int]
    left: int
    blocked: bool = False


def next_consumer(credits: dict[Ref[Any], Credit]) -> Ref[Any] | None:  # noqa: A002 - the field's word
    """Who gets the next events: the most credit, of several the earliest subscriber; None if nobody may get any."""
    able = (ref for ref, credit in credits.items() if credit.left and not credit.blocked)
    return max(able, key=lambda ref: credits[ref].left, default=None)


class Outlet:
    """A producer's side. Make one in `started`, show it every message, emit at most `demand` events."""

    def __init__(self, actor: Actor, *, retry: float = RETRY) -> None:
        self._actor = actor
        self._retry = retry
        self._credits: dict[Ref[Any], Credit] = {}

    @property
    def demand(self) -> int:
        """How many events may be emitted now."""
        return sum(credit.left for credit in self._credits.values() if not credit.blocked)

    def heard(self, message: object) -> bool:
        """Whether the message was the outlet's; then the demand may have changed."""
        match message:
            case Subscribe(consumer, subscription, count):
                self._credits.pop(consumer, None)  # of an incarnation that nobody had watched
                self._credits[consumer] = Credit(subscription, count)
                self._actor.watch(consumer)
            case Ask(consumer, subscription, count):
                credit = self._credits.get(consumer)
                if credit is not None and credit.subscription == subscription:
                    credit.left += count
            case Restarted(ref=consumer) | Ended(ref=consumer):
                return self._credits.pop(consumer, None) is not None
            case _Again(side) if side is self:
                for credit in self._credits.values():
                    credit.blocked = False
            case _:
                return False
        return True

    def emit(self, items: Sequence[Any]) -> Sequence[Any]:
        """Send `items`, in order, to those with credit. Gives back those for which there was no credit, or no room."""
        while items and (consumer := next_consumer(self._credits)) is not None:
            credit = self._credits[consumer]
            part = tuple(items[: credit.left])
            if consumer.tell(Events(self._actor.ref, credit.subscription, part)):
                credit.left -= len(part)
                items = items[len(part) :]
            else:
                credit.blocked = True
                self._actor.timer(("demand", self), self._retry, _Again(self))
        return items


class Inlet:
    """A consumer's side, for one producer. Make it in `started`, show it every message."""

    def __init__(self, actor: Actor, producer: Ref[Any], demand: Demand, *, retry: float = RETRY) -> None:
        self._actor = actor
        self._producer = producer
        self._retry = retry
        self.demand = demand
        self._subscription = (actor.incarnation, 0)
        self._subscribed = False
        self._try()

    def take(self, message: object) -> Iterator[Any] | None:
        """The events in `message`, if any; None if it is not the inlet's. An event is finished when the next one is
        taken; the rest, when the iterator is dropped."""
        match message:
            case Events(producer, subscription, items) if producer is self._producer:
                return self._each(subscription, items)
            case Restarted(ref=ref) | Ended(ref=ref) if ref is self._producer and self._subscribed:
                self._subscribed = False
                self._try()
            case _Again(side) if side is self:
                self._try()
            case _:
                return None
        return iter(())

    def _try(self) -> None:
        """Ask for what may be asked for; first of all, subscribe."""
        incarnation, number = self._subscription
        order: type[Ask] = Ask
        demand = self.demand
        if not self._subscribed:
            order, self._subscription = Subscribe, (incarnation, number + 1)
            demand = attrs.evolve(demand, pending=0)
        demand, count = demand.ask()
        if count and not self._producer.tell(order(self._actor.ref, self._subscription, count)):
            self._actor.timer(("demand", self), self._retry, _Again(self))
        elif count:
            self.demand, self._subscribed = demand, True
            self._actor.watch(self._producer)

    def _each(self, subscription: tuple[int, int], items: tuple[Any, ...]) -> Iterator[Any]:
        left = len(items)
        try:
            for item in items:
                yield item
                left -= 1
                self._finish(subscription, 1)
        finally:
            self._finish(subscription, left)

    def _finish(self, subscription: tuple[int, int], count: int) -> None:
        if count and subscription == self._subscription:  # others were asked for before a restart, on either side
            self.demand = self.demand.finish(count)
            if self._subscribed:
                self._try()
