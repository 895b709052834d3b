"""Which memory comes first. Pure.

The text counts by BM25 (Robertson, Walker 1994), computed from the user's own memories alone, so that nothing another
user stores moves a result. With vectors of meaning, likeness counts as much as the text does. Then how recent a memory
is, and how it has fared, raise or lower it: by no more than a factor of two, so that a good match stays before a fresh
or popular one that hardly fits.
"""

from __future__ import annotations

import math
from array import array
from operator import mul
from typing import TYPE_CHECKING, Final

import attrs

from actors.storage.memory import DAY, helped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors.storage.memory import Match, Matches, Memory

SATURATION: Final = 1.2
LENGTH: Final = 0.75
HALF_LIFE: Final = 30 * DAY
LEAST_LIKE: Final = 0.25
"""A memory that holds no word of the query has to be at least so like it to be found."""


@attrs.frozen
class Ranked:
    """A memory with its score, from 0 to 1."""

    memory: Memory
    score: float


def bm25(match: Match, matches: Matches) -> float:
    """How well the words of the query describe the memory, among the user's own."""
    mean = matches.mean_length or 1.0
    norm = SATURATION * (1 - LENGTH + LENGTH * match.length / mean)
    score = 0.0
    for count, containing in zip(match.counts, matches.containing, strict=True):
        if count:
            rarity = math.log(1 + (matches.memories - containing + 0.5) / (containing + 0.5))
            score += rarity * count * (SATURATION + 1) / (count + norm)
    return score


def recency(age: float) -> float:
    """From 1, for now, halved every thirty days. `age` in seconds."""
    return math.exp2(-max(0.0, age) / HALF_LIFE)


def standing(memory: Memory, now: float) -> float:
    """From a half to 1: how recent the memory is, and how it has fared."""
    return 0.5 + 0.25 * recency(now - memory.used_at) + 0.25 * helped(memory.successes, memory.failures)


def cosine(one: bytes, other: bytes) -> float:
    """Of two vectors of 32-bit floats; 0 where they cannot be compared."""
    left, right = array("f", one), array("f", other)
    if len(left) != len(right):
        return 0.0
    length = math.sqrt(sum(map(mul, left, left)) * sum(map(mul, right, right)))
    return sum(map(mul, left, right)) / length if length else 0.0


def likenesses(matches: Matches, query: bytes, model: str) -> dict[str, float]:
    """How like the query each memory is that has a vector of the same model, by its id. Takes long for many."""
    return {
        match.memory.memory_id: cosine(match.memory.vector, query)
        for match in matches.found
        if match.memory.vector is not None and match.memory.vector_model == model
    }


def rank(matches: Matches, limit: int, now: float, like: dict[str, float] | None = None) -> list[Ranked]:
    """The best `limit`, best first; of equals the newer first. `now` in seconds since 1970."""
    texts = {match.memory.memory_id: bm25(match, matches) for match in matches.found}
    best = max(texts.values(), default=0.0) or 1.0
    ranked: list[Ranked] = []
    for match in matches.found:
        memory = match.memory
        fit = texts[memory.memory_id] / best
        if like:
            likeness = max(0.0, like.get(memory.memory_id, 0.0))
            fit = (fit + likeness) / 2 if fit or likeness >= LEAST_LIKE else 0.0
        if fit > 0 or not matches.words:
            ranked.append(Ranked(memory, round((fit or 1.0) * standing(memory, now), 6)))
    ranked.sort(key=lambda each: (-each.score, -each.memory.created_at, each.memory.memory_id))
    return ranked[:limit]


def pack(vector: Sequence[float]) -> bytes:
    """A vector as it is stored."""
    return array("f", vector).tobytes()
