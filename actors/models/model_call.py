"""The values of one call to a chain of models: what is asked, what is heard on the way, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import attrs

from actors.models.chat import ChatMessage, ChatRequest, Usage
from actors.models.tools import Tool, ToolCall
from actors.protocol.catalogue import CATALOGUE, Failure
from actors.protocol.task_events import Priority

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trio import CancelScope

    from actors.models.endpoint import Endpoint
    from actors.models.failure import ErrorType, FailureFacts, FailureKind


@attrs.frozen
class ModelCall:
    """What an agent asks of the chain `models` (as configured).

    One call is one answer. Where the answer wants tools to be called (`CallResult.tool_calls`), whoever calls them
    makes the next call, with `messages` grown by the assistant's message and one tool message for each of its calls.

    Attributes:
        messages, parameters, tools: as in `ChatRequest`.
        user: for whom: who waits at a gate is served fairly between users.
        run_id: for which run.
        priority: the urgent are served before the others.
        keep_to: the endpoint that has already written of the same message, in an earlier call: no other goes on with
            it, so where it fails or is left alone the call is degraded at once. None: any of the chain.
    """

    models: tuple[str, ...]
    messages: tuple[ChatMessage, ...]
    user: str
    run_id: str
    parameters: Mapping[str, Any] = attrs.field(factory=dict)
    tools: tuple[Tool, ...] = ()
    priority: Priority = Priority.MEDIUM
    keep_to: str | None = None

    def request_for(self, endpoint: Endpoint) -> ChatRequest:
        return ChatRequest(endpoint.model, self.messages, self.parameters, self.tools, endpoint.api)


@attrs.frozen
class CallLimits:
    """How often and how long, in seconds. Raises ValueError for fewer than one attempt, or a time of 0 or less.

    `queue` bounds the waiting in the line of one endpoint. `attempts` on one before the next is asked. `first_token`,
    `idle` and `attempt` bound one attempt, `total` everything together. An attempt that is cut by `total` is no failure
    of its endpoint, so a `total` below `first_token` would let a silent endpoint go unnoticed.
    """

    attempts: int = 3
    first_token: float = 20.0
    idle: float = 20.0
    attempt: float = 120.0
    total: float = 300.0
    queue: float = 60.0

    def __attrs_post_init__(self) -> None:
        for name in ("attempts", "queue", "first_token", "idle", "attempt", "total"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be above 0")


class Observer(Protocol):
    """What a call tells while it is under way. Called in its task: must not block, and must not raise."""

    def text(self, piece: str) -> None:
        """The next piece of the answer. After the first, the endpoint does not change any more."""

    def caught_up(self) -> None:
        """Every piece that has come was told, and the next may take a while: now is the time to pass them on."""

    def model(self, name: str) -> None:
        """What the answer calls its model; before its first piece of text, where the provider says it in time."""

    def retrying(self, facts: FailureFacts, delay: float) -> None:
        """An attempt failed, or all that is left is parked: there will be another in `delay` seconds.

        Also, with facts of the kind `rate_limit`, that the call has been waiting for its turn for a second, and may
        have to for `delay` seconds more.
        """

    def fell_over(self, from_target: str, to: str | None, facts: FailureFacts | None) -> None:
        """An understudy takes the place of `from_target`, or nobody (None).

        `facts` are of this call's own last failure, None where it had none: the lead was known to be down.
        """


class Pause(Protocol):
    """Whether attempts may be begun. One that is under way goes on to its end."""

    @property
    def held(self) -> bool:
        """Whether none may be begun now."""

    def interrupts(self, waiting: CancelScope | None) -> None:
        """From now on this is to be cancelled as soon as none may be begun; None: the waiting is over."""

    async def resumed(self) -> None:
        """Returns when they may be again. Awaited in the call's task, which then holds no lease."""


@attrs.frozen
class AttemptRecord:
    """One attempt, for operators. `kind` is None for one that succeeded, `simulated` for one that was abandoned."""

    target: str
    model: str
    kind: FailureKind | str | None
    duration_ms: float
    detail: str = ""


@attrs.frozen
class CallResult:
    """How a call ended, with an answer, part of one, or none.

    Attributes:
        text: the answer; None when `degraded`.
        degraded: nobody could answer: the caller gives the agent's own honest text, marked so.
        partial: cut off, and all there will be; with `truncated` by the model's own limit of length.
        target: the endpoint that answered; `model`: what it calls itself, or what was asked for.
        usage: of the attempt that answered.
        tool_calls: that a complete answer wants, in its order, each with an id of its own; what they ask for is in
            `ToolCall.input`, or in `ToolCall.problem` why it cannot be read.
        duration: seconds, from the call to its end.
        attempts: all of them, in order.
        facts: why it is degraded or cut off; of its last failure. None where no endpoint was even tried.
        retry_after: seconds after which another call may fare better, when `degraded` and known.
    """

    text: str | None
    degraded: bool
    partial: bool
    truncated: bool
    target: str | None
    model: str | None
    usage: Usage | None
    tool_calls: tuple[ToolCall, ...]
    duration: float
    attempts: tuple[AttemptRecord, ...]
    facts: FailureFacts | None = None
    retry_after: float | None = None


class CallFailed(Exception):
    """The request itself cannot be answered, by whichever model: its own fault, or ours.

    Attributes:
        facts: of the failure.
        error_type: the wire protocol's word.
        sentence: for a person.
        attempts: all of them, in order.
    """

    def __init__(self, facts: FailureFacts, attempts: tuple[AttemptRecord, ...]) -> None:
        super().__init__(f"{facts.kind}: {facts.detail}")
        self.facts = facts
        self.error_type: ErrorType = facts.error_type
        self.sentence = CATALOGUE[Failure(facts.kind)].sentence
        self.attempts = attempts
