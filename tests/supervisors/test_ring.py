"""The ring: who owns a key, what a resize moves, and that nobody gets more than the bound."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisors._ring import Ring, bound, bounded, encoded, place_of

NAMES = st.lists(st.integers(0, 30).map("w-{}".format), min_size=1, max_size=8, unique=True)
KEYS = st.recursive(
    st.text(max_size=5) | st.binary(max_size=5) | st.integers(-300, 300),
    lambda keys: st.lists(keys, max_size=3).map(tuple),
    max_leaves=4,
)


# --- keys


@settings(deadline=None)
@given(one=KEYS, other=KEYS)
def test_keys_are_the_same_as_bytes_exactly_if_they_are_equal(one: object, other: object) -> None:
    assert (encoded(one) == encoded(other)) == (one == other)


def test_true_is_one_as_everywhere_in_python() -> None:
    assert place_of(True) == place_of(1)


def test_a_key_has_the_same_place_in_every_process() -> None:
    assert place_of("a customer") == 12455133084608295182


@pytest.mark.parametrize("key", [None, 1.5, ["list"], ("a", None), object()])
def test_nothing_else_is_a_key(key: object) -> None:
    with pytest.raises(TypeError, match="a key must be"):
        place_of(key)


def test_text_that_no_encoding_has_is_a_key_all_the_same() -> None:
    assert place_of("\ud800") != place_of("\ud801")


# --- the ring


@settings(deadline=None)
@given(names=NAMES, key=KEYS)
def test_a_walk_comes_to_every_member_once(names: list[str], key: object) -> None:
    walk = list(Ring(names, points=5).walk(place_of(key)))
    assert sorted(walk) == list(range(len(names)))
    assert names[walk[0]] == Ring(names, points=5).owner(key)


@settings(deadline=None)
@given(names=NAMES, key=KEYS)
def test_the_order_of_the_members_plays_no_part(names: list[str], key: object) -> None:
    assert Ring(names, 5).owner(key) == Ring(names[::-1], 5).owner(key)


@settings(deadline=None)
@given(names=NAMES, key=KEYS)
def test_a_new_member_takes_keys_only_for_itself(names: list[str], key: object) -> None:
    before, after = Ring(names, 5).owner(key), Ring([*names, "new"], 5).owner(key)
    assert after in {before, "new"}


@settings(deadline=None)
@given(names=NAMES.filter(lambda names: len(names) > 1), key=KEYS)
def test_a_member_that_leaves_moves_only_its_own_keys(names: list[str], key: object) -> None:
    before, after = Ring(names, 5).owner(key), Ring(names[1:], 5).owner(key)
    assert after == before or before == names[0]


@settings(deadline=None)
@given(names=NAMES.filter(lambda names: len(names) > 1), key=KEYS)
def test_without_a_member_the_next_on_the_walk_owns_its_keys(names: list[str], key: object) -> None:
    ring = Ring(names, 5)
    walk = [names[index] for index in ring.walk(place_of(key))]
    rest = Ring([name for name in names if name != walk[0]], 5)
    assert rest.owner(key) == walk[1]


def test_shares_are_even_and_a_resize_moves_the_least_there_is_to_move() -> None:
    keys = [f"key {number}" for number in range(4000)]
    small, large = (Ring([f"w-{number}" for number in range(size)]) for size in (7, 8))
    moved = [key for key in keys if small.owner(key) != large.owner(key)]
    shares = Counter(map(large.owner, keys))
    assert len(moved) == shares["w-7"]
    assert all(0.6 < share / 500 < 1.4 for share in shares.values())


# --- bounded load


@settings(deadline=None)
@given(total=st.integers(1, 500), members=st.integers(1, 20), quarters=st.integers(0, 12))
def test_the_bound_is_the_mean_and_the_slack_rounded_up(total: int, members: int, quarters: int) -> None:
    assert bound(total, members, quarters / 4) == math.ceil((1 + Fraction(quarters, 4)) * Fraction(total, members))


@pytest.mark.parametrize("slack", [0.1, 0.3, 1 / 3])
def test_the_bound_is_not_pushed_up_by_what_floats_add(slack: float) -> None:
    for members in range(1, 50):
        assert bound(10 * members, members, slack) == math.ceil(10 * (1 + Fraction(slack).limit_denominator(100)))


@settings(deadline=None)
@given(
    names=NAMES,
    keys=st.lists(st.integers(0, 5), max_size=60),
    ends=st.lists(st.booleans(), min_size=60, max_size=60),
    quarters=st.integers(0, 8),
)
def test_nobody_has_more_than_the_bound_of_all_that_there_ever_was_at_once(
    names: list[str], keys: list[int], ends: list[bool], quarters: int
) -> None:
    ring, slack, loads = Ring(names, 3), quarters / 4, [0] * len(names)
    for key, end in zip(keys, ends, strict=False):
        chosen = bounded(ring.walk(place_of(key)), loads.__getitem__, len(names), slack)
        assert chosen is not None
        loads[chosen] += 1
        assert loads[chosen] <= math.ceil((1 + Fraction(quarters, 4)) * Fraction(sum(loads), len(loads)))
        if end:
            loads[max(range(len(loads)), key=loads.__getitem__)] -= 1


@settings(deadline=None)
@given(names=NAMES, keys=st.lists(st.integers(0, 5), min_size=1, max_size=60), quarters=st.integers(0, 8))
def test_while_nothing_ends_the_largest_load_is_within_the_bound(
    names: list[str], keys: list[int], quarters: int
) -> None:
    ring, loads = Ring(names, 3), [0] * len(names)
    for key in keys:
        chosen = bounded(ring.walk(place_of(key)), loads.__getitem__, len(names), quarters / 4)
        assert chosen is not None
        loads[chosen] += 1
    assert max(loads) <= math.ceil((1 + Fraction(quarters, 4)) * Fraction(len(keys), len(names)))


@settings(deadline=None)
@given(names=NAMES, key=KEYS, loads=st.lists(st.none() | st.integers(0, 9), min_size=8, max_size=8))
def test_who_is_chosen_is_the_first_that_may_have_it(names: list[str], key: object, loads: list[int | None]) -> None:
    walk = list(Ring(names, 3).walk(place_of(key)))
    loads = loads[: len(names)]
    known = [load for load in loads if load is not None]
    chosen = bounded(iter(walk), loads.__getitem__, len(names), 0.5)
    if not known:
        assert chosen is None
        return
    assert chosen is not None
    limit = bound(sum(known) + 1, len(known), 0.5)
    for index in walk[: walk.index(chosen)]:
        load = loads[index]
        assert load is None or load >= limit
    assert loads[chosen] is not None


@settings(deadline=None)
@given(names=NAMES, key=KEYS, loads=st.lists(st.none() | st.integers(0, 9), min_size=8, max_size=8))
def test_without_a_bound_the_owner_gets_it_whenever_it_takes_it(
    names: list[str], key: object, loads: list[int | None]
) -> None:
    walk = list(Ring(names, 3).walk(place_of(key)))
    chosen = bounded(iter(walk), loads.__getitem__, len(names), math.inf)
    assert chosen == next((index for index in walk if loads[index] is not None), None)
