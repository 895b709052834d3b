"""How drafts are judged: what the judge is asked for, and the strict reading of what it says. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import attrs
import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

HIGHEST: Final = 10.0
LONGEST_REASON: Final = 300
JUDGE_PROMPT: Final = """
You are the Judge of several drafts that answer the same brief. You did not write any of them. Score each draft by
itself: how well it answers the brief, how original it is, and whether it would work. Use the whole range from 0
(useless) to 10 (could not be better); two drafts that differ in quality differ in score.

Answer with one JSON object and nothing else, in exactly this form, with every draft once:
{"scores": [{"draft": "draft-1", "score": 7.5, "reason": "one short sentence"}]}
"""
MERGE_PROMPT: Final = """
You are the Editor. The material holds a brief and several drafts that answer it, written independently; where they were
judged, your task names their scores. Write one final answer to the brief: begin with the best draft, take over what the
others do better, and drop what is weak. The reader sees only your answer: do not mention drafts, scores or a judge.
"""
_FENCED: Final = re.compile(r"\A```(?:json)?\s*\n(.*)\n```\Z", re.DOTALL)


@attrs.frozen
class Score:
    """What the judge says of one draft."""

    draft: str
    score: float
    reason: str = ""


@attrs.frozen
class _Scores:
    scores: list[Score]


def read_scores(text: str, drafts: tuple[str, ...]) -> Mapping[str, Score] | None:
    """The scores by draft; None unless each draft has exactly one, from 0 to 10: half a judgement is none.

    Around the JSON there may be a code fence, and nothing else.
    """
    text = text.strip()
    fenced = _FENCED.match(text)
    try:
        read = msgspec.json.decode(fenced.group(1) if fenced else text, type=_Scores)
    except (ValueError, RecursionError):
        return None
    scores = {score.draft: attrs.evolve(score, reason=score.reason[:LONGEST_REASON]) for score in read.scores}
    whole = len(read.scores) == len(drafts) and set(scores) == set(drafts)
    if not whole or not all(0 <= score.score <= HIGHEST for score in read.scores):
        return None
    return scores
