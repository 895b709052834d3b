"""The types of workers that do the tasks of a graph: each a function that is given the task and what it builds on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs

from actors.agents.definitions import AgentDefinition
from actors.agents.prompts import EarlierStep
from actors.engines.asking import Question
from actors.engines.strategy import Unavailable
from actors.protocol.catalogue import Failure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors.engines.asking import Ask
    from actors.engines.graph import WorkTask
    from actors.engines.memory import Memory
    from actors.protocol.task_events import Priority

OWN_PROMPT: Final = """
You are one worker of several who work on parts of a larger task at the same time. The material holds what the whole
task is, and the results of the parts that yours builds on. Do only the part that is described as your task. Be complete
and brief: another program puts the parts together, and no person reads yours alone. No introduction and no closing
remarks.
"""


@attrs.frozen
class Assignment:
    """One try at a task.

    Attributes:
        task: the task.
        whole: what the whole execution is about, in words.
        user: for whom.
        deadline: trio's time, of this try.
        inputs: the results of the tasks that it waits for, by name; None for those that have none.
        priority: of the execution.
    """

    task: WorkTask
    whole: str
    user: str
    deadline: float
    inputs: Mapping[str, WorkEnd | None]
    priority: Priority


@attrs.frozen
class WorkEnd:
    """What one try came to: a text with what belongs to it, or a failure.

    Attributes:
        text: as other workers read it; None with a `failure`.
        details: more, as plain JSON values.
        degraded: it was done in a plainer way.
    """

    text: str | None
    details: dict[str, Any] = attrs.field(factory=dict)
    degraded: bool = False
    failure: Failure | None = None


class Worker(Protocol):
    """Does a task once. What it raises is a failure of the task."""

    async def __call__(self, assignment: Assignment) -> WorkEnd: ...


@attrs.frozen
class AgentWorker:
    """Asks a chain of models.

    Attributes:
        ask: asks.
        agents: those of the configuration.
        models: the chain for tasks that name no agent.
    """

    ask: Ask
    agents: Mapping[str, AgentDefinition]
    models: tuple[str, ...]

    async def __call__(self, assignment: Assignment) -> WorkEnd:
        task = assignment.task
        agent = self.agents.get(task.agent) or AgentDefinition("worker", "Worker", OWN_PROMPT, self.models)
        earlier = tuple(
            EarlierStep(name, "Worker", None if end is None else end.text, "that part failed")
            for name, end in assignment.inputs.items()
        )
        question = Question(
            agent,
            assignment.whole,
            assignment.user,
            assignment.deadline,
            task.mission,
            earlier,
            priority=assignment.priority,
        )
        reply = await self.ask(question)
        if reply.text is None:
            return WorkEnd(None, failure=reply.failure or Failure.UNREACHABLE)
        if reply.cut:
            return WorkEnd(None, {"text": reply.text, "model": reply.model}, failure=Failure.TRUNCATED)
        return WorkEnd(reply.text, {"model": reply.model, "simulated": reply.simulated})


@attrs.frozen
class SearchWorker:
    """Searches the user's memory; the mission is the query."""

    memory: Memory

    async def __call__(self, assignment: Assignment) -> WorkEnd:
        task = assignment.task
        try:
            recalled = await self.memory.recall(assignment.user, task.mission, limit=task.limit, by=assignment.deadline)
        except Unavailable:
            return WorkEnd(None, failure=Failure.INTERNAL)
        text = "\n\n".join(f"{number}. {item['content']}" for number, item in enumerate(recalled.memories, 1))
        return WorkEnd(text or "Nothing was found.", {"memories": recalled.memories}, degraded=recalled.degraded)
