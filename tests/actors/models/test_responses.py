"""Responses: what their events add up to, what is sent, and the same answer by both APIs."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest

from actors.models.answer import chat_body
from actors.models.chat import ChatMessage, ChatRequest, StreamLimits, Tool, ToolCall
from actors.models.failure import AnswerBroken, classify
from actors.models.responses import ResponsesAnswer, responses_body, responses_parameters
from actors.models.stream import stream_chat

CALL = {"type": "function_call", "call_id": "c1", "name": "look", "arguments": ""}


def event(kind: str, **fields: Any) -> str:
    return json.dumps({"type": kind, **fields})


def delta(text: str, kind: str = "response.output_text.delta", **fields: Any) -> str:
    return event(kind, delta=text, **fields)


def completed(**response: Any) -> str:
    return event("response.completed", response={"model": "m", **response})


def taken(*events: str, characters: int = 1000) -> ResponsesAnswer:
    answer = ResponsesAnswer(characters)
    for data in events:
        answer.take(data)
    return answer


def broken(*events: str, characters: int = 1000, name: str = "") -> AnswerBroken:
    answer = ResponsesAnswer(characters)
    with pytest.raises(AnswerBroken) as caught:
        for data in events:
            answer.take(data, name)
    return caught.value


def test_text_usage_and_the_end():
    usage = {"input_tokens": 3, "output_tokens": 4}
    answer = taken(event("response.created", response={"model": "m"}), delta("a"), delta("b"), completed(usage=usage))
    assert (answer.text, answer.finish_reason, answer.model, answer.counted) == ("ab", "stop", "m", (3, 4))
    assert answer.over
    assert not taken(delta("a")).over


def test_only_content_is_content():
    answer = ResponsesAnswer(1000)
    noise = ("response.queued", "response.in_progress", "response.output_text.done", "response.of_next_year", "ping")
    assert not any(answer.take(event(kind)).content for kind in noise)
    thoughts = ("response.reasoning_text.delta", "response.reasoning_summary_text.delta", "response.refusal.delta")
    assert all(answer.take(delta("x", kind)).content for kind in thoughts)
    assert answer.text == ""
    assert answer.take("[DONE]").content is False
    assert answer.over


@pytest.mark.parametrize(
    "data",
    ["123", "[]", "null", "nope", "", '{"foo": 1}', '{"type": 5}', delta("x")[:20], "[" * 10_000,
     event("response.output_text.delta"), event("response.output_text.delta", delta=5),
     event("response.completed", response=5), event("response.output_item.added", item=[1]),
     event("response.function_call_arguments.delta", delta="{", output_index=-1),
     event("response.function_call_arguments.delta", delta="{", output_index=10_000)],
)  # fmt: skip
def test_wrong_shape_is_malformed(data: str):
    assert broken(data).kind == "malformed"


def test_the_answer_is_bounded():
    assert broken(delta("abc"), delta("de"), characters=4).kind == "malformed"
    arguments = event("response.function_call_arguments.done", output_index=1, arguments="x" * 9)
    assert broken(arguments, characters=8).kind == "malformed"


@pytest.mark.parametrize(
    ("data", "name", "kind"),
    [
        (event("response.failed", response={"error": {"code": "server_error", "message": "x"}}), "", "server_error"),
        (event("response.failed", response={"error": {"code": "rate_limit_exceeded"}}), "", "rate_limit"),
        (event("response.failed"), "", "server_error"),
        (event("error", code="insufficient_quota", message="x"), "", "configuration"),
        (event("error", error={"code": "invalid_api_key"}), "error", "configuration"),
        ("not json", "error", "server_error"),
        (event("response.incomplete", response={"incomplete_details": {"reason": "content_filter"}}), "",
         "content_policy"),
        (event("response.incomplete", response={}), "", "truncated"),
    ],
)  # fmt: skip
def test_what_ends_it_is_judged(data: str, name: str, kind: str):
    assert classify(broken(data, name=name), wall_time=0).kind == kind


def test_length_and_refusal():
    cut = taken(
        delta("a"), event("response.incomplete", response={"incomplete_details": {"reason": "max_output_tokens"}})
    )
    assert (cut.finish_reason, cut.text) == ("length", "a")
    assert broken(delta("I will not", "response.refusal.delta"), completed()).kind == "content_policy"


def test_tool_calls_are_collected_and_the_whole_arguments_are_the_truth():
    answer = taken(
        event("response.output_item.added", output_index=1, item=CALL),
        event("response.output_item.added", output_index=0, item={"type": "message", "content": []}),
        event("response.function_call_arguments.delta", output_index=1, delta='{"a"'),
        event("response.function_call_arguments.done", output_index=1, arguments='{"a": 1}'),
        event("response.output_item.done", output_index=1, item={**CALL, "arguments": '{"a": 1}'}),
        event("response.output_item.done", output_index=2, item={**CALL, "call_id": "c2", "name": "find"}),
        completed(),
    )
    assert answer.finish_reason == "tool_calls"
    assert answer.tool_calls == (ToolCall("c1", "look", '{"a": 1}'), ToolCall("c2", "find", ""))
    assert answer.written == 'look{"a": 1}find'


def test_tool_calls_of_an_answer_cut_at_its_length_are_not_to_be_called():
    answer = taken(
        event("response.output_item.added", output_index=1, item=CALL),
        event("response.function_call_arguments.delta", output_index=1, delta='{"a"'),
        event("response.incomplete", response={"incomplete_details": {"reason": "max_output_tokens"}}),
    )
    assert answer.tool_calls == ()


LOOK = Tool("look", "Looks.", {"type": "object", "properties": {"at": {"type": "string"}}})
HISTORY = (
    ChatMessage("system", "You look."),
    ChatMessage("user", "Look!"),
    ChatMessage("assistant", "", (ToolCall("c1", "look", '{"at": "x"}'),)),
    ChatMessage("tool", "nothing", tool_call_id="c1"),
)


def test_what_is_sent_by_responses():
    body = responses_body(ChatRequest("m", HISTORY, {"max_tokens": 7, "temperature": 1}, (LOOK,), "responses"))
    assert body["store"] is False
    assert body["input"] == [
        {"role": "system", "content": "You look."},
        {"role": "user", "content": "Look!"},
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": '{"at": "x"}'},
        {"type": "function_call_output", "call_id": "c1", "output": "nothing"},
    ]
    [tool] = body["tools"]
    assert (tool["type"], tool["name"], tool["parameters"]) == ("function", "look", LOOK.parameters)
    request = ChatRequest("m", (), {"max_tokens": 7, "temperature": 1})
    assert responses_parameters(request) == {"max_output_tokens": 7, "temperature": 1}
    assert "tools" not in responses_body(request)


def test_what_is_sent_by_chat_completions():
    body = chat_body(ChatRequest("m", HISTORY, {}, (LOOK,)))
    assert body["messages"][2:] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": "x"}'}}],
        },
        {"role": "tool", "content": "nothing", "tool_call_id": "c1"},
    ]
    [tool] = body["tools"]
    assert tool == {
        "type": "function",
        "function": {"name": "look", "description": "Looks.", "parameters": LOOK.parameters},
    }
    assert ChatRequest("m", (), {}, (LOOK,)).prompt_tokens > ChatRequest("m", ()).prompt_tokens


@pytest.mark.parametrize("stream_tools", [(), (LOOK,)])
async def test_both_apis_give_the_same_answer(simulated: Any, connect: Any, ask: Any, stream_tools: Any):
    _, url = await simulated()
    request = attrs.evolve(ask(), tools=stream_tools)
    async with connect(url) as client:
        chat = await stream_chat(client, request, StreamLimits(), len)
        responses = await stream_chat(client, attrs.evolve(request, api="responses"), StreamLimits(), len)
    assert chat.text == responses.text
    assert chat.usage == responses.usage
    assert not responses.usage.estimated
    assert (chat.model, chat.finish_reason) == (responses.model, responses.finish_reason)
