"""The forms of OpenAI's Responses: requests in, events and whole responses out. As `forms`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import msgspec

from actors.models.simulated.brain import Prompt
from actors.models.simulated.forms import text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.models.simulated.forms import WantedCall

_PARTS = {"length": ("max_output_tokens", "incomplete"), "content_filter": ("content_filter", "incomplete")}


@attrs.frozen
class _Item:
    type: str | None = None
    role: str | None = None
    content: str | list[dict[str, Any]] | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    output: str | list[dict[str, Any]] | None = None


@attrs.frozen
class ResponsesCall:
    """The part of a request for a response that is looked at."""

    model: str
    input: str | list[_Item]
    instructions: str | None = None
    stream: bool | None = None
    tools: list[dict[str, Any]] | None = None

    @property
    def wants_usage(self) -> bool:
        return True

    @property
    def prompts(self) -> list[Prompt]:
        items = [_Item(role="user", content=self.input)] if isinstance(self.input, str) else self.input
        system = [] if self.instructions is None else [Prompt("system", self.instructions)]
        return [*system, *(_prompt(item) for item in items)]

    def writer(self, id: str, model: str, created: int) -> ResponsesWriter:  # noqa: A002  the form's own word
        return ResponsesWriter(id, model, created)


def _prompt(item: _Item) -> Prompt:
    match item.type:
        case "function_call_output":
            return Prompt("tool", text_of(item.output))
        case "function_call":
            return Prompt("assistant", "")
    return Prompt(item.role or "user", text_of(item.content))


def read_responses_call(body: bytes) -> ResponsesCall:
    """Raises ValueError with a sentence that names the field."""
    try:
        return msgspec.json.decode(body, type=ResponsesCall)
    except RecursionError:
        raise ValueError("the body is nested too deeply") from None


def event(kind: str, document: dict[str, Any]) -> bytes:
    """One event of the stream."""
    body = msgspec.json.encode({"type": kind, **document})
    return b"event: " + kind.encode() + b"\ndata: " + body + b"\n\n"


@attrs.frozen
class ResponsesWriter:
    """Words one response."""

    id: str
    model: str
    created: int

    def opening(self) -> bytes:
        item = {"type": "message", "id": f"msg-{self.id}", "status": "in_progress", "role": "assistant", "content": []}
        return event("response.created", {"response": self._response("in_progress", [])}) + event(
            "response.output_item.added", {"output_index": 0, "item": item}
        )

    def text(self, token: str) -> bytes:
        where = {"item_id": f"msg-{self.id}", "output_index": 0, "content_index": 0}
        return event("response.output_text.delta", {**where, "delta": token})

    def tool_calls(self, calls: list[WantedCall]) -> Iterator[bytes]:
        """Each call begun by its item, then its arguments in pieces and whole, then the whole item."""
        for index, call in enumerate(calls, 1):
            where = {"output_index": index}
            yield event("response.output_item.added", {**where, "item": _function_call(call, "")})
            for piece in call.pieces:
                yield event("response.function_call_arguments.delta", {**where, "delta": piece})
            yield event("response.function_call_arguments.done", {**where, "arguments": call.arguments})
            yield event("response.output_item.done", {**where, "item": _function_call(call, call.arguments)})

    def ending(self, finish_reason: str, usage: tuple[int, int] | None, text: str) -> Iterator[bytes]:
        """What closes a good answer; `usage` is left out where it is None."""
        reason, status = _PARTS.get(finish_reason, (None, "completed"))
        response = self._response(status, [self._message(text)], reason, usage)
        yield event(f"response.{status}", {"response": response})

    @property
    def done(self) -> bytes:
        return b""

    def broken(self) -> bytes:
        return b'event: response.output_text.delta\ndata: {"type": "response.output_text.delta", "delta"\n\n'

    def bad_utf8(self) -> bytes:
        return b'data: {"type": "response.output_text.delta", "delta": "\xff\xfe"}\n\n'

    def error(self, message: str, code: str | None) -> bytes:
        return event("error", {"code": code, "message": message, "param": None})

    def whole(
        self,
        text: str,
        calls: list[WantedCall],
        finish_reason: str | None,
        prompt_tokens: int,
        completion_tokens: int,
        *,
        with_usage: bool,
    ) -> bytes:
        reason, status = _PARTS.get(finish_reason or "", (None, "completed" if finish_reason else "in_progress"))
        output = [self._message(text), *(_function_call(call, call.arguments) for call in calls)]
        usage = (prompt_tokens, completion_tokens) if with_usage else None
        return msgspec.json.encode(self._response(status, output, reason, usage))

    def _message(self, text: str) -> dict[str, Any]:
        content = [{"type": "output_text", "text": text, "annotations": []}]
        return {
            "type": "message",
            "id": f"msg-{self.id}",
            "status": "completed",
            "role": "assistant",
            "content": content,
        }

    def _response(
        self,
        status: str,
        output: list[dict[str, Any]],
        reason: str | None = None,
        usage: tuple[int, int] | None = None,
    ) -> dict[str, Any]:
        document: dict[str, Any] = {
            "id": self.id,
            "object": "response",
            "created_at": self.created,
            "model": self.model,
        }
        document |= {"status": status, "output": output, "error": None}
        document["incomplete_details"] = None if reason is None else {"reason": reason}
        if usage is not None:
            prompt, completion = usage
            document["usage"] = {
                "input_tokens": prompt,
                "output_tokens": completion,
                "total_tokens": prompt + completion,
            }
        return document


def _function_call(call: WantedCall, arguments: str) -> dict[str, Any]:
    own = {"type": "function_call", "id": f"fc-{call.id}", "call_id": call.id}
    return {**own, "name": call.name, "arguments": arguments, "status": "completed"}
