"""Ids and timestamps over a clock that is set back."""

from random import Random

from actors.protocol.stamps import Stamps


def test_ids_go_on_rising_where_the_clock_is_set_back():
    times = iter([1000.0, 2000.0, 500.0, 500.0, 2000.001])
    stamps = Stamps(Random(1), lambda: next(times))
    first, second, third = stamps.id(), stamps.id(), stamps.stamp()
    assert first < second
    assert third.id[:12] == second[:12]
    assert third.timestamp.startswith("1970-01-01T00:08:20")
    assert stamps.id() > max(first, second, third.id)
