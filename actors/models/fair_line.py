"""Who is served next: the more urgent first, and among equals fairly between users.

**Order.** Start-time fair queueing (Goyal, Vin, Cheng 1996). There is a virtual time, which moves with what is served.
Whoever begins to wait gets as tag the virtual time, or, if later, where their own last service ended; the smallest tag
is served next, and its user's next tag lies later by the cost of what was served: tokens. So users who wait at the same
time are served the same number of tokens, however many requests each of them has put in, and who comes rarely is served
before who comes all the time. Deficit round robin does the same with a quantum that has to be tuned to the largest
request; a heap of fixed tags cannot take back the tag of one who has left.

**Share.** The order alone does not protect from a flood that comes before the others: it takes the whole minute's
allowance, and who comes a second later waits 59. So who asks for much more than the others is granted nothing that
would leave them less than a tenth of a limit, beyond what they have used in the last minute; of what lasts a minute,
also not what they would miss if they came more often by three standard deviations. "Much more" is above a fair share
(the limit by the number of users) and above the mean of the others by two standard deviations: who behaves is hardly
ever touched. The price: one user alone gets nine tenths of a limit of ten or more.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import attrs

from actors.protocol.task_events import Priority

if TYPE_CHECKING:
    from collections.abc import Iterator

RESERVE = 0.1
"""Portion of every limit that is left to others."""

MUCH = 2.0
"""By how many standard deviations more than the others is much more."""

SPARE = 3.0
"""By how many standard deviations the others may come more often than in the last minute, and find room."""


class Waiting(Protocol):
    """What can stand in the line; compared by identity."""

    @property
    def user(self) -> str: ...
    @property
    def priority(self) -> Priority: ...
    @property
    def cost(self) -> int: ...


W = TypeVar("W", bound=Waiting)


@attrs.define(eq=False)
class _Lane(Generic[W]):
    """One user's, of one priority; `tag` is that of its first, `place` says who began to wait before whom."""

    tag: float
    place: int
    waiting: deque[W]


class FairLine(Generic[W]):
    """Those who wait at one gate."""

    def __init__(self) -> None:
        self._lanes: dict[tuple[Priority, str], _Lane[W]] = {}
        self._virtual = 0.0
        self._ends: dict[str, float] = {}  # where each user's last service ended, while that is ahead
        self._places = 0
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[W]:
        """All, in no order that means anything."""
        for lane in self._lanes.values():
            yield from lane.waiting

    @property
    def users(self) -> int:
        return len({user for _, user in self._lanes})

    def add(self, waiter: W) -> None:
        key = waiter.priority, waiter.user
        lane = self._lanes.get(key)
        if lane is None:
            self._places += 1
            tag = max(self._virtual, self._ends.get(waiter.user, 0.0))
            lane = self._lanes[key] = _Lane(tag, self._places, deque())
        lane.waiting.append(waiter)
        self._length += 1

    def first(self) -> list[W]:
        """The first of each user and priority, in the order in which they are to be served."""
        lanes = sorted(self._lanes.items(), key=lambda item: (item[0][0].rank, item[1].tag, item[1].place))
        return [lane.waiting[0] for _, lane in lanes]

    def surplus(self) -> W:
        """Who has to go where too many wait: of the user who has the most here, the least urgent and last to come.

        So a flood turns away itself, and nobody else. Of several such users, the one who began to wait last.
        """
        each = Counter[str]()
        for (_, user), lane in self._lanes.items():
            each[user] += len(lane.waiting)
        key = max(self._lanes, key=lambda key: (each[key[1]], key[0].rank, self._lanes[key].place))
        return self._lanes[key].waiting[-1]

    def served(self, waiter: W) -> None:
        """It has been served, and has left the line. It must have been the first of its user and priority."""
        lane = self._lanes[waiter.priority, waiter.user]
        self._virtual = max(self._virtual, lane.tag)
        end = self._ends[waiter.user] = max(lane.tag, self._ends.get(waiter.user, 0.0)) + max(1, waiter.cost)
        self.leave(waiter)
        self._places += 1
        lane.tag, lane.place = end, self._places
        if not self._lanes:  # nobody waits: what was owed to whom is over
            self._virtual = max(self._ends.values())
            self._ends.clear()
        elif len(self._ends) > 2 * len(self._lanes) + 16:
            self._ends = {user: end for user, end in self._ends.items() if end > self._virtual}

    def leave(self, waiter: W) -> None:
        """It has left the line, served or not."""
        key = waiter.priority, waiter.user
        lane = self._lanes[key]
        lane.waiting.remove(waiter)
        self._length -= 1
        if not lane.waiting:
            del self._lanes[key]


def may_take(limit: int | None, *, own: int, others: int, wanted: int, users: int, times: int | None = None) -> bool:
    """Whether a user may take `wanted` of what is limited, without taking the others' part.

    `own` and `others` are what the user and the others have of it now, or have had in the last minute, these in so many
    `times` (None where it does not last); `users` is how many they are, this one included.
    """
    if limit is None or own == 0:
        return True
    usual: float = limit // max(users, 2)
    reserve: float = int(limit * RESERVE)
    if times:
        each, size = times / max(1, users - 1), others / times
        usual = max(usual, size * (each + MUCH * math.sqrt(each)))
        reserve = max(reserve, size * SPARE * math.sqrt(times))
    return own + wanted <= max(usual, limit - others - reserve)
