from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.models.endpoint import Endpoint
from actors.models.limiter import WINDOW, Granted, Lease, Limiter, Wait
from actors.models.provider_limits import ProviderLimits


def limiter(url: str = "https://api.example.com/v1", **limits: Any) -> Limiter:
    return Limiter(Endpoint("e", url, "k", "m", **limits))


def granted(answer: Granted | Wait) -> Lease:
    assert isinstance(answer, Granted)
    return answer.lease


def waiting(answer: Granted | Wait) -> Wait:
    assert isinstance(answer, Wait)
    return answer


def test_requests_a_minute():
    limits = limiter(requests_per_minute=2)
    for at in (0.0, 10.0):
        limits.settle(granted(limits.reserve(at, 1, "h")), 1, at)
    wait = waiting(limits.reserve(20.0, 1, "h"))
    assert wait.reason == "requests"
    assert wait.seconds == pytest.approx(40.0)
    granted(limits.reserve(wait.until, 1, "h"))
    assert waiting(limits.reserve(wait.until, 1, "h")).until == pytest.approx(70.0)


def test_tokens_a_minute_and_what_was_not_used_is_free_at_once():
    limits = limiter(tokens_per_minute=100)
    lease = granted(limits.reserve(0.0, 80, "h"))
    wait = waiting(limits.reserve(1.0, 30, "h"))
    assert wait.reason == "tokens"
    assert wait.seconds == pytest.approx(59.0)
    assert limits.settle(lease, 70, 2.0)
    granted(limits.reserve(2.0, 30, "h"))


def test_what_was_used_beyond_the_reservation_is_owed():
    limits = limiter(tokens_per_minute=100)
    limits.settle(granted(limits.reserve(0.0, 10, "h")), 250, 1.0)
    assert limits.status(1.0).tokens == 250
    wait = waiting(limits.reserve(1.0, 1, "h"))
    assert wait.until == pytest.approx(60.0)
    granted(limits.reserve(wait.until, 100, "h"))


def test_a_request_above_a_minutes_allowance_goes_when_all_of_it_is_free():
    limits = limiter(tokens_per_minute=100)
    granted(limits.reserve(0.0, 1, "h"))
    wait = waiting(limits.reserve(1.0, 1000, "h"))
    assert granted(limits.reserve(wait.until, 1000, "h")).tokens == 100


def test_a_settlement_counts_once_and_a_strange_lease_not_at_all():
    limits = limiter(tokens_per_minute=100)
    lease = granted(limits.reserve(0.0, 50, "h"))
    assert limits.settle(lease, 10, 1.0)
    assert not limits.settle(lease, 10, 1.0)
    assert not limits.give_back(lease, 1.0)
    assert not limits.settle(Lease("h", 50, 0.0, math.inf), 10, 1.0)
    assert limits.status(1.0).tokens == 10


def test_what_was_never_sent_does_not_count():
    limits = limiter(requests_per_minute=1, tokens_per_minute=100)
    assert limits.give_back(granted(limits.reserve(0.0, 100, "h")), 0.0)
    granted(limits.reserve(0.0, 100, "h"))


def test_settled_after_its_minute_a_lease_changes_nothing():
    limits = limiter(tokens_per_minute=100)
    lease = granted(limits.reserve(0.0, 50, "h"))
    limits.reserve(61.0, 10, "h")
    assert limits.settle(lease, 90, 61.0)
    assert limits.status(61.0).tokens == 10
    late = granted(limits.reserve(62.0, 10, "h"))
    limits.prune(200.0)
    assert limits.give_back(late, 200.0)
    assert limits.status(200.0).requests == 0


def test_twenty_in_flight_until_the_provider_has_said_what_it_takes():
    limits = limiter()
    leases = [granted(limits.reserve(0.0, 1, "h")) for _ in range(20)]
    wait = waiting(limits.reserve(0.0, 1, "h"))
    assert (wait.reason, wait.seconds) == ("in_flight", math.inf)
    assert limits.status(0.0).source == "default"
    limits.settle(leases[0], 1, 1.0)
    granted(limits.reserve(1.0, 1, "h"))
    limits.learn(ProviderLimits(limit_requests=30), 2.0)
    assert limits.in_flight_limit is None
    assert limits.status(2.0).source == "provider"
    for _ in range(9):
        granted(limits.reserve(2.0, 1, "h"))
    assert waiting(limits.reserve(2.0, 1, "h")).reason == "requests"


def test_what_is_configured_stands_against_the_headers():
    limits = limiter(requests_per_minute=5)
    limits.learn(ProviderLimits(limit_requests=1, limit_tokens=70, remaining_requests=0, reset_requests=30.0), 0.0)
    assert (limits.requests_limit, limits.tokens_limit) == (5, 70)
    assert limits.status(0.0).source == "configured"
    granted(limits.reserve(0.0, 1, "h"))
    assert limiter(in_flight=3).in_flight_limit == 3


def test_headers_without_limits_unlearn_nothing():
    limits = limiter()
    limits.learn(ProviderLimits(limit_requests=7, limit_tokens=70), 0.0)
    limits.learn(ProviderLimits(limit_requests=0), 1.0)
    assert (limits.requests_limit, limits.tokens_limit) == (7, 70)


@pytest.mark.parametrize(("field", "reason"), [("requests", "requests"), ("tokens", "tokens")])
def test_nothing_left_at_the_provider_holds_until_the_reset(field: str, reason: str):
    limits = limiter()
    said = {f"limit_{field}": 100, f"remaining_{field}": 0, f"reset_{field}": 5.0}
    limits.learn(ProviderLimits(**said), 10.0)
    wait = waiting(limits.reserve(10.0, 1, "h"))
    assert (wait.reason, wait.seconds) == (reason, 5.0)
    limits.learn(ProviderLimits(**said | {f"reset_{field}": 86_400.0}), 10.0)
    assert waiting(limits.reserve(10.0, 1, "h")).seconds == WINDOW


def test_a_loopback_endpoint_has_no_limit_but_can_be_parked():
    limits = limiter("http://127.0.0.1:9/v1")
    limits.learn(ProviderLimits(limit_requests=1, remaining_requests=0, reset_requests=9.0), 0.0)
    for _ in range(100):
        granted(limits.reserve(0.0, 10_000, "h"))
    assert limits.status(0.0).source == "none"
    limits.park(3.0)
    limits.park(2.0)
    assert waiting(limits.reserve(0.0, 1, "h")).until == 3.0
    assert limits.status(1.0).parked_for == 2.0
    granted(limits.reserve(3.0, 1, "h"))


def test_a_loopback_endpoint_keeps_what_is_configured():
    limits = limiter("http://localhost/v1", requests_per_minute=1)
    granted(limits.reserve(0.0, 1, "h"))
    waiting(limits.reserve(0.0, 1, "h"))


def test_a_lease_ends_with_its_time():
    limits = limiter(in_flight=1)
    lost = granted(limits.reserve(0.0, 5, "a", lasts=10.0))
    assert waiting(limits.reserve(1.0, 5, "b")).until == 10.0
    second = granted(limits.reserve(10.0, 5, "b"))
    assert not limits.settle(lost, 0, 10.0)
    assert limits.settle(second, 5, 11.0)
    granted(limits.reserve(11.0, 5, "c"))
    assert limits.status(11.0).tokens == 15


def test_a_new_limiter_takes_up_the_leases_of_the_living():
    before = limiter(requests_per_minute=3, in_flight=9)
    leases = [granted(before.reserve(at, 5, "h", lasts=100.0)) for at in (0.0, 30.0)]
    after = limiter(requests_per_minute=3, in_flight=9)
    granted(after.reserve(40.0, 5, "new"))
    for lease in (*leases, *leases):
        after.restore(lease, 40.0)
    assert after.status(40.0).requests == 3
    assert after.status(40.0).in_flight == 3
    assert waiting(after.reserve(40.0, 5, "h")).until == pytest.approx(60.0)
    assert after.settle(leases[1], 1, 50.0)
    assert after.status(50.0).tokens == 11
    after.restore(Lease("h", 5, 0.0, 20.0), 50.0)
    assert after.status(50.0).in_flight == 2
    after.restore(leases[0], 90.0)
    assert after.status(90.0).requests == 1


STEPS = st.lists(
    st.tuples(
        st.floats(0, 40, allow_nan=False),  # time that passes
        st.integers(0, 60),  # tokens wanted
        st.sampled_from(["reserve", "reserve", "reserve", "settle", "give_back", "wait"]),
        st.floats(0, 1),  # the part that is used
    ),
    max_size=60,
)


@given(STEPS, st.integers(1, 6), st.integers(10, 100), st.integers(1, 4))
def test_never_over_a_limit_in_any_minute(steps: Any, requests: int, tokens: int, in_flight: int):
    limits = limiter(requests_per_minute=requests, tokens_per_minute=tokens, in_flight=in_flight)
    now = 1000.0
    held: list[Lease] = []
    spent: dict[Lease, tuple[float, int]] = {}
    waited: Wait | None = None
    for passes, wanted, what, part in steps:
        now += passes
        if what == "wait" and waited is not None and waited.seconds < math.inf:
            now = max(now, waited.until)
        elif what in ("settle", "give_back") and held:
            lease = held.pop(0)
            if what == "settle":
                used = int(lease.tokens * part)
                assert limits.settle(lease, used, now)
                spent[lease] = (lease.granted_at, used)
            else:
                assert limits.give_back(lease, now)
                del spent[lease]
            continue
        answer = limits.reserve(now, wanted, "h")
        if isinstance(answer, Wait):
            waited = answer
            assert answer.seconds > 0
            continue
        held.append(answer.lease)
        spent[answer.lease] = (now, answer.lease.tokens)
        assert len(held) <= in_flight
        within = [amount for at, amount in spent.values() if now - WINDOW + 1e-5 < at <= now]
        assert len(within) <= requests
        assert sum(within) <= tokens


@given(STEPS, st.integers(1, 6), st.integers(10, 100))
def test_after_the_wait_that_it_names_a_request_is_granted_and_not_a_moment_earlier(
    steps: Any, requests: int, tokens: int
):
    limits = limiter(requests_per_minute=requests, tokens_per_minute=tokens)
    now = 1e5
    for passes, wanted, _, part in steps:
        now += passes
        answer = limits.reserve(now, wanted, "h")
        if isinstance(answer, Wait):
            between = now + answer.seconds * part * 0.99
            assert isinstance(limits.reserve(between, wanted, "h"), Wait)
            now += answer.seconds
            answer = limits.reserve(now, wanted, "h")
        limits.settle(granted(answer), int(wanted * part), now)
