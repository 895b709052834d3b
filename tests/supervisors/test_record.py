"""The restart record against the sentence that defines it: more than `limit` within `period` is too many."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from supervisors import Backoff, Intensity
from supervisors._record import Record, Row

TENTHS = st.integers(0, 40)


@given(limit=st.integers(0, 4), period=st.integers(1, 20), gaps=st.lists(TENTHS, max_size=30))
def test_a_restart_is_granted_while_no_more_than_the_limit_lie_in_one_period(
    limit: int, period: int, gaps: list[int]
) -> None:
    intensity = Intensity(limit, float(period))
    record, now, times = Record(), 0, []
    for gap in gaps:
        now += gap
        times.append(now)
        record, allowed = record.add(float(now), intensity)
        within = [time for time in times if now - time <= period]  # both ends count
        assert allowed == (len(within) <= limit)
        assert record.used(float(now), intensity) == len(within) == len(record.times)
        assert record.total == len(times)


def test_a_restart_exactly_one_period_ago_still_counts() -> None:
    intensity = Intensity(1, 5.0)
    record, _ = Record().add(10.0, intensity)
    assert record.add(15.0, intensity)[1] is False
    assert record.add(15.001, intensity)[1] is True


def test_used_forgets_with_time_alone() -> None:
    record, _ = Record().add(10.0, Intensity(3, 5.0))
    assert record.used(15.0, Intensity(3, 5.0)) == 1
    assert record.used(15.5, Intensity(3, 5.0)) == 0
    assert record.total == 1


def test_a_row_grows_until_the_child_has_run_quietly() -> None:
    backoff = Backoff(quiet=5.0)
    row = Row()
    streaks = []
    for lived in (0.0, 1.0, 4.9, 5.0, 0.0, None, None, 60.0):
        # None: it did not even start
        row = row.end(100.0, backoff) if lived is None else row.start(0.0).end(lived, backoff)
        streaks.append(row.streak)
    assert streaks == [1, 2, 3, 1, 2, 3, 4, 1]


def test_a_start_does_not_change_the_row() -> None:
    assert Row(3, None).start(7.0) == Row(3, 7.0)
