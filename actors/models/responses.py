"""What the events of a streamed response add up to (OpenAI's Responses), and how one is asked for. As `answer`, pure.

| event | what it means here |
|---|---|
| response.output_text.delta | a piece of text |
| response.refusal.delta | a piece of a refusal |
| response.reasoning….delta | content that is not text: the model thinks |
| response.output_item.added, .done | a tool call begins, or is whole, where the item is a function_call |
| response.function_call_arguments.delta, .done | a piece of its arguments, or all of them |
| response.completed | the end: `tool_calls` where there are any, else `stop`; with the usage |
| response.incomplete | the end: `length`, or broken by the content policy |
| response.failed, error | the provider's error |
| any other | nothing, however new it is; but a `type` it must have |

After the end no `[DONE]` need follow: the answer is over. Nothing is kept at the provider (`store` is false) unless the
parameters say otherwise; the whole conversation goes with every request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import msgspec

from actors.models.answer import DONE
from actors.models.chat import LENGTH_LIMITS, ChatMessage
from actors.models.failure import AnswerBroken
from actors.models.gathering import NOTHING, Gathering, Taken

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.models.chat import ChatRequest


@attrs.frozen
class _Item:
    type: str | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None


@attrs.frozen
class _Usage:
    input_tokens: int | None = None
    output_tokens: int | None = None


@attrs.frozen
class _Incomplete:
    reason: str | None = None


@attrs.frozen
class _Response:
    model: str | None = None
    usage: _Usage | None = None
    incomplete_details: _Incomplete | None = None
    error: Any = None


@attrs.frozen
class _Event:
    type: str
    delta: Any = None
    output_index: int = 0
    item: _Item | None = None
    arguments: str | None = None
    response: _Response | None = None
    error: Any = None
    code: Any = None
    message: Any = None


class ResponsesAnswer(Gathering):
    """A response so far."""

    def __init__(self, characters: int) -> None:
        super().__init__(characters)
        self._decoder = msgspec.json.Decoder(_Event)

    def take(self, data: str, event_name: str = "") -> Taken:
        if data == DONE:  # some servers end every stream so
            self.over = True
            return NOTHING
        event = self._decode(data, event_name)
        if event.response is not None and event.response.model:
            self.model = self.model or event.response.model
        if self.finish_reason is not None:
            return NOTHING
        match event.type:
            case "response.output_text.delta":
                text = self._piece(event)
                if text:
                    self._pieces.append(text)
                return Taken(text, content=bool(text))
            case "response.refusal.delta":
                piece = self._piece(event)
                self.refuse(piece)
                return Taken("", content=bool(piece))
            case "response.function_call_arguments.delta":
                piece = self._piece(event)
                self.call_at(event.output_index).arguments.append(piece)
                return Taken("", content=True)
            case "response.function_call_arguments.done":
                return self._take_arguments(event.output_index, event.arguments)
            case "response.output_item.added" | "response.output_item.done":
                return self._take_item(event)
            case "response.completed":
                self._end(event, "tool_calls" if self._calls else "stop")
            case "response.incomplete":
                self._end(event, _why(event))
            case kind if kind.startswith("response.reasoning") and kind.endswith(".delta"):
                return Taken("", content=bool(self._piece(event)))
        return NOTHING

    def _decode(self, data: str, event_name: str) -> _Event:
        try:
            event = self._decoder.decode(data)
        except (ValueError, RecursionError) as exc:
            if event_name == "error":
                raise AnswerBroken("server_error", "error event", error={"message": data[:300]}) from None
            raise AnswerBroken("malformed", f"event {data[:60]!r}: {exc}") from None
        if event.type == "response.failed":
            error = None if event.response is None else event.response.error
            raise AnswerBroken("server_error", "response.failed", error=error or {"message": "the response failed"})
        if event.type == "error" or event_name == "error":
            own = {"code": event.code, "message": event.message}
            raise AnswerBroken("server_error", "error event", error=event.error or own)
        return event

    def _piece(self, event: _Event) -> str:
        if not isinstance(event.delta, str):
            raise AnswerBroken("malformed", f"{event.type} without a text")
        self.spend(len(event.delta))
        return event.delta

    def _take_item(self, event: _Event) -> Taken:
        item = event.item
        if item is None or item.type != "function_call":
            return NOTHING
        call = self.call_at(event.output_index)
        call.id = call.id or item.call_id or ""
        call.name = call.name or item.name or ""
        self._take_arguments(event.output_index, item.arguments)
        return Taken("", content=True)

    def _take_arguments(self, index: int, arguments: str | None) -> Taken:
        """All of a call's arguments, which are the truth where they differ from the pieces."""
        if arguments:
            call = self.call_at(index)
            self.spend(max(0, len(arguments) - sum(map(len, call.arguments))))
            call.arguments[:] = [arguments]
        return Taken("", content=bool(arguments))

    def _end(self, event: _Event, reason: str) -> None:
        if event.response is not None and event.response.usage is not None:
            self.take_usage(event.response.usage.input_tokens, event.response.usage.output_tokens)
        self.finish(reason)
        self.over = True


def _why(event: _Event) -> str:
    details = None if event.response is None else event.response.incomplete_details
    reason = None if details is None else details.reason
    match reason:
        case "content_filter":
            return reason
        case "max_output_tokens" | "max_tokens":
            return "length"
    raise AnswerBroken("truncated", f"response.incomplete: {reason}")


def responses_body(request: ChatRequest) -> dict[str, Any]:
    """The body of the request, as far as it does not come from its parameters."""
    body: dict[str, Any] = {
        "model": request.model,
        "input": [item for message in request.messages for item in _items(message)],
        "store": False,
    }
    if request.tools:
        body["tools"] = [
            {
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.parameters,
                "strict": False,
            }
            for tool in request.tools
        ]
    return body


def responses_parameters(request: ChatRequest) -> dict[str, Any]:
    """The parameters under the names that Responses have for them."""
    return {"max_output_tokens" if name in LENGTH_LIMITS else name: value for name, value in request.parameters.items()}


def _items(message: ChatMessage) -> Iterator[dict[str, Any]]:
    if message.role == "tool":
        yield {"type": "function_call_output", "call_id": message.tool_call_id or "", "output": message.content}
        return
    if message.content or not message.tool_calls:
        yield {"role": message.role, "content": message.content}
    for call in message.tool_calls:
        yield {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments}
