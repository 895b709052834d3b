"""The memory as others use it: from a task of any actor, by asking the engine at its address.

Whatever stands behind the address answers: the engine, or the plain scan in its place, and then the answer says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from actors.engines.messages import EngineResult, Execute
from actors.engines.strategy import Unavailable
from runtime import ActorError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime import Ref

MEMORY_QUERY: Final = "memory_query"
WITHIN: Final = 10.0


@attrs.frozen
class Recalled:
    """What was found, the best first, as plain JSON values.

    Each has `memory_id`, `content_type`, `content`, `tags`, `score` (null from a plain scan), `uses`, `successes`,
    `failures` and `created_at`. `degraded`: a plain scan of the log has found it.
    """

    memories: list[dict[str, Any]]
    degraded: bool


@attrs.frozen
class Memory:
    """A user's memories, through the engine at `engine`; to be used from a task, not from a handler.

    Every method raises Unavailable where the memory cannot be reached or does not answer in time. Cancelled, it leaves
    what is under way to its end.
    """

    engine: Ref[Any]

    async def recall(
        self,
        user: str,
        text: str,
        limit: int = 5,
        tags: Sequence[str] = (),
        content_type: str | None = None,
        *,
        by: float | None = None,
    ) -> Recalled:
        """The user's memories that fit the text. What is found counts as used. `by` in trio's time; 10 s if None."""
        parameters = {"action": "recall", "query": text, "limit": limit, "tags": list(tags)}
        if content_type is not None:
            parameters["content_type"] = content_type
        result = await self._execute(user, parameters, by=by)
        return Recalled(result.result.get("memories", []), result.degraded)

    async def remember(
        self,
        user: str,
        content: str,
        content_type: str = "conversation",
        tags: Sequence[str] = (),
        *,
        key: str = "",
        by: float | None = None,
    ) -> str:
        """Store a memory; its id. The same `key` again stores nothing new."""
        parameters = {"action": "remember", "content": content, "content_type": content_type, "tags": list(tags)}
        result = await self._execute(user, parameters, key=key, by=by)
        return str(result.result["memory_id"])

    async def rate(self, user: str, memory_ids: Sequence[str], *, success: bool, by: float | None = None) -> int:
        """Say whether memories have helped; how many of them there are."""
        parameters = {"action": "rate", "memory_ids": list(memory_ids), "success": success}
        result = await self._execute(user, parameters, by=by)
        return int(result.result["memories"])

    async def _execute(
        self, user: str, parameters: dict[str, Any], *, key: str = "", by: float | None = None
    ) -> EngineResult:
        now = trio.current_time()
        deadline = now + WITHIN if by is None else by
        ask = Execute(MEMORY_QUERY, "", user, deadline, parameters, key)
        try:
            result: EngineResult = await self.engine.ask(ask, max(0.0, deadline - now))
        except ActorError as error:
            raise Unavailable(f"the memory does not answer: {error}") from None
        if result.failure is not None:
            raise Unavailable(f"the memory has failed: {result.failure}")
        return result
