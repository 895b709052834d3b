"""An actor's side of its leases: what it holds, and what it says to a gate that has come back without memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors.models.lease import Hold, Lease, Settle
from runtime import Restarted

if TYPE_CHECKING:
    from runtime import Actor, Ref


class Leaseholder:
    """Made by an actor for itself, one an incarnation; `complete` takes and settles leases through it.

    The actor passes what it does not know itself to `heard`: the notices of the gates that it watches through this.
    """

    def __init__(self, actor: Actor) -> None:
        self._actor = actor
        self._leases: dict[Lease, None] = {}

    @property
    def ref(self) -> Ref[Any]:
        return self._actor.ref

    @property
    def leases(self) -> tuple[Lease, ...]:
        return tuple(self._leases)

    def take(self, lease: Lease) -> None:
        """Holds a lease that was just granted.

        Says so to the gate: it may have restarted between its answer and this watch, and then knows nothing of it.
        """
        self._leases[lease] = None
        self._actor.watch(lease.gate)
        lease.gate.tell(Hold(lease))

    def settle(self, settlement: Settle) -> None:
        """Gives a lease back. Never waits, so it may stand in a `finally`."""
        lease = settlement.lease
        self._leases.pop(lease, None)
        lease.gate.tell(settlement)
        if all(other.gate is not lease.gate for other in self._leases):
            self._actor.unwatch(lease.gate)

    def heard(self, message: object) -> bool:
        """Takes the notice of a gate's restart, and says again what is held there. False if it was something else.

        The end of a gate (`Ended`) needs no answer: its leases end with it, and what they are used for goes on.
        """
        if not isinstance(message, Restarted):
            return False
        held = [lease for lease in self._leases if lease.gate is message.ref]
        for lease in held:
            lease.gate.tell(Hold(lease))
        return bool(held)
