"""A class for each type of event, with what a program reads of it as fields. Pure.

Each is still the `Event` that came, `metadata` and all, so that what folds over events takes them as they are. A type
that is not known here, or one whose metadata is not as PROTOCOL.md has it, stays a plain `Event`.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import attrs
import msgspec

from understudy.client.envelope import Event


@attrs.frozen(kw_only=True)
class Notice(Event):
    """`system`: something to know, of this user or of everybody."""

    event: str = ""
    level: str = "info"
    expires_at: str | None = None


@attrs.frozen(kw_only=True)
class RunStatus(Event):
    """`done` of `steps` have ended; `progress` is 0 to 100."""

    status: str
    workflow: str = ""
    steps: tuple[str, ...] = ()
    done: int = 0
    progress: float = 0.0


@attrs.frozen(kw_only=True)
class StepEvent(Event):
    """Something of one attempt at one step of a run; `parent` is the step that started a child agent."""

    step: str
    attempt: int = 1
    parent: str | None = None


@attrs.frozen(kw_only=True)
class AgentStatus(StepEvent):
    """Where an agent stands. `retry_after` is seconds."""

    status: str
    role: str | None = None
    task: str | None = None
    model: str | None = None
    error_type: str | None = None
    retry_after: float | None = None
    progress: float | None = None


@attrs.frozen(kw_only=True)
class AgentProgress(StepEvent):
    elapsed_ms: float | None = None
    tokens: int | None = None


@attrs.frozen(kw_only=True)
class AgentDelta(StepEvent):
    """The next piece of a text is `content`; `offset` counts the code points before it."""

    message_id: str
    offset: int


@attrs.frozen(kw_only=True)
class Usage:
    prompt_tokens: int = 0
    completion_tokens: int = 0
    estimated: bool = False


@attrs.frozen(kw_only=True)
class AgentResponse(StepEvent):
    """The whole answer is `content`."""

    message_id: str
    model: str | None = None
    variant: str | None = None
    degraded: bool = False
    partial: bool = False
    usage: Usage | None = None
    duration_ms: float | None = None
    artifact: str | None = None


@attrs.frozen(kw_only=True)
class ToolExecuting(StepEvent):
    tool_call_id: str
    tool_name: str
    tool_input: Any = None
    truncated: bool = False


@attrs.frozen(kw_only=True)
class ToolCompleted(StepEvent):
    """`status` is success, error or timeout; `error` a sentence."""

    tool_call_id: str
    tool_name: str
    status: str
    tool_output: Any = None
    duration_ms: float | None = None
    error: str | None = None
    truncated: bool = False


@attrs.frozen(kw_only=True)
class ApprovalRequest(Event):
    approval_id: str
    message_id: str | None = None
    expires_at: str | None = None
    on_timeout: str | None = None
    step: str | None = None
    attempt: int = 1


@attrs.frozen(kw_only=True)
class ApprovalResult(Event):
    approval_id: str
    decision: str
    by: str | None = None
    step: str | None = None
    attempt: int = 1


@attrs.frozen(kw_only=True)
class Message(Event):
    message_id: str
    author: str = ""


@attrs.frozen(kw_only=True)
class SessionUpdated(Event):
    """What changed is in `metadata`."""

    revision: int | None = None


@attrs.frozen(kw_only=True)
class TaskStatus(Event):
    task_id: str
    status: str
    agent: str | None = None
    result: Any = None
    error: str | None = None


@attrs.frozen(kw_only=True)
class TaskAssigned(Event):
    task_id: str
    attempt: int = 1
    task_type: str = ""
    parameters: dict[str, Any] = attrs.field(factory=dict)
    deadline: str | None = None


@attrs.frozen(kw_only=True)
class TaskWithdrawn(Event):
    """An attempt that this worker was told of is over without its word."""

    task_id: str
    attempt: int = 1


@attrs.frozen(kw_only=True)
class Typing(Event):
    user_id: str
    active: bool


@attrs.frozen(kw_only=True)
class Presence(Event):
    user_id: str
    presence: str


@attrs.frozen(kw_only=True)
class ChannelNews(Event):
    """`channel`: what a channel that was subscribed to tells."""

    channel: str
    payload: Any = None


@attrs.frozen(kw_only=True)
class Trouble(Event):
    """`error`: what happened and what to do is `content`. `reply_to` names the command, where it answers one."""

    code: str
    reply_to: str | None = None
    retryable: bool = False
    retry_after: float | None = None
    fields: dict[str, str] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Gap(Event):
    """The daemon could not send what came since the last position: load afresh what is shown.

    `reason` is epoch, trimmed or ahead, or `hole` where this client found it by itself. Durable events go on from the
    log's top as it was when the connection opened.
    """

    reason: str = ""
    from_seq: int | None = None
    to_seq: int | None = None


@attrs.frozen(kw_only=True)
class Draining(Event):
    """The daemon is about to go for a moment, `retry_after` seconds at least. The client comes back by itself."""

    retry_after: float | None = None


@attrs.frozen(kw_only=True)
class CommandDropped(Event):
    """A command that was posted and will not be sent (again). The client's own event; nothing of it is on the wire.

    `reason` is age (unanswered for longer than the queue keeps it), too_large, or closed (the client has ended).
    `perhaps_done`: it had left before, and whether the daemon carried it out is unknown.
    """

    type: str = "command_dropped"
    command_id: str
    command_type: str
    reason: str
    perhaps_done: bool


EVENT_CLASSES: Final[Mapping[str, type[Event]]] = MappingProxyType(
    {
        "error": Trouble,
        "system": Notice,
        "run_status": RunStatus,
        "agent_status": AgentStatus,
        "agent_progress": AgentProgress,
        "agent_delta": AgentDelta,
        "agent_response": AgentResponse,
        "tool_executing": ToolExecuting,
        "tool_completed": ToolCompleted,
        "approval_request": ApprovalRequest,
        "approval_result": ApprovalResult,
        "message": Message,
        "session_updated": SessionUpdated,
        "task_status": TaskStatus,
        "task_assigned": TaskAssigned,
        "task_withdrawn": TaskWithdrawn,
        "typing": Typing,
        "presence": Presence,
        "channel": ChannelNews,
        "gap": Gap,
        "draining": Draining,
    }
)
_ENVELOPE: Final = tuple(field.name for field in attrs.fields(Event))


def typed(event: Event) -> Event:
    """`event` as the class of its type; itself, where there is none that fits."""
    kind = EVENT_CLASSES.get(event.type)
    if kind is None:
        return event
    # The envelope's names win: a field of the metadata cannot pose as one of them.
    read = {name: value for name, value in event.metadata.items() if value is not None}
    read.update({name: getattr(event, name) for name in _ENVELOPE})
    try:
        return msgspec.convert(read, kind)
    except msgspec.ValidationError:
        return event
