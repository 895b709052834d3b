"""Limits found by trying, and what the limiter makes of them."""

from __future__ import annotations

from actors.models.adaptive import Adaptive
from actors.models.endpoint import Endpoint
from actors.models.limiter import Granted, Limiter, Wait


def limiter(**limits: int) -> Limiter:
    return Limiter(Endpoint("m", "https://models.test/v1", None, "m", **limits))


def granted(made: Limiter, now: float) -> Granted:
    decision = made.reserve(now, 10, "h")
    assert isinstance(decision, Granted)
    return decision


def test_there_is_no_limit_until_somebody_refuses():
    adaptive = Adaptive()
    adaptive.answered(granted_at=1.0, requests=100)
    assert (adaptive.in_flight, adaptive.requests) == (None, None)


def test_a_refusal_cuts_to_seven_tenths_and_those_of_the_same_moment_do_not_cut_again():
    adaptive = Adaptive()
    adaptive.refused(10.0, granted_at=9.0, in_flight=20, requests=100)
    adaptive.refused(10.1, granted_at=9.5, in_flight=19, requests=100)
    assert (adaptive.in_flight, adaptive.requests) == (14, 70)
    adaptive.refused(12.0, granted_at=11.0, in_flight=14, requests=60)
    assert (adaptive.in_flight, adaptive.requests) == (9, 42)


def test_it_never_falls_below_one_and_few_requests_say_nothing_of_a_minute():
    adaptive = Adaptive()
    for now in range(1, 20):
        adaptive.refused(now, granted_at=now - 0.5, in_flight=1, requests=9)
    assert (adaptive.in_flight, adaptive.requests) == (1, None)


def test_answers_raise_it_again_by_about_one_a_round_until_it_is_outlived():
    adaptive = Adaptive()
    adaptive.refused(1.0, granted_at=0.5, in_flight=10, requests=100)
    for _ in range(8):
        adaptive.answered(granted_at=2.0, requests=70)
    assert adaptive.in_flight == 8
    for _ in range(70):
        adaptive.answered(granted_at=2.0, requests=70)
    assert 76 <= (adaptive.requests or 0) <= 78, "a tenth more after a minute of answers"
    for _ in range(4000):
        adaptive.answered(granted_at=2.0, requests=70)
    assert (adaptive.in_flight, adaptive.requests) == (None, None)


def test_an_answer_beyond_the_limit_of_a_minute_disproves_it_and_a_refusal_beyond_it_cuts_nothing():
    adaptive = Adaptive()
    adaptive.refused(1.0, granted_at=0.5, in_flight=10, requests=100)
    adaptive.refused(2.0, granted_at=1.5, in_flight=1, requests=101)
    assert (adaptive.in_flight, adaptive.requests) == (7, 70)
    adaptive.answered(granted_at=0.5, requests=101)
    assert adaptive.requests == 70, "it was made before the refusal"
    adaptive.answered(granted_at=2.5, requests=102)
    assert (adaptive.in_flight, adaptive.requests) == (7, None)


def test_the_pause_before_one_is_tried_grows_with_each_refusal_and_is_short_again_after_an_answer():
    adaptive = Adaptive()
    pauses = []
    for now in range(10, 50, 10):
        adaptive.refused(now, granted_at=now - 1, in_flight=1, requests=50)
        pauses.append(adaptive.try_at - now)
    assert pauses == [0.5, 2, 8, 32]
    adaptive.answered(granted_at=75.0, requests=50)
    adaptive.refused(80.0, granted_at=79.0, in_flight=1, requests=50)
    assert adaptive.try_at == 80.5


def test_after_a_passing_refusal_one_request_is_made_though_the_last_minute_holds_too_many():
    made = limiter()
    leases = [granted(made, 1.0).lease for _ in range(20)]
    made.refused(leases[0], 2.0)
    for lease in leases:
        made.settle(lease, 1, 2.0)
    assert not made.shares(2.0, 10, "")
    assert made.next_change(2.0) == 2.5
    wait = made.wait_for(2.0, 10)
    assert wait is not None
    assert (wait.until, wait.reason) == (2.5, "requests")
    assert made.shares(2.5, 10, "")
    tried = granted(made, 2.5).lease
    assert isinstance(made.reserve(2.5, 10, "h"), Wait), "one, until it is answered"
    assert not made.shares(2.5, 10, "")
    made.answered(tried)
    made.settle(tried, 1, 3.0)
    granted(made, 3.0)
    assert made.requests_limit is None


def test_where_the_one_is_refused_too_the_next_waits_longer_and_never_beyond_what_the_minute_gives_back():
    made = limiter()
    leases = [granted(made, 1.0).lease for _ in range(20)]
    made.refused(leases[0], 2.0)
    for lease in leases:
        made.settle(lease, 1, 2.0)
    now, tries = 2.0, []
    while (wait := made.wait_for(now, 10)) is not None and wait.until < 60.9:
        now = wait.until
        lease = granted(made, now).lease
        tries.append(now)
        made.refused(lease, now)
        made.settle(lease, 1, now)
        assert (made.in_flight_limit, made.requests_limit) == (14, 14)
    assert tries == [2.5, 4.5, 12.5, 44.5]
    assert wait is not None
    assert wait.until < 61.1


def test_a_limit_that_is_kept_is_not_tried():
    made = limiter()
    leases = [granted(made, 1.0).lease for _ in range(20)]
    made.refused(leases[0], 2.0)
    for lease in leases:
        made.settle(lease, 1, 2.0)
    for _ in range(14):
        made.give_back(granted(made, 70.0).lease, 70.0)
    for _ in range(14):
        made.settle(granted(made, 70.0).lease, 1, 70.0)
    wait = made.wait_for(71.0, 10)
    assert wait is not None
    assert wait.until > 129


def test_the_limiter_keeps_to_what_was_found_where_nobody_has_named_a_limit():
    made = limiter()
    leases = [granted(made, 1.0).lease for _ in range(20)]
    made.refused(leases[0], 2.0)
    status = made.status(2.0)
    assert (status.in_flight_limit, status.requests_limit, status.source) == (14, 14, "adaptive")
    for lease in leases:
        made.answered(lease)
        made.settle(lease, 1, 2.0)
    assert (made.in_flight_limit or 0) > 14


def test_what_is_configured_stands():
    made = limiter(requests_per_minute=100, in_flight=50)
    leases = [granted(made, 1.0).lease for _ in range(40)]
    made.refused(leases[0], 2.0)
    status = made.status(2.0)
    assert (status.in_flight_limit, status.requests_limit, status.source) == (50, 100, "configured")
