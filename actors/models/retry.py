"""When an attempt may be made again: what the provider asked for, and our own backoff."""

from __future__ import annotations

import math
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

FIRST_DELAY = 0.5
"""Seconds: the longest wait after the first failed attempt; it doubles with each further one."""

LONGEST_DELAY = 8.0
"""Seconds: what our own backoff never goes above, jitter included."""

LONGEST_RETRY_AFTER = 86_400.0
"""Seconds: a provider that asks for more than a day has its clock wrong, and would park a target for ever."""


def retry_delay(attempt: int, retry_after: float | None, rng: random.Random) -> float:
    """Seconds to wait after the failed attempt with this number (from 1).

    Without `retry_after` (seconds), between half and all of min(8, 0.5 · 2ⁿ⁻¹): the jitter lies under the cap. With it,
    never less than the provider asked for, and up to a tenth more (at most one second), lest all who were refused
    together come back together. Whether that still fits into the deadline is the caller's to see.
    """
    if retry_after is not None:
        return retry_after + rng.random() * min(1.0, retry_after / 10)
    ceiling = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(max(attempt, 1) - 1, 16))
    return ceiling * (0.5 + 0.5 * rng.random())


def parse_retry_after(headers: Mapping[str, str], wall_time: float) -> float | None:
    """Seconds that a provider wants to be left alone, or None where it does not say so intelligibly.

    Reads `retry-after-ms`, then `retry-after` as seconds or as an HTTP date. A date is counted from the answer's own
    `date` where it has one, because the provider's clock may be wrong, else from `wall_time` (seconds since the epoch).
    Zero and the past are no wait, and so None: a refusal that names no time in which to come back counts as a failure.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return _wait(milliseconds / 1000)
    text = headers.get("retry-after")
    seconds = _number(text)
    if seconds is not None:
        return _wait(seconds)
    until = _date(text)
    if until is None:
        return None
    sent = _date(headers.get("date"))
    return _wait(until - (wall_time if sent is None else sent))


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _date(text: str | None) -> float | None:
    try:
        return parsedate_to_datetime(text or "").timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def _wait(seconds: float) -> float | None:
    return min(seconds, LONGEST_RETRY_AFTER) if seconds > 0 else None
