"""Actors that ended abnormally a moment ago: still visible, so that whoever looks sees what is missing, and why."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from runtime._tree import Node

WINDOW: Final = 60.0
"""Seconds for which an end stays visible."""
KEPT: Final = 100


class Graves:
    """The latest abnormal ends, at most a hundred, for a minute."""

    def __init__(self) -> None:
        self._nodes: deque[tuple[float, str, Node]] = deque(maxlen=KEPT)

    def add(self, now: float, node: Node) -> None:
        """An actor has ended; `node` is its last state."""
        parent = node.path.rpartition("/")[0] or "/"
        self._nodes.append((now + WINDOW, parent, node))

    def by_parent(self, now: float) -> dict[str, list[Node]]:
        """What is to be shown at `now`, by the path of the host."""
        while self._nodes and self._nodes[0][0] <= now:
            self._nodes.popleft()
        shown: dict[str, list[Node]] = {}
        for _, parent, node in self._nodes:
            shown.setdefault(parent, []).append(node)
        return shown
