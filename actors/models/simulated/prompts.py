"""What the simulated model was asked, prompt by prompt: so that whoever watches can tell that nothing was asked twice.

A prompt is known by a digest of its messages, its answer by one of the text; the same prompt always has the same
answer.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import attrs

MOST_PROMPTS: Final = 20_000
MOST_TIMES: Final = 1_000


@attrs.define
class Asked:
    """One prompt: the digest of its answer, when it was asked, and when the answer had gone out whole.

    Times are seconds since 1970, of the first thousand each.
    """

    answer: str
    asked: list[float] = attrs.field(factory=list)
    answered: list[float] = attrs.field(factory=list)


class Prompts:
    """What one simulated model was asked since its start; of the first twenty thousand prompts."""

    def __init__(self) -> None:
        self._prompts: dict[str, Asked] = {}
        self._left_out = 0

    def ask(self, prompt: str, text: str, now: float) -> None:
        """The prompt has come; `text` is the whole answer that belongs to it."""
        known = self._prompts.get(prompt)
        if known is None and len(self._prompts) >= MOST_PROMPTS:
            self._left_out += 1
            return
        if known is None:
            known = self._prompts[prompt] = Asked(text_digest(text))
        if len(known.asked) < MOST_TIMES:
            known.asked.append(now)

    def answer(self, prompt: str, now: float) -> None:
        """The last piece of its answer is about to go out."""
        known = self._prompts.get(prompt)
        if known is not None and len(known.answered) < MOST_TIMES:
            known.answered.append(now)

    def report(self) -> dict[str, Any]:
        """What `GET /prompts` answers. `left_out` counts requests with prompts beyond the first twenty thousand."""
        return {
            "prompts": {prompt: attrs.asdict(asked) for prompt, asked in self._prompts.items()},
            "left_out": self._left_out,
        }


def text_digest(text: str) -> str:
    """What an answer is known by: SHA-256 of its UTF-8, in hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
