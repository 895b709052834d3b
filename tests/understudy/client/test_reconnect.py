from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.protocol.codes import CLOSES, Close, Reconnect, close
from understudy.client import ConnectionEnded, Course, Unreachable, reconnect_delay, wait_after


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


# The course of a client


ROWS = [*CLOSES.values(), *(close(code) for code in (1000, 1001, 1006, 4999))]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row.code))
@pytest.mark.parametrize("held", [None, 1.0, 31.0])
def test_every_row_of_the_table_of_closes(row: Close, held: float | None) -> None:
    asked = 7.0 if row.code == 1012 else None
    course, seconds = Course(tries=4, failed=1).after(ended(row.code, asked), held, random.Random(1))
    assert course.failed == (2 if held is None else 0)
    match row.reconnect:
        case Reconnect.NEVER | Reconnect.WITH_NEW_TOKEN:
            assert seconds is None
            return
        case Reconnect.AFTER_RETRY_AFTER:
            assert seconds == 7.0
        case Reconnect.AT_ONCE if held == 31.0:
            assert seconds == 0.0
        case _:
            assert seconds is not None
            assert 0 < seconds <= 0.5 * 2 ** (0 if held == 31.0 else 4)
    assert course.tries == (1 if held == 31.0 else 5)


def test_a_token_that_can_be_renewed_brings_the_client_back() -> None:
    _, seconds = Course().after(ended(4419), 5.0, random.Random(1), renewable=True)
    assert seconds is not None
    _, seconds = Course().after(ended(4401), 5.0, random.Random(1), renewable=True)
    assert seconds is None


def test_three_failures_in_a_row_and_no_fewer_lead_to_polling() -> None:
    rng, course = random.Random(1), Course()
    steps = [
        (Unreachable("u", "nobody"), None, False),
        (Unreachable("u", "forbidden", status=403), None, False),
        (ended(1006), 5.0, False),  # it had come about
        (ended(1013), None, False),
        (Unreachable("u", "nobody"), None, False),
        (Unreachable("u", "bad gateway", status=502), None, True),
        (Unreachable("u", "nobody"), None, True),
        (ended(1006), 1.0, False),
    ]
    for number, (trouble, held, polls) in enumerate(steps):
        course, seconds = course.after(trouble, held, rng)
        assert seconds is not None
        assert course.polls == polls, number
    assert course.tries == len(steps)
