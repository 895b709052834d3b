"""What an agent at work gives the tools that it calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actors.tools.context import ToolContext, ToolProblem
from actors.workflows.messages import ChildAnswered, StartChildAgent
from runtime import ActorError, Refused

if TYPE_CHECKING:
    from actors.models.tools import ToolCall
    from actors.tools.toolbox import ToolBox
    from actors.workflows.messages import Situation

CHILD_CALLS: Final = 20
"""A child agent may take as long as so many answers of a model; the tool's own timeout is usually shorter."""


def tool_context(
    situation: Situation, box: ToolBox, parents: tuple[str, ...], call: ToolCall, one_answer: float
) -> ToolContext:
    """The context of a call.

    Args:
        situation: for which attempt.
        box: what there is.
        parents: the steps whose artifacts may be read.
        call: which call.
        one_answer: seconds that one answer of a model may take.
    """

    async def start_child(agent: str, mission: str) -> str:
        order = StartChildAgent(situation.step, situation.attempt, call.id, agent, mission)
        try:
            answered = await situation.run.ask(order, one_answer * CHILD_CALLS)
        except Refused as refused:
            raise ToolProblem(str(refused.reason)) from None
        except ActorError:
            answered = None
        if not isinstance(answered, ChildAnswered):
            raise ToolProblem("No other agent can be started here.")
        if answered.text is None:
            raise ToolProblem(f"The agent has given no answer: {answered.sentence}")
        return answered.text

    return ToolContext(
        user=situation.user,
        run_id=situation.run_id,
        step=situation.step,
        attempt=situation.attempt,
        tool_call_id=call.id,
        artifacts=box.shelf(situation.user, situation.run_id, situation.step, parents),
        memory=box.memory,
        start_child=start_child,
    )
