"""The searchable memory: what is kept for each user, and what storage promises of it, whatever keeps it.

A memory is a text with a kind, tags, and the counts of how it fared: how often it was found, and how often that helped
or did not. Everything here names its user, and nothing is ever read, counted or weighed that is another's: what a user
finds, and in which order, is the same whatever others have stored.

Memories are stored as effects of records (`PutMemory`), so that they are committed together with whatever else is. A
user has at most so many of them: when there are more, the least worth (`worth_of`) go.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Protocol

import attrs

from actors.storage.words import query_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors.storage.interface import Storage

CONTENT_TYPES: Final = ("code", "solution", "error", "conversation")
MOST_QUERY_WORDS: Final = 24
MOST_FOUND: Final = 50
"""Memories that one search looks at in full; a rougher order has chosen them."""
MOST_CONTENT: Final = 64_000
"""Characters of one memory."""
MOST_TAGS: Final = 32
LONGEST_TAG: Final = 64
DAY: Final = 24 * 3600.0
OVERFLOW_PART: Final = 20
"""When a user has one memory too many, a twentieth of all goes: looking through them for each new one would be dear."""


def _text(instance: object, attribute: attrs.Attribute[str], value: object) -> None:
    """A text that cannot be stored would sink the whole batch, other users' records too: refused where it is made."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"{type(instance).__name__}.{attribute.name} must be a text that is not empty")
    value.encode()


@attrs.frozen
class Memory:
    """One memory of one user. Times in seconds since 1970.

    Attributes:
        uses: how often it was found; `used_at`: when last, or when it was stored.
        successes, failures: how often whoever used it said that it helped, or did not.
        vector: of its meaning, 32-bit floats, where there is one; `vector_model`: whose.
    """

    memory_id: str
    content_type: str
    content: str
    tags: tuple[str, ...]
    created_at: float
    used_at: float
    uses: int = 0
    successes: int = 0
    failures: int = 0
    vector: bytes | None = attrs.field(default=None, repr=False)
    vector_model: str | None = None


@attrs.frozen
class PutMemory:
    """Effect: store a memory of a user, of whom at most `most` are kept. The same `memory_id` again changes nothing.

    ValueError for one that could not be stored.
    """

    user: str = attrs.field(validator=_text)
    memory_id: str = attrs.field(validator=_text)
    content_type: str = attrs.field(validator=attrs.validators.in_(CONTENT_TYPES))
    content: str = attrs.field(validator=_text)
    tags: tuple[str, ...] = attrs.field(validator=attrs.validators.deep_iterable(_text))
    at: float
    most: int
    vector: bytes | None = attrs.field(default=None, repr=False)
    vector_model: str | None = None


@attrs.frozen
class Match:
    """A memory that a search has come upon: how often each word of the query occurs in it, and its length in words."""

    memory: Memory
    counts: tuple[int, ...]
    length: int


@attrs.frozen
class Matches:
    """What a search came upon, and what ranking needs to know of the user's other memories.

    Attributes:
        words: of the query.
        containing: for each of them, how many memories of the user hold it.
        memories: how many the user has; `mean_length`: of them, in words.
        found: at most `MOST_FOUND`.
    """

    words: tuple[str, ...]
    containing: tuple[int, ...]
    memories: int
    mean_length: float
    found: tuple[Match, ...]


@attrs.frozen
class Filter:
    """Which memories are meant: all that have each of the `tags`, and are of the content type where one is named."""

    tags: tuple[str, ...] = ()
    content_type: str | None = None


class MemoryStore(Protocol):
    """Memories, each of one user, who is named in every call. Raises as `Log` does."""

    def search_memory(self, user: str, words: Sequence[str], only: Filter, recent: int) -> Matches:
        """The user's memories that hold any of the words; and with `recent`, also so many that were used last, whether
        they hold one or not."""

    def mark_memories(self, user: str, memory_ids: Sequence[str], *, now: float, success: bool | None) -> int:
        """The user's memories of these ids were found (None), or did or did not help. How many there are."""

    def forget_memories(self, user: str, memory_ids: Sequence[str]) -> int:
        """Delete the user's memories of these ids. How many there were."""

    def count_memories(self, user: str) -> int:
        """How many the user has."""


@attrs.frozen
class SearchMemory:
    """Search a user's memory. Answer: `Matches`. The query is words and nothing else."""

    user: str
    query: str
    only: Filter = Filter()
    recent: int = 0

    def run(self, storage: Storage) -> Matches:
        return storage.search_memory(self.user, query_words(self.query, MOST_QUERY_WORDS), self.only, self.recent)


@attrs.frozen
class MarkMemories:
    """See `MemoryStore.mark_memories`."""

    user: str
    memory_ids: tuple[str, ...]
    now: float
    success: bool | None = None

    def run(self, storage: Storage) -> int:
        return storage.mark_memories(self.user, self.memory_ids, now=self.now, success=self.success)


@attrs.frozen
class ForgetMemories:
    """See `MemoryStore.forget_memories`."""

    user: str
    memory_ids: tuple[str, ...]

    def run(self, storage: Storage) -> int:
        return storage.forget_memories(self.user, self.memory_ids)


def helped(successes: int, failures: int) -> float:
    """How likely a memory is to help, by what was said of it: a half where nothing was, and never quite 0 or 1."""
    return (successes + 1) / (successes + failures + 2)


def worth_of(*, age: float, idle: float, uses: int, successes: int, failures: int) -> float:
    """What a memory is worth keeping, above 0. `age` and `idle` in seconds, since it was made and since it was used.

    Use and success raise it, age and disuse lower it; a memory of a day that nobody has used stands at about a half.
    """
    fresh = 1.0 / (1.0 + max(0.0, idle) / (30 * DAY))
    young = 1.0 / (1.0 + max(0.0, age) / (180 * DAY))
    return fresh * (0.5 + 0.5 * young) * (1.0 + math.log1p(max(0, uses))) * helped(successes, failures)


def overflow(count: int, most: int) -> int:
    """How many memories of a user have to go, who has `count` and may have `most`."""
    return 0 if count <= most else count - most + most // OVERFLOW_PART
