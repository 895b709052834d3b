"""Cancel, pause and resume, of a run or of one of its agents, as changes of the record. Pure.

An order is committed before it is answered, so no crash undoes it; what it causes follows when the agents have come to
the place where it takes effect. A pause of the run holds every step. One of an agent holds its steps only, and an agent
may be resumed by itself while the run is paused.

An operator's pause of all runs lies over that and changes nothing of it: only an operator lifts it, and then everything
is as its owner has ordered it, before or meanwhile. What an owner has paused no operator resumes.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

import attrs

from actors.protocol.event_types import RunStatus
from actors.workflows.record import Cause

if TYPE_CHECKING:
    from actors.workflows.record import RunRecord, StepRecord


class Order(StrEnum):
    """What a person may ask of a run; the last two, of all runs, are an operator's."""

    CANCEL = "cancel"
    PAUSE = "pause"
    RESUME = "resume"
    SUSPEND = "suspend"
    RELEASE = "release"


OPERATORS: Final = frozenset({Order.SUSPEND, Order.RELEASE})


def held(record: RunRecord, step: StepRecord) -> bool:
    """Whether the step's agent is to make no further call for now."""
    return record.suspended or (record.paused if step.pause is None else step.pause)


def named(record: RunRecord, agent_name: str | None) -> list[StepRecord]:
    """The steps that an order means: all, or those of one agent, by its role, its name or the step's."""
    return [step for step in record.everything if agent_name in {None, step.role, step.agent, step.name}]


def ordered(record: RunRecord, order: Order, agent_name: str | None, cause: str | None) -> RunRecord:
    """The record after an order; `cause` is the id of the command that gave it."""
    if order in OPERATORS:
        return attrs.evolve(record, suspended=order is Order.SUSPEND)
    if agent_name is None:
        return _of_the_run(record, order, cause)
    for step in named(record, agent_name):
        if not step.ended:
            record = record.put(_of_an_agent(record, step, order, cause))
    return record


def _of_the_run(record: RunRecord, order: Order, cause: str | None) -> RunRecord:
    heard = order is not Order.RESUME or _at_rest(record, record.everything)
    record = attrs.evolve(record, cause=_because(record.cause, order, cause) if heard else None)
    if order is Order.CANCEL:
        return attrs.evolve(record, cancelled=True)
    # What was said of single agents before is overruled.
    for step in record.everything:
        record = record.put(attrs.evolve(step, pause=None, cause=None))
    return attrs.evolve(record, paused=order is Order.PAUSE)


def _of_an_agent(record: RunRecord, step: StepRecord, order: Order, cause: str | None) -> StepRecord:
    heard = order is not Order.RESUME or _at_rest(record, (step,))
    step = attrs.evolve(step, cause=_because(step.cause, order, cause) if heard else None)
    match order:
        case Order.CANCEL:
            return attrs.evolve(step, cancel=True)
        case Order.PAUSE:
            return attrs.evolve(step, pause=True)
        case _:
            return attrs.evolve(step, pause=False if record.paused else None)


def _because(known: Cause | None, order: Order, cause: str | None) -> Cause | None:
    """Of two commands that ask for the same it is the first that causes what follows."""
    if cause is None or (known is not None and known.order == order):
        return known
    return Cause(order.value, cause)


def _at_rest(record: RunRecord, steps: tuple[StepRecord, ...]) -> bool:
    """Whether there is something to resume: otherwise nothing follows, and nothing later may be taken for it."""
    return record.status == RunStatus.PAUSED or any(step.rests for step in steps)


def caused(record: RunRecord, order: Order, step: StepRecord | None = None) -> tuple[RunRecord, str | None]:
    """The command whose first event is being said, if this is one, and the record that has forgotten it.

    `step`: whose event it is; None for one of the run. What an order to one agent causes is told by that agent's
    events, or by the run's where those come first.
    """
    steps = [place for place in record.everything if (place.name == step.name if step is not None else not place.ended)]
    for cause in (*(place.cause for place in steps), record.cause):
        if cause is not None and cause.order == order:
            return _forgotten(record, cause), cause.command_id
    return record, None


def _forgotten(record: RunRecord, cause: Cause) -> RunRecord:
    """An order to an agent with several steps stands at each of them."""
    for step in record.everything:
        if step.cause == cause:
            record = record.put(attrs.evolve(step, cause=None))
    return attrs.evolve(record, cause=None if record.cause == cause else record.cause)
