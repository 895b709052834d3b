"""How each failure of a tool is told: to people by the catalogue, to the model with its cause."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest

from actors.agents.conversation import Conversation
from actors.agents.rounds import Rounds
from actors.models.chat import ChatMessage
from actors.models.model_call import CallResult, ModelCall
from actors.models.tools import ToolCall
from actors.protocol.catalogue import CATALOGUE, Failure
from actors.tools.context import ToolContext, ToolProblem
from actors.tools.definitions import tool_from
from actors.tools.outcome import Outcome, overdue
from actors.tools.toolbox import ToolBox
from actors.workflows.messages import UsedTool
from runtime import TaskEnded


def double(number: int) -> int:
    """Twice the number."""
    return 2 * number


@attrs.define(eq=False)
class Hand:
    """The actor's part: the model wants one call and then answers; the tool comes to `error`, or takes too long."""

    wanted: ToolCall
    error: Exception | None
    written: list[str] = attrs.field(factory=list)
    asked: list[ModelCall] = attrs.field(factory=list)
    used: list[UsedTool] = attrs.field(factory=list)

    async def may_call(self) -> None:
        pass

    async def ask(self, call: ModelCall) -> CallResult:
        self.asked.append(call)
        first = len(self.asked) == 1
        return CallResult(
            text="" if first else "Done.", degraded=False, partial=False, truncated=False, target="lead", model="gpt",
            usage=None, tool_calls=(self.wanted,) if first else (), duration=1.0, attempts=(),
        )  # fmt: skip

    async def surely(self, kind: Any, *values: Any) -> None:
        if kind is UsedTool:
            self.used.append(kind("step", 1, *values))

    async def carry_out(self, tool: Any, values: Any, context: Any) -> TaskEnded | Outcome:
        del values, context
        if self.error is None:
            return overdue(tool.name, tool.timeout)
        return TaskEnded(None, error=self.error)  # type: ignore[arg-type]

    def context(self, call: ToolCall) -> ToolContext:
        return ToolContext("ada", "r1", "step", 1, call.id)

    def new_paragraph(self) -> None:
        pass


@pytest.mark.parametrize(
    ("name", "arguments", "error", "failure", "cause"),
    [
        ("triple", "{}", None, Failure.TOOL_UNKNOWN, "double"),
        ("double", '{"number": "two"}', None, Failure.TOOL_INPUT, "number"),
        ("double", '{"number": ', None, Failure.TOOL_INPUT, "JSON"),
        ("double", '{"number": 2}', None, Failure.TOOL_TIMEOUT, "did not end"),
        ("double", '{"number": 2}', ToolProblem("Only odd ones."), Failure.TOOL, "Only odd ones."),
        ("double", '{"number": 2}', ZeroDivisionError("by zero"), Failure.TOOL, "ZeroDivisionError"),
    ],
)
async def test_a_failure_is_typed_for_the_model_and_worded_for_people(
    name: str, arguments: str, error: Exception | None, failure: Failure, cause: str
) -> None:
    hand = Hand(ToolCall("c", name, arguments), error)
    tools = {"double": tool_from(double, name="double", timeout=2.0)}
    question = ModelCall(("lead",), (ChatMessage("user", "u"),), "ada", "r1", {})
    await Rounds(hand, tools, ToolBox()).answer(question, Conversation(lambda _: question.messages, 16_000, ()))
    [used] = hand.used
    assert used.error == CATALOGUE[failure].sentence
    told = json.loads(hand.asked[1].messages[-1].content)["error"]
    assert told["type"] == failure
    assert cause in told["message"]
