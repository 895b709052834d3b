"""When to try again. Pure: the caller sleeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from actors.protocol.codes import Reconnect
from understudy.client.errors import ConnectionEnded, Unreachable

if TYPE_CHECKING:
    from random import Random

#: All in seconds. A connection that held this long had recovered: tries count from 0 again, "at once" is at once.
HELD: Final = 30.0
FIRST_CEILING: Final = 0.5
LONGEST: Final = 20.0
LONGEST_OVER_CAPACITY: Final = 60.0
#: 0.5 s · 2³¹ is far above every cap; beyond it the power would only grow the integer.
_MOST_DOUBLINGS: Final = 31


def reconnect_delay(tries: int, rng: Random, *, longest: float = LONGEST) -> float:
    """Full jitter: a random number of seconds up to min(`longest`, 0.5 s · 2ⁿ).

    n is `tries`, the tries since a connection last held for 30 s.
    """
    return rng.uniform(0.0, min(longest, FIRST_CEILING * 2 ** min(tries, _MOST_DOUBLINGS)))


def wait_after(trouble: ConnectionEnded | Unreachable, tries: int, held: float, rng: Random) -> float:
    """Seconds to wait before the next try, after a connection that lasted `held` seconds (0 if none came about).

    What the daemon asked for is kept to. Its `draining` is jittered for each client already; a Retry-After on a refused
    upgrade is the same for everybody, so the jitter is put on top of it.
    """
    if isinstance(trouble, Unreachable):
        return (trouble.retry_after or 0.0) + reconnect_delay(tries, rng)
    if trouble.retry_after is not None:
        return trouble.retry_after
    if trouble.how is Reconnect.AT_ONCE and held >= HELD:
        return 0.0
    longest = LONGEST_OVER_CAPACITY if trouble.how is Reconnect.WITH_LONG_BACKOFF else LONGEST
    return reconnect_delay(tries, rng, longest=longest)


#: WebSocket connections in a row that did not come to `welcome`, after which the log is polled over HTTP.
FAILED_BEFORE_POLLING: Final = 3


@attrs.frozen
class Course:
    """How it has gone so far: `tries` since a connection last held, and how many of the last ones `failed` in a row.

    A connection failed if it did not come to `welcome`, for whatever reason: a proxy that lets no WebSocket through
    looks like a daemon that is down, and only trying the other way tells the two apart.
    """

    tries: int = 0
    failed: int = 0

    @property
    def polls(self) -> bool:
        """Whether the other way is to be tried, until a WebSocket comes about."""
        return self.failed >= FAILED_BEFORE_POLLING

    def after(
        self, trouble: ConnectionEnded | Unreachable, held: float | None, rng: Random, *, renewable: bool = False
    ) -> tuple[Course, float | None]:
        """The course after a try that ended in `trouble`, and the seconds to the next one; None where there is none.

        `held` is how long (seconds) the connection lasted from its `welcome`, None where none came. `renewable`: a new
        token can be had. A refused upgrade is never the end, whatever its status: it may be a proxy's.
        """
        course = Course(
            tries=0 if held is not None and held >= HELD else self.tries, failed=self.failed + 1 if held is None else 0
        )
        if isinstance(trouble, ConnectionEnded):
            again = trouble.reconnect or (renewable and trouble.how is Reconnect.WITH_NEW_TOKEN)
            if not again:
                return course, None
        seconds = wait_after(trouble, course.tries, held or 0.0, rng)
        return attrs.evolve(course, tries=course.tries + 1), seconds
