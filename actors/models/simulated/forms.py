"""The forms of chat completions: requests in, chunks, whole answers and errors out. `responses_forms` has the other."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import attrs
import msgspec

from actors.models.simulated.brain import Prompt

if TYPE_CHECKING:
    from collections.abc import Iterator

DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"


@attrs.frozen
class WantedCall:
    """A tool that the simulated model wants to be called."""

    id: str
    name: str
    arguments: str

    @property
    def pieces(self) -> list[str]:
        """The arguments as they are streamed."""
        return re.findall(r"(?s).{1,12}", self.arguments)


@attrs.frozen
class _StreamOptions:
    include_usage: bool | None = None


@attrs.frozen
class _Message:
    role: str
    content: str | list[dict[str, Any]] | None = None


@attrs.frozen
class ChatCall:
    """The part of a chat completion's request that is looked at."""

    model: str
    messages: list[_Message]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    tools: list[dict[str, Any]] | None = None

    @property
    def wants_usage(self) -> bool:
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    @property
    def prompts(self) -> list[Prompt]:
        return [Prompt(message.role, text_of(message.content)) for message in self.messages]

    def writer(self, id: str, model: str, created: int) -> Writer:  # noqa: A002  the form's own word
        return Writer(id, model, created)


def read_chat_call(body: bytes) -> ChatCall:
    """Raises ValueError with a sentence that names the field."""
    try:
        return msgspec.json.decode(body, type=ChatCall)
    except RecursionError:
        raise ValueError("the body is nested too deeply") from None


def text_of(content: str | list[dict[str, Any]] | None) -> str:
    if isinstance(content, list):
        return "\n".join(part["text"] for part in content if isinstance(part.get("text"), str))
    return content or ""


def event(document: object) -> bytes:
    """One event of the stream."""
    return b"data: " + msgspec.json.encode(document) + b"\n\n"


@attrs.frozen
class Writer:
    """Words one answer: everything that its chunks have in common."""

    id: str
    model: str
    created: int

    def chunk(self, delta: dict[str, str], finish_reason: str | None = None) -> bytes:
        return self._choice(delta, finish_reason)

    def _choice(self, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return event({**self._head("chat.completion.chunk"), "choices": [choice]})

    def opening(self) -> bytes:
        return self.chunk({"role": "assistant", "content": ""})

    def text(self, token: str) -> bytes:
        return self.chunk({"content": token})

    def tool_calls(self, calls: list[WantedCall]) -> Iterator[bytes]:
        """Each call begun by its name, and then its arguments, a few characters a chunk."""
        for index, call in enumerate(calls):
            begun = {
                "index": index,
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": ""},
            }
            yield self._choice({"tool_calls": [begun]})
            for piece in call.pieces:
                yield self._choice({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})

    def ending(self, finish_reason: str, usage: tuple[int, int] | None, text: str) -> Iterator[bytes]:
        """What closes a good answer, but for `done`; `usage` is left out where it is None."""
        del text
        yield self.chunk({}, finish_reason)
        if usage is not None:
            yield self.usage(*usage)

    @property
    def done(self) -> bytes:
        return DONE

    def broken(self) -> bytes:
        return b'data: {"choices": [{"index": 0, "delta"\n\n'

    def bad_utf8(self) -> bytes:
        return b'data: {"choices": [{"index": 0, "delta": {"content": "\xff\xfe"}}]}\n\n'

    def error(self, message: str, code: str | None) -> bytes:
        return event(error_body(message, "server_error", code))

    def usage(self, prompt_tokens: int, completion_tokens: int) -> bytes:
        usage = _usage(prompt_tokens, completion_tokens)
        return event({**self._head("chat.completion.chunk"), "choices": [], "usage": usage})

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
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if calls:
            message["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in calls
            ]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}
        document: dict[str, Any] = {**self._head("chat.completion"), "choices": [choice]}
        if with_usage:
            document["usage"] = _usage(prompt_tokens, completion_tokens)
        return msgspec.json.encode(document)

    def _head(self, form: str) -> dict[str, Any]:
        return {"id": self.id, "object": form, "created": self.created, "model": self.model}


def _usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def error_body(message: str, kind: str, code: str | None) -> dict[str, Any]:
    """An error as a provider words it."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}
