"""Who is let in: so many in all, of an address, in a second."""

from __future__ import annotations

import random

import attrs

from actors.gateway.entrance import Entrance, EntranceLimits
from actors.gateway.refusal import Refusal

LIMITS = EntranceLimits(total=100, per_address=50, rate=10.0, burst=20, come_back=5.0)


def entrance(**limits: float) -> Entrance:
    return Entrance(attrs.evolve(LIMITS, **limits), random.Random(1), 0.0)


def status(refusal: Refusal | None) -> int | None:
    return None if refusal is None else refusal.status


def test_so_many_in_all() -> None:
    door = entrance(total=2)
    assert [status(door.enter(address, 0.0)) for address in ("a", "b", "c")] == [None, None, 503]
    door.leave("a")
    assert door.inside == 1
    assert door.enter("c", 0.0) is None


def test_so_many_of_one_address() -> None:
    door = entrance(per_address=2)
    assert [status(door.enter("a", 0.0)) for _ in range(3)] == [None, None, 429]
    assert door.enter("b", 0.0) is None
    door.leave("a")
    assert door.enter("a", 0.0) is None


def test_an_address_that_has_left_is_forgotten() -> None:
    door = entrance()
    door.enter("a", 0.0)
    door.leave("a")
    assert door._of_address == {}
    assert door.inside == 0


def test_so_many_in_a_second_after_so_many_at_once() -> None:
    door = entrance()
    assert [status(door.enter("a", 0.0)) for _ in range(21)] == [None] * 20 + [503]
    assert [status(door.enter("a", 0.1)) for _ in range(2)] == [None, 503]
    assert [status(door.enter("a", 1.1)) for _ in range(11)] == [None] * 10 + [503]


def test_a_long_quiet_time_gives_no_more_than_the_burst() -> None:
    door = entrance(per_address=1000, total=1000)
    assert [status(door.enter("a", 1000.0)) for _ in range(21)] == [None] * 20 + [503]


def test_who_is_refused_takes_nothing() -> None:
    door = entrance(per_address=1)
    door.enter("a", 0.0)
    for _ in range(100):
        assert status(door.enter("a", 0.0)) == 429
    assert [status(door.enter(str(n), 0.0)) for n in range(20)] == [None] * 19 + [503]


def test_everybody_is_told_another_time() -> None:
    door = entrance(total=0)
    waits = {refusal.encode().split(b"Retry-After: ")[1][:1] for refusal in map(refused, [door] * 100)}
    assert waits == {b"1", b"2", b"3", b"4", b"5"}


def refused(door: Entrance) -> Refusal:
    found = door.enter("a", 0.0)
    assert found is not None
    return found


def test_a_daemon_that_leaves_lets_nobody_in() -> None:
    door = entrance()
    door.leaving = True
    assert status(door.enter("a", 0.0)) == 503
