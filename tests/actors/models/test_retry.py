from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.models.retry import parse_retry_after, retry_delay

NOW = 1_790_000_000.0


@given(st.integers(-3, 10_000), st.randoms(use_true_random=False))
def test_backoff_doubles_under_the_cap_with_its_jitter(attempt: int, rng: random.Random):
    ceiling = min(8.0, 0.5 * 2 ** min(max(attempt, 1) - 1, 30))
    assert ceiling / 2 <= retry_delay(attempt, None, rng) <= ceiling


@given(st.floats(0, 1e5), st.integers(1, 9), st.randoms(use_true_random=False))
def test_never_earlier_than_the_provider_asked(retry_after: float, attempt: int, rng: random.Random):
    assert retry_after <= retry_delay(attempt, retry_after, rng) <= retry_after + 1


def test_the_same_seed_gives_the_same_delays():
    delays = [[retry_delay(n, None, random.Random(7)) for n in (1, 2, 3)] for _ in range(2)]
    assert delays[0] == delays[1]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "150", "retry-after": "9"}, 0.15),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "Fri, 20 Nov 2026 08:30:09 GMT", "date": "Fri, 20 Nov 2026 08:30:00 GMT"}, 9.0),
        ({"retry-after": "Fri, 20 Nov 2026 08:29:59 GMT", "date": "Fri, 20 Nov 2026 08:30:00 GMT"}, None),
        ({"retry-after": "0"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e9"}, 86_400.0),
        ({"retry-after": "Fri, 99 Nov 2026"}, None),
        ({"retry-after": "Mon, 01 Jan 99999 00:00:00 GMT"}, None),
        ({}, None),
    ],
)
def test_reads_retry_after(headers: dict[str, str], seconds: float | None):
    assert parse_retry_after(headers, NOW) == seconds


def test_without_the_providers_clock_a_date_is_counted_from_ours():
    headers = {"retry-after": "Mon, 21 Sep 2026 14:13:30 GMT"}
    assert parse_retry_after(headers, NOW) == 10.0
