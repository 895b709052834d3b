"""The conversation over tools stays inside its budget, and no call in it is ever without its answer."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from actors.agents.conversation import CUT, LEAST, Conversation, fitted
from actors.agents.definitions import AgentDefinition
from actors.agents.history import round_of
from actors.agents.prompts import EarlierStep, assemble
from actors.models.chat import ChatMessage, ChatRequest
from actors.models.tokens import estimate_tokens
from actors.models.tools import Tool, ToolCall

AGENT = AgentDefinition("tester", "Tester", "You test.")
LOOK = Tool("look", "Looks.", {"type": "object"})
MEGABYTE = "".join(f"{number:07d}\n" for number in range(131072))


def conversation(budget: int = 16_000, earlier: int = 0) -> Conversation:
    steps = [EarlierStep("build", "Developer", "e" * earlier)] if earlier else []

    def prompt(tokens: int) -> list[ChatMessage]:
        return assemble(AGENT, "A brief for a shop.", steps, tokens, estimate=estimate_tokens)

    return Conversation(prompt, budget, [LOOK])


def one(number: int, *results: str, arguments: str = "{}") -> tuple[ChatMessage, ...]:
    calls = tuple(ToolCall(f"{number}-{place}", "look", arguments) for place in range(len(results)))
    return round_of("I look.", calls, dict(zip((call.id for call in calls), results, strict=True)))


def tokens(messages: tuple[ChatMessage, ...]) -> int:
    return ChatRequest("m", messages, {}, (LOOK,)).prompt_tokens


def answered(messages: tuple[ChatMessage, ...]) -> bool:
    wanted: list[str] = []
    for message in messages:
        if message.role == "tool":
            if not wanted or message.tool_call_id != wanted.pop(0):
                return False
        elif wanted:
            return False
        wanted += [call.id for call in message.tool_calls]
    return not wanted


def test_as_long_as_there_is_room_every_result_is_exact() -> None:
    talk = conversation()
    talk.add(one(1, "a" * 20_000, "b"))
    talk.add(one(2, "c" * 20_000))
    messages = talk.messages()
    assert [len(message.content) for message in messages if message.role == "tool"] == [20_000, 1, 20_000]
    assert CUT not in "".join(message.content for message in messages)


@pytest.mark.parametrize("earlier", [0, 400_000])
def test_a_megabyte_again_and_again_stays_inside_the_budget(earlier: int) -> None:
    talk = conversation(earlier=earlier)
    for number in range(16):
        talk.add(one(number, MEGABYTE))
        messages = talk.messages()
        assert tokens(messages) <= 16_000
        assert answered(messages)
        results = [message.content for message in messages if message.role == "tool"]
        assert len(results) == number + 1, "an earlier result says at least how it began and ended"
        assert all(result.startswith("0000000\n") and result.endswith("0131071\n") for result in results)
        assert len(results[-1]) > 16_000, "of the latest there is most"
        assert CUT in results[-1]
        assert "A brief for a shop." in messages[1].content


def test_earlier_answers_give_way_to_what_tools_have_given_up_to_half() -> None:
    talk = conversation(earlier=400_000)
    alone = tokens(talk.messages())
    assert 15_000 < alone <= 16_000
    talk.add(one(1, "x" * 8_000))
    messages = talk.messages()
    assert messages[-1].content == "x" * 8_000
    assert tokens(messages) <= 16_000
    assert estimate_tokens(messages[1].content) > 12_000


def test_where_even_that_is_too_much_the_oldest_rounds_go_and_the_model_is_told() -> None:
    talk = conversation(budget=1_000)
    for number in range(16):
        talk.add(one(number, "y" * 5_000, "z" * 5_000))
    messages = talk.messages()
    assert tokens(messages) <= 1_000
    assert answered(messages)
    assert messages[-1].tool_call_id == "15-1"
    left = sum(message.role == "tool" for message in messages)
    assert f"{CUT} {32 - left} earlier calls of tools" in messages[1].content


def test_what_the_model_wrote_into_its_calls_is_never_cut() -> None:
    arguments = '{"text": "' + "w" * 10_000 + '"}'
    [kept] = fitted([one(1, "x" * 10_000, arguments=arguments)], 100)
    assert kept[0].tool_calls[0].arguments == arguments
    assert len(kept[1].content) < LEAST + 100


played = st.lists(st.lists(st.integers(0, 3_000), min_size=1, max_size=3), min_size=1, max_size=8)


@given(played, st.integers(0, 4_000))
def test_whatever_is_played_it_fits_or_is_as_short_as_it_gets(sizes: list[list[int]], budget: int) -> None:
    rounds = [one(number, *("r" * size for size in of)) for number, of in enumerate(sizes)]
    kept = fitted(rounds, budget)
    messages = tuple(message for taken in kept for message in taken)
    assert answered(messages)
    assert [taken[0] for taken in kept] == [taken[0] for taken in rounds[len(rounds) - len(kept) :]]
    size = sum(4 + estimate_tokens(message.counted) for message in messages)
    if sum(4 + estimate_tokens(message.counted) for taken in rounds for message in taken) <= budget:
        assert kept == rounds
    elif size > budget:
        assert len(kept) == 1
        assert all(len(message.content) < LEAST + 100 for message in messages)


def test_earlier_results_are_shortened_to_one_length_before_the_latest_is_touched() -> None:
    talk = conversation()
    talk.add(one(1, "a" * 60_000, "short"))
    talk.add(one(2, "b" * 40_000))
    talk.add(one(3, "c" * 20_000))
    messages = talk.messages()
    assert tokens(messages) <= 16_000
    first, short, second, latest = [message.content for message in messages if message.role == "tool"]
    assert latest == "c" * 20_000
    assert short == "short"
    assert CUT in first
    assert CUT in second
    assert abs(len(first) - len(second)) < 100
    assert len(first) > 10_000
