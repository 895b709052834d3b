"""Who is let in when: how many WebSockets there may be, in all and of one address, and how many a second. Pure.

One for all connections of a gateway. A connection asks when its upgrade is understood, and before it is answered: what
is refused here costs the client one round trip, and us no WebSocket. Whoever is refused is told when to come back, each
at another time: a crowd that comes back together would be refused together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from actors.gateway.refusal import Refusal

if TYPE_CHECKING:
    from random import Random


@attrs.frozen
class EntranceLimits:
    """Limits of what is let in.

    Attributes:
        total: WebSockets at a time.
        per_address: of those, from one address.
        rate: upgrades a second, over a longer time. `burst`: how many more at once after a quiet time.
        come_back: whoever is refused may come back after up to so many seconds.
    """

    total: int
    per_address: int
    rate: float
    burst: int
    come_back: float


LEAVING: Final = "The daemon is going down for a moment. Please try again when it is back."
FULL: Final = "There are too many connections. Please try later."
CROWDED: Final = "There are too many connections from your address. Please close one, or try later."
RUSH: Final = "Many are connecting at this moment. Please try again shortly."


class Entrance:
    """See the module. Times are of trio's clock, in seconds."""

    def __init__(self, limits: EntranceLimits, rng: Random, now: float) -> None:
        self.limits = limits
        self.leaving = False
        """Whether the daemon is draining: nobody is let in any more."""
        self._rng = rng
        self._inside = 0
        self._of_address: dict[str, int] = {}
        self._tokens = float(limits.burst)
        self._at = now

    @property
    def inside(self) -> int:
        """How many have been let in and have not left."""
        return self._inside

    def enter(self, address: str, now: float) -> Refusal | None:
        """Let one in from this address, who has to `leave` later; or say why not."""
        limits = self.limits
        if self.leaving:
            return self._refusal(503, "unavailable", LEAVING)
        if self._inside >= limits.total:
            return self._refusal(503, "unavailable", FULL)
        if self._of_address.get(address, 0) >= limits.per_address:
            return self._refusal(429, "limit_reached", CROWDED)
        if not self._take_token(now):
            return self._refusal(503, "unavailable", RUSH)
        self._inside += 1
        self._of_address[address] = self._of_address.get(address, 0) + 1
        return None

    def leave(self, address: str) -> None:
        """One who was let in has gone."""
        self._inside -= 1
        left = self._of_address[address] - 1
        if left:
            self._of_address[address] = left
        else:
            del self._of_address[address]

    def _take_token(self, now: float) -> bool:
        limits = self.limits
        self._tokens = min(float(limits.burst), self._tokens + (now - self._at) * limits.rate)
        self._at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def _refusal(self, status: int, code: str, message: str) -> Refusal:
        # Retry-After knows whole seconds only, and none at all would be "at once".
        return Refusal(status, code, message, retry_after=max(0.001, self._rng.uniform(0.0, self.limits.come_back)))
