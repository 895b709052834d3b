"""Which member of a pool gets a message, and which members come and go when it is resized. Pure.

A load is how many messages a member has accepted and not finished; None says that it is to be passed over.

Least outstanding is exact: all loads are read, from a start that moves on with each message so that ties go round, and
the first member with nothing to do ends the search. Above `EXACT` members two are drawn instead and the better one is
taken (the power of two choices). If both are to be passed over, all are read.

Measured on a 2-core machine, CPython 3.11: a `tell` to 4 busy members costs some 3 µs, to 8 some 4, to 32 some 9, to 64
some 20; with two drawn, 2 µs whatever the size; straight to an actor, 0.13. What it buys, simulated with random
arrivals and lengths, as mean wait in lengths of a message (exact, two drawn, round robin):

    8 members, 90 % busy     1.1    2.1    4.9
    32 members, 90 % busy    0.3    1.7    4.1
    32 members, 70 % busy    0.02   0.6    0.9

Workers are there for what takes long, so the microseconds are well spent, up to 32 members.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import TYPE_CHECKING, Final, TypeAlias

import attrs

from runtime import InvalidSpec
from runtime._spec import is_number
from supervisors._ring import POINTS

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Hashable, Sequence

    Load: TypeAlias = Callable[[int], int | None]

EXACT: Final = 32
"""Up to so many members, least outstanding looks at every one."""


class Routing(Enum):
    """How a pool chooses among members that are alike."""

    LEAST_OUTSTANDING = "least_outstanding"
    """The one with the fewest messages accepted and not finished."""
    ROUND_ROBIN = "round_robin"
    """The next in turn that has room."""


@attrs.frozen
class ByKey:
    """Messages of one key go to one member, in order, as far as load allows.

    A key belongs to a member by consistent hash. While messages of the key are waiting or in hand somewhere, further
    ones go there, full or not: no later message of a key overtakes an earlier one. A key with nothing under way goes to
    its owner, or to the next on the ring if the owner is full, waits to restart, or has its share already.

    Attributes:
        key: message → text, bytes, whole number, or a tuple of these. A message without a key is refused.
        slack: a member is not given more than (1 + slack) times the mean load, rounded up, by keys that are free to go
            elsewhere; `math.inf` for no such bound.
        points: points of a member on the ring; more make even shares and slow resizing.
    """

    key: Callable[..., Hashable]
    slack: float = 0.25
    points: int = POINTS

    def __attrs_post_init__(self) -> None:
        if not callable(self.key):
            raise InvalidSpec("routing.key", self.key, "a function from a message to its key")
        if not is_number(self.slack) or self.slack < 0:
            raise InvalidSpec("routing.slack", self.slack, "0 or more, or math.inf")
        if not isinstance(self.points, int) or self.points < 1:
            raise InvalidSpec("routing.points", self.points, "a whole number of at least 1")


def least(load: Load, members: int, start: int) -> int | None:
    """The position with the smallest load, the first of several from `start` on; None if all are to be passed over."""
    best, fewest = None, math.inf
    for index in (*range(start, members), *range(start)):
        amount = load(index)
        if amount is not None and amount < fewest:
            best, fewest = index, amount
            if amount == 0:
                break
    return best


def lesser_of_two(load: Load, members: int, portions: tuple[float, float]) -> int | None:
    """Of two different positions drawn by `portions` (random numbers in [0, 1)), the one with the smaller load."""
    first = int(portions[0] * members)
    second = int(portions[1] * (members - 1))
    second += second >= first
    one, other = load(first), load(second)
    if one is None:
        return None if other is None else second
    return first if other is None or one <= other else second


def next_in_turn(load: Load, members: int, start: int) -> int | None:
    """The first position from `start` on that is not to be passed over."""
    return next((index for index in (*range(start, members), *range(start)) if load(index) is not None), None)


@attrs.frozen
class Standing:
    """A member that has no room for a message.

    Attributes:
        load: what it has.
        waits_until: when it starts again, if it waits for that.
        keeps: whether it would keep a `tell` until then.
    """

    load: int
    waits_until: float | None = None
    keeps: bool = False


def last_resort(standings: Sequence[Standing], *, asked: bool) -> int | None:
    """Who is offered a message for which nobody has room, and says what follows by its own rules; None without members.

    A message that nobody waits for is kept by who will start again first; an ask is refused, by the least loaded that
    runs.
    """
    if not standings:
        return None

    def rank(index: int) -> tuple[int, float, int]:
        standing = standings[index]
        if standing.waits_until is None:
            return 1, standing.load, index
        return 0 if standing.keeps and not asked else 2, standing.waits_until, index

    return min(range(len(standings)), key=rank)


@attrs.frozen
class Plan:
    """How a pool gets to another size, as numbers of members, each in the order in which it is to be done."""

    back: tuple[int, ...] = ()
    fresh: tuple[int, ...] = ()
    retire: tuple[int, ...] = ()


def resize(active: Sequence[int], retiring: Sequence[int], taken: Container[int], size: int) -> Plan:
    """From the `active` members to `size` of them.

    The last are the first to go. Those that are on their way out (`retiring`) come back before new ones are made, and
    new ones have the lowest numbers that are not `taken`: the same sizes have the same names, and so the same ring.
    """
    missing = size - len(active)
    if missing <= 0:
        return Plan(retire=tuple(sorted(active, reverse=True)[:-missing]) if missing else ())
    back = tuple(sorted(retiring)[:missing])
    fresh: list[int] = []
    number = 0
    while len(back) + len(fresh) < missing:
        if number not in taken:
            fresh.append(number)
        number += 1
    return Plan(back=back, fresh=tuple(fresh))
