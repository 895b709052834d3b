"""Looking at a running tree: snapshots, totals, and who has not ended."""

from __future__ import annotations

from collections import Counter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from runtime._failure import describe
from runtime._progress import completed_now
from runtime._sender import Sender

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runtime._actor import Actor
    from runtime._cell import Cell


CELLS_A_TURN: Final = 500
"""Cells of one host shown without a pause: some five milliseconds."""


@attrs.frozen
class MailboxState:
    """Messages that wait now, how many may, and the most that ever waited at the start of a turn."""

    depth: int
    capacity: int
    peak: int


@attrs.frozen
class Handling:
    """The type of the message in hand, and for how long it has been."""

    message: str
    age_ms: float


@attrs.frozen
class Counters:
    """Where the messages of one mailbox ended, and how many were offered.

    offered = handled + failed + expired + dropped + undelivered + moved + waiting + in_hand, always.
    """

    offered: int = 0
    handled: int = 0
    failed: int = 0
    expired: int = 0
    dropped: int = 0
    undelivered: int = 0
    moved: int = 0
    waiting: int = 0
    in_hand: int = 0

    @property
    def missing(self) -> int:
        """Offered and not accounted for: 0, or the kernel has a defect."""
        ended = self.handled + self.failed + self.expired + self.dropped + self.undelivered + self.moved
        return self.offered - ended - self.waiting - self.in_hand


COUNTED: Final = tuple(field.name for field in attrs.fields(Counters))


@attrs.frozen
class Restarts:
    """Restarts of a child: in all, those within the period, how many are allowed in it, and the period in seconds."""

    total: int
    used: int
    limit: int
    period: float


@attrs.frozen
class Node:
    """One actor in a snapshot."""

    path: str
    kind: str
    state: str
    incarnation: int
    mailbox: MailboxState
    handling: Handling | None
    counters: Counters
    restarts: Restarts | None
    waits_on: str | None
    last_error: str | None
    tasks: tuple[str, ...]
    details: dict[str, Any]
    children: tuple[Node, ...]

    def find(self, path: str) -> Node | None:
        """The node of that path in this subtree."""
        if path == self.path:
            return self
        return next((found for child in self.children if (found := child.find(path)) is not None), None)

    def walk(self) -> list[Node]:
        """This node and all below it, parents first."""
        return [self, *(node for child in self.children for node in child.walk())]


def counters_of(cell: Cell) -> Counters:
    """The counters of a cell, exact at every moment at which another task can look."""
    return Counters(
        offered=cell.accepted + cell.rejected,
        handled=cell.handled + completed_now(cell) - cell.completed,
        failed=cell.failed,
        expired=cell.expired + cell.skipped,
        dropped=cell.dropped,
        undelivered=cell.undelivered,
        moved=cell.moved,
        waiting=cell.depth,
        in_hand=cell.in_hand,
    )


def snapshot(
    cell: Cell, restarts: Restarts | None = None, graves: Mapping[str, Sequence[Node]] = MappingProxyType({})
) -> Node:
    """What a cell and everything below it is doing now; `graves` are the ended actors to show, by their host's path."""
    actor = cell.actor
    children = tuple(
        snapshot(child, actor.restarts_of(name) if actor is not None else None, graves)
        for name, child in list(cell.children.items())
    )
    return _node(cell, restarts, children, graves)


async def snapshot_in_turns(cell: Cell, restarts: Restarts | None, graves: Mapping[str, Sequence[Node]]) -> Node:
    """As `snapshot`, and others get their turn meanwhile: each cell is shown as it is when it is come to."""
    children: list[Node] = []
    for count, (name, child) in enumerate(list(cell.children.items()), 1):
        if child.state == "ended":  # meanwhile
            continue
        its = cell.actor.restarts_of(name) if cell.actor is not None else None
        children.append(await snapshot_in_turns(child, its, graves) if child.children else snapshot(child, its, graves))
        if count % CELLS_A_TURN == 0:
            await trio.lowlevel.checkpoint()
    return _node(cell, restarts, tuple(children), graves)


def _node(
    cell: Cell, restarts: Restarts | None, children: tuple[Node, ...], graves: Mapping[str, Sequence[Node]]
) -> Node:
    handling, age = cell.handling()
    actor = cell.actor
    waits_on: str | None = None
    if cell.waits_on is not None:
        kind = "room at" if isinstance(cell.waits_on, Sender) else "answer of"
        waits_on = (
            f"{kind} {cell.waits_on.holder.ref.path}" if cell.waits_on.holder is not None else "a deferred answer"
        )
    living = {child.path for child in children}
    buried = tuple(node for node in graves.get(cell.ref.path, ()) if node.path not in living)
    return Node(
        path=cell.ref.path,
        kind=cell.kind,
        state=cell.state,
        incarnation=cell.incarnation,
        mailbox=MailboxState(cell.depth, cell.spec.mailbox.capacity, max(cell.peak, cell.depth)),
        handling=None if handling is None else Handling(handling, age * 1000),
        counters=counters_of(cell),
        restarts=restarts,
        waits_on=waits_on,
        last_error=cell.last_error,
        tasks=tuple(task.name for task in cell.links.tasks) if cell.links is not None else (),
        details=details_of(actor) if actor is not None else {},
        children=(*children, *buried),
    )


def details_of(actor: Actor) -> dict[str, Any]:
    """What the actor says of itself. One that fails to must not hide the rest of the tree."""
    try:
        return actor.inspect()
    except Exception as error:  # noqa: BLE001 - foreign code, called by whoever looks
        return {"inspect": describe(error)}


def overdue_paths(cell: Cell) -> tuple[str, ...]:
    """The paths of those in this subtree that still run, deepest first."""
    below = tuple(path for child in cell.children.values() for path in overdue_paths(child))
    return (*below, cell.ref.path) if cell.running else below


class Totals:
    """The counts of cells that have ended, by kind of actor, so that sums over the system never go back."""

    def __init__(self) -> None:
        self.by_kind: dict[str, Counter[str]] = {}
        self.drops: Counter[str] = Counter()

    def add(self, cell: Cell) -> None:
        counts = self.by_kind.setdefault(cell.kind, Counter())
        counters = counters_of(cell)
        for name in COUNTED:  # not `attrs.asdict`, which takes three times as long
            value = getattr(counters, name)
            if value:
                counts[name] += value
        counts["ended"] += 1
        counts["incarnations"] += cell.incarnation + 1
        if cell.links is not None:
            self.drops.update(cell.links.drops)
