"""Where ids and timestamps come from: one source for a daemon, with its randomness and its wall clock handed in."""

from collections.abc import Callable
from random import Random

from actors.protocol.events import Stamp, new_id, new_stamp


class Stamps:
    """Makes ids and stamps. `wall` gives seconds since 1970; `random` is seeded from the system, except in tests."""

    def __init__(self, random: Random, wall: Callable[[], float]) -> None:
        self._random = random
        self.wall = wall

    def stamp(self) -> Stamp:
        """A fresh stamp for one event."""
        return new_stamp(self._random, self.wall())

    def id(self) -> str:
        """A fresh id; ids made later sort later."""
        return new_id(self._random, self.wall())
