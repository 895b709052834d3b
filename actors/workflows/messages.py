"""What is said to and by runs and their agents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from actors.protocol.agent_events import Usage
from actors.protocol.catalogue import Failure
from actors.protocol.codes import ErrorType
from actors.protocol.event_types import ToolStatus
from actors.protocol.task_events import Priority
from actors.storage.interface import KeepReply
from actors.workflows.orders import Order
from runtime import Ref


@attrs.frozen
class SteerAll:
    """To the runs' supervisor: suspend every run, or release those that are. Answered with the number of runs that have
    recorded it."""

    order: Order


@attrs.frozen
class Steer:
    """To a run: cancel, pause or resume it, or only the agent of that name; a `CommandError` if there is none. Or an
    order to all runs, of an operator.

    Answered with the run's status as it was, when the order is committed.

    Attributes:
        keep: the reply to the command that gave the order, to be committed with it; its status is filled in.
        cause: the id of that command, which the first event that it causes names.
    """

    order: Order
    agent_name: str | None = None
    keep: KeepReply | None = None
    cause: str | None = None


@attrs.frozen
class Decide:
    """To a run: a decision about an answer that it holds. A `CommandError` if it cannot be taken (any more).

    Answered with the reply to the command, when the decision is committed.

    Attributes:
        decision: approve, reject or modify.
        feedback: what a modified answer is to do differently; or why.
        by: the user_id of who decides.
        digest: of the text that was decided about, if who decides says so.
        keep: the reply to the command that brought it, to be committed with it.
        cause: the id of that command, which the first event that it causes names.
    """

    approval_id: str
    decision: str
    feedback: str
    by: str
    digest: str | None = None
    keep: KeepReply | None = None
    cause: str | None = None


@attrs.frozen
class Hold:
    """To an agent: make no further call to a model or a tool, and say so with `Held` when you have come to that."""

    number: int


@attrs.frozen
class GoOn:
    """To an agent: calls may be made again."""


@attrs.frozen
class StartOver:
    """To an agent: what it has written may not have reached anybody; tell all of it again."""


@attrs.frozen
class Thinking:
    """From an agent: it has a prompt and asks its model."""

    step: str
    attempt: int


@attrs.frozen
class Wrote:
    """From an agent: the next piece of its answer; `offset` in code points."""

    step: str
    attempt: int
    offset: int
    text: str


@attrs.frozen
class Held:
    """From an agent: it rests before its next call, as `Hold` of that number has asked."""

    step: str
    attempt: int
    number: int


@attrs.frozen
class UsingTool:
    """From an agent: a tool begins. `tool_input` is sanitised and cut already."""

    step: str
    attempt: int
    tool_call_id: str
    tool_name: str
    tool_input: Mapping[str, Any]
    truncated: bool = False


@attrs.frozen
class UsedTool:
    """From an agent: a tool has ended. `tool_output` is sanitised and cut already; `error` is a sentence."""

    step: str
    attempt: int
    tool_call_id: str
    tool_name: str
    status: ToolStatus
    duration_ms: int
    tool_output: Any = None
    error: str | None = None
    truncated: bool = False


@attrs.frozen
class StartChildAgent:
    """Asked by an agent, in a call of a tool: have another agent do something. Answered with `ChildAnswered`.

    Refused with a sentence, as text, where there can be no such child.
    """

    step: str
    attempt: int
    tool_call_id: str
    agent: str
    mission: str


@attrs.frozen
class ChildAnswered:
    """A child agent has ended. `text` is None where there is no answer; `sentence` says how it ended."""

    text: str | None
    sentence: str


@attrs.frozen
class Retrying:
    """From an agent: the model did not answer, and is asked again after `delay` seconds."""

    step: str
    attempt: int
    error_type: ErrorType
    delay: float


@attrs.frozen
class FellBack:
    """From an agent: another model, or the degraded answer (`model` None), takes over."""

    step: str
    attempt: int
    model: str | None
    error_type: ErrorType


@attrs.frozen
class Working:
    """From an agent: it is still at work. Never counted as progress."""

    step: str
    attempt: int
    elapsed_ms: int
    tokens: int


@attrs.frozen
class Answered:
    """From an agent: the whole answer. `artifact` is the name of the file in which it is kept."""

    step: str
    attempt: int
    text: str
    model: str | None
    degraded: bool
    partial: bool
    usage: Usage | None
    duration_ms: int
    artifact: str | None = None


@attrs.frozen
class GaveNoAnswer:
    """From an agent: there is no answer, and none will come of this attempt. `failure` says why, in more detail."""

    step: str
    attempt: int
    error_type: ErrorType
    failure: Failure | None = None


@attrs.frozen
class Situation:
    """What an agent is given for one attempt at a step.

    Attributes:
        held: it begins as if it had been told to `Hold`.
        priority: of its calls at the models' gates.
    """

    run: Ref[Any]
    run_id: str
    user: str
    step: str
    attempt: int
    mission: str
    brief: str
    held: bool = False
    priority: Priority = Priority.MEDIUM
