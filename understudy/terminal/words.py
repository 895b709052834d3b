"""The words of the terminal: statuses, durations and the closing table as a person reads them. Pure."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from understudy.client.view import RunView, StepView

#: What an agent is doing, where the daemon sent no sentence of its own.
DOING: Final = {
    "started": "begins",
    "thinking": "is thinking",
    "retrying": "is trying again",
    "executing_tool": "is using a tool",
    "waiting_for_approval": "is waiting for approval",
    "paused": "is paused",
    "fallback": "goes on with another model",
    "completed": "is done",
    "cancelled": "was cancelled",
    "error": "could not answer",
}
SIMULATED: Final = (
    "SIMULATED MODEL: no language model is asked, these answers are made up. They show the machinery, nothing else."
)
SUMMARY_HEADER: Final = ("step", "agent", "outcome", "model", "time", "tokens", "remarks")
_OUTCOME: Final = {"completed": "done", "error": "failed", "cancelled": "cancelled"}
_KEPT_CONTROLS: Final = "\n\t"
_DIRECTIONS: Final = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def printable(text: str) -> str:
    """`text` without what could steer a terminal: control characters and overrides of the writing direction.

    Answers come from a model, and so from anybody whose text the model has read.
    """
    return "".join(mark for mark in text if mark in _KEPT_CONTROLS or not _steers(mark))


def _steers(mark: str) -> bool:
    return mark in _DIRECTIONS or unicodedata.category(mark) in ("Cc", "Cs")


def duration(seconds: float) -> str:
    """`8.2 s`, `1 min 05 s`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def remarks(step: StepView) -> list[str]:
    """What a person should know about an answer before relying on it."""
    said = []
    if step.degraded:
        said.append("a stand-in: no model answered")
    if step.partial:
        said.append("cut off")
    if step.attempt > 1:
        said.append(f"attempt {step.attempt}")
    if step.status == "error" and step.sentence:
        said.append(printable(step.sentence))
    return said


def outcome(step: StepView) -> str:
    return _OUTCOME.get(step.status, "not finished")


def closing_line(step: StepView) -> str:
    """The line under an answer."""
    parts = [outcome(step)]
    if step.duration_ms is not None:
        parts[0] += f" in {duration(step.duration_ms / 1000)}"
    if step.model:
        parts.append(printable(step.model))
    if step.tokens is not None:
        parts.append(f"{step.tokens} tokens")
    return " · ".join([*parts, *remarks(step)])


def status_line(view: RunView | None, elapsed: float, trouble: str | None) -> str:
    """The line at the bottom of a terminal: where the run stands, or what is wrong with the connection."""
    if trouble is not None:
        return f"{trouble} · {duration(elapsed)}"
    if view is None:
        return f"starting · {duration(elapsed)}"
    parts = []
    if view.plan:
        parts.append(f"step {min(view.done + 1, len(view.plan))} of {len(view.plan)}")
    working = [step for step in view.steps if not step.ended]
    parts += [f"{step.name} {doing(step)}" for step in working[:3]]
    if not working:
        parts.append(view.status)
    return printable(" · ".join([*parts, duration(elapsed)]))


def doing(step: StepView) -> str:
    if step.tool:
        return f"is using {step.tool}"
    if step.text and not step.settled and step.status in ("started", "thinking"):
        return "is answering"
    return DOING.get(step.status, step.status)


def summary_rows(view: RunView) -> list[tuple[str, ...]]:
    """The closing table, a row for each step that ran or should have, in the order of `SUMMARY_HEADER`."""
    rows = [
        (
            step.name,
            step.agent_name,
            outcome(step),
            step.model or "",
            "" if step.duration_ms is None else duration(step.duration_ms / 1000),
            "" if step.tokens is None else str(step.tokens),
            "; ".join(remarks(step)),
        )
        for step in view.steps
    ]
    begun = {step.name for step in view.steps}
    rows += [(name, "", "not started", "", "", "", "") for name in view.plan if name not in begun]
    return [tuple(printable(cell) for cell in row) for row in rows]


def last_line(view: RunView, elapsed: float) -> str:
    answered = sum(step.status == "completed" for step in view.steps)
    total = max(len(view.plan), len(view.steps))
    return (
        f"Run {printable(view.run_id)} {view.status} after {duration(elapsed)}: {answered} of {total} steps answered."
    )
