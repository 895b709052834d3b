"""The order of events on their way out: pure.

Two sides use the same rule. A *producer* (a run) keeps its items in `Offers` until the user's context has committed
them. A *context* keeps them in `Outbox` until the journal has. On both, one batch with durable items is under way at a
time and everything else waits behind it, so that whatever fails and is offered again, the order stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from actors.protocol.event_types import EventType
from actors.protocol.events import Event, encode, join_deltas
from actors.storage.interface import DeleteState, PutState
from actors.users.messages import Item

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from actors.storage.interface import Appended, Effect

LARGEST_BATCH: Final = 256
"""Entries of one append; more only where an `Emit` would be torn apart."""


@attrs.define(eq=False)
class Entry:
    """One item in a context's outbox, or a marker (`item` None) whose `released` is called in its turn.

    Attributes:
        item: the event, and what is to be committed with it.
        released: called when the entry leaves.
        refused: called when storage said no, at most once; see `Outbox.failed`.
        together: whether the next durable entry has to be committed with this one.
        outcome: what the journal answered.
        since: when it was put here (trio's clock).
        missed: whether it was said that it has waited for too long.
    """

    item: Item | None
    released: Callable[[], None] | None = None
    refused: Callable[[Any], None] | None = None
    together: bool = False
    outcome: Appended | None = None
    since: float = 0.0
    missed: bool = False
    _frame: bytes | None = None

    def frame(self) -> bytes:
        """The event as bytes, without `seq`; encoded once."""
        if self._frame is None:
            assert self.item is not None
            assert self.item.event is not None
            self._frame = encode(self.item.event)
        return self._frame

    @property
    def durable(self) -> bool:
        return self.item is not None and self.item.durable


class Outbox:
    """A context's entries, oldest first."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []  # a deque would be 0.7 KiB, even empty, for each user who is here
        self._under_way: list[Entry] = []
        self._ids: set[str] = set()

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: Entry) -> bool:
        """Put an entry behind all others. False if the same item waits here already: then nothing is added."""
        if entry.durable:
            assert entry.item is not None
            if entry.item.id in self._ids:
                return False
            self._ids.add(entry.item.id)
        self._entries.append(entry)
        return True

    def add_all(self, items: Sequence[Item], now: float = 0.0) -> list[Item]:
        """Put a producer's items behind all others, to be committed together. The durable ones that were new here."""
        added: list[Item] = []
        last: Entry | None = None
        for item in items:
            entry = Entry(item, since=now)
            if self.add(entry) and entry.durable:
                added.append(item)
                if last is not None:
                    last.together = True
                last = entry
        return added

    def batch(self) -> list[Entry]:
        """The durable entries to commit next; empty if there are none, or some are under way."""
        if self._under_way:
            return []
        batch: list[Entry] = []
        for entry in self._entries:
            if len(batch) >= LARGEST_BATCH and not batch[-1].together:
                break
            if entry.durable and entry.outcome is None:
                batch.append(entry)
        self._under_way = batch
        return batch

    def committed(self, outcomes: Sequence[Appended]) -> None:
        """The journal's answer to the batch under way."""
        for entry, outcome in zip(self._under_way, outcomes, strict=True):
            entry.outcome = outcome
        self._under_way = []

    def failed(self, why: Any, *, clean: bool) -> None:
        """The batch was not (`clean`), or perhaps not, committed. It stays, to be offered again.

        But somebody may be waiting for an entry (`refused`), and is told. What was certainly not committed is then
        taken back. What may have been has to stay, whatever comes of later offers, and nobody is told a second time.
        """
        batch, self._under_way = self._under_way, []
        taken_back: list[Entry] = []
        for entry in batch:
            if entry.refused is None:
                continue
            if clean:
                taken_back.append(entry)
                assert entry.item is not None
                self._ids.discard(entry.item.id)
            refused, entry.refused = entry.refused, None
            refused(why)
        if taken_back:
            self._entries = [entry for entry in self._entries if entry not in taken_back]

    def overdue(self, now: float, within: float) -> int:
        """How many events have waited to be committed for so many seconds or longer, each told once.

        It adds as `next_overdue` does: `since <= now - within` may be false at the very moment that was named there.
        """
        overdue = [entry for entry in self._uncommitted() if entry.since + within <= now]
        for entry in overdue:
            entry.missed = True
        return len(overdue)

    def next_overdue(self, within: float) -> float | None:
        """When the next event will have waited for so many seconds."""
        return min((entry.since + within for entry in self._uncommitted()), default=None)

    def _uncommitted(self) -> Iterator[Entry]:
        """The events that are not known to be committed, but for those of which it was said already."""
        for entry in self._entries:
            if entry.durable and entry.outcome is None and not entry.missed:
                assert entry.item is not None
                if entry.item.event is not None:
                    yield entry

    def leaving(self) -> list[Entry]:
        """Take out what may leave now: everything up to the first durable entry without an outcome."""
        entries = self._entries
        count = next((n for n, entry in enumerate(entries) if entry.durable and entry.outcome is None), len(entries))
        out = entries[:count]
        del entries[:count]
        for entry in out:
            if entry.durable:
                assert entry.item is not None
                self._ids.discard(entry.item.id)
        return out


class Offers:
    """A producer's items, oldest first."""

    def __init__(self) -> None:
        self._waiting: list[Item] = []
        self._under_way: tuple[Item, ...] = ()

    @property
    def empty(self) -> bool:
        return not self._waiting and not self._under_way

    def add(self, item: Item) -> None:
        self._waiting.append(item)

    def next(self) -> tuple[Item, ...]:
        """The batch to offer now; empty if there is none, or one is under way. Neighbouring deltas are joined.

        One without durable items is told, and not waited for: it does not count as under way. A change of state ends
        its batch: whoever asked for it is to be answered before anybody hears of what it causes.
        """
        if self._under_way or not self._waiting:
            return ()
        size = next((n for n, item in enumerate(self._waiting, 1) if item.event is None), len(self._waiting))
        batch, self._waiting = latest(joined(self._waiting[:size])), self._waiting[size:]
        if any(item.durable for item in batch):
            self._under_way = batch
        return batch

    def done(self) -> None:
        """The batch under way is committed."""
        self._under_way = ()

    def failed(self, *, seen: bool) -> None:
        """The batch under way has to be offered again, before everything newer.

        `seen`: the context may have taken it. Its durable items are then marked as offered before, and its ephemeral
        ones are left out: they may have reached clients, and behind a durable one that has they would be out of order.
        """
        batch, self._under_way = self._under_way, ()
        again = [attrs.evolve(item, again=True) for item in batch if item.durable] if seen else batch
        self._waiting = [*again, *self._waiting]

    def untold(self, batch: Sequence[Item]) -> None:
        """A batch that was told was not accepted: it goes back to where it was."""
        self._waiting = [*batch, *self._waiting]


def latest(items: Sequence[Item]) -> tuple[Item, ...]:
    """`items`, of which each changes a key of the state only if none behind it does.

    They are committed together or not at all, and are offered again together: nobody could read what is left out.
    """
    out: list[Item] = []
    changed: set[tuple[str, str]] = set()
    for item in reversed(items):
        kept: list[Effect] = []
        for effect in reversed(item.effects):
            if isinstance(effect, PutState | DeleteState):
                if (effect.space, effect.key) in changed:
                    continue
                changed.add((effect.space, effect.key))
            kept.append(effect)
        out.append(item if len(kept) == len(item.effects) else attrs.evolve(item, effects=tuple(reversed(kept))))
    return tuple(reversed(out))


def joined(items: Sequence[Item]) -> tuple[Item, ...]:
    """`items` with neighbouring deltas joined."""
    out: list[Item] = []
    deltas: list[Event] = []
    for item in items:
        if item.event is not None and item.event.type == EventType.AGENT_DELTA:
            deltas.append(item.event)
            continue
        out += map(Item, join_deltas(deltas))
        deltas = []
        out.append(item)
    return (*out, *map(Item, join_deltas(deltas)))
