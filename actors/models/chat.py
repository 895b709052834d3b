"""The values of one attempt: what is asked, under which limits, and what came back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import attrs

from actors.models.endpoint import Api
from actors.models.tokens import PER_MESSAGE, estimate_prompt, estimate_tokens
from actors.models.tools import Tool, ToolCall

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors.models.provider_limits import ProviderLimits

__all__ = ["ChatMessage", "ChatRequest", "Completion", "Role", "StreamLimits", "Tool", "ToolCall", "Usage"]

Role = Literal["system", "user", "assistant", "tool"]


LENGTH_LIMITS = ("max_output_tokens", "max_completion_tokens", "max_tokens")
"""Names of the parameter that limits the answer in tokens, the newest first."""


@attrs.frozen
class ChatMessage:
    """One message of the conversation. `tool_calls` belongs to an assistant's, `tool_call_id` to a tool's answer.

    Whoever keeps a conversation sees to it that every tool call of it has its answer: a provider refuses the rest.
    """

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None

    @property
    def counted(self) -> str:
        """What its tokens are estimated by."""
        return self.content + "".join(call.name + call.arguments for call in self.tool_calls)


@attrs.frozen
class ChatRequest:
    """What a model is asked.

    `parameters` are further fields of the request, sent as they are (`temperature`, `tool_choice`, …), because
    providers differ in names: the operator writes what the endpoint understands. Only the limit of the answer is
    renamed for Responses. `tools` are those that the model may want to be called.
    """

    model: str
    messages: tuple[ChatMessage, ...]
    parameters: Mapping[str, Any] = attrs.field(factory=dict)
    tools: tuple[Tool, ...] = ()
    api: Api = "chat"

    @property
    def max_tokens(self) -> int | None:
        """The limit of the answer in tokens, where the parameters set one."""
        for name in LENGTH_LIMITS:
            value = self.parameters.get(name)
            if isinstance(value, int) and not isinstance(value, bool):
                return value
        return None

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the messages, estimated; calls of tools, and the tools offered, included."""
        offered = sum(PER_MESSAGE + estimate_tokens(tool.text) for tool in self.tools)
        return offered + estimate_prompt(message.counted for message in self.messages)


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
