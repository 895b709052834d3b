"""What comes of asking a model: the answer, or why there is none."""

from __future__ import annotations

import random
from typing import Any

import attrs
import pytest
import trio

from actors.agents.definitions import AgentDefinition
from actors.agents.prompts import EarlierStep
from actors.engines import asking
from actors.engines.asking import ModelAccess, ModelAsker, Question, Reply
from actors.models.failure import AnswerBroken, classify
from actors.models.model_call import CallFailed, CallLimits, CallResult
from actors.protocol.catalogue import Failure
from actors.protocol.task_events import Priority

FACTS = classify(AnswerBroken("malformed", "planned"), wall_time=0)
WHOLE = CallResult("tea", False, False, False, "default", "model-1", None, (), 1.0, ())


class Model:
    """Stands for the chain: gives what it is told to, and remembers the call."""

    def __init__(self, outcome: CallResult | Exception) -> None:
        self.outcome = outcome
        self.calls: list[tuple[Any, Any, CallLimits]] = []

    async def __call__(self, chain: Any, _: Any, call: Any, *, limits: Any, observer: Any, rng: Any) -> CallResult:
        observer.text("t")
        observer.model("m")
        observer.retrying(FACTS, 1.0)
        observer.fell_over("a", None, None)
        self.calls.append((chain, call, limits))
        assert rng
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


def asker() -> ModelAsker:
    access = ModelAccess(lambda models: models, CallLimits(total=100), 4000, random.Random(1))  # type: ignore[arg-type,return-value]
    return ModelAsker(None, access)  # type: ignore[arg-type]


def question(within: float = 60.0, **more: Any) -> Question:
    agent = AgentDefinition("poet", "Poet", "You are the Poet.", ("small",), temperature=0.3, max_tokens=50)
    return Question(agent, "The brief", "ada", trio.current_time() + within, "Do it", **more)


async def test_a_question_goes_to_the_agents_chain_with_its_own_time(
    autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Model(WHOLE)
    monkeypatch.setattr(asking, "complete", model)
    assert await asker()(question(earlier=(EarlierStep("a", "Writer", "before"),))) == Reply("tea", "model-1")
    ((chain, call, limits),) = model.calls
    assert call.priority is Priority.MEDIUM
    assert (chain, call.models, call.user) == (("small",), ("small",), "ada")
    assert call.parameters == {"temperature": 0.3, "max_tokens": 50}
    assert limits.total == pytest.approx(60)
    assert "You are the Poet." in call.messages[0].content
    assert "Do it" in call.messages[0].content
    assert "before" in call.messages[1].content
    await asker()(question(within=500, temperature=1.1, priority=Priority.LOW))
    assert model.calls[1][1].priority is Priority.LOW
    assert model.calls[1][1].parameters["temperature"] == 1.1
    assert model.calls[1][2].total == 100


@pytest.mark.parametrize(
    ("outcome", "reply"),
    [
        (attrs.evolve(WHOLE, model="Simulated"), Reply("tea", "Simulated", simulated=True)),
        (attrs.evolve(WHOLE, partial=True), Reply("tea", "model-1", cut=True)),
        (attrs.evolve(WHOLE, text=None, degraded=True), Reply(None, failure=Failure.UNREACHABLE)),
        (attrs.evolve(WHOLE, text=None, degraded=True, facts=FACTS), Reply(None, failure=Failure.MALFORMED)),
        (CallFailed(FACTS, ()), Reply(None, failure=Failure.MALFORMED)),
    ],
)
async def test_whatever_comes_of_it_is_a_reply(
    autojump_clock: Any, monkeypatch: pytest.MonkeyPatch, outcome: Any, reply: Reply
) -> None:
    monkeypatch.setattr(asking, "complete", Model(outcome))
    assert await asker()(question()) == reply


async def test_without_time_nobody_is_asked(autojump_clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model(WHOLE)
    monkeypatch.setattr(asking, "complete", model)
    assert await asker()(question(within=0)) == Reply(None, failure=Failure.ENGINE_TIMEOUT)
    assert model.calls == []
