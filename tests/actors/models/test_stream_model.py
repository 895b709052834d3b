"""The hook that names the model of an answer before its first text."""

from __future__ import annotations

from typing import Any

import pytest

from actors.models.chat import StreamLimits
from actors.models.stream import stream_chat

NAMELESS = b'data: {"choices":[{"index":0,"delta":{"content":"Well"}}]}\n\n'
NAMED = b'data: {"model":"m","choices":[{"index":0,"delta":{"content":", yes"}}]}\n\n'
ROLE = b'data: {"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
STOP = b'data: {"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"


class Refusing(Exception):
    pass


async def stream(client: Any, request: Any, heard: list[str], on_model: Any) -> Any:
    return await stream_chat(client, request, StreamLimits(), heard.append, on_model=on_model)


async def test_it_is_called_once_and_before_the_first_text(scripted_client: Any, scripted: Any, ask: Any):
    scripted.script = [ROLE, NAMED, NAMED, STOP, DONE]
    heard: list[str] = []
    await stream(scripted_client, ask(), heard, lambda name: heard.append(f"<{name}>"))
    assert heard == ["<m>", ", yes", ", yes"]


async def test_in_one_chunk_with_the_text_it_comes_first(scripted_client: Any, scripted: Any, ask: Any):
    scripted.script = [NAMED, STOP, DONE]
    heard: list[str] = []
    await stream(scripted_client, ask(), heard, lambda name: heard.append(f"<{name}>"))
    assert heard == ["<m>", ", yes"]


async def test_a_name_that_comes_late_is_told_late_and_none_never(scripted_client: Any, scripted: Any, ask: Any):
    scripted.script = [NAMELESS, NAMED, STOP, DONE]
    heard: list[str] = []
    await stream(scripted_client, ask(), heard, lambda name: heard.append(f"<{name}>"))
    assert heard == ["Well", "<m>", ", yes"]
    scripted.script = [NAMELESS, STOP.replace(b'"model":"m",', b""), DONE]
    heard.clear()
    await stream(scripted_client, ask(), heard, lambda name: heard.append(f"<{name}>"))
    assert heard == ["Well"]


async def test_what_it_raises_ends_the_attempt_as_it_is(scripted_client: Any, scripted: Any, ask: Any):
    def refuse(name: str) -> None:
        raise Refusing(name)

    scripted.script = [NAMED, STOP, DONE]
    heard: list[str] = []
    with pytest.raises(Refusing, match="m"):
        await stream(scripted_client, ask(), heard, refuse)
    assert heard == []
    assert scripted.body.closed
