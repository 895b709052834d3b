"""What a cell has only when it uses it. Most actors use little of this, so it hangs off one slot."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Hashable

    from trio.lowlevel import Task

    from runtime._address import Ref
    from runtime._cell import Cell
    from runtime._request import Request
    from runtime._sender import Sender
    from runtime._tasks import ActorTask
    from runtime._timers import Timer


class Links:
    """A cell's ties to others. Dicts are used as ordered sets: nothing here may depend on hashes or addresses."""

    __slots__ = (
        "drops",
        "held",
        "joiner",
        "load",
        "names",
        "requests",
        "senders",
        "tasks",
        "timers",
        "topics",
        "watchers",
        "watching",
    )

    def __init__(self) -> None:
        self.watchers: dict[Cell, Ref[Any]] = {}
        self.watching: dict[Ref[Any], Cell] = {}
        self.senders: dict[Sender, None] = {}
        self.tasks: dict[ActorTask, None] = {}
        self.held: dict[Request, None] = {}
        self.requests: dict[Request, None] = {}
        self.timers: dict[Hashable, Timer] = {}
        self.names: dict[str, None] = {}
        self.topics: dict[Hashable, None] = {}
        self.drops: Counter[str] = Counter()
        self.load = 0
        self.joiner: Task | None = None
