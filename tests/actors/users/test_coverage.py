"""Which events were acknowledged, as a set of ranges against a set of numbers."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from actors.users.coverage import MOST, Coverage

RANGES = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=12)


@given(RANGES, st.integers(0, 30), st.integers(0, 30))
def test_it_counts_as_a_set_would(ranges: list[tuple[int, int]], after: int, to: int) -> None:
    coverage, numbers = Coverage(), set[int]()
    for low, high in ranges:
        new = set(range(low + 1, high + 1)) - numbers
        assert coverage.add(low, high) == len(new)
        numbers |= new
    assert coverage.missing(after, to) == len(set(range(after + 1, to + 1)) - numbers)
    assert len(coverage) <= len(ranges)


def test_what_touches_is_one_range() -> None:
    coverage = Coverage()
    coverage.fill([(5, 8), (0, 2), (8, 9)])
    assert len(coverage) == 2
    assert coverage.add(2, 5) == 3
    assert len(coverage) == 1


def test_what_the_log_has_forgotten_is_forgotten_where_it_is_much() -> None:
    coverage = Coverage()
    coverage.fill([(10 * n, 10 * n + 5) for n in range(MOST)])
    coverage.forget(9)
    assert coverage.add(0, 2) == 0
    coverage.add(10 * MOST, 10 * MOST + 1)
    coverage.forget(9)
    assert len(coverage) == MOST
    assert coverage.missing(0, 5) == 5
    assert coverage.missing(10, 15) == 0
