"""What can go wrong with an agent's work, as people read it: each failure's `error_type`, its sentence, what follows.

The one place where such sentences stand. Nothing of what a provider, a tool or the daemon's own exceptions have worded
goes into them: an operator finds the cause in the log. `docs/errors.md` is made from this table
(`python -m actors.protocol.catalogue_page`), and a test compares the two.
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import attrs

from actors.protocol.codes import ErrorType

if TYPE_CHECKING:
    from collections.abc import Mapping


class Failure(StrEnum):
    """Everything that ends, or holds up, an attempt at a step. The first eleven are kinds of a model's failure."""

    RATE_LIMIT = "rate_limit"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    SERVER_ERROR = "server_error"
    CONFIGURATION = "configuration"
    CONTENT_POLICY = "content_policy"
    TRUNCATED = "truncated"
    MALFORMED = "malformed"
    BAD_REQUEST = "bad_request"
    INTERRUPTED = "interrupted"
    INTERNAL = "internal"
    STEP_TIMEOUT = "step_timeout"
    ENGINE_TIMEOUT = "engine_timeout"
    TASK_TIMEOUT = "task_timeout"
    TASK_UNCLAIMED = "task_unclaimed"
    TASK_CANCELLED = "task_cancelled"
    TASK_INTERRUPTED = "task_interrupted"
    WORKER_LOST = "worker_lost"
    AGENT_MISSING = "agent_missing"
    AGENT_CRASHED = "agent_crashed"
    TOOL = "tool"
    TOOL_TIMEOUT = "tool_timeout"
    TOOL_INPUT = "tool_input"
    TOOL_UNKNOWN = "tool_unknown"
    TOOL_INTERRUPTED = "tool_interrupted"


@attrs.frozen
class Entry:
    """One failure.

    Attributes:
        error_type: the wire protocol's word.
        sentence: for a person: what happened, and what to do next.
        missing: completes "is missing because …", for the agents that come after.
        retryable: whether the same may fare better when it is done again later.
        when: what has happened, for operators.
    """

    error_type: ErrorType
    sentence: str
    missing: str
    retryable: bool
    when: str


_UNREACHED = "the AI service could not be reached"
_TOOL = "a tool that it needs did not work"
_ENTRIES: Final = {
    Failure.RATE_LIMIT: Entry(
        ErrorType.RATE_LIMIT,
        "AI service is busy. Please try again in a few minutes.",
        "the AI service was too busy",
        True,
        "The provider refused with 429, asks to be left alone, or the call waited for its turn for too long.",
    ),
    Failure.TIMEOUT: Entry(
        ErrorType.TIMEOUT,
        "AI service took too long to answer. Please try again.",
        "the AI service took too long",
        True,
        "No first token, silence within the answer, or an answer without an end; or a 408.",
    ),
    Failure.UNREACHABLE: Entry(
        ErrorType.UNREACHABLE,
        "AI service cannot be reached. Please try again in a few minutes.",
        _UNREACHED,
        True,
        "No connection, or one that was lost before the answer.",
    ),
    Failure.SERVER_ERROR: Entry(
        ErrorType.UNREACHABLE,
        "AI service cannot be reached. Please try again in a few minutes.",
        _UNREACHED,
        True,
        "The provider answered with 5xx or 409, or with an error inside the stream.",
    ),
    Failure.CONFIGURATION: Entry(
        ErrorType.CONFIGURATION,
        "AI service configuration needed. Please check setup.",
        "the AI service is not configured",
        False,
        "No key, a wrong one, an account without money, a model or address that is not there (401 to 404, 3xx).",
    ),
    Failure.CONTENT_POLICY: Entry(
        ErrorType.CONTENT_POLICY,
        "AI service declined to answer this. Please word the request differently.",
        "the AI service declined to answer",
        False,
        "The provider's content policy, or the model's own refusal.",
    ),
    Failure.TRUNCATED: Entry(
        ErrorType.TRUNCATED,
        "The answer broke off before its end. Please try again.",
        "the answer broke off",
        True,
        "The stream was cut, reset, or ended without saying why it ended.",
    ),
    Failure.MALFORMED: Entry(
        ErrorType.TRUNCATED,
        "The answer broke off before its end. Please try again.",
        "the answer broke off",
        True,
        "The stream was no stream of events, broken JSON or UTF-8, of another shape, or too large.",
    ),
    Failure.BAD_REQUEST: Entry(
        ErrorType.INTERNAL,
        "AI service could not work with this request. Please shorten it or change it, and try again.",
        "the AI service could not work with the request",
        False,
        "The provider refused the request itself (400, 413, 422): most often it is too long for the model.",
    ),
    Failure.INTERRUPTED: Entry(
        ErrorType.INTERRUPTED,
        "This step was interrupted.",
        "it was interrupted",
        True,
        "A restart of the daemon, or of the run, cut it off. Where attempts are left it is begun again.",
    ),
    Failure.INTERNAL: Entry(
        ErrorType.INTERNAL,
        "Something went wrong on our side. Please try again.",
        "something went wrong",
        True,
        "A defect of the daemon. The log has the trace.",
    ),
    Failure.STEP_TIMEOUT: Entry(
        ErrorType.TIMEOUT,
        "This step took longer than it may. Please try again, or give it more time in the workflow.",
        "it took longer than it may",
        True,
        "The step's own `timeout` has passed, all attempts together.",
    ),
    Failure.ENGINE_TIMEOUT: Entry(
        ErrorType.TIMEOUT,
        "This task took longer than it may. Please try again, or give it more time.",
        "it took longer than it may",
        True,
        "The time that an execution at an engine was given has passed, waiting included.",
    ),
    Failure.TASK_TIMEOUT: Entry(
        ErrorType.TIMEOUT,
        "This task took longer than it may. Please submit it again, or give tasks more time in the configuration.",
        "it took longer than it may",
        True,
        "An attempt at a task has passed `tasks.timeout`. It is begun again while attempts are left.",
    ),
    Failure.TASK_UNCLAIMED: Entry(
        ErrorType.TIMEOUT,
        "Nobody was free to take this task. Please submit it again later, or add an agent that can do it.",
        "nobody could take it",
        True,
        "A task has waited for `tasks.queue`: no agent with its capabilities is there, or all are busy.",
    ),
    Failure.TASK_CANCELLED: Entry(
        ErrorType.INTERRUPTED,
        "This task was cancelled.",
        "it was cancelled",
        False,
        "`DELETE /api/tasks/{id}`.",
    ),
    Failure.TASK_INTERRUPTED: Entry(
        ErrorType.INTERRUPTED,
        "This task was interrupted too often. Please submit it again.",
        "it was interrupted too often",
        True,
        "Restarts of the daemon, or crashes of the task's actor, have cut off `runs.interruptions` attempts.",
    ),
    Failure.WORKER_LOST: Entry(
        ErrorType.INTERRUPTED,
        "The worker that had this task went away before it had finished. Please submit it again.",
        "its worker went away",
        True,
        "A remote worker was offline for `workers.offline_after`, or took its leave. Another takes the task, while "
        "attempts are left.",
    ),
    Failure.AGENT_MISSING: Entry(
        ErrorType.CONFIGURATION,
        "This step's agent is not set up. Please check the configuration.",
        "its agent is not set up",
        False,
        "The run goes on after a restart with a configuration that has no agent of that name any more.",
    ),
    Failure.AGENT_CRASHED: Entry(
        ErrorType.INTERRUPTED,
        "This step was interrupted.",
        "it was interrupted",
        True,
        "The agent's actor has failed. Where attempts are left the step is begun again.",
    ),
    Failure.TOOL: Entry(
        ErrorType.TOOL,
        "A tool that this step needs did not work. Please try again.",
        _TOOL,
        True,
        "A tool has failed, and the model could not go on without it.",
    ),
    Failure.TOOL_TIMEOUT: Entry(
        ErrorType.TOOL,
        "A tool took longer than it may. Please try again.",
        _TOOL,
        True,
        "A tool's own timeout has passed.",
    ),
    Failure.TOOL_INPUT: Entry(
        ErrorType.TOOL,
        "A tool was asked for something that it cannot do. Please try again.",
        _TOOL,
        True,
        "The model's arguments do not fit the tool's schema. The model is told why.",
    ),
    Failure.TOOL_UNKNOWN: Entry(
        ErrorType.TOOL,
        "A tool that this step asked for does not exist. Please try again.",
        _TOOL,
        True,
        "The model has asked for a tool that it was not offered. It is told so.",
    ),
    Failure.TOOL_INTERRUPTED: Entry(
        ErrorType.TOOL,
        "This tool was stopped before it had finished.",
        _TOOL,
        True,
        "The attempt was closed, or the run cancelled, while the tool was at work.",
    ),
}
CATALOGUE: Final[Mapping[Failure, Entry]] = MappingProxyType(_ENTRIES)
"""Every failure."""

USUAL: Final[Mapping[ErrorType, Failure]] = MappingProxyType({kind: Failure(kind.value) for kind in ErrorType})
"""The failure that is meant where only an `error_type` is known."""

BUSY_RETRYING: Final = "AI service is busy. Retrying in a moment..."
SILENT_RETRYING: Final = "AI service did not answer. Trying again..."
ANOTHER_MODEL: Final = "Another AI model takes over."
NO_MODEL: Final = "No AI model can be reached right now."
NO_MODEL_IN_TIME: Final = (
    "AI service is busy. An answer without it is given instead; please try again in a few minutes."
)
NO_MODEL_SET_UP: Final = "AI service configuration needed. Please check setup."
CONNECTION_LOST: Final = "Connection lost. Reconnecting automatically..."
"""The client's own words for its own lost socket; the provider's trouble is never put so."""


def retrying(error_type: ErrorType) -> str:
    """The content of `agent_status` retrying."""
    return BUSY_RETRYING if error_type is ErrorType.RATE_LIMIT else SILENT_RETRYING


def fallback(error_type: ErrorType | None, *, another: bool) -> str:
    """The content of `agent_status` fallback: another model takes over, or none is left."""
    if another:
        return ANOTHER_MODEL
    if error_type is ErrorType.CONFIGURATION:
        return NO_MODEL_SET_UP
    return NO_MODEL_IN_TIME if error_type is ErrorType.RATE_LIMIT else NO_MODEL
