"""Topics: publish to whoever has subscribed, in the order of subscription."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

    from runtime._cell import Cell


class Topics:
    """Publish and subscribe within a system. A subscription belongs to an address and ends with it."""

    def __init__(self) -> None:
        self._topics: dict[Hashable, dict[Cell, None]] = {}

    def subscribe(self, topic: Hashable, cell: Cell) -> None:
        self._topics.setdefault(topic, {})[cell] = None
        cell.need_links().topics[topic] = None

    def unsubscribe(self, topic: Hashable, cell: Cell) -> None:
        cells = self._topics.get(topic)
        if cells is not None:
            cells.pop(cell, None)
            if not cells:
                del self._topics[topic]
        if cell.links is not None:
            cell.links.topics.pop(topic, None)

    def publish(self, topic: Hashable, message: object) -> int:
        """Tell `message` to every subscriber. How many accepted it; refusals are counted at the refusing mailbox."""
        return sum(cell.ref.tell(message) for cell in list(self._topics.get(topic, ())))

    def subscribers(self, topic: Hashable) -> int:
        """How many subscribe to `topic` now."""
        return len(self._topics.get(topic, ()))
