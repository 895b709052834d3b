"""Asking a model on an engine's behalf: one question, one answer, or why there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import attrs
import trio

from actors.agents.prompts import EarlierStep, assemble
from actors.models.call import complete
from actors.models.endpoint import names_simulated
from actors.models.model_call import CallFailed, CallLimits, ModelCall
from actors.models.tokens import estimate_tokens
from actors.protocol.catalogue import Failure
from actors.protocol.task_events import Priority

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from actors.agents.definitions import AgentDefinition
    from actors.models.failure import FailureFacts
    from actors.models.leaseholder import Leaseholder
    from runtime import Ref


@attrs.frozen
class Question:
    """What a model is asked.

    Attributes:
        agent: whose prompt and chain of models.
        brief: the material that it is about.
        user: for whom.
        deadline: trio's time.
        mission: what is asked beyond the agent's prompt.
        earlier: what was written before, as material.
        temperature: instead of the agent's own.
        priority: of the calls at the models' gates.
    """

    agent: AgentDefinition
    brief: str
    user: str
    deadline: float
    mission: str = ""
    earlier: tuple[EarlierStep, ...] = ()
    temperature: float | None = None
    priority: Priority = Priority.MEDIUM


@attrs.frozen
class Reply:
    """What came of a question: a text, by which model and whether nobody real; or a failure.

    `cut` is a text that broke off.
    """

    text: str | None
    model: str | None = None
    simulated: bool = False
    cut: bool = False
    failure: Failure | None = None


class Ask(Protocol):
    """Asks a model. Cancellation closes the call."""

    async def __call__(self, question: Question) -> Reply: ...


@attrs.frozen
class ModelAccess:
    """How models are reached.

    Attributes:
        chain: the address of the fallback chain over these models.
        limits: attempts and deadlines of a model call.
        context_tokens: the budget of a prompt.
        rng: for the jitter of retries.
    """

    chain: Callable[[tuple[str, ...]], Ref[Any]]
    limits: CallLimits
    context_tokens: int
    rng: Random


class Silent:
    """Nobody listens to an engine's calls."""

    def text(self, piece: str) -> None: ...
    def caught_up(self) -> None: ...
    def model(self, name: str) -> None: ...
    def retrying(self, facts: FailureFacts, delay: float) -> None: ...
    def fell_over(self, from_target: str, to: str | None, facts: FailureFacts | None) -> None: ...


class ModelAsker:
    """Asks through the chains of the configuration, as agents do, with leases held by the engine's actor."""

    def __init__(self, leases: Leaseholder, access: ModelAccess) -> None:
        self._leases = leases
        self._access = access

    async def __call__(self, question: Question) -> Reply:
        access, agent = self._access, question.agent
        left = question.deadline - trio.current_time()
        if left <= 0:
            return Reply(None, failure=Failure.ENGINE_TIMEOUT)
        messages = assemble(
            agent,
            question.brief,
            question.earlier,
            access.context_tokens,
            estimate=estimate_tokens,
            mission=question.mission,
        )
        call = ModelCall(
            agent.models,
            tuple(messages),
            user=question.user,
            run_id="",
            parameters=agent.parameters(question.temperature),
            priority=question.priority,
        )
        limits = attrs.evolve(access.limits, total=min(access.limits.total, left))
        chain = access.chain(agent.models)
        try:
            result = await complete(chain, self._leases, call, limits=limits, observer=Silent(), rng=access.rng)
        except CallFailed as failed:
            return Reply(None, failure=Failure(failed.facts.kind))
        if result.text is None:
            return Reply(None, failure=Failure.UNREACHABLE if result.facts is None else Failure(result.facts.kind))
        model = result.model or ""
        return Reply(result.text, model, names_simulated(model), cut=result.partial)
