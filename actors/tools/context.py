"""What a tool may be given besides its arguments: who calls it, and what it may reach of theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors.artifacts.shelf import Shelf


class Found(Protocol):
    """What a search of the memory gives: memories as plain JSON values, the best first."""

    @property
    def memories(self) -> list[dict[str, Any]]: ...
    @property
    def degraded(self) -> bool: ...


class MemoryOfUsers(Protocol):
    """The searchable memory; see `actors.engines.memory.Memory`."""

    async def recall(
        self, user: str, text: str, limit: int = ..., tags: Sequence[str] = ..., content_type: str | None = ...
    ) -> Found: ...

    async def remember(
        self, user: str, content: str, content_type: str = ..., tags: Sequence[str] = ..., *, key: str = ...
    ) -> str: ...


class ChildStarter(Protocol):
    """Has another agent do something, and gives its answer. Raises ToolProblem where there is none."""

    async def __call__(self, agent: str, mission: str) -> str: ...


class ToolProblem(Exception):
    """For tools to raise: the call cannot be carried out. `str()` of it is told to the model, and to nobody else."""


@attrs.frozen
class ToolContext:
    """A parameter of this type, keyword or not, is given to a tool by the daemon; the model does not know of it.

    Attributes:
        user: in whose name.
        run_id, step, attempt: for which attempt at which step.
        tool_call_id: which call.
        artifacts: the run's files, as far as this step may read and write them. It blocks: for tools that are no
            coroutines, which run in a thread.
        memory: the memories, to be asked for `user` only; for coroutines.
        start_child: has another agent do something; for coroutines.
    """

    user: str
    run_id: str
    step: str
    attempt: int
    tool_call_id: str
    artifacts: Shelf | None = None
    memory: MemoryOfUsers | None = None
    start_child: ChildStarter | None = None

    @property
    def shelf(self) -> Shelf:
        """The artifacts; raises ToolProblem where there are none."""
        if self.artifacts is None:
            raise ToolProblem("This daemon keeps no artifacts.")
        return self.artifacts
