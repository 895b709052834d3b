"""The order of events on their way out: pure.

Two sides use the same rule. A *producer* (a run) keeps its events in `Offers` until the user's context has committed
them. A *context* keeps them in `Outbox` until the journal has. On both, one batch with durable events is under way at a
time and everything else waits behind it, so that whatever fails and is offered again, the order stays.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import attrs

from actors.protocol.events import Event, encode, join_deltas
from actors.users.messages import Item

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actors.storage.interface import Appended, Effect

LARGEST_BATCH = 256


@attrs.define(eq=False)
class Entry:
    """One event in a context's outbox, or a marker (`event` None) whose `released` is called in its turn.

    `seqs` is None until the journal has answered; `released` is called when the entry leaves, `refused` when it was
    taken back because storage said no.
    """

    event: Event | None
    effects: tuple[Effect, ...] = ()
    released: Callable[[], None] | None = None
    refused: Callable[[Any], None] | None = None
    outcome: Appended | None = None
    _frame: bytes | None = None

    def frame(self) -> bytes:
        """The event as bytes, without `seq`; encoded once."""
        if self._frame is None:
            assert self.event is not None
            self._frame = encode(self.event)
        return self._frame

    @property
    def durable(self) -> bool:
        return self.event is not None and self.event.durable


class Outbox:
    """A context's entries, oldest first."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque()
        self._under_way: list[Entry] = []

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: Entry) -> None:
        self._entries.append(entry)

    def batch(self) -> list[Entry]:
        """The durable entries to commit next; empty if there are none, or some are under way."""
        if self._under_way:
            return []
        self._under_way = [entry for entry in self._entries if entry.durable and entry.outcome is None][:LARGEST_BATCH]
        return self._under_way

    def committed(self, outcomes: Sequence[Appended]) -> None:
        """The journal's answer to the batch under way."""
        for entry, outcome in zip(self._under_way, outcomes, strict=True):
            entry.outcome = outcome
        self._under_way = []

    def failed(self, why: Any, *, clean: bool) -> None:
        """The batch was not, or perhaps not, committed. Entries that want to know are taken back if it is certain."""
        batch, self._under_way = self._under_way, []
        for entry in batch:
            if entry.refused is not None:
                entry.refused(why)
                if clean:
                    self._entries.remove(entry)

    def leaving(self) -> list[Entry]:
        """Take out what may leave now: everything up to the first durable entry without an outcome."""
        out: list[Entry] = []
        while self._entries and not (self._entries[0].durable and self._entries[0].outcome is None):
            out.append(self._entries.popleft())
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
        """The batch to offer now; empty if there is none, or one is under way. Neighbouring deltas are joined."""
        if self._under_way or not self._waiting:
            return ()
        batch, self._waiting = joined(self._waiting), []
        if any(item.event.durable for item in batch):
            self._under_way = batch
        return batch

    def done(self) -> None:
        """The batch under way is committed."""
        self._under_way = ()

    def failed(self) -> None:
        """The batch under way has to be offered again: its durable part, before everything newer."""
        again = [item for item in self._under_way if item.event.durable]
        self._waiting = [*again, *self._waiting]
        self._under_way = ()


def joined(items: Sequence[Item]) -> tuple[Item, ...]:
    """`items` with neighbouring deltas joined."""
    out: list[Item] = []
    deltas: list[Event] = []
    for item in items:
        if item.event.type == "agent_delta":
            deltas.append(item.event)
            continue
        out += map(Item, join_deltas(deltas))
        deltas = []
        out.append(item)
    return (*out, *map(Item, join_deltas(deltas)))
