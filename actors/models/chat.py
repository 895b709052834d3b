"""The values of one attempt: what is asked, under which limits, and what came back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import attrs

from actors.models.tokens import estimate_prompt, estimate_tokens

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors.models.provider_limits import ProviderLimits

Role = Literal["system", "user", "assistant", "tool"]


@attrs.frozen
class ToolCall:
    """A tool that the model wants to be called. `arguments` is the model's own JSON text, unchecked."""

    id: str
    name: str
    arguments: str

    def body(self) -> dict[str, Any]:
        return {"id": self.id, "type": "function", "function": {"name": self.name, "arguments": self.arguments}}


@attrs.frozen
class ChatMessage:
    """One message of the conversation. `tool_calls` belongs to an assistant's, `tool_call_id` to a tool's answer."""

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None

    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.tool_calls:
            body["tool_calls"] = [call.body() for call in self.tool_calls]
        if self.tool_call_id is not None:
            body["tool_call_id"] = self.tool_call_id
        return body


@attrs.frozen
class ChatRequest:
    """What a model is asked.

    `parameters` are further fields of the request, sent as they are (`temperature`, `max_tokens`, `tools`, …), because
    providers differ in names: the operator writes what the endpoint understands.
    """

    model: str
    messages: tuple[ChatMessage, ...]
    parameters: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def max_tokens(self) -> int | None:
        """The limit of the answer in tokens, where the parameters set one."""
        for name in ("max_completion_tokens", "max_tokens"):
            value = self.parameters.get(name)
            if isinstance(value, int) and not isinstance(value, bool):
                return value
        return None

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the messages, estimated; calls of tools included."""
        return estimate_prompt(
            message.content + "".join(call.name + call.arguments for call in message.tool_calls)
            for message in self.messages
        )


@attrs.frozen
class StreamLimits:
    """Bounds of one attempt, times in seconds.

    `first_token` runs from the start of the attempt to the first content, `idle` from one piece of content to the
    next, `total` from start to end. `event_bytes` bounds one event of the stream, `answer_characters` all of the answer
    (half a million fit into the largest frame of the wire protocol, escapes included).
    """

    first_token: float = 20.0
    idle: float = 20.0
    total: float = 120.0
    event_bytes: int = 1024 * 1024
    answer_characters: int = 500_000


@attrs.frozen
class Usage:
    """Tokens of one attempt; `estimated` where the provider did not say."""

    prompt_tokens: int
    completion_tokens: int
    estimated: bool

    @property
    def total(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    @classmethod
    def estimate(cls, request: ChatRequest, text: str) -> Usage:
        """For an attempt that ended, in whatever way, without the provider's figures."""
        return cls(request.prompt_tokens, estimate_tokens(text), estimated=True)


@attrs.frozen
class Completion:
    """A complete answer. `model` is what the provider calls itself, empty where it does not say.

    Times are of trio's clock; `first_token_at` is None for an answer without any content.
    """

    text: str
    finish_reason: str
    model: str
    usage: Usage
    tool_calls: tuple[ToolCall, ...]
    provider_limits: ProviderLimits | None
    started_at: float
    first_token_at: float | None
    ended_at: float

    @property
    def cut_at_length(self) -> bool:
        """The model came to its token limit: the text is all there will be, but it ends in the middle."""
        return self.finish_reason == "length"
