"""When the steps of a run began and ended, by the daemon's clock: a fold over its events, and a chart's rows. Pure.

Times are those at which the daemon made the events, so a connection that was lost meanwhile changes nothing. What a
client has not seen (the log did not reach back that far) is left out and not made up.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

import attrs

from understudy.client.view import STEP_ENDED
from understudy.terminal.words import duration, printable

if TYPE_CHECKING:
    from collections.abc import Collection

    from understudy.client.envelope import Event

TIMELINE_HEADER: Final = ("step", "start", "time", "attempts")


@attrs.frozen(kw_only=True)
class Span:
    """One step, all its attempts together: from the first beginning to the last end, in seconds since 1970."""

    step: str
    began: float | None = None
    ended: float | None = None
    attempts: int = 1


@attrs.frozen(kw_only=True)
class Timeline:
    """A run. `began` and `latest` are the times of its first and its last event, in seconds since 1970."""

    began: float | None = None
    latest: float = 0.0
    spans: tuple[Span, ...] = ()

    @property
    def length(self) -> float:
        """Seconds from the first event to the last."""
        return 0.0 if self.began is None else max(0.0, self.latest - self.began)


@attrs.frozen
class Lane:
    """Where a step lies in its run, in seconds from the run's first event."""

    begin: float
    end: float


def mark(timeline: Timeline, event: Event) -> Timeline:
    """The timeline after an event of its run. One without a time that can be read changes nothing."""
    at = _seconds(event.timestamp)
    if at is None or event.type not in ("run_status", "agent_status"):
        return timeline
    began = at if timeline.began is None else timeline.began
    timeline = attrs.evolve(timeline, began=began, latest=max(timeline.latest, at))
    step, attempt = event.metadata.get("step"), event.metadata.get("attempt", 1)
    if event.type != "agent_status" or not isinstance(step, str) or not isinstance(attempt, int):
        return timeline
    known = next((span for span in timeline.spans if span.step == step), None)
    span = _marked(known or Span(step=step), str(event.metadata.get("status")), attempt, at)
    if known is None:
        return attrs.evolve(timeline, spans=(*timeline.spans, span))
    return attrs.evolve(timeline, spans=tuple(span if other is known else other for other in timeline.spans))


def missed(timeline: Timeline, ended: Collection[str]) -> Timeline:
    """The timeline after events that nobody will see, with which these steps have ended: it is not known when."""
    spans = (
        attrs.evolve(span, began=None) if span.ended is None and span.step in ended else span for span in timeline.spans
    )
    return attrs.evolve(timeline, spans=tuple(spans))


def _marked(span: Span, status: str, attempt: int, at: float) -> Span:
    span = attrs.evolve(span, attempts=max(span.attempts, attempt), ended=at if status in STEP_ENDED else None)
    return attrs.evolve(span, began=at) if status == "started" and span.began is None else span


def _seconds(timestamp: str) -> float | None:
    try:
        return datetime.fromisoformat(timestamp).timestamp()
    except ValueError:
        return None


def timeline_rows(timeline: Timeline) -> list[tuple[tuple[str, ...], Lane | None]]:
    """A row for each step, in the order in which they began: the cells of `TIMELINE_HEADER`, and where it lies."""
    return [_row(timeline, span) for span in timeline.spans]


def _row(timeline: Timeline, span: Span) -> tuple[tuple[str, ...], Lane | None]:
    name, attempts = printable(span.step), str(span.attempts)
    if span.began is None or timeline.began is None:
        return (name, "", "", attempts), None
    begin = max(0.0, span.began - timeline.began)
    end = max(begin, (timeline.latest if span.ended is None else span.ended) - timeline.began)
    return (name, f"+{duration(begin)}", duration(end - begin), attempts), Lane(begin, end)


def drawn(lane: Lane | None, length: float, width: int) -> str:
    """A bar of plain characters, `width` of them for `length` seconds. What is very short has one, too."""
    if lane is None or length <= 0:
        return ""
    first = min(width - 1, int(lane.begin / length * width))
    last = max(first + 1, min(width, round(lane.end / length * width)))
    return " " * first + "#" * (last - first)
