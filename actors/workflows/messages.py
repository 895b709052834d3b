"""What is said to and by runs and their agents."""

from __future__ import annotations

from typing import Any

import attrs

from actors.protocol.agent_events import Usage
from actors.protocol.codes import ErrorType
from actors.storage.interface import Effect
from runtime import Ref


@attrs.frozen
class StartRun:
    """To the runs' supervisor: have the actor of an accepted run running. Answered with its address; repeating is fine.

    `close`: the run was open when an earlier daemon ended; close what was open and end it as failed.
    """

    user: str
    run_id: str
    close: bool = False


@attrs.frozen
class CancelSteps:
    """To a run: cancel it, or only the steps whose agent has that name; a `CommandError` if there is none.

    Answered when the order is committed, with `effects`. The first event that it causes names `cause`, a command's id.
    """

    agent_name: str | None
    effects: tuple[Effect, ...] = ()
    cause: str | None = None


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
    """From an agent: the whole answer."""

    step: str
    attempt: int
    text: str
    model: str | None
    degraded: bool
    partial: bool
    usage: Usage | None
    duration_ms: int


@attrs.frozen
class GaveNoAnswer:
    """From an agent: there is no answer, and none will come of this attempt."""

    step: str
    attempt: int
    error_type: ErrorType


@attrs.frozen
class Situation:
    """What an agent is given for one attempt at a step."""

    run: Ref[Any]
    run_id: str
    user: str
    step: str
    attempt: int
    mission: str
    brief: str
