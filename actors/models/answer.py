"""What the chunks of a streamed chat completion add up to: pure, and suspicious of every one of them.

A chunk is checked for its shape as far as it is used: the client's own classes check nothing, so that a number where
an object should be surfaces as an AttributeError somewhere else.
"""

from __future__ import annotations

from typing import Any

import attrs
import msgspec

from actors.models.chat import ToolCall
from actors.models.failure import AnswerBroken

DONE = "[DONE]"
_MOST_TOOL_CALLS = 128


@attrs.frozen
class _Function:
    name: str | None = None
    arguments: str | None = None


@attrs.frozen
class _ToolCallDelta:
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


@attrs.frozen
class _Delta:
    content: str | None = None
    refusal: str | None = None
    # Two spellings of the same thing: what a model thinks before it answers.
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_ToolCallDelta] | None = None


@attrs.frozen
class _Choice:
    index: int = 0
    delta: _Delta | None = None
    finish_reason: str | None = None


@attrs.frozen
class _Usage:
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


@attrs.frozen
class _Chunk:
    choices: list[_Choice] | None = None
    model: str | None = None
    usage: _Usage | None = None
    error: Any = None


@attrs.define
class _PartialCall:
    id: str = ""
    name: str = ""
    arguments: list[str] = attrs.field(factory=list)


@attrs.frozen
class Taken:
    """What one chunk brought: a piece of text to pass on, and whether it was content at all (moves the deadlines)."""

    text: str
    content: bool


_NOTHING = Taken("", content=False)


class Answer:
    """The answer so far. `characters` bounds all that is kept of it.

    `finish_reason` is None until the model has said why it stopped; only then is the answer whole, whatever becomes
    of the rest of the stream. `counted` are the provider's own figures (prompt, completion), where it gave them.
    """

    def __init__(self, characters: int) -> None:
        self._decoder = msgspec.json.Decoder(_Chunk)
        self._room = characters
        self._pieces: list[str] = []
        self._refusal: list[str] = []
        self._calls: dict[int, _PartialCall] = {}
        self.model = ""
        self.finish_reason: str | None = None
        self.counted: tuple[int, int] | None = None

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    @property
    def written(self) -> str:
        """All that the model wrote as far as it is kept, to estimate what it cost."""
        return self.text + "".join(call.name + "".join(call.arguments) for call in self._calls.values())

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        return tuple(
            ToolCall(call.id, call.name, "".join(call.arguments))
            for _, call in sorted(self._calls.items())
            if call.name
        )

    def take(self, data: str, event_name: str = "") -> Taken:
        """Adds one event's data. Raises AnswerBroken: malformed, the provider's error, or stopped by its policy."""
        chunk = self._decode(data, event_name)
        if chunk.model:
            self.model = self.model or chunk.model
        self._take_usage(chunk.usage)
        for choice in chunk.choices or ():
            if choice.index == 0 and self.finish_reason is None:
                return self._take_choice(choice)
        return _NOTHING

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

    def _take_usage(self, usage: _Usage | None) -> None:
        if usage is None or usage.prompt_tokens is None or usage.completion_tokens is None:
            return
        if usage.prompt_tokens >= 0 and usage.completion_tokens >= 0:
            self.counted = (usage.prompt_tokens, usage.completion_tokens)

    def _take_choice(self, choice: _Choice) -> Taken:
        # Without a delta a choice only annotates; harmless, because the end is judged by its finish_reason.
        delta = choice.delta or _Delta()
        text = delta.content or ""
        thought = delta.reasoning_content or delta.reasoning or ""
        self._spend(len(text) + len(thought) + len(delta.refusal or ""))
        if delta.refusal:
            self._refusal.append(delta.refusal)
        for position, part in enumerate(delta.tool_calls or ()):
            self._take_tool_call(position, part)
        if choice.finish_reason:
            self._finish(choice.finish_reason, text)
        if text:  # last: text of a chunk that broke the answer is not passed on, so it is not kept either
            self._pieces.append(text)
        return Taken(text, content=bool(text or thought or delta.refusal or delta.tool_calls))

    def _take_tool_call(self, position: int, part: _ToolCallDelta) -> None:
        index = position if part.index is None else part.index
        if not 0 <= index < _MOST_TOOL_CALLS:
            raise AnswerBroken("malformed", f"tool call with index {index}")
        call = self._calls.setdefault(index, _PartialCall())
        call.id = call.id or part.id or ""
        if part.function is not None:
            # A name comes whole, and from some providers with every piece; only arguments are cut in pieces.
            call.name = call.name or part.function.name or ""
            arguments = part.function.arguments or ""
            self._spend(len(arguments))
            call.arguments.append(arguments)

    def _finish(self, reason: str, text: str) -> None:
        if reason == "content_filter":
            raise AnswerBroken("content_policy", "finish_reason content_filter")
        if self._refusal and not (text or self._pieces or self._calls):
            raise AnswerBroken("content_policy", f"refusal: {''.join(self._refusal)}")
        self.finish_reason = reason

    def _spend(self, characters: int) -> None:
        self._room -= characters
        if self._room < 0:
            raise AnswerBroken("malformed", "the answer is longer than the limit")
