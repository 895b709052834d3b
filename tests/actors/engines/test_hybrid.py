"""A hybrid task through engines that answer by a script."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from actors.engines.hybrid import Hybrid
from actors.engines.messages import BadExecution, EngineBusy, EngineResult, Execute
from actors.engines.routing import EngineName
from actors.engines.strategy import Desk, Misfit, Outcome
from actors.protocol.catalogue import Failure
from runtime import Actor, Refused, open_system
from supervisors import ChildSpec, supervise
from tests.support.engines_system import execute

MEMORIES = {"memories": [{"content": "They sell tea."}]}
TASKS = {"tasks": [{"name": "item-1", "result": "Tea is warm."}, {"name": "item-2"}]}
IDEAS = {"text": "Sell warm tea."}


class Stage(Actor):
    """Answers with what it was given."""

    def __init__(self, answer: Any, asked: list[Execute]) -> None:
        self.answer = answer
        self.asked = asked

    async def receive(self, message: Any) -> object:
        self.asked.append(message)
        return self.answer


def result(engine: str, value: dict[str, Any], **more: Any) -> EngineResult:
    return attrs.evolve(EngineResult(engine, "t", "completed", value, False, None, None, 1), **more)


GOOD = (result("perfect_recall", MEMORIES), result("parallel_mind", TASKS), result("creative", IDEAS))


async def run(*answers: Any, **parameters: Any) -> tuple[Outcome, list[Execute], list[tuple[int, int]]]:
    asked: list[Execute] = []
    told: list[tuple[int, int]] = []
    names = ("perfect_recall", "parallel_mind", "creative")
    stages = [
        ChildSpec(name, lambda answer=answer: Stage(answer, asked))  # type: ignore[misc]
        for name, answer in zip(names, answers, strict=True)
    ]
    outcome: Outcome | Misfit
    async with open_system(supervise("root", stages)) as system:
        strategy = Hybrid(lambda engine: system.ref(f"/{engine.value}"), {})
        desk = Desk(None, lambda *parts: told.append(parts))  # type: ignore[arg-type]  # it starts no task
        try:
            outcome = await strategy.run(execute("Ideas for tea", **parameters), desk)
        except Misfit as misfit:  # out here it would come in a group
            outcome = misfit
        await strategy.close()
    if isinstance(outcome, Misfit):
        raise outcome
    return outcome, asked, told


async def test_each_stage_is_given_what_came_before(autojump_clock: Any) -> None:
    outcome, asked, told = await run(*GOOD, creative={"candidates": 2})
    assert [ask.task_type for ask in asked] == ["knowledge_retrieval", "concurrent_analysis", "creative_generation"]
    assert asked[0].description == "Ideas for tea"
    assert asked[1].description.endswith("Remembered: They sell tea.")
    assert asked[2].parameters == {
        "candidates": 2,
        "context": "Remembered: They sell tea.\n\nitem-1: Tea is warm.",
    }
    assert {ask.user for ask in asked} == {"ada"}
    assert (outcome.failure, outcome.degraded) == (None, False)
    assert outcome.result["creative"]["result"] == IDEAS
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]


async def test_a_stage_that_fails_is_named_and_the_next_go_on(autojump_clock: Any) -> None:
    failed = result("parallel_mind", {}, status="failed", failure=Failure.UNREACHABLE)
    outcome, _, _ = await run(Refused(EngineBusy(1.0)), failed, GOOD[2])
    assert (outcome.failure, outcome.degraded) == (None, True)
    assert outcome.result["perfect_recall"] == {"status": "failed"}
    assert outcome.result["parallel_mind"]["error"].startswith("AI service cannot be reached")
    diverted = result("plain_scan", MEMORIES, degraded=True, diverted_from="perfect_recall")
    outcome, _, _ = await run(diverted, *GOOD[1:])
    assert (outcome.failure, outcome.degraded) == (None, True)
    assert outcome.result["perfect_recall"]["diverted_from"] == "perfect_recall"


async def test_without_any_stage_it_has_failed(autojump_clock: Any) -> None:
    failed = result("creative", {}, status="failed", failure=Failure.UNREACHABLE)
    outcome, _, _ = await run(Refused(EngineBusy(1.0)), Refused(EngineBusy(1.0)), failed)
    assert outcome.failure is Failure.INTERRUPTED


async def test_what_a_stage_cannot_do_is_refused_by_its_name(autojump_clock: Any) -> None:
    with pytest.raises(Misfit) as caught:
        await run(Refused(BadExecution({"parameters.limit": "Not that."})), *GOOD[1:], perfect_recall={"limit": 0})
    assert caught.value.fields == {"perfect_recall.parameters.limit": "Not that."}


async def test_an_engine_that_is_not_there_is_a_failed_stage(autojump_clock: Any) -> None:
    async with open_system(supervise("root", [])) as system:
        strategy = Hybrid(lambda engine: system.ref(f"/{engine.value}"), {})
        outcome = await strategy.run(execute("x"), Desk(None, lambda *_: None))  # type: ignore[arg-type]
    assert outcome.failure is Failure.INTERRUPTED


async def test_parameters_are_the_engines_own(autojump_clock: Any) -> None:
    def check(ask: Execute) -> dict[str, str]:
        return {"parameters.candidates": "Too many."} if ask.parameters.get("candidates") == 99 else {}

    strategy = Hybrid(lambda _: None, {EngineName.CREATIVE: check})  # type: ignore[arg-type,return-value]
    problems = strategy.problems(execute("x", creative={"candidates": 99}))
    assert problems == {"parameters.creative.candidates": "Too many."}
    assert strategy.problems(execute("x", creative={})) == {}
    problems = strategy.problems(execute(" ", creative=1, speed=2))
    assert set(problems) == {"description", "parameters.creative", "parameters.speed"}
    assert EngineName.HYBRID.value not in problems["parameters.speed"]
