"""The choice of a member, and the plan of a resize, as functions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime import InvalidSpec
from supervisors import ByKey
from supervisors._routing import (
    Plan,
    Standing,
    last_resort,
    least,
    lesser_of_two,
    next_in_turn,
    resize,
)

LOADS = st.lists(st.none() | st.integers(0, 5), min_size=1, max_size=8)
PORTION = st.floats(0, 1, exclude_max=True)


# --- least outstanding


@settings(deadline=None)
@given(loads=LOADS, start=st.integers(0, 7))
def test_the_least_load_wins_and_of_several_the_first_from_the_start_on(loads: list[int | None], start: int) -> None:
    start %= len(loads)
    chosen = least(loads.__getitem__, len(loads), start)
    order = [*range(start, len(loads)), *range(start)]
    known = [load for load in loads if load is not None]
    assert chosen == next((index for index in order if known and loads[index] == min(known)), None)


def test_the_search_ends_at_the_first_with_nothing_to_do() -> None:
    seen: list[int] = []

    def load(index: int) -> int:
        seen.append(index)
        return (3, 0, 0, 0)[index]

    assert least(load, 4, 0) == 1
    assert seen == [0, 1]


# --- two drawn


@settings(deadline=None)
@given(loads=LOADS.filter(lambda loads: len(loads) > 1), one=PORTION, other=PORTION)
def test_two_different_members_are_drawn_and_the_better_one_wins(
    loads: list[int | None], one: float, other: float
) -> None:
    drawn: list[int] = []

    def load(index: int) -> int | None:
        drawn.append(index)
        return loads[index]

    chosen = lesser_of_two(load, len(loads), (one, other))
    assert len(set(drawn)) == len(drawn) == 2
    known = {index: loads[index] for index in drawn if loads[index] is not None}
    if not known:
        assert chosen is None
    else:
        assert chosen is not None
        assert known[chosen] == min(known.values(), key=lambda load: load or 0)


def test_every_pair_can_be_drawn() -> None:
    pairs = set()
    for one in range(4):
        for other in range(3):
            drawn: list[int] = []
            lesser_of_two(lambda index, drawn=drawn: drawn.append(index), 4, (one / 4, other / 3))  # type: ignore[misc,func-returns-value]
            pairs.add(tuple(drawn))
    assert pairs == {(one, other) for one in range(4) for other in range(4) if one != other}


# --- in turn


@settings(deadline=None)
@given(loads=LOADS, start=st.integers(0, 7))
def test_in_turn_takes_the_first_that_takes_it(loads: list[int | None], start: int) -> None:
    start %= len(loads)
    order = [*range(start, len(loads)), *range(start)]
    expected = next((index for index in order if loads[index] is not None), None)
    assert next_in_turn(loads.__getitem__, len(loads), start) == expected


# --- nobody has room

RUNS, BUSY = Standing(3), Standing(7)
SOON, LATE = Standing(9, waits_until=1.0, keeps=True), Standing(0, waits_until=2.0, keeps=True)
SOON_FULL = Standing(9, waits_until=1.0)


@pytest.mark.parametrize(
    ("standings", "asked", "chosen"),
    [
        ([], False, None),
        ([BUSY, RUNS], False, 1),
        ([BUSY, RUNS], True, 1),
        ([BUSY, LATE, SOON], False, 2),
        ([SOON_FULL, LATE, BUSY], False, 1),
        ([SOON, BUSY, RUNS], True, 2),
        ([LATE, SOON], True, 1),
        ([SOON_FULL, RUNS], False, 1),
        ([RUNS, RUNS], True, 0),
    ],
)
def test_who_decides_about_a_message_for_which_nobody_has_room(
    standings: list[Standing], asked: bool, chosen: int | None
) -> None:
    assert last_resort(standings, asked=asked) == chosen


# --- resizing


@pytest.mark.parametrize(
    ("active", "retiring", "taken", "size", "plan"),
    [
        ([], [], [], 3, Plan(fresh=(0, 1, 2))),
        ([0, 1], [], [0, 1], 2, Plan()),
        ([0, 1, 2, 3], [], [0, 1, 2, 3], 2, Plan(retire=(3, 2))),
        ([0], [1, 2], [0, 1, 2], 2, Plan(back=(1,))),
        ([0], [1], [0, 1], 4, Plan(back=(1,), fresh=(2, 3))),
        ([0, 3], [], [0, 2, 3], 4, Plan(fresh=(1, 4))),
    ],
)
def test_a_resize(active: list[int], retiring: list[int], taken: list[int], size: int, plan: Plan) -> None:
    assert resize(active, retiring, taken, size) == plan


@settings(deadline=None)
@given(numbers=st.permutations(range(8)), active=st.integers(1, 4), going=st.integers(0, 4), size=st.integers(1, 9))
def test_a_resize_gets_there_with_the_least_change(numbers: list[int], active: int, going: int, size: int) -> None:
    live, leaving = numbers[:active], numbers[active : active + going]
    plan = resize(live, leaving, {*live, *leaving}, size)
    after = {*live, *plan.back, *plan.fresh} - set(plan.retire)
    assert len(after) == size
    assert set(plan.back) <= set(leaving)
    assert not set(plan.fresh) & {*live, *leaving}
    assert not (plan.retire and (plan.back or plan.fresh))
    assert not plan.fresh or len(plan.back) == len(leaving)


# --- the spec


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"key": "customer"}, "routing.key"),
        ({"key": len, "slack": -0.1}, "routing.slack"),
        ({"key": len, "slack": float("nan")}, "routing.slack"),
        ({"key": len, "slack": "wide"}, "routing.slack"),
        ({"key": len, "points": 0}, "routing.points"),
        ({"key": len, "points": 1.5}, "routing.points"),
    ],
)
def test_a_bad_routing_is_refused_with_the_key(fields: dict[str, Any], key: str) -> None:
    with pytest.raises(InvalidSpec) as error:
        ByKey(**fields)
    assert error.value.key == key
