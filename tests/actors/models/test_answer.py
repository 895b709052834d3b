from __future__ import annotations

import json
from typing import Any

import pytest

from actors.models.answer import Answer
from actors.models.chat import ToolCall
from actors.models.failure import AnswerBroken


def chunk(delta: dict[str, Any] | None = None, **choice: Any) -> str:
    if delta is not None:
        choice["delta"] = delta
    return json.dumps({"model": "m", "choices": [{"index": 0, **choice}]})


def taken(*chunks: str, characters: int = 1000) -> Answer:
    answer = Answer(characters)
    for data in chunks:
        answer.take(data)
    return answer


def broken(*chunks: str, characters: int = 1000) -> AnswerBroken:
    with pytest.raises(AnswerBroken) as caught:
        taken(*chunks, characters=characters)
    return caught.value


def test_adds_up_text_and_finish_reason():
    answer = taken(chunk({"content": "a"}), chunk({"content": "b"}), chunk({}, finish_reason="stop"))
    assert (answer.text, answer.finish_reason, answer.model) == ("ab", "stop", "m")


def test_only_content_is_content():
    answer = Answer(1000)
    for data in (chunk({"role": "assistant", "content": ""}), chunk({}), chunk(), chunk({"content": None})):
        assert not answer.take(data).content
    for delta in ({"content": "a"}, {"reasoning_content": "a"}, {"reasoning": "a"}, {"refusal": "a"}):
        assert answer.take(chunk(delta)).content
    assert answer.text == "a"


@pytest.mark.parametrize(
    "data",
    [
        "123", "[]", '"x"', "null", "nope", "", '{"foo": 1}', '{"choices": 5}', '{"choices": [5]}',
        '{"choices": [{"delta": 5}]}', '{"choices": [{"delta": {"content": 5}}]}', '{"choices": [{"delta": {"content"',
        '{"choices": [{"index": "a", "delta": {}}]}', '{"choices": null}', "[" * 10_000, '{"x":' * 10_000,
        '{"choices": [{"delta": {"content": "\\ud83d"}}]}', '{"choices": [], "usage": 5}',
    ],
)  # fmt: skip
def test_wrong_shape_is_malformed(data: str):
    assert broken(data).kind == "malformed"


def test_text_before_a_broken_chunk_is_kept_and_that_of_the_chunk_is_not():
    answer = taken(chunk({"content": "a"}))
    with pytest.raises(AnswerBroken):
        answer.take(chunk({"content": "b"}, finish_reason="content_filter"))
    assert answer.text == "a"
    assert answer.finish_reason is None


def test_usage_comes_beside_or_after_the_choices():
    usage = {"prompt_tokens": 3, "completion_tokens": 4}
    assert taken(json.dumps({"choices": [], "usage": usage})).counted == (3, 4)
    assert taken(json.dumps({"choices": None, "usage": usage})).counted == (3, 4)
    assert taken(json.dumps({"choices": [], "usage": {"prompt_tokens": 3}})).counted is None
    assert taken(json.dumps({"choices": [], "usage": {**usage, "prompt_tokens": -1}})).counted is None
    assert taken(json.dumps({"choices": [], "usage": None})).counted is None


def test_content_filter_and_refusal_are_content_policy():
    assert broken(chunk({}, finish_reason="content_filter")).kind == "content_policy"
    assert broken(chunk({"refusal": "I will not."}), chunk({}, finish_reason="stop")).kind == "content_policy"
    assert taken(chunk({"refusal": "x", "content": "a"}), chunk({}, finish_reason="stop")).finish_reason == "stop"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ('{"error": {"message": "no", "code": "server_error"}}', ""),
        ('{"error": "overloaded"}', ""),
        ('{"choices": [], "message": "no"}', "error"),
    ],
)
def test_an_error_event_is_the_providers_error(data: str, name: str):
    with pytest.raises(AnswerBroken) as caught:
        Answer(10).take(data, name)
    assert caught.value.kind == "server_error"
    assert caught.value.error


def test_an_empty_error_beside_choices_is_none():
    assert taken('{"error": null, "choices": []}', '{"error": {}, "choices": []}').text == ""


def test_other_choices_and_what_follows_the_end_are_passed_over():
    answer = taken(
        json.dumps({"choices": [{"index": 1, "delta": {"content": "x"}}, {"index": 0, "delta": {"content": "a"}}]}),
        chunk({}, finish_reason="stop"),
        chunk({"content": "late"}),
    )
    assert answer.text == "a"


def test_collects_tool_calls_from_pieces():
    def call(**part: Any) -> str:
        return chunk({"tool_calls": [part]})

    answer = taken(
        call(index=1, id="b", function={"name": "second", "arguments": ""}),
        call(index=0, id="a", function={"name": "first", "arguments": '{"x"'}),
        call(index=0, function={"name": "first", "arguments": ":1}"}),
        call(index=2, id="nameless"),
        chunk({}, finish_reason="tool_calls"),
    )
    assert answer.tool_calls == (ToolCall("a", "first", '{"x":1}'), ToolCall("b", "second", ""))
    assert sorted(answer.written) == sorted('firstsecond{"x":1}')


def test_a_tool_call_without_index_is_known_by_its_place():
    answer = taken(chunk({"tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{}"}}]}))
    assert answer.tool_calls == (ToolCall("a", "f", "{}"),)


@pytest.mark.parametrize("index", [-1, 128])
def test_a_tool_call_out_of_bounds_is_malformed(index: int):
    assert broken(chunk({"tool_calls": [{"index": index}]})).kind == "malformed"


def test_the_answer_is_bounded_whatever_it_is_made_of():
    assert broken(chunk({"content": "x" * 11}), characters=10).kind == "malformed"
    assert broken(chunk({"reasoning": "x" * 11}), characters=10).kind == "malformed"
    calls = {"tool_calls": [{"index": 0, "function": {"arguments": "x" * 11}}]}
    assert broken(chunk(calls), characters=10).kind == "malformed"
    assert taken(chunk({"content": "x" * 10}), characters=10).text == "x" * 10
