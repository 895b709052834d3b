"""Agents, their slots, and who waits for one: the whole matching, as a plain object without time, actors or chance.

**Who may.** A claim names an agent, or the capabilities that an agent must have, all of them. An agent that is one
user's serves the claims of that user only.

**Who is preferred**, among those that may and have room: one that has not failed at this claim before; one that names
the kind of work among its capabilities; the claimant's own before one for everybody; the least loaded, by parts of what
it can; the one that has waited longest for work.

**Who is next.** The most urgent first; among equals, who came first (`since`, a number that nobody else has). A claim
that no free agent can take holds nobody up behind it.

Each agent has a line: a heap of the claims that it could take. A claim stands in the lines of all who could take it,
and the first with room takes it out of every line; what is left behind in the others is passed over, and swept when it
is more than what still waits.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SWEEP_FROM: Final = 64
"""Claims of the past in a line that are not worth a sweep."""


@attrs.frozen
class Claim:
    """Somebody wants a slot.

    Attributes:
        lease_id: names it, for ever.
        user: for whom.
        rank: of its urgency, 0 the most urgent.
        since: rises from claim to claim; no two are alike.
        agent: the id of the one agent that is wanted; None: whoever has the capabilities.
        capabilities: what the agent must be able to do.
        kind: of work, for the preference.
        avoid: ids of agents that are taken only if there is no other.
        remote: whether an agent elsewhere may take it.
    """

    lease_id: str
    user: str
    rank: int
    since: float
    agent: str | None = None
    capabilities: frozenset[str] = frozenset()
    kind: str = ""
    avoid: frozenset[str] = frozenset()
    remote: bool = True

    @property
    def order(self) -> tuple[int, float]:
        """Who has the lowest is next."""
        return self.rank, self.since


@attrs.define(eq=False)
class Place:
    """An agent on the board.

    Attributes:
        agent_id: its name here.
        slots: how much it does at a time.
        capabilities: what it can do.
        owner: whose it is; None: everybody's.
        remote: whether it is elsewhere, at the end of a connection.
        present: whether it may be given anything now.
        leases: what it has, by id.
        served: when it was last given something, as a number of the board's.
        line: of the claims that it could take, a heap; some of them may be gone.
    """

    agent_id: str
    slots: int
    capabilities: frozenset[str] = frozenset()
    owner: str | None = None
    remote: bool = False
    present: bool = True
    leases: dict[str, Claim] = attrs.field(factory=dict)
    served: int = 0
    line: list[tuple[tuple[int, float], str]] = attrs.field(factory=list)

    @property
    def load(self) -> float:
        return len(self.leases) / self.slots

    @property
    def free(self) -> bool:
        return self.present and len(self.leases) < self.slots

    def may(self, claim: Claim) -> bool:
        """Whether it could take this claim, had it room."""
        if (self.owner is not None and self.owner != claim.user) or (self.remote and not claim.remote):
            return False
        return self.agent_id == claim.agent if claim.agent is not None else claim.capabilities <= self.capabilities


@attrs.frozen
class Grant:
    """This claim has a slot of that agent."""

    claim: Claim
    agent_id: str


class Board:
    """See the module. What comes to be granted by a call is what the call gives."""

    def __init__(self) -> None:
        self._places: dict[str, Place] = {}
        self._waiting: dict[str, Claim] = {}
        self._held: dict[str, str] = {}
        self._served = 0

    # --- looking

    def place(self, agent_id: str) -> Place | None:
        return self._places.get(agent_id)

    def places(self) -> Iterator[Place]:
        return iter(self._places.values())

    @property
    def waiting(self) -> Iterable[Claim]:
        """In no order."""
        return self._waiting.values()

    def agent_of(self, lease_id: str) -> str | None:
        """Who has been given this claim; None if nobody has."""
        return self._held.get(lease_id)

    # --- agents

    def put(self, place: Place) -> list[Grant]:
        """Have an agent here, or have it as it is now: what it has, it keeps, though it be more than it may have."""
        known = self._places.get(place.agent_id)
        if known is not None:
            place.leases, place.served = known.leases, known.served
        self._places[place.agent_id] = place
        place.line = [(claim.order, claim.lease_id) for claim in self._waiting.values() if place.may(claim)]
        heapify(place.line)
        return self._serve(place)

    def remove(self, agent_id: str) -> list[Claim]:
        """Have it here no more; what it had."""
        place = self._places.pop(agent_id, None)
        if place is None:
            return []
        for lease_id in place.leases:
            del self._held[lease_id]
        return list(place.leases.values())

    def present(self, agent_id: str, *, present: bool) -> list[Grant]:
        """From now on it may, or may not, be given anything."""
        place = self._places[agent_id]
        place.present = present
        return self._serve(place)

    def revoke(self, agent_id: str) -> list[Claim]:
        """Take from it all that it has, and give it to nobody."""
        place = self._places[agent_id]
        claims, place.leases = list(place.leases.values()), {}
        for claim in claims:
            del self._held[claim.lease_id]
        return claims

    # --- claims

    def claim(self, claim: Claim) -> list[Grant]:
        """Grant it, or have it wait. Of one that waits already, or has a slot, nothing comes."""
        if claim.lease_id in self._held or claim.lease_id in self._waiting:
            return []
        able = [place for place in self._places.values() if place.may(claim)]
        free = [place for place in able if place.free]
        if free:
            return [self._grant(claim, min(free, key=lambda place: _preference(place, claim)))]
        self._waiting[claim.lease_id] = claim
        for place in able:
            self._sweep(place)
            heappush(place.line, (claim.order, claim.lease_id))
        return []

    def hold(self, claim: Claim, agent_id: str) -> bool:
        """It has a slot of this agent already: somebody says so who knows. False where there is no such agent."""
        place = self._places.get(agent_id)
        if place is None or self._held.get(claim.lease_id, agent_id) != agent_id:
            return False
        self._waiting.pop(claim.lease_id, None)
        self._occupy(claim, place)
        return True

    def release(self, lease_id: str) -> list[Grant]:
        """Nobody wants it any more, whether it waited or had a slot."""
        self._waiting.pop(lease_id, None)
        agent_id = self._held.pop(lease_id, None)
        if agent_id is None:
            return []
        place = self._places[agent_id]
        del place.leases[lease_id]
        return self._serve(place)

    # --- how

    def _serve(self, place: Place) -> list[Grant]:
        """Give an agent what waits for it, as far as it has room."""
        granted = []
        while place.free and (claim := self._next(place)) is not None:
            granted.append(self._grant(claim, place))
        return granted

    def _next(self, place: Place) -> Claim | None:
        while place.line:
            claim = self._waiting.get(heappop(place.line)[1])
            if claim is not None:
                return claim
        return None

    def _sweep(self, place: Place) -> None:
        if len(place.line) > SWEEP_FROM + 2 * len(self._waiting):
            place.line = [entry for entry in place.line if entry[1] in self._waiting]
            heapify(place.line)

    def _grant(self, claim: Claim, place: Place) -> Grant:
        self._waiting.pop(claim.lease_id, None)
        self._served += 1
        place.served = self._served
        self._occupy(claim, place)
        return Grant(claim, place.agent_id)

    def _occupy(self, claim: Claim, place: Place) -> None:
        place.leases[claim.lease_id] = claim
        self._held[claim.lease_id] = place.agent_id


def _preference(place: Place, claim: Claim) -> tuple[bool, bool, bool, float, int]:
    return (
        place.agent_id in claim.avoid,
        claim.kind not in place.capabilities,
        place.owner is None,
        place.load,
        place.served,
    )
