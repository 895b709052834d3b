"""An answer as it grows, whatever it is streamed as: its bounds, its text, its tool calls, and how it may end.

`Answer` reads the chunks of chat completions into it, `ResponsesAnswer` the events of Responses.
"""

from __future__ import annotations

import attrs

from actors.models.failure import AnswerBroken
from actors.models.tools import ToolCall

MOST_TOOL_CALLS = 128


@attrs.define
class PartialCall:
    """A tool call of which there may be more."""

    id: str = ""
    name: str = ""
    arguments: list[str] = attrs.field(factory=list)


@attrs.frozen
class Taken:
    """What one event brought: a piece of text to pass on, and whether it was content at all (moves the deadlines)."""

    text: str
    content: bool


NOTHING = Taken("", content=False)


class Gathering:
    """The answer so far. `characters` bounds all that is kept of it.

    Attributes:
        model: what the provider calls itself; empty until it says so.
        finish_reason: why the model stopped (`stop`, `length`, `tool_calls`, …); None until it has said so. Only then
            is the answer whole, whatever becomes of the rest of the stream.
        counted: the provider's own figures of tokens (prompt, completion), where it gave them.
        over: nothing more belongs to the answer.
    """

    def __init__(self, characters: int) -> None:
        self._room = characters
        self._pieces: list[str] = []
        self._refusal: list[str] = []
        self._calls: dict[int, PartialCall] = {}
        self.model = ""
        self.finish_reason: str | None = None
        self.counted: tuple[int, int] | None = None
        self.over = False

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    @property
    def written(self) -> str:
        """All that the model wrote as far as it is kept, to estimate what it cost."""
        return self.text + "".join(call.name + "".join(call.arguments) for call in self._calls.values())

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """In the model's order. None of an answer that was cut at its length: the last of them may be half of one."""
        if self.finish_reason == "length":
            return ()
        return tuple(
            ToolCall(call.id, call.name, "".join(call.arguments))
            for _, call in sorted(self._calls.items())
            if call.name
        )

    def take(self, data: str, event_name: str = "") -> Taken:
        """Adds one event's data. Raises AnswerBroken: malformed, the provider's error, or stopped by its policy."""
        raise NotImplementedError

    def call_at(self, index: int) -> PartialCall:
        """The tool call with this index, begun if need be."""
        if not 0 <= index < MOST_TOOL_CALLS:
            raise AnswerBroken("malformed", f"tool call with index {index}")
        return self._calls.setdefault(index, PartialCall())

    def take_usage(self, prompt: int | None, completion: int | None) -> None:
        if prompt is not None and completion is not None and prompt >= 0 and completion >= 0:
            self.counted = (prompt, completion)

    def finish(self, reason: str, text: str = "") -> None:
        """The model has stopped; `text` came with that, and is not kept yet."""
        if reason == "content_filter":
            raise AnswerBroken("content_policy", "finish_reason content_filter")
        if self._refusal and not (text or self._pieces or self._calls):
            raise AnswerBroken("content_policy", f"refusal: {''.join(self._refusal)}")
        self.finish_reason = reason

    def refuse(self, piece: str) -> None:
        """A piece of the model's own refusal."""
        if piece:
            self._refusal.append(piece)

    def spend(self, characters: int) -> None:
        """Room for so many characters more."""
        self._room -= characters
        if self._room < 0:
            raise AnswerBroken("malformed", "the answer is longer than the limit")
