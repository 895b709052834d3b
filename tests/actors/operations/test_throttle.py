from __future__ import annotations

from actors.operations.counters import DaemonCounters, count_bounded
from actors.operations.throttle import Throttle, Verdict


def test_so_many_of_a_kind_in_a_window() -> None:
    throttle = Throttle(2)
    assert throttle.admit("a", 0.0) == Verdict(tell=True, last=False, untold=0)
    assert throttle.admit("a", 0.5) == Verdict(tell=True, last=True, untold=0)
    assert throttle.admit("a", 0.9) == Verdict(tell=False, last=False, untold=0)
    assert throttle.admit("b", 0.9) == Verdict(tell=True, last=False, untold=0)
    assert throttle.admit("a", 0.95) == Verdict(tell=False, last=False, untold=0)
    assert throttle.admit("a", 1.0) == Verdict(tell=True, last=False, untold=2)
    assert throttle.admit("a", 2.0) == Verdict(tell=True, last=False, untold=0)


def test_windows_that_are_over_are_told_of_and_forgotten() -> None:
    throttle = Throttle(1)
    for key, now in (("a", 0.0), ("a", 0.1), ("b", 0.1), ("c", 0.9), ("c", 0.95)):
        throttle.admit(key, now)
    assert throttle.over(0.95) == {}
    assert throttle.over(1.5) == {}  # it has looked within this second
    assert throttle.over(1.95) == {"a": 1, "c": 1}
    assert throttle.over(3.0) == {}
    assert throttle.admit("a", 3.0).untold == 0


def test_the_end_tells_of_the_rest() -> None:
    throttle = Throttle(1)
    for _ in range(4):
        throttle.admit("a", 0.0)
    assert throttle.end() == {"a": 3}
    assert throttle.end() == {}


def test_a_bounded_counter_puts_the_rest_together() -> None:
    counters = DaemonCounters()
    for index in range(10):
        count_bounded(counters.switches, f"/runs/{index}", 3)
    count_bounded(counters.switches, "/runs/1", 3)
    assert counters.switches == {"/runs/0": 1, "/runs/1": 2, "/runs/2": 1, "other": 7}
