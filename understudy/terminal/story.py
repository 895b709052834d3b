"""A run as a story told once, from top to bottom: what to print after an event. Pure.

A terminal cannot take back what has scrolled away, and steps may run side by side while their deltas come in any
mixture. So one attempt at a step is told at a time: it keeps the floor until it has ended, and the others wait with
what they have said so far. Its text is told by difference: what the view holds beyond what was told. After a reconnect
the daemon sends an answer from its beginning, and nothing is told twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import attrs

from understudy.terminal.words import DOING, SIMULATED, closing_line, printable

if TYPE_CHECKING:
    from understudy.client.envelope import Event
    from understudy.client.view import RunView, StepView

Tone: TypeAlias = Literal["info", "warning", "error", "loud"]


@attrs.frozen
class Heading:
    """An agent has the floor. `number` of `total` steps; 0 where the plan does not name the step."""

    number: int
    total: int
    step: str
    agent_name: str


@attrs.frozen
class Piece:
    """The next piece of the text of the agent that has the floor."""

    text: str


@attrs.frozen
class Closing:
    """The agent has ended."""

    sentence: str
    well: bool


@attrs.frozen
class Note:
    """Something to know, in between."""

    sentence: str
    tone: Tone = "info"


Item: TypeAlias = Heading | Piece | Closing | Note


@attrs.frozen(kw_only=True)
class Told:
    """What has been told: who has the floor (step and attempt) and with how much text, and which attempts are over."""

    floor: tuple[str, int] | None = None
    text: str = ""
    over: frozenset[tuple[str, int]] = frozenset()
    simulated: bool = False


#: Statuses of an agent that are worth a line of their own.
_NOTED: Final[dict[str, Tone]] = {
    "retrying": "warning",
    "fallback": "warning",
    "waiting_for_approval": "warning",
    "paused": "info",
    "cancelled": "warning",
    "error": "error",
}
_LEVELS: Final[dict[object, Tone]] = {"warning": "warning", "error": "error"}


def tell(told: Told, view: RunView, event: Event | None = None) -> tuple[Told, list[Item]]:
    """What to print now that the view is `view`, and `told` after it. `event` is what changed it, if one did."""
    items: list[Item] = []
    if view.simulated and not told.simulated:
        told = attrs.evolve(told, simulated=True)
        items.append(Note(SIMULATED, "loud"))
    if event is not None:
        items += _notes(view, event)
    while True:
        told, more, moved = _advance(told, view)
        items += more
        if not moved:
            return told, items


def _advance(told: Told, view: RunView) -> tuple[Told, list[Item], bool]:
    """One turn of whoever has the floor, or the giving of it; and whether another turn may follow."""
    if told.floor is None:
        waiting = next((step for step in view.steps if (step.name, step.attempt) not in told.over), None)
        if waiting is None:
            return told, [], False
        return attrs.evolve(told, floor=(waiting.name, waiting.attempt), text=""), [_heading(view, waiting)], True
    step = view.step(told.floor[0])
    if step is None or step.attempt != told.floor[1]:
        note = Note(f"{told.floor[0]} was interrupted and begins again.", "warning")
        return attrs.evolve(told, floor=None, text="", over=told.over | {told.floor}), [note], True
    text, items = _text(told.text, step)
    told = attrs.evolve(told, text=text)
    if not step.ended:
        return told, items, False
    items.append(Closing(closing_line(step), well=step.status == "completed" and not step.degraded))
    return attrs.evolve(told, floor=None, text="", over=told.over | {told.floor or ("", 0)}), items, True


def _text(shown: str, step: StepView) -> tuple[str, list[Item]]:
    """What of the step's text is still to be told, `shown` having been."""
    text = step.text
    if text.startswith(shown):
        return text, [Piece(text[len(shown) :])] if len(text) > len(shown) else []
    if shown.startswith(text) and (not step.settled or shown.rstrip() == text.rstrip()):
        # Either the same answer from its beginning, on its way to where we are, or only blanks fewer at its end.
        return shown, []
    return text, [Note("The answer starts over.", "warning"), Piece(text)]


def _heading(view: RunView, step: StepView) -> Heading:
    number = view.plan.index(step.name) + 1 if step.name in view.plan else 0
    return Heading(number, len(view.plan), printable(step.name), printable(step.agent_name))


def _notes(view: RunView, event: Event) -> list[Item]:
    metadata = event.metadata
    sentence = printable(event.content)
    if event.type == "system":
        return [Note(sentence, _LEVELS.get(metadata.get("level"), "info"))] if sentence else []
    if event.type == "draining":
        return [Note("The daemon is going down for a moment. This goes on as soon as it is back.", "warning")]
    if event.run_id != view.run_id:
        return []
    name = printable(str(metadata.get("step", "")))
    if event.type == "agent_status" and (tone := _NOTED.get(str(metadata.get("status")))):
        return [Note(f"{name}: {sentence or DOING[str(metadata['status'])]}", tone)]
    if event.type == "tool_executing":
        return [Note(f"{name}: is using the tool {printable(str(metadata.get('tool_name')))}.")]
    if event.type == "tool_completed" and metadata.get("status") in ("error", "timeout"):
        return [Note(f"{name}: the tool {printable(str(metadata.get('tool_name')))} did not work.", "warning")]
    if event.type == "approval_request":
        return [Note(f"{name}: asks for approval: {sentence}", "warning")]
    if event.type == "run_status" and metadata.get("status") in ("paused", "waiting_for_approval", "queued"):
        return [Note(f"The run is {str(metadata['status']).replace('_', ' ')}.")]
    return []
