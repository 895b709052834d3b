"""The one exception of the configuration, and how a problem reads."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


class ConfigurationError(Exception):
    """The configuration cannot be used. The operator's fault, and the operator's to repair.

    `str()` of it is the whole message: one line for each problem, each naming the place, the key, the value and what is
    allowed. No value of a secret is ever in it. Print it and exit; a traceback adds nothing.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems: tuple[str, ...] = tuple(problems)
        super().__init__("\n".join(self.problems))


def plain(text: str) -> str:
    """`text` on one line, and harmless to a terminal: what is not printable is written as an escape."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def nearest_word(word: str, known: Collection[str]) -> str | None:
    """The known word that `word` was probably meant to be, in whatever case."""
    folded = {name.casefold(): name for name in sorted(known)}
    near = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=0.6)
    return folded[near[0]] if near else None


def suggestion(word: str, known: Collection[str]) -> str:
    """What to try instead of the unknown `word`: the nearest known one, or the list where it is short."""
    near = nearest_word(word, known)
    if near is not None:
        return f'did you mean "{near}"?'
    return f"known: {', '.join(sorted(known))}"
