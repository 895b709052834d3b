"""Limits found by trying, and what the limiter makes of them."""

from __future__ import annotations

from actors.models.adaptive import Adaptive
from actors.models.endpoint import Endpoint
from actors.models.limiter import Granted, Limiter


def limiter(**limits: int) -> Limiter:
    return Limiter(Endpoint("m", "https://models.test/v1", None, "m", **limits))


def granted(made: Limiter, now: float) -> Granted:
    decision = made.reserve(now, 10, "h")
    assert isinstance(decision, Granted)
    return decision


def test_there_is_no_limit_until_somebody_refuses():
    adaptive = Adaptive()
    adaptive.answered()
    assert (adaptive.in_flight, adaptive.requests) == (None, None)


def test_a_refusal_cuts_to_seven_tenths_and_those_of_the_same_moment_do_not_cut_again():
    adaptive = Adaptive()
    adaptive.refused(10.0, granted_at=9.0, in_flight=20, requests=100)
    adaptive.refused(10.1, granted_at=9.5, in_flight=19, requests=100)
    assert (adaptive.in_flight, adaptive.requests) == (14, 70)
    adaptive.refused(12.0, granted_at=11.0, in_flight=14, requests=90)
    assert (adaptive.in_flight, adaptive.requests) == (9, 49)


def test_it_never_falls_below_one_and_few_requests_say_nothing_of_a_minute():
    adaptive = Adaptive()
    for now in range(1, 20):
        adaptive.refused(now, granted_at=now - 0.5, in_flight=1, requests=9)
    assert (adaptive.in_flight, adaptive.requests) == (1, None)


def test_answers_raise_it_again_by_about_one_a_round_until_it_is_outlived():
    adaptive = Adaptive()
    adaptive.refused(1.0, granted_at=0.5, in_flight=10, requests=100)
    for _ in range(8):
        adaptive.answered()
    assert adaptive.in_flight == 8
    for _ in range(70):
        adaptive.answered()
    assert 76 <= (adaptive.requests or 0) <= 78, "a tenth more after a minute of answers"
    for _ in range(4000):
        adaptive.answered()
    assert (adaptive.in_flight, adaptive.requests) == (None, None)


def test_the_limiter_keeps_to_what_was_found_where_nobody_has_named_a_limit():
    made = limiter()
    leases = [granted(made, 1.0).lease for _ in range(20)]
    made.refused(leases[0], 2.0)
    status = made.status(2.0)
    assert (status.in_flight_limit, status.requests_limit, status.source) == (14, 14, "adaptive")
    for lease in leases:
        made.settle(lease, 1, 2.0)
        made.answered()
    assert (made.in_flight_limit or 0) > 14


def test_what_is_configured_stands():
    made = limiter(requests_per_minute=100, in_flight=50)
    leases = [granted(made, 1.0).lease for _ in range(40)]
    made.refused(leases[0], 2.0)
    status = made.status(2.0)
    assert (status.in_flight_limit, status.requests_limit, status.source) == (50, 100, "configured")
