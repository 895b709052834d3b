"""The loop over tools: order, rounds, and what an answer is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from actors.agents.conversation import Conversation
from actors.agents.rounds import NoEnd, Rounds
from actors.models.chat import ChatMessage, Usage
from actors.models.model_call import CallResult, ModelCall
from actors.models.tools import ToolCall
from actors.protocol.event_types import ToolStatus
from actors.tools.context import ToolContext
from actors.tools.counts import ToolCounts
from actors.tools.definitions import ToolDefinition, tool_from
from actors.tools.outcome import Outcome, overdue
from actors.tools.toolbox import ToolBox
from actors.workflows.messages import UsedTool, UsingTool
from runtime import TaskEnded

QUESTION = ModelCall(("lead",), (ChatMessage("user", "u"),), "ada", "r1", {"temperature": 1})


def echo(text: str, password: str = "") -> str:
    """Say it."""
    return f"{text}{password}"


def calls(*texts: str) -> tuple[ToolCall, ...]:
    return tuple(ToolCall("c", "echo", f'{{"text": "{text}", "password": "hidden"}}') for text in texts)


def result(text: str | None = "", wanted: tuple[ToolCall, ...] = (), **more: Any) -> CallResult:
    values: dict[str, Any] = {
        "text": text, "degraded": text is None, "partial": False, "truncated": False, "target": "lead", "model": "gpt",
        "usage": Usage(10, 5, estimated=False), "tool_calls": wanted, "duration": 1.0, "attempts": (),
    }  # fmt: skip
    return CallResult(**{**values, **more})


@attrs.define(eq=False)
class Hand:
    """The actor's part: plays these answers, and carries tools out at once."""

    answers: list[CallResult]
    written: list[str] = attrs.field(factory=list)
    asked: list[ModelCall] = attrs.field(factory=list)
    told: list[Any] = attrs.field(factory=list)
    happened: list[str] = attrs.field(factory=list)
    late: bool = False
    cut: bool = False

    async def may_call(self) -> None:
        self.happened.append("may")

    async def ask(self, call: ModelCall) -> CallResult:
        self.happened.append("ask")
        self.asked.append(call)
        answer = self.answers[min(len(self.asked), len(self.answers)) - 1]
        if answer.text:
            self.written.append(answer.text)
        return answer

    async def surely(self, kind: Callable[..., Any], *values: Any) -> None:
        self.told.append(kind("step", 1, *values))

    async def carry_out(
        self, tool: ToolDefinition, values: Mapping[str, Any], context: ToolContext
    ) -> TaskEnded | Outcome:
        self.happened.append(tool.name)
        if self.cut:
            await trio.sleep_forever()
        if self.late:
            return overdue(tool.name, tool.timeout)
        return TaskEnded(None, value=tool.call(values, context))  # type: ignore[arg-type]

    def context(self, call: ToolCall) -> ToolContext:
        return ToolContext("ada", "r1", "step", 1, call.id)

    def new_paragraph(self) -> None:
        self.written.append("|")


def talk() -> Conversation:
    return Conversation(lambda _: QUESTION.messages, 16_000, ())


async def play(hand: Hand, rounds: int = 16, counts: ToolCounts | None = None) -> CallResult:
    tools = {"echo": tool_from(echo)}
    box = ToolBox(tools, rounds=rounds, counts=counts or ToolCounts())
    return await Rounds(hand, tools, box).answer(QUESTION, talk())


async def test_calls_are_carried_out_in_the_models_order_and_a_pause_is_looked_for_before_each() -> None:
    hand = Hand([result("I look. ", calls("a", "b")), result("", calls("c")), result("Done.")])
    answer = await play(hand)
    assert hand.happened == ["may", "ask", *["may", "echo"] * 2, "may", "ask", "may", "echo", "may", "ask"]
    assert answer.text == "I look. |Done."
    assert answer.usage == Usage(30, 15, estimated=False)
    assert [message.role for message in hand.asked[-1].messages] == [
        "user",
        "assistant",
        "tool",
        "tool",
        "assistant",
        "tool",
    ]
    said = [message.content for message in hand.asked[-1].messages if message.role == "tool"]
    assert said == ["ahidden", "bhidden", "chidden"], "exactly what the tools gave"
    assert [type(message) for message in hand.told] == [UsingTool, UsedTool] * 3
    ids = [message.tool_call_id for message in hand.told]
    assert len(set(ids)) == 3
    assert "hidden" not in str([message.tool_input for message in hand.told if isinstance(message, UsingTool)])
    assert [call.keep_to for call in hand.asked] == [None, "lead", "lead"]
    assert [tool.name for tool in hand.asked[0].tools] == ["echo"]


async def test_after_the_last_round_the_model_has_to_do_without() -> None:
    hand = Hand([result("", calls("a"))] * 2 + [result("Without.")])
    assert (await play(hand, rounds=2)).text == "Without."
    assert [call.parameters.get("tool_choice") for call in hand.asked] == [None, None, "none"]
    assert hand.asked[-1].parameters["temperature"] == 1
    with pytest.raises(NoEnd):
        await play(Hand([result("", calls("a"))]), rounds=2)
    hand = Hand([result("So far", calls("a"))])
    answer = await play(hand, rounds=1)
    assert answer.partial
    assert answer.tool_calls == ()
    assert (answer.text or "").startswith("So far")


async def test_what_was_written_stays_where_no_model_goes_on() -> None:
    answer = await play(Hand([result("So far", calls("a")), result(None)]))
    assert (answer.degraded, answer.partial, answer.text) == (False, True, "So far|")
    answer = await play(Hand([result("", calls("a")), result(None)]))
    assert (answer.degraded, answer.text) == (True, None)


async def test_a_tool_that_takes_too_long_is_told_to_the_model_and_to_people() -> None:
    hand = Hand([result("", calls("a")), result("Done.")], late=True)
    await play(hand)
    assert hand.told[-1].status is ToolStatus.TIMEOUT
    assert "tool_timeout" in hand.asked[-1].messages[-1].content


async def test_without_tools_nothing_changes() -> None:
    hand = Hand([result("Text.")])
    assert await Rounds(hand, {}, ToolBox()).answer(QUESTION, talk()) == result("Text.")
    assert hand.asked == [QUESTION]
    await trio.lowlevel.checkpoint()


async def test_each_end_of_a_call_is_counted_under_a_name_of_the_configuration() -> None:
    counts = ToolCounts()
    wanted = (*calls("a"), ToolCall("c", "echo", '{"text": 3}'), ToolCall("c", "made-up", "{}"))
    await play(Hand([result("", wanted), result("Done.")]), counts=counts)
    await play(Hand([result("", calls("a")), result("Done.")], late=True), counts=counts)
    assert dict(counts.ends) == {
        ("echo", "done"): 1,
        ("echo", "invalid_arguments"): 1,
        ("other", "unknown"): 1,
        ("echo", "timed_out"): 1,
    }
    assert sum(counts.durations["echo"].counts) == 2, "only those that were carried out"


async def test_a_call_that_is_cut_off_from_outside_counts_as_cancelled() -> None:
    counts, hand = ToolCounts(), Hand([result("", calls("a"))], cut=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(play, hand, 16, counts)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert dict(counts.ends) == {("echo", "cancelled"): 1}
