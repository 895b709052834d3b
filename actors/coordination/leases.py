"""Claims as the coordinator carries them: who made them, who waits to be answered, who hears that a slot is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from actors.coordination.messages import Revoked
from actors.users.messages import Later

if TYPE_CHECKING:
    from actors.coordination.board import Claim, Grant
    from actors.coordination.coordinator import Coordinator
    from actors.coordination.messages import Acquire, Hold, Release
    from actors.protocol.events import Event
    from runtime import Ref, ReplyTo

SETTLE: Final = 0.5
"""Seconds after a crash in which holders say what they hold, and nothing new is granted."""
TELL_AGAIN: Final = 0.2


@attrs.define(eq=False)
class Lease:
    """A claim that was made.

    Attributes:
        holder: who made it.
        reply: to whom it waits to be granted.
        offer: what the worker is to be told that has it.
    """

    claim: Claim
    holder: Ref[Any]
    reply: ReplyTo | None = None
    offer: Event | None = None


class Leases:
    """See the module. Whatever ends a lease ends it on the board too."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self._board = coordinator.board
        self._leases: dict[str, Lease] = {}
        self._holders: dict[Ref[Any], set[str]] = {}
        self._early: list[str] | None = None
        """Claims that were made while nothing is granted; None otherwise."""

    def __len__(self) -> int:
        return len(self._leases)

    def get(self, lease_id: str) -> Lease | None:
        return self._leases.get(lease_id)

    def settle(self) -> None:
        """Grant nothing for a moment: others hold what this incarnation does not know of."""
        self._early = []
        self._coordinator.timer("settled", SETTLE, Later(self._settled))

    def _settled(self) -> None:
        early, self._early = self._early or [], None
        claims = [self._leases[lease_id].claim for lease_id in early if lease_id in self._leases]
        for claim in sorted(claims, key=lambda claim: claim.order):
            self.give(self._board.claim(claim))

    # --- from holders

    def acquire(self, message: Acquire) -> None:
        """Somebody wants a slot. The message is in hand."""
        claim, holder = message.claim, message.holder
        lease = self._note(claim, holder)
        lease.reply = self._coordinator.defer()
        agent_id = self._board.agent_of(claim.lease_id)
        if agent_id is not None:
            self._answer(lease, agent_id)
        elif self._early is not None:
            self._early.append(claim.lease_id)
        else:
            self.give(self._board.claim(claim))

    def hold(self, message: Hold) -> Lease | None:
        """Somebody has a slot already, and says so; the lease, or None where its agent has gone."""
        lease_id = message.claim.lease_id
        if not self._board.hold(message.claim, message.granted.agent_id):
            if message.granted.worker is not None:  # it went while nobody was here to say so
                self._tell_revoked(message.holder, lease_id)
            return None
        return self._note(message.claim, message.holder)

    def release(self, message: Release) -> Lease | None:
        """A slot, or a place in the queue, is given back: the lease, if it had been granted. It is free when `free` is
        called."""
        granted = self._board.agent_of(message.lease_id) is not None
        lease = self._drop(message.lease_id)
        if lease is not None and lease.reply is not None:
            lease.reply.answer(None)
        return lease if granted else None

    def free(self, lease_id: str) -> None:
        """Have others have what this one had."""
        self.give(self._board.release(lease_id))

    def ended(self, holder: Ref[Any]) -> None:
        """A holder has ended, or has restarted without its memory."""
        for lease_id in sorted(self._holders.pop(holder, ())):
            agent_id, lease = self._board.agent_of(lease_id), self._leases.pop(lease_id)
            self._coordinator.over(lease_id)
            self.free(lease_id)
            if agent_id is not None:
                self._coordinator.publish(agent_id, lease.claim.user)

    # --- to holders

    def give(self, grants: list[Grant]) -> None:
        """Tell of what was granted."""
        for grant in grants:
            self._coordinator.begun(grant)
            self._answer(self._leases[grant.claim.lease_id], grant.agent_id)
            self._coordinator.publish(grant.agent_id, grant.claim.user)

    def _answer(self, lease: Lease, agent_id: str) -> None:
        """One who has just given up waiting for this answer asks again, and has it then."""
        reply, lease.reply = lease.reply, None
        if reply is not None:
            reply.answer(self._coordinator.granted(lease.claim.lease_id, agent_id))

    def revoke(self, claims: list[Claim]) -> None:
        """These were granted, and the board has taken them back."""
        for claim in claims:
            lease = self._drop(claim.lease_id)
            self._coordinator.over(claim.lease_id)
            if lease is not None:
                self._tell_revoked(lease.holder, claim.lease_id)

    def _tell_revoked(self, holder: Ref[Any], lease_id: str) -> None:
        if not holder.tell(Revoked(lease_id)) and holder.target.watchable() is not None:
            again = Later(lambda: self._tell_revoked(holder, lease_id))
            self._coordinator.timer(("revoked", lease_id), TELL_AGAIN, again)

    # --- who holds

    def _note(self, claim: Claim, holder: Ref[Any]) -> Lease:
        lease = self._leases.get(claim.lease_id)
        if lease is None:
            lease = self._leases[claim.lease_id] = Lease(claim, holder)
            if holder not in self._holders:
                self._holders[holder] = set()
                self._coordinator.watch(holder)
            self._holders[holder].add(claim.lease_id)
        return lease

    def _drop(self, lease_id: str) -> Lease | None:
        lease = self._leases.pop(lease_id, None)
        if lease is None:
            return None
        held = self._holders[lease.holder]
        held.discard(lease_id)
        if not held:
            del self._holders[lease.holder]
            self._coordinator.unwatch(lease.holder)
        return lease
