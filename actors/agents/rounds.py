"""From a question to an answer over tools: the model is asked, what it wants is called, and it is asked again.

Runs as one coroutine in the task of the agent's actor. The calls of one answer are carried out one after another, in
the model's order: a pause takes effect before each, what one of them does the next can build on, and the log reads as
it happened. Rejected: all at once. What is worth doing at once is worth steps of a workflow.

Each call is told before it begins and when it has ended, whatever became of it. What is cut off from outside (the run
is cancelled, the actor crashes, the daemon is killed) is closed in the log by the run, from its record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import attrs
import trio

from actors.agents.history import round_of, total, with_own_ids
from actors.protocol.catalogue import Failure
from actors.protocol.event_types import ToolStatus
from actors.tools import outcome
from actors.tools.context import ToolContext
from actors.tools.counts import CANCELLED, end_of
from actors.tools.definitions import BadArguments
from actors.tools.sanitising import shown_input, shown_text
from actors.workflows.messages import UsedTool, UsingTool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actors.agents.conversation import Conversation
    from actors.models.chat import Usage
    from actors.models.model_call import CallResult, ModelCall
    from actors.models.tools import ToolCall
    from actors.tools.definitions import ToolDefinition
    from actors.tools.outcome import Outcome
    from actors.tools.toolbox import ToolBox
    from runtime import TaskEnded

MOST_OF_A_NAME = 64
"""Characters: of a tool's name that a model has made up."""
LONGEST_LOGGED = 300


class NoEnd(Exception):
    """The model goes on asking for tools where there are no more rounds, and has written nothing."""


class Hands(Protocol):
    """What the agent's actor does for this."""

    @property
    def written(self) -> list[str]:
        """All text so far."""

    async def may_call(self) -> None:
        """Returns when the next call, of a model or a tool, may be made."""

    async def ask(self, call: ModelCall) -> CallResult:
        """Ask the model, and pass on what it writes."""

    async def surely(self, kind: Callable[..., Any], *values: Any) -> None:
        """Tell the run; returns when it has taken it."""

    async def carry_out(
        self, tool: ToolDefinition, values: Mapping[str, Any], context: ToolContext
    ) -> TaskEnded | Outcome:
        """Run a tool in a task of its own, for as long as it may take: how that ended, or why it is over without."""

    def context(self, call: ToolCall) -> ToolContext:
        """What a tool is given."""

    def new_paragraph(self) -> None:
        """What is written from now on belongs to another call of the model."""


class Rounds:
    """Args:
    hands: the agent's actor.
    tools: those that the model is offered, by name.
    box: how many rounds, and where operators read.
    """

    def __init__(self, hands: Hands, tools: Mapping[str, ToolDefinition], box: ToolBox) -> None:
        self._hands = hands
        self._tools = tools
        self._box = box
        self._seen: set[str] = set()

    async def answer(self, first: ModelCall, conversation: Conversation) -> CallResult:
        """The answer: its text is all that was written in all rounds, its usage that of all calls of the model.

        `conversation` holds what `first` asks, and takes each round.

        Raises:
            CallFailed: no model can answer this.
            NoEnd: see there.
        """
        hands = self._hands
        call = attrs.evolve(first, tools=tuple(tool.offered for tool in self._tools.values()))
        usage: Usage | None = None
        before: CallResult | None = None
        number = 0
        while True:
            await hands.may_call()
            result = await hands.ask(call)
            usage = total(usage, result.usage)
            if before is not None and result.text is None and hands.written:
                # What was written stays, and says that it broke off: it cannot be taken back.
                return attrs.evolve(before, text="".join(hands.written), partial=True, usage=usage, tool_calls=())
            over = number >= self._box.rounds
            if result.tool_calls and over and not hands.written:
                raise NoEnd
            if not result.tool_calls or over:
                text = result.text if before is None else "".join(hands.written) or result.text
                cut = bool(result.tool_calls)
                return attrs.evolve(result, text=text, usage=usage, partial=result.partial or cut, tool_calls=())
            number += 1
            calls = with_own_ids(result.tool_calls, self._seen)
            said = {wanted.id: (await self._call(wanted)).said for wanted in calls}
            conversation.add(round_of(result.text or "", calls, said))
            if result.text:
                hands.new_paragraph()
            call = attrs.evolve(
                call,
                messages=conversation.messages(),
                keep_to=result.target if hands.written else None,
                # Tools stay offered: providers refuse a conversation with calls of tools that they are not told of.
                parameters={**call.parameters, **({"tool_choice": "none"} if number >= self._box.rounds else {})},
            )
            before = result

    async def _call(self, call: ToolCall) -> Outcome:
        hands = self._hands
        await hands.may_call()
        began = trio.current_time()
        name = call.name[:MOST_OF_A_NAME]
        shown = shown_input(call.input or {})
        await hands.surely(UsingTool, call.id, name, shown.value, shown.truncated)
        counted = CANCELLED
        try:
            ended = await self._carried_out(call)
            counted = end_of(ended.failure)
        finally:
            self._box.counts.ended(call.name, counted, trio.current_time() - began)
        duration = int((trio.current_time() - began) * 1000)
        output = ended.shown
        await hands.surely(
            UsedTool,
            call.id,
            name,
            ended.status,
            duration,
            None if output is None else output.value,
            ended.sentence,
            output is not None and output.truncated,
        )
        if ended.status is not ToolStatus.SUCCESS and self._box.log is not None:
            why, where = shown_text(ended.said, LONGEST_LOGGED), self._hands.context(call)
            log = self._box.log.bind(run_id=where.run_id, step=where.step, attempt=where.attempt)
            log.warning("tool failed", tool=name, failure=ended.failure, detail=why, duration_ms=duration)
        return ended

    async def _carried_out(self, call: ToolCall) -> Outcome:
        tool = self._tools.get(call.name)
        if tool is None:
            known = ", ".join(self._tools) or "none"
            return outcome.failed(Failure.TOOL_UNKNOWN, f"There is no tool of this name. There are: {known}.")
        try:
            values = tool.read(call)
        except BadArguments as error:
            return outcome.failed(Failure.TOOL_INPUT, str(error))
        ended = await self._hands.carry_out(tool, values, self._hands.context(call))
        if isinstance(ended, outcome.Outcome):
            return ended
        if ended.error is not None:
            return outcome.raised(ended.error)
        return outcome.CANCELLED if ended.cancelled else outcome.gave(ended.value)
