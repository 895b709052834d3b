"""What a model is sent while it calls tools: the prompt and all rounds so far, within the budget of a prompt.

What the tools gave goes to the model exactly, as long as there is room: all that the prompt leaves, and never less than
half of the budget, for which the prompt is put together anew with shorter answers of earlier steps. Where that is not
enough, the results of earlier rounds are shortened to one common length, the longest losing first; then those of the
latest round; then whole rounds go, the oldest first, and the model is told how many calls these were. A round goes with
all of its answers, so that no call is ever without one. Rejected: asking a model to sum up what it has read, which
costs a call, and may fail just when there is no room.

What a model itself wrote into its calls is never cut: a provider may refuse what is no JSON.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from actors.agents.prompts import shorten
from actors.models.tokens import PER_MESSAGE, PER_REQUEST, estimate_tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actors.models.chat import ChatMessage
    from actors.models.tools import Tool

Round = tuple["ChatMessage", ...]
"""What the model said and wanted, and the answer to each of its calls."""

LEAST: Final = 400
"""Characters of a result that are not given up before its round is."""
CUT: Final = "Shortened to fit:"
TELLING: Final = 32
"""Tokens of the line that says how many rounds are gone, at most."""


class Conversation:
    """One answer in the making.

    Args:
        prompt: makes the messages before the first round; its argument is what they may be estimated at, in tokens.
        budget: tokens of all that is sent.
        tools: what the model is offered, which is sent too.
    """

    def __init__(self, prompt: Callable[[int], Sequence[ChatMessage]], budget: int, tools: Sequence[Tool]) -> None:
        self._prompt = prompt
        self._budget = budget - PER_REQUEST - sum(PER_MESSAGE + estimate_tokens(tool.text) for tool in tools)
        self._rounds: list[Round] = []
        self._first = self._within(self._budget)

    def add(self, taken: Round) -> None:
        """One round more."""
        self._rounds.append(taken)

    def messages(self) -> tuple[ChatMessage, ...]:
        """What is sent next."""
        if not self._rounds:
            return self._first
        before = _tokens(self._first)
        room = max(self._budget - before, self._budget // 2)
        rounds = fitted(self._rounds, room)
        told = ""
        if len(rounds) < len(self._rounds):
            rounds = fitted(self._rounds, room - TELLING)
            gone = sum(len(taken) - 1 for taken in self._rounds[: len(self._rounds) - len(rounds)])
            told = f"\n\n[{CUT} {gone} earlier calls of tools, with what they gave, left out here]"
        left = self._budget - sum(map(_tokens, rounds)) - (TELLING if told else 0)
        *most, last = self._first if before <= left else self._within(left)
        prompt = (*most, attrs.evolve(last, content=last.content + told))
        return (*prompt, *(message for taken in rounds for message in taken))

    def _within(self, tokens: int) -> tuple[ChatMessage, ...]:
        framing = 2 * PER_MESSAGE  # one message of the system, one of the user
        return tuple(self._prompt(tokens - framing))


def fitted(rounds: Sequence[Round], budget: int) -> list[Round]:
    """The rounds, shortened as the module says to at most so many tokens, where that can be done."""
    whole = list(rounds)
    if sum(map(_tokens, whole)) <= budget:
        return whole
    *earlier, latest = whole
    left = budget - _tokens(latest)
    if sum(_tokens(_shortened(taken, LEAST)) for taken in earlier) <= left:
        return [*_longest(earlier, left), latest]
    least = [_shortened(taken, LEAST) for taken in earlier]
    smallest = _tokens(_shortened(latest, LEAST))
    while least and sum(map(_tokens, least)) + smallest > budget:
        least.pop(0)
    return [*least, *_longest([latest], budget - sum(map(_tokens, least)))]


def _longest(rounds: Sequence[Round], budget: int) -> list[Round]:
    """With results of the longest common length that fits, or the least one."""
    low, high = LEAST, max((len(message.content) for taken in rounds for message in taken[1:]), default=0)
    while high - low > 1:
        middle = (low + high) // 2
        if sum(_tokens(_shortened(taken, middle)) for taken in rounds) <= budget:
            low = middle
        else:
            high = middle
    return [_shortened(taken, low) for taken in rounds]


def _shortened(taken: Round, kept: int) -> Round:
    said, *answers = taken
    return (said, *(attrs.evolve(answer, content=shorten(answer.content, kept, CUT)) for answer in answers))


def _tokens(messages: Sequence[ChatMessage]) -> int:
    return sum(PER_MESSAGE + estimate_tokens(message.counted) for message in messages)
