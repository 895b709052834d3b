"""What an agent at work gives the tools that it calls: its own, and the way to another agent."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

from actors.agents.tool_context import CHILD_CALLS, tool_context
from actors.artifacts.store import ArtifactMissing, Artifacts
from actors.models.tools import ToolCall
from actors.tools.context import ToolContext, ToolProblem
from actors.tools.toolbox import ToolBox
from actors.workflows.messages import ChildAnswered, Situation, StartChildAgent
from runtime import Actor, Refused, Spec, open_system
from tests.support.users_system import virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

ONE_ANSWER = 10.0


class Run(Actor):
    """Answers what the test says; None: not at all."""

    def __init__(self, answer: Any, heard: list[Any]) -> None:
        self._answer = answer
        self._heard = heard

    async def receive(self, message: Any) -> object:
        self._heard.append(message)
        if self._answer is None:
            self.defer()
        return self._answer


@asynccontextmanager
async def context(answer: Any, box: ToolBox | None = None) -> AsyncIterator[tuple[ToolContext, list[Any]]]:
    heard: list[Any] = []
    async with open_system(Spec("root", lambda: Run(answer, heard))) as system:
        situation = Situation(system.ref("/"), "r1", "ada", "second", 3, "Do it.", "A shop")
        yield (
            tool_context(situation, box or ToolBox(), ("first",), ToolCall("c7", "start_agent", "{}"), ONE_ANSWER),
            heard,
        )


def ask(answer: Any, check: Callable[[str | ToolProblem, list[Any]], None]) -> None:
    """Start a child, where the run answers so."""

    async def main() -> None:
        async with context(answer) as (given, heard):
            assert given.start_child is not None
            try:
                came = await given.start_child("critic", "Look.")
            except ToolProblem as problem:
                check(problem, heard)
            else:
                check(came, heard)

    virtual(main)


def test_the_answer_of_the_child_is_given_to_the_tool() -> None:
    def check(came: Any, heard: list[Any]) -> None:
        assert came == "It is wrong."
        assert heard == [StartChildAgent("second", 3, "c7", "critic", "Look.")]

    ask(ChildAnswered("It is wrong.", "Critic has finished."), check)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (ChildAnswered(None, "Critic was cancelled."), "The agent has given no answer: Critic was cancelled."),
        (Refused("There is no agent of this name."), "There is no agent of this name."),
        ("something else", "No other agent can be started here."),
        (True, "No other agent can be started here."),
    ],
)
def test_where_there_is_no_answer_the_model_is_told_why(answer: Any, said: str) -> None:
    ask(answer, lambda came, _: assert_problem(came, said))


def assert_problem(came: Any, said: str) -> None:
    assert isinstance(came, ToolProblem)
    assert str(came) == said


def test_a_run_that_does_not_answer_is_not_waited_for_for_ever() -> None:
    async def main() -> None:
        async with context(None) as (given, _):
            assert given.start_child is not None
            began = trio.current_time()
            with pytest.raises(ToolProblem, match="No other agent"):
                await given.start_child("critic", "Look.")
            assert trio.current_time() - began == pytest.approx(ONE_ANSWER * CHILD_CALLS, abs=1)

    virtual(main)


def test_a_tool_is_given_what_is_its_callers_and_no_more(tmp_path: Path) -> None:
    async def main() -> None:
        store, memory = Artifacts(tmp_path), object()
        for user, run_id, step in (
            ("ada", "r1", "first"),
            ("ada", "r1", "third"),
            ("ada", "r2", "first"),
            ("eve", "r1", "first"),
        ):
            store.write(user, run_id, step, "note.md", f"{user} {run_id} {step}".encode())
        box = ToolBox(artifacts=store, memory=memory)  # type: ignore[arg-type]  # only handed on
        async with context(None, box) as (given, _):
            assert (given.user, given.run_id, given.step, given.attempt) == ("ada", "r1", "second", 3)
            assert given.tool_call_id == "c7"
            assert given.memory is memory
            assert given.shelf.read("note.md") == b"ada r1 first"
            with pytest.raises(ArtifactMissing):
                given.shelf.read("note.md", "third")

    virtual(main)
