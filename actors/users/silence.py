"""Finds silent failures: events that everybody believes delivered, and that nobody has had.

PRODUCT.md 5.5. An event is *due* if it was committed while a client of its user was connected that acknowledges what it
gets. Due events that no client has acknowledged after some time are a silent failure, and so are events that were
handed to the context and are not committed after that time.

A client that leaves meanwhile is no silent failure: its going is counted and logged as what it is, the event waits in
the log, and it is not due to anybody any more. While a client is being sent what it had missed, live events stand
behind that, and only a standstill counts. A client that polls has no connection on which it could fail silently.

What is due is known to one incarnation. After a crash of the context, what a connection had been sent and had not
acknowledged is due again, from then on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from actors.users.coverage import Coverage
    from actors.users.device import Device

TOGETHER: Final = 100
"""Events committed within a hundredth of the time allowed are looked at together, at the time of the first."""


@attrs.frozen
class SilentFailure:
    """What was found, for the log and for alerts.

    Attributes:
        user: whose events they are.
        kind: `unacknowledged`: sent, as far as anybody knows, to the clients `clients`; or `uncommitted`.
        events: how many.
        clients: those that should have acknowledged them.
        seconds: how long they had been due, or waiting to be committed, at least.
    """

    user: str
    kind: Literal["unacknowledged", "uncommitted"]
    events: int
    seconds: float
    clients: tuple[str, ...] = ()


@attrs.define(eq=False)
class _Span:
    """Events behind `after` up to `to`, due since `at`; `look_at` is when to look whether they were acknowledged."""

    at: float
    after: int
    to: int
    look_at: float


@attrs.frozen
class Found:
    """What a look at due events has come to: how many were acknowledged, and how many failed silently at whom."""

    acknowledged: int = 0
    silent: int = 0
    clients: tuple[str, ...] = ()


class DueEvents:
    """The events of one user that are due and not known to be acknowledged.

    Args:
        within: seconds in which they have to be.
    """

    __slots__ = ("_spans", "_within")

    def __init__(self, within: float) -> None:
        self._within = within
        self._spans: list[_Span] = []

    def __len__(self) -> int:
        """How many events there are."""
        return sum(span.to - span.after for span in self._spans)

    @property
    def next_look(self) -> float | None:
        """When to look next (trio's clock)."""
        return min((span.look_at for span in self._spans), default=None)

    def add(self, after: int, to: int, now: float) -> None:
        """Events behind `after` up to `to` are due from now on, those left out that are due already."""
        last = self._spans[-1] if self._spans else None
        if last is not None:
            after = max(after, last.to)
        if to <= after:
            return
        if last is not None and after == last.to and now < last.at + self._within / TOGETHER:
            last.to = to
        else:
            self._spans.append(_Span(now, after, to, now + self._within))

    def settle(self, coverage: Coverage) -> int:
        """Clients have acknowledged something: how many due events that settles, from the oldest on."""
        settled = 0
        while self._spans and not coverage.missing(self._spans[0].after, self._spans[0].to):
            span = self._spans.pop(0)
            settled += span.to - span.after
        return settled

    def look(self, now: float, coverage: Coverage, devices: Iterable[Device]) -> Found:
        """Judge those whose time has come."""
        attending = [device for device in devices if device.connection is not None]
        acknowledged = silent = 0
        clients: dict[str, None] = {}
        for span in [span for span in self._spans if span.look_at <= now]:
            missing = coverage.missing(span.after, span.to)
            behind = [device for device in attending if device.acks_since <= span.at and device.acked < span.to]
            if missing and behind:
                span.look_at = min(_patience(device, span) for device in behind) + self._within
                if span.look_at > now:
                    continue
                silent += missing
                clients |= dict.fromkeys(device.client_id for device in behind)
            self._spans.remove(span)
            acknowledged += span.to - span.after - missing
        return Found(acknowledged, silent, tuple(clients))


def _patience(device: Device, span: _Span) -> float:
    """Since when a client could have acknowledged these events."""
    return max(span.at, device.moved_at) if device.acked < device.joined else span.at


def attends(devices: Sequence[Device]) -> bool:
    """Whether what is committed now is due to somebody."""
    return any(device.connection is not None and device.acks_since != float("inf") for device in devices)
