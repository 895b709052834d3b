"""perfect_recall: stores a user's memories, and finds them again.

`action` says what: `recall` (the default) finds what fits `query` (the description, if left out), `remember` stores
`content`, `rate` says of memories whether they have helped, `forget` deletes them. Without a word to look for, `recall`
gives what was used last.

What its understudy does: storing is the same, for it is a commit and no more; finding is a plain scan of the user's
log, newest first, as far back as a bound.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs
import trio

from actors.engines.fields import Fields
from actors.engines.ranking import likenesses, rank
from actors.engines.strategy import Desk, Outcome, Unavailable
from actors.protocol.timestamp import format_timestamp
from actors.storage.interface import Record
from actors.storage.journal import Append
from actors.storage.memory import (
    CONTENT_TYPES,
    LONGEST_TAG,
    MOST_TAGS,
    Filter,
    ForgetMemories,
    MarkMemories,
    PutMemory,
    SearchMemory,
)
from actors.storage.words import words_of
from runtime import ActorError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors.engines.messages import Execute
    from actors.engines.ranking import Ranked
    from actors.protocol.stamps import Stamps
    from actors.storage.memory import Matches
    from runtime import Ref

ACTIONS: Final = ("recall", "remember", "rate", "forget")
PARAMETERS: Final = (
    "action",
    "query",
    "limit",
    "tags",
    "content_type",
    "content",
    "memory_ids",
    "success",
    "session_id",
)
MOST_RESULTS: Final = 50
LONGEST_QUERY: Final = 10_000
JOURNAL_WITHIN: Final = 10.0
ALIKE: Final = 500
"""Of how many memories, used last, the meaning is compared besides those that hold a word."""


@attrs.frozen
class Vector:
    """The meaning of a text, in the words of one embeddings model."""

    model: str
    packed: bytes


class Embed(Protocol):
    """Makes vectors of meaning; None where it cannot now."""

    async def __call__(self, text: str, user: str) -> Vector | None: ...


@attrs.frozen
class MemoryLimits:
    """`memories` of a user that are kept; `characters` of one."""

    memories: int = 2000
    characters: int = 16_000


@attrs.frozen
class MemoryOrder:
    """What is wanted of the memory, read and checked."""

    action: str
    query: str
    limit: int
    only: Filter
    content: str
    content_type: str
    memory_ids: tuple[str, ...]
    success: bool
    session_id: str


def read_order(
    parameters: Mapping[str, Any], description: str, limits: MemoryLimits
) -> tuple[MemoryOrder, dict[str, str]]:
    """The order of a request, and what is wrong with it by place. Pure."""
    problems: dict[str, str] = {}
    fields = Fields(parameters, PARAMETERS, problems)
    action = fields.one_of("action", ACTIONS, "recall") or "recall"
    content_type = fields.one_of("content_type", CONTENT_TYPES, None)
    success = fields.boolean("success")
    tags = tuple(dict.fromkeys(fields.texts("tags", most=MOST_TAGS, longest=LONGEST_TAG)))
    order = MemoryOrder(
        action=action,
        query=fields.text("query", description, longest=LONGEST_QUERY),
        limit=fields.whole("limit", 5, low=1, high=MOST_RESULTS),
        only=Filter(tags, content_type),
        content=fields.text("content", longest=limits.characters, needed=action == "remember"),
        content_type=content_type or "conversation",
        memory_ids=fields.texts("memory_ids", most=MOST_RESULTS, longest=64),
        success=bool(success),
        session_id=fields.text("session_id", longest=64),
    )
    if action in {"rate", "forget"} and not order.memory_ids:
        fields.wrong("memory_ids", "Name the memories that are meant.")
    if action == "rate" and success is None:
        fields.wrong("success", "This must be true or false.")
    return order, problems


class MemoryKeeper:
    """What the engine and its understudy have in common: everything but finding.

    Args:
        journal: where memories are kept.
        stamps: where ids and times come from.
        limits: see there.
    """

    def __init__(self, journal: Ref[Any], stamps: Stamps, limits: MemoryLimits) -> None:
        self._journal = journal
        self._stamps = stamps
        self._limits = limits

    def problems(self, execute: Execute) -> dict[str, str]:
        return read_order(execute.parameters, execute.description, self._limits)[1]

    async def close(self) -> None:
        """Holds nothing."""

    async def run(self, execute: Execute, desk: Desk) -> Outcome:
        del desk
        order, _ = read_order(execute.parameters, execute.description, self._limits)
        match order.action:
            case "remember":
                return await self._remember(execute, order, await self._meaning(order.content, execute.user))
            case "rate":
                marks = MarkMemories(execute.user, order.memory_ids, self._stamps.wall(), order.success)
                return Outcome({"memories": await self._ask(marks)})
            case "forget":
                return Outcome({"memories": await self._ask(ForgetMemories(execute.user, order.memory_ids))})
            case _:
                return await self._recall(execute, order)

    async def _recall(self, execute: Execute, order: MemoryOrder) -> Outcome:
        raise NotImplementedError

    async def _meaning(self, text: str, user: str) -> Vector | None:
        """The vector of a text of this user, where vectors are made."""
        del text, user
        return None

    async def _remember(self, execute: Execute, order: MemoryOrder, meaning: Vector | None) -> Outcome:
        memory_id = id_of(execute.user, execute.key) if execute.key else self._stamps.id()
        put = PutMemory(
            execute.user,
            memory_id,
            order.content_type,
            order.content,
            order.only.tags,
            self._stamps.wall(),
            self._limits.memories,
            None if meaning is None else meaning.packed,
            None if meaning is None else meaning.model,
        )
        (appended,) = await self._ask(Append((Record(f"memory-{memory_id}", None, (), (put,)),)))
        return Outcome({"memory_id": memory_id, "repeated": appended.repeated})

    async def _ask(self, question: object) -> Any:
        try:
            return await self._journal.ask(question, JOURNAL_WITHIN)
        except ActorError as error:
            raise Unavailable(f"storage: {error}") from None


class PerfectRecall(MemoryKeeper):
    """See the module. `embed` makes vectors of meaning, where they are wanted."""

    def __init__(self, journal: Ref[Any], stamps: Stamps, limits: MemoryLimits, embed: Embed | None = None) -> None:
        super().__init__(journal, stamps, limits)
        self._embed = embed

    async def _meaning(self, text: str, user: str) -> Vector | None:
        return None if self._embed is None else await self._embed(text, user)

    async def _recall(self, execute: Execute, order: MemoryOrder) -> Outcome:
        words = bool(words_of(order.query))
        meaning = await self._meaning(order.query, execute.user) if words else None
        recent = ALIKE if meaning is not None else 0 if words else order.limit
        matches: Matches = await self._ask(SearchMemory(execute.user, order.query, order.only, recent))
        like = None
        if meaning is not None:
            like = await trio.to_thread.run_sync(
                likenesses, matches, meaning.packed, meaning.model, abandon_on_cancel=True
            )
        now = self._stamps.wall()
        ranked = rank(matches, order.limit, now, like)
        if ranked:
            await self._ask(MarkMemories(execute.user, tuple(each.memory.memory_id for each in ranked), now))
        return Outcome({"memories": [shown(each) for each in ranked]})


def id_of(user: str, key: str) -> str:
    """The id of what a user stores under a key: the same for the same, and nobody else's."""
    return hashlib.sha256(f"{len(user)}:{user}{key}".encode()).hexdigest()[:32]


def shown(ranked: Ranked) -> dict[str, Any]:
    """A memory as plain JSON values; `uses` as it was before this time."""
    memory = ranked.memory
    return {
        "memory_id": memory.memory_id,
        "content_type": memory.content_type,
        "content": memory.content,
        "tags": list(memory.tags),
        "score": ranked.score,
        "uses": memory.uses,
        "successes": memory.successes,
        "failures": memory.failures,
        "created_at": format_timestamp(memory.created_at),
    }
