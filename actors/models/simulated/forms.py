"""The forms of an OpenAI-compatible server: requests in, chunks, whole answers and errors out."""

from __future__ import annotations

from typing import Any

import attrs
import msgspec

from actors.models.simulated.brain import Prompt

DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"


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

    @property
    def wants_usage(self) -> bool:
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    @property
    def prompts(self) -> list[Prompt]:
        return [Prompt(message.role, _text(message.content)) for message in self.messages]


def read_chat_call(body: bytes) -> ChatCall:
    """Raises ValueError with a sentence that names the field."""
    try:
        return msgspec.json.decode(body, type=ChatCall)
    except RecursionError:
        raise ValueError("the body is nested too deeply") from None


def _text(content: str | list[dict[str, Any]] | None) -> str:
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
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return event({**self._head("chat.completion.chunk"), "choices": [choice]})

    def usage(self, prompt_tokens: int, completion_tokens: int) -> bytes:
        usage = _usage(prompt_tokens, completion_tokens)
        return event({**self._head("chat.completion.chunk"), "choices": [], "usage": usage})

    def whole(
        self, text: str, finish_reason: str | None, prompt_tokens: int, completion_tokens: int, *, with_usage: bool
    ) -> bytes:
        message = {"role": "assistant", "content": text}
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
