"""Where ids and timestamps come from: one source for a daemon, with its randomness and its wall clock handed in."""

from collections.abc import Callable
from random import Random

from actors.protocol.events import Stamp, new_id
from actors.protocol.timestamp import format_timestamp


class Stamps:
    """Makes ids and stamps. `wall` gives seconds since 1970; `random` is seeded from the system, except in tests.

    An id sorts behind all that were made a millisecond or more before it, also where the clock was set back: runs are
    listed in the order of their ids.
    """

    def __init__(self, random: Random, wall: Callable[[], float]) -> None:
        self._random = random
        self._latest = 0.0
        self._number = 0.0
        self.wall = wall

    def stamp(self) -> Stamp:
        """A fresh stamp for one event. Its timestamp is what the clock says."""
        return Stamp(self.id(), format_timestamp(self.wall()))

    def id(self) -> str:
        """A fresh id; ids made later sort later."""
        self._latest = max(self._latest, self.wall())
        return new_id(self._random, self._latest)

    def number(self) -> float:
        """A number that rises with each call, over restarts too: about the time in seconds since 1970."""
        self._number = max(self._number + 1e-6, self.wall())
        return self._number
