"""What the chunks of a streamed chat completion add up to, and how one is asked for: pure, and suspicious of each
chunk.

A chunk is checked for its shape as far as it is used: the client's own classes check nothing, so that a number where
an object should be surfaces as an AttributeError somewhere else. The shapes are msgspec's own kind of class, and not
attrs as everything else: one is made for each piece of text, five times as fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from actors.models.failure import AnswerBroken
from actors.models.gathering import NOTHING, Gathering, Taken

if TYPE_CHECKING:
    from actors.models.chat import ChatMessage, ChatRequest

DONE = "[DONE]"


class _Function(msgspec.Struct, frozen=True, gc=False):
    name: str | None = None
    arguments: str | None = None


class _ToolCallDelta(msgspec.Struct, frozen=True, gc=False):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct, frozen=True, gc=False):
    content: str | None = None
    refusal: str | None = None
    # Two spellings of the same thing: what a model thinks before it answers.
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_ToolCallDelta] | None = None


class _Choice(msgspec.Struct, frozen=True, gc=False):
    index: int = 0
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Usage(msgspec.Struct, frozen=True, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Chunk(msgspec.Struct, frozen=True, gc=False):
    choices: list[_Choice] | None = None
    model: str | None = None
    usage: _Usage | None = None
    error: Any = None


class Answer(Gathering):
    """A chat completion so far."""

    def __init__(self, characters: int) -> None:
        super().__init__(characters)
        self._decoder = msgspec.json.Decoder(_Chunk)

    def take(self, data: str, event_name: str = "") -> Taken:
        if data == DONE:
            self.over = True
            return NOTHING
        chunk = self._decode(data, event_name)
        if chunk.model:
            self.model = self.model or chunk.model
        if chunk.usage is not None:
            self.take_usage(chunk.usage.prompt_tokens, chunk.usage.completion_tokens)
        for choice in chunk.choices or ():
            if choice.index == 0 and self.finish_reason is None:
                return self._take_choice(choice)
        return NOTHING

    def _decode(self, data: str, event_name: str) -> _Chunk:
        try:
            chunk = self._decoder.decode(data)
        except (ValueError, RecursionError) as exc:
            raise AnswerBroken("malformed", f"event {data[:60]!r}: {exc}") from None
        if chunk.error or event_name == "error":
            raise AnswerBroken("server_error", "error event", error=chunk.error or {"message": data[:300]})
        if chunk.choices is None and chunk.usage is None:
            raise AnswerBroken("malformed", f"event without choices: {data[:60]!r}")
        return chunk

    def _take_choice(self, choice: _Choice) -> Taken:
        # Without a delta a choice only annotates; harmless, because the end is judged by its finish_reason.
        delta = choice.delta or _Delta()
        text = delta.content or ""
        thought = delta.reasoning_content or delta.reasoning or ""
        self.spend(len(text) + len(thought) + len(delta.refusal or ""))
        if delta.refusal:
            self.refuse(delta.refusal)
        for position, part in enumerate(delta.tool_calls or ()):
            self._take_tool_call(position, part)
        if choice.finish_reason:
            self.finish(choice.finish_reason, text)
        if text:  # last: text of a chunk that broke the answer is not passed on, so it is not kept either
            self._pieces.append(text)
        return Taken(text, content=bool(text or thought or delta.refusal or delta.tool_calls))

    def _take_tool_call(self, position: int, part: _ToolCallDelta) -> None:
        call = self.call_at(position if part.index is None else part.index)
        call.id = call.id or part.id or ""
        if part.function is not None:
            # A name comes whole, and from some providers with every piece; only arguments are cut in pieces.
            call.name = call.name or part.function.name or ""
            arguments = part.function.arguments or ""
            self.spend(len(arguments))
            call.arguments.append(arguments)


def chat_body(request: ChatRequest) -> dict[str, Any]:
    """The body of the request, as far as it does not come from its parameters."""
    body: dict[str, Any] = {
        "model": request.model,
        "messages": [_message(message) for message in request.messages],
        "stream_options": {"include_usage": True},
    }
    if request.tools:
        body["tools"] = [
            {
                "type": "function",
                "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
            }
            for tool in request.tools
        ]
    return body


def _message(message: ChatMessage) -> dict[str, Any]:
    body: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        body["content"] = message.content or None  # some refuse an empty text
        body["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        body["tool_call_id"] = message.tool_call_id
    return body
