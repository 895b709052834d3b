"""The values of one call to a chain of models: what is asked, what is heard on the way, and what came of it."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from actors.models.chat import ChatMessage, ChatRequest, ToolCall, Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors.models.endpoint import Endpoint
    from actors.models.failure import ErrorType, FailureFacts, FailureKind


@attrs.frozen
class ModelCall:
    """What an agent asks: `messages` and `parameters` as in `ChatRequest`, of the chain `models` (as configured)."""

    models: tuple[str, ...]
    messages: tuple[ChatMessage, ...]
    user: str
    run_id: str
    parameters: Mapping[str, Any] = attrs.field(factory=dict)

    def request_for(self, endpoint: Endpoint) -> ChatRequest:
        return ChatRequest(endpoint.model, self.messages, self.parameters)


@attrs.frozen
class CallLimits:
    """How often and how long, in seconds. Raises ValueError for fewer than one attempt, or a time of 0 or less.

    `attempts` on one endpoint before the next of the chain is asked. `first_token`, `idle` and `attempt` bound one
    attempt, `total` everything together. An attempt that is cut by `total` is no failure of its endpoint, so a `total`
    below `first_token` would let a silent endpoint go unnoticed.
    """

    attempts: int = 3
    first_token: float = 20.0
    idle: float = 20.0
    attempt: float = 120.0
    total: float = 300.0

    def __attrs_post_init__(self) -> None:
        for name in ("attempts", "first_token", "idle", "attempt", "total"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be above 0")


class Observer(Protocol):
    """What a call tells while it is under way. Called in its task: must not block, and must not raise."""

    def text(self, piece: str) -> None:
        """The next piece of the answer. After the first, the endpoint does not change any more."""

    def model(self, name: str) -> None:
        """What the answer calls its model; before its first piece of text, where the provider says it in time."""

    def retrying(self, facts: FailureFacts, delay: float) -> None:
        """An attempt failed, or all that is left is parked: there will be another in `delay` seconds."""

    def fell_over(self, from_target: str, to: str | None, facts: FailureFacts | None) -> None:
        """An understudy takes the place of `from_target`, or nobody (None).

        `facts` are of this call's own last failure, None where it had none: the lead was known to be down.
        """


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
        tool_calls: of a complete answer.
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
        self.sentence = _SENTENCES.get(facts.kind, _OUR_FAULT)
        self.attempts = attempts


_OUR_FAULT = "Something went wrong on our side while asking the AI service. Please try again."
_SENTENCES: Mapping[str, str] = MappingProxyType(
    {
        "content_policy": "The AI service's content policy does not allow an answer to this. Please word it otherwise.",
        "bad_request": "The AI service could not work with this request. Please shorten or change it and try again.",
    }
)
