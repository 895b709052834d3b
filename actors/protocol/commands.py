"""What a client may say: every command's name, and the metadata of those that the daemon carries out so far.

The description of each type is what a person reads when a field is wrong: decode.py makes sentences of it, so a field
says once what it wants. Annotations are read at run time, hence no postponed evaluation here.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final, Literal

import attrs
from msgspec import UNSET, Meta, UnsetType

from actors.protocol.task_events import Priority
from actors.protocol.wire_values import INTEGER_LIMIT

HELLO: Final = "hello"
HEARTBEAT: Final = "heartbeat"
ACK: Final = "ack"
START_RUN: Final = "start_run"
CANCEL_RUN: Final = "cancel_run"
PAUSE_RUN: Final = "pause_run"
RESUME_RUN: Final = "resume_run"
GET_RUN: Final = "get_run"
SUBSCRIBE: Final = "subscribe"
UNSUBSCRIBE: Final = "unsubscribe"
LIST_RUNS: Final = "list_runs"
DECIDE: Final = "decide"
SET_MODE: Final = "set_mode"
SUBMIT_TASK: Final = "submit_task"
REGISTER_AGENT: Final = "register_agent"
UNREGISTER_AGENT: Final = "unregister_agent"
TASK_UPDATE: Final = "task_update"

STARTS_WORK: Final = frozenset({START_RUN, SUBMIT_TASK})
"""A daemon that drains answers these with `unavailable`, and serves all others."""

ENVELOPE_ID_LENGTH: Final = 64
DEFAULT_WORKFLOW: Final = "delivery"
DEFAULT_USER: Final = "dev"
DEFAULT_TASK_TYPE: Final = "general"

MOST_CAPABILITIES: Final = 50
"""Of an agent, or wanted by a task: over the wire, over REST and in the configuration."""
LONGEST_CAPABILITY: Final = 100
"""Characters of the name of one, which is any text with something to see."""
CAPABILITY_HAS: Final = r"\S"

_MOST: Final = INTEGER_LIMIT - 1

Identifier = Annotated[str, Meta(min_length=1, max_length=64, description="an id of 1 to 64 characters")]
Name = Annotated[str, Meta(min_length=1, max_length=200, description="a text of 1 to 200 characters")]
Label = Annotated[str, Meta(max_length=200, description="a text of at most 200 characters")]
ChannelName = Annotated[str, Meta(min_length=1, max_length=200, description="the name of a channel")]
Token = Annotated[str, Meta(min_length=1, max_length=16_384, description="the token that you were given")]
Cursor = Annotated[str, Meta(min_length=1, max_length=1_000, description="the next_cursor of the page before")]
PageSize = Annotated[int, Meta(ge=1, le=100, description="a whole number from 1 to 100")]
LogPosition = Annotated[int, Meta(ge=0, le=_MOST, description="a whole number, 0 or more")]
Count = Annotated[int, Meta(ge=0, le=_MOST)]
Milliseconds = Annotated[float, Meta(ge=0)]
Switch = Annotated[bool, Meta(description="true or false")]
Digest = Annotated[str, Meta(min_length=1, max_length=128, description="the digest that the approval names")]
Decision = Annotated[Literal["approve", "reject", "modify"], Meta(description="approve, reject or modify")]
ModeName = Annotated[Literal["autopilot", "hitl", "off"], Meta(description="autopilot, hitl or off")]
Options = Annotated[dict[str, object], Meta(description="an object")]
_Capability = Annotated[str, Meta(max_length=LONGEST_CAPABILITY, pattern=CAPABILITY_HAS)]
Capabilities = Annotated[
    tuple[_Capability, ...],
    Meta(
        max_length=MOST_CAPABILITIES,
        description=f"a list of at most {MOST_CAPABILITIES} texts of 1 to {LONGEST_CAPABILITY} characters",
    ),
]
PriorityName = Annotated[Priority, Meta(description="LOW, MEDIUM, HIGH or CRITICAL")]
Slots = Annotated[int, Meta(ge=1, le=1_000, description="a whole number from 1 to 1,000")]
AttemptNumber = Annotated[int, Meta(ge=1, le=_MOST, description="a whole number, 1 or more")]
WorkStatus = Annotated[Literal["running", "completed", "failed"], Meta(description="running, completed or failed")]
AnyValue = Annotated[object, Meta(description="any JSON value")]
ErrorText = Annotated[str, Meta(max_length=10_000, description="a text of at most 10,000 characters")]


@attrs.frozen
class Client:
    """What runs at the other end."""

    platform: Label | UnsetType = UNSET
    version: Label | UnsetType = UNSET
    capabilities: Annotated[tuple[Label, ...], Meta(max_length=100)] = ()


@attrs.frozen
class Resume:
    """The last position that the client has processed; `seq` 0 is the beginning."""

    epoch: Name
    seq: LogPosition


@attrs.frozen
class Reconnected:
    """How this client came back; what the daemon cannot see by itself."""

    attempts: Count | UnsetType = UNSET
    down_ms: Milliseconds | UnsetType = UNSET
    last_code: Count | UnsetType = UNSET


_ClientField = Annotated[
    Client, Meta(description="an object with platform and version as texts and capabilities as a list of texts")
]
_ResumeField = Annotated[
    Resume, Meta(description="an object with epoch as a text and seq as a whole number, 0 or more")
]
_ReconnectField = Annotated[
    Reconnected, Meta(description="an object with attempts, down_ms and last_code as numbers, 0 or more")
]
_ChannelsField = Annotated[tuple[Name, ...], Meta(max_length=100, description="a list of channel names")]


@attrs.frozen
class Hello:
    """The first thing that a client says."""

    token: Token | UnsetType = UNSET
    user_id: Name | UnsetType = UNSET
    client_id: Name | UnsetType = UNSET
    client: _ClientField | UnsetType = UNSET
    resume: _ResumeField | UnsetType = UNSET
    subscribe: _ChannelsField = ()
    reconnect: _ReconnectField | UnsetType = UNSET


@attrs.frozen
class Heartbeat:
    """A sign of life; it says nothing else."""


@attrs.frozen
class Ack:
    """Everything up to `seq` has been processed."""

    seq: LogPosition


@attrs.frozen
class Subscribe:
    """Hear a channel, on this connection and until its end."""

    channel: ChannelName


@attrs.frozen
class Unsubscribe:
    """Hear a channel no more."""

    channel: ChannelName


@attrs.frozen
class StartRun:
    """The brief is the command's content."""

    workflow: Name = DEFAULT_WORKFLOW
    options: Options = attrs.field(factory=dict)


@attrs.frozen
class CancelRun:
    """Cancel a run, or one agent of it."""

    run_id: Identifier
    agent_name: Name | UnsetType = UNSET


@attrs.frozen
class PauseRun:
    """Have a run, or one agent of it, make no further call to a model or a tool."""

    run_id: Identifier
    agent_name: Name | UnsetType = UNSET


@attrs.frozen
class ResumeRun:
    """Let a run, or one agent of it, go on."""

    run_id: Identifier
    agent_name: Name | UnsetType = UNSET


@attrs.frozen
class GetRun:
    """Ask for one run as it stands."""

    run_id: Identifier


@attrs.frozen
class ListRuns:
    """Ask for a page of the user's runs."""

    active: Switch | UnsetType = UNSET
    cursor: Cursor | UnsetType = UNSET
    limit: PageSize = 100


@attrs.frozen
class Decide:
    """Decide about an answer that is held; the feedback is the command's content. `digest` binds it to that text."""

    approval_id: Identifier
    decision: Decision
    digest: Digest | UnsetType = UNSET


@attrs.frozen
class SetMode:
    """Say who answers in a session: agents, agents whose answers a person releases, or people only."""

    mode: ModeName


@attrs.frozen
class SubmitTask:
    """Work for whoever can do it; the description is the command's content. `agent`: the id of the one that is to."""

    task_type: Name = DEFAULT_TASK_TYPE
    parameters: Options = attrs.field(factory=dict)
    priority: PriorityName = Priority.MEDIUM
    required_capabilities: Capabilities = ()
    agent: Name | UnsetType = UNSET


@attrs.frozen
class RegisterAgent:
    """A client offers to do tasks; with `shared` those of everybody, if it may."""

    name: Name
    role: Label = "Worker"
    capabilities: Capabilities = ()
    max_concurrent_tasks: Slots = 1
    shared: Switch = False


@attrs.frozen
class UnregisterAgent:
    """A client will do no more of them."""

    agent_id: Name


@attrs.frozen
class TaskUpdate:
    """How a task is getting on; a sentence for a person is the content. `retry`: a failure that may pass elsewhere."""

    task_id: Identifier
    attempt: AttemptNumber
    status: WorkStatus
    result: AnyValue = None
    error: ErrorText = ""
    retry: Switch = False


Body = (Hello | Heartbeat | Ack | Subscribe | Unsubscribe | StartRun | CancelRun | PauseRun | ResumeRun | GetRun) | (
    ListRuns | Decide | SetMode | SubmitTask | RegisterAgent | UnregisterAgent | TaskUpdate
)

_BODIES: Final[dict[str, type[Body]]] = {
    HELLO: Hello,
    HEARTBEAT: Heartbeat,
    ACK: Ack,
    SUBSCRIBE: Subscribe,
    UNSUBSCRIBE: Unsubscribe,
    START_RUN: StartRun,
    CANCEL_RUN: CancelRun,
    PAUSE_RUN: PauseRun,
    RESUME_RUN: ResumeRun,
    GET_RUN: GetRun,
    LIST_RUNS: ListRuns,
    DECIDE: Decide,
    SET_MODE: SetMode,
    SUBMIT_TASK: SubmitTask,
    REGISTER_AGENT: RegisterAgent,
    UNREGISTER_AGENT: UnregisterAgent,
    TASK_UPDATE: TaskUpdate,
}
BODIES: Final[Mapping[str, type[Body]]] = MappingProxyType(_BODIES)
"""The class of a command's metadata, for the commands that have one so far."""


@attrs.frozen
class ContentBounds:
    """How long a command's content may be, in code points after trimming, and what the content is called."""

    shortest: int
    longest: int
    called: str


CONTENT_BOUNDS: Final[Mapping[str, ContentBounds]] = MappingProxyType(
    {
        START_RUN: ContentBounds(10, 10_000, "The brief"),
        DECIDE: ContentBounds(0, 10_000, "The feedback"),
        SUBMIT_TASK: ContentBounds(1, 10_000, "The description"),
        TASK_UPDATE: ContentBounds(0, 10_000, "The sentence"),
    }
)

KNOWN: Final = frozenset(BODIES) | {
    "refresh",
    "send_message",
    "typing",
    "client_error",
    "set_presence",
    "get_settings",
    "update_settings",
    "list_conversations",
    "load_conversation",
    "assign_session",
    "archive_session",
    "share_session",
    "mark_read",
    "check_feature",
    "create_session",
    "restore_session",
    "update_session_state",
    "close_session",
    "get_session_info",
    "list_client_sessions",
    "get_session_statistics",
    "save_context",
    "load_context",
    "get_context_summary",
    "clear_context",
}
"""Every command of the protocol. One without a body in `BODIES` is decoded with `body` None."""
