"""The conversation over tools: no call in it is ever without its answer."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from actors.agents.history import round_of, total, with_own_ids
from actors.models.chat import ChatMessage, Usage
from actors.models.tools import ToolCall
from actors.tools.outcome import CANCELLED

ids = st.sampled_from(["a", "b", "c", "a-2", "call_1"])
rounds = st.lists(st.tuples(st.text(max_size=3), st.lists(ids, max_size=5), st.sets(st.integers(0, 4))), max_size=6)


@given(rounds)
def test_every_call_is_answered_right_behind_it_in_its_order(played: list[tuple[str, list[str], set[int]]]) -> None:
    messages: tuple[ChatMessage, ...] = (ChatMessage("system", "s"), ChatMessage("user", "u"))
    seen: set[str] = set()
    for text, names, left_out in played:
        calls = with_own_ids((ToolCall(name, "tool", "{}") for name in names), seen)
        said = {call.id: f"said {call.id}" for place, call in enumerate(calls) if place not in left_out}
        messages = (*messages, *round_of(text, calls, said))
    wanted: list[str] = []
    every: list[str] = []
    for message in messages:
        if message.role == "tool":
            assert message.tool_call_id == wanted.pop(0)
            assert message.content in {f"said {message.tool_call_id}", CANCELLED.said}
        else:
            assert wanted == []
            wanted = [call.id for call in message.tool_calls]
            every += wanted
    assert wanted == []
    assert len(every) == len(set(every)) == sum(len(names) for _, names, _ in played)


def test_what_calls_have_cost_is_added() -> None:
    assert total(None, None) is None
    assert total(Usage(1, 2, estimated=False), None) == Usage(1, 2, estimated=False)
    assert total(Usage(1, 2, estimated=False), Usage(10, 20, estimated=True)) == Usage(11, 22, estimated=True)
