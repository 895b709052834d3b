"""An actor's side of its leases: what it holds, and what it says to a gate that has come back without memory."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

from actors.models.lease import Hold, Lease, Queued, Settle
from runtime import Restarted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runtime import Actor, Ref


class Leaseholder:
    """Made by an actor for itself, one an incarnation; `complete` takes and settles leases through it.

    The actor passes to `heard` what it does not know itself: notices of the gates that it watches through this
    (`Restarted`), and what a gate tells of a call that waits (`Queued`).
    """

    def __init__(self, actor: Actor) -> None:
        self._actor = actor
        self._leases: dict[Lease, None] = {}
        self._keys = count(1)
        self._waiting: dict[int, Callable[[float], None]] = {}

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

    def next_key(self) -> int:
        """A number for one call."""
        return next(self._keys)

    @contextmanager
    def waiting(self, key: int, told: Callable[[float], None]) -> Iterator[None]:
        """For the block, `told` hears when a gate lets the call wait, with the seconds that it may take."""
        self._waiting[key] = told
        try:
            yield
        finally:
            del self._waiting[key]

    def heard(self, message: object) -> bool:
        """Takes what a gate tells. At its restart, says again what is held there. False if it was something else.

        The end of a gate (`Ended`) needs no answer: its leases end with it, and what they are used for goes on.
        """
        if isinstance(message, Queued):
            told = self._waiting.get(message.key)
            if told is not None:  # else it has its lease by now
                told(message.seconds)
            return True
        if not isinstance(message, Restarted):
            return False
        held = [lease for lease in self._leases if lease.gate is message.ref]
        for lease in held:
            lease.gate.tell(Hold(lease))
        return bool(held)
