"""What stands in for perfect_recall: a plain scan of the user's log, or of one session in it, the newest first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs
import msgspec

from actors.engines.recall import MemoryKeeper, MemoryLimits, MemoryOrder
from actors.engines.strategy import Outcome
from actors.protocol.event_types import EventType
from actors.storage.attending import Page, ReadPage
from actors.storage.words import query_words, words_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors.engines.messages import Execute
    from actors.protocol.stamps import Stamps
    from actors.storage.interface import Stored
    from runtime import Ref

PAGE: Final = 200
SPOKEN: Final = frozenset({EventType.MESSAGE.value, EventType.AGENT_RESPONSE.value})
"""What of a log is worth finding: what people and agents have said."""
MOST_WORDS: Final = 24


@attrs.frozen
class _Event:
    """What is read of an event."""

    type: str
    id: str
    timestamp: str = ""
    session_id: str = ""
    content: str = ""


def find(events: Sequence[Stored], words: Sequence[str], session_id: str, limit: int) -> list[dict[str, Any]]:
    """Of these events, in the log's order, what was said and holds one of the words; the newest first. Pure.

    Without a word, everything that was said.
    """
    found: list[dict[str, Any]] = []
    decoder = msgspec.json.Decoder(_Event)
    for stored in reversed(events):
        if len(found) >= limit:
            break
        try:
            event = decoder.decode(stored.body)
        except msgspec.MsgspecError:
            continue
        if event.type not in SPOKEN or not event.content or (session_id and event.session_id != session_id):
            continue
        if not words or not set(words).isdisjoint(words_of(event.content)):
            found.append(
                {
                    "memory_id": event.id,
                    "content_type": "conversation",
                    "content": event.content,
                    "tags": [],
                    "score": None,
                    "uses": 0,
                    "successes": 0,
                    "failures": 0,
                    "created_at": event.timestamp,
                }
            )
    return found


class PlainScan(MemoryKeeper):
    """See the module. `events`: how many of the newest are looked at."""

    def __init__(self, journal: Ref[Any], stamps: Stamps, limits: MemoryLimits, events: int) -> None:
        super().__init__(journal, stamps, limits)
        self._events = events

    async def _recall(self, execute: Execute, order: MemoryOrder) -> Outcome:
        words = query_words(order.query, MOST_WORDS)
        found: list[dict[str, Any]] = []
        if order.only.tags or order.only.content_type not in {None, "conversation"}:
            return Outcome({"memories": found, "scanned": 0})  # nothing in a log has tags, or is of another type
        top: Page = await self._ask(ReadPage(execute.user, 0, 0))
        end = top.position.seq
        lowest = max(top.position.first - 1, end - self._events)
        scanned = 0
        while end > lowest and len(found) < order.limit:
            begin = max(lowest, end - PAGE)
            page: Page = await self._ask(ReadPage(execute.user, begin, end - begin))
            found += find(page.events, words, order.session_id, order.limit - len(found))
            scanned += len(page.events)
            end = begin
        return Outcome({"memories": found, "scanned": scanned})
