"""Counting a running tree, by kind of actor.

Reads the cells where they are and keeps nothing of them: a tenth of the time that a snapshot of the same tree takes
(`System.tree`, with all that a person may want to know of 20,000 actors, holds the loop for a third of a second), and
somebody scrapes every few seconds, for ever.

What is counted here must be what a snapshot shows; a test compares the two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs
import trio

from supervisors import DynamicSupervisor, Fallback, Supervisor

if TYPE_CHECKING:
    from runtime import Restarts, System

OUTCOMES: Final = ("handled", "failed", "expired", "dropped", "undelivered", "moved")
UNMADE: Final = "?"
"""The kind of a cell whose actor has not been made yet. What it counts is told once it has a kind, or has ended."""
CELLS_A_TURN: Final = 500
"""Some 4 ms."""
MOST_STATIC: Final = 200
"""So many children of supervisors, and so many fallbacks, have series of their own; a tree made by hand has fewer."""


class Ties(Protocol):
    """What a cell has only when it needs it."""

    @property
    def drops(self) -> Counter[str]: ...


class Counted(Protocol):
    """What is read of a cell."""

    kind: str
    state: str
    incarnation: int
    actor: Any
    failed: int
    expired: int
    skipped: int
    dropped: int
    undelivered: int
    moved: int

    @property
    def handled(self) -> int: ...
    @property
    def depth(self) -> int: ...
    @property
    def children(self) -> Mapping[str, Counted]: ...
    @property
    def links(self) -> Ties | None: ...


@attrs.define
class Tally:
    """One kind of actor.

    `outcomes` (see `OUTCOMES`), `restarts`, `incarnations` and `ended` are over the daemon's life, with those that are
    gone; `states`, `waiting` (messages in all mailboxes) and `deepest` (in one) are of now.
    """

    outcomes: dict[str, int] = attrs.field(factory=lambda: dict.fromkeys(OUTCOMES, 0))
    restarts: int = 0
    incarnations: int = 0
    ended: int = 0
    states: Counter[str] = attrs.field(factory=Counter)
    waiting: int = 0
    deepest: int = 0


@attrs.frozen
class FallbackState:
    """One fallback: who is in charge (None if every target is open), and its targets' failures in a row."""

    active: str | None
    failures: Mapping[str, int]

    @property
    def switched(self) -> bool:
        """Whether it is not the lead who is in charge."""
        return self.active != next(iter(self.failures), None)


@attrs.define
class Census:
    """The tree at one moment, and the sums over its life.

    `budgets` and `fallbacks` are by path, of the static part of the tree only; `switched` counts fallbacks everywhere
    whose lead is not in charge; `drops` is by reason.
    """

    kinds: dict[str, Tally] = attrs.field(factory=dict)
    drops: Counter[str] = attrs.field(factory=Counter)
    budgets: dict[str, Restarts] = attrs.field(factory=dict)
    fallbacks: dict[str, FallbackState] = attrs.field(factory=dict)
    switched: int = 0

    def tally(self, kind: str) -> Tally:
        """The tally of a kind, made at need."""
        found = self.kinds.get(kind)
        if found is None:
            found = self.kinds[kind] = Tally()
        return found


def take_census(system: System) -> Census:
    """Count the whole tree, without a checkpoint, so that all numbers are of one moment."""
    census = Census()
    for _ in _counting(census, system):
        pass
    return census


async def take_census_in_turns(system: System) -> Census:
    """As `take_census`, and others get their turn meanwhile: 20,000 actors would hold the loop for 0.1 s.

    Each cell is counted as it is when it is come to. One that ends in between may be missing this time.
    """
    census = Census()
    for _ in _counting(census, system):
        await trio.lowlevel.checkpoint()
    return census


def _counting(census: Census, system: System) -> Iterator[None]:
    """Add up the tree; stops after every so many cells, for others to have their turn."""
    _add_ended(census, system)
    root = system.root
    if root is None:
        return
    pending: list[tuple[Counted, str, bool]] = [(root, "/", True)]
    counted = 0
    while pending:
        counted += 1
        if counted % CELLS_A_TURN == 0:
            yield
        cell, path, static = pending.pop()
        if cell.state == "ended":
            continue  # what it counted has gone into the sums of those that are gone
        _add(census, cell)
        actor = cell.actor
        if isinstance(actor, Fallback):
            _add_fallback(census, actor, path, static=static)
        if not cell.children:
            continue
        static = static and isinstance(actor, Supervisor | Fallback) and not isinstance(actor, DynamicSupervisor)
        for name, child in cell.children.items():
            below = f"{path.rstrip('/')}/{name}" if static else ""
            if static and len(census.budgets) < MOST_STATIC:
                restarts: Restarts | None = actor.restarts_of(name)
                if restarts is not None:
                    census.budgets[below] = restarts
            pending.append((child, below, static))


def _add_ended(census: Census, system: System) -> None:
    totals = system.totals
    census.drops.update(totals.drops)
    for kind, counts in totals.by_kind.items():
        tally = census.tally(kind)
        for outcome in OUTCOMES:
            tally.outcomes[outcome] += counts[outcome]
        tally.ended += counts["ended"]
        tally.incarnations += counts["incarnations"]
        tally.restarts += counts["incarnations"] - counts["ended"]


def _add(census: Census, cell: Counted) -> None:
    tally = census.tally(cell.kind)
    tally.states[cell.state] += 1
    depth = cell.depth
    tally.waiting += depth
    tally.deepest = max(tally.deepest, depth)
    if cell.kind == UNMADE:
        return
    outcomes = tally.outcomes
    outcomes["handled"] += max(0, cell.handled)  # as a snapshot has it: below 0 in the middle of a first turn
    outcomes["failed"] += cell.failed
    outcomes["expired"] += cell.expired + cell.skipped
    outcomes["dropped"] += cell.dropped
    outcomes["undelivered"] += cell.undelivered
    outcomes["moved"] += cell.moved
    tally.restarts += cell.incarnation
    tally.incarnations += cell.incarnation + 1
    links = cell.links
    if links is not None and links.drops:
        census.drops.update(links.drops)


def _add_fallback(census: Census, actor: Fallback, path: str, *, static: bool) -> None:
    details = actor.inspect()
    failures = {name: target["failures"] for name, target in details["targets"].items()}
    state = FallbackState(details["active"], failures)
    census.switched += bool(failures) and state.switched
    if static and len(census.fallbacks) < MOST_STATIC:
        census.fallbacks[path] = state
