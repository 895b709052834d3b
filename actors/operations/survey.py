"""Asks several actors the same at once, for who is no actor and could only ask one after the other.

Whoever hangs costs the others nothing: an answer in full takes as long as the slowest, and never longer than was said.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import attrs

from runtime import Actor, Replied

if TYPE_CHECKING:
    from runtime import Ref, ReplyTo


@attrs.frozen
class AskAll:
    """To the survey. Answered with a tuple: what each has answered within so many seconds; None of who has not."""

    refs: tuple[Ref[Any], ...]
    question: object
    within: float


@attrs.define(eq=False)
class _Round:
    """One question under way: where its answer goes, what there is of it, and how many are missing."""

    reply: ReplyTo
    answers: list[Any]
    missing: int

    def heard(self, place: int, replied: Replied) -> None:
        self.answers[place] = replied.value if replied.error is None else None
        self.missing -= 1
        self.settle()

    def settle(self) -> None:
        if not self.missing:
            self.reply.answer(tuple(self.answers))


class Survey(Actor):
    """See the module. It holds nothing: whoever asked hears of its crash."""

    async def receive(self, message: Any) -> object:
        match message:
            case AskAll(refs, question, within):
                asked = _Round(self.defer(), [None] * len(refs), len(refs))
                for place, ref in enumerate(refs):
                    self.request(ref, question, within, tag=partial(asked.heard, place))
                asked.settle()
            case Replied():
                message.tag(message)
        return None
