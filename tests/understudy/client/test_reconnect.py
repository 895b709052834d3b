from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.protocol.codes import Reconnect, close
from understudy.client import ConnectionEnded, Unreachable, reconnect_delay, wait_after


def ended(code: int, retry_after: float | None = None) -> ConnectionEnded:
    row = close(code)
    return ConnectionEnded(code, "", how=row.reconnect, resume=row.resume, retry_after=retry_after)


@given(st.integers(min_value=0, max_value=10_000), st.integers())
def test_the_delay_is_anywhere_up_to_the_doubled_ceiling(tries: int, seed: int) -> None:
    ceiling = 20.0 if tries > 5 else 0.5 * 2**tries
    assert 0 <= reconnect_delay(tries, random.Random(seed)) <= ceiling


def test_the_jitter_is_full() -> None:
    rng = random.Random(3)
    delays = [reconnect_delay(10, rng) for _ in range(1000)]
    assert min(delays) < 1
    assert max(delays) > 19
    assert sum(delays) / len(delays) == pytest.approx(10, abs=1)


def test_at_once_holds_only_after_a_connection_that_held() -> None:
    assert wait_after(ended(4413), 9, 31.0, random.Random(1)) == 0
    assert wait_after(ended(4413), 9, 29.0, random.Random(1)) > 0
    assert wait_after(ended(1011), 9, 31.0, random.Random(1)) > 0


def test_what_the_daemon_asked_for_is_kept_to() -> None:
    assert wait_after(ended(1012, retry_after=4.5), 9, 31.0, random.Random(1)) == 4.5
    full = Unreachable("ws://x/ws", "full", status=503, retry_after=30.0)
    assert 30 <= wait_after(full, 0, 0.0, random.Random(1)) <= 30.5
    assert 0 <= wait_after(Unreachable("ws://x/ws", "nobody"), 0, 0.0, random.Random(1)) <= 0.5


def test_over_capacity_backs_off_up_to_a_minute() -> None:
    rng = random.Random(5)
    waits = [wait_after(ended(1013), 20, 0.0, rng) for _ in range(200)]
    assert 50 < max(waits) <= 60
    assert close(1013).reconnect is Reconnect.WITH_LONG_BACKOFF
