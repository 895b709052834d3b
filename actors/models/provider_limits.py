"""What a provider says about its own limits, in the `x-ratelimit-*` headers of every answer."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "us": 0.000001, "µs": 0.000001, "ns": 1e-9}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|d|h|m|s)")


@attrs.frozen
class ProviderLimits:
    """One answer's rate-limit headers; None where a header was absent or made no sense. Resets are in seconds."""

    limit_requests: int | None = None
    limit_tokens: int | None = None
    remaining_requests: int | None = None
    remaining_tokens: int | None = None
    reset_requests: float | None = None
    reset_tokens: float | None = None


def parse_duration(text: str) -> float | None:
    """Seconds of `6m0s`, `20ms`, `1h2m3.5s` or a plain number; None for anything else."""
    text = text.strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        return _finite(float(text))
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return _finite(sum(float(number) * _UNITS[unit] for number, unit in parts))


def parse_provider_limits(headers: Mapping[str, str]) -> ProviderLimits | None:
    """Reads the headers (looked up by their lower-case names); None where there is not one that can be used."""
    limits = ProviderLimits(
        limit_requests=_count(headers.get("x-ratelimit-limit-requests")),
        limit_tokens=_count(headers.get("x-ratelimit-limit-tokens")),
        remaining_requests=_count(headers.get("x-ratelimit-remaining-requests")),
        remaining_tokens=_count(headers.get("x-ratelimit-remaining-tokens")),
        reset_requests=parse_duration(headers.get("x-ratelimit-reset-requests") or ""),
        reset_tokens=parse_duration(headers.get("x-ratelimit-reset-tokens") or ""),
    )
    return None if limits == ProviderLimits() else limits


def _count(text: str | None) -> int | None:
    # More than fifteen digits is no limit that anybody means, and conversions of endless digits cost time.
    return int(text) if text is not None and re.fullmatch(r"[0-9]{1,15}", text.strip()) else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
