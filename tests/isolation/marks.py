"""Whose is what: the words and ids by which a user's things are known, wherever they turn up."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import attrs
import trio

if TYPE_CHECKING:
    import random

LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"
CANARY: Final = re.compile(r"canary[a-z]{10}")
_ID: Final = re.compile(r"[0-9a-f]{32}")
_KNOWN: Final = re.compile(f"{CANARY.pattern}|{_ID.pattern}")
MOST_SHOWN: Final = 300


@attrs.define(eq=False)
class Marks:
    """Every mark with its owner, and what has been found wrong.

    A canary is a word that stands in everything that a user says. Ids (of runs, tasks, memories, logs) are marks too,
    from the moment in which the daemon gives them to somebody.
    """

    owners: dict[str, str] = attrs.field(factory=dict)
    canaries: dict[str, str] = attrs.field(factory=dict)
    """By user."""
    wrong: list[str] = attrs.field(factory=list)
    found: trio.Event = attrs.field(factory=trio.Event)
    """Set with the first that is wrong."""
    looked_at: int = 0
    """Texts."""

    def canary(self, user: str, rng: random.Random) -> str:
        """A word for this user, who has none yet."""
        word = "canary" + "".join(rng.choices(LETTERS, k=10))
        self.canaries[user] = word
        self.owners[word] = user
        return word

    def claim(self, user: str, mark: str, what: str) -> None:
        """The daemon has given this to the user."""
        owner = self.owners.setdefault(mark, user)
        if owner != user:
            self.blame(f"{what} {mark} was given to {user}, and is {owner}'s")

    def of(self, text: str) -> dict[str, str]:
        """The marks that stand in a text, with their owners."""
        self.looked_at += 1
        return {mark: self.owners[mark] for mark in _KNOWN.findall(text) if mark in self.owners}

    def look(self, user: str, text: str, where: str) -> None:
        """This is given to the user, or kept for them: nothing in it may be another's."""
        for mark, owner in self.of(text).items():
            if owner != user:
                self.blame(f"{where}: {user} has {owner}'s {mark}: {around(text, mark)}")

    def look_for_any(self, text: str, where: str) -> None:
        """Nothing that a user has said may stand here."""
        self.looked_at += 1
        for canary in CANARY.findall(text):
            if canary in self.owners:
                self.blame(f"{where}: {self.owners[canary]}'s {canary}: {around(text, canary)}")

    def blame(self, sentence: str) -> None:
        """This is wrong."""
        self.wrong.append(sentence)
        self.found.set()


def around(text: str, mark: str) -> str:
    """The mark where it stands, for the message."""
    at = text.index(mark)
    return repr(text[max(0, at - MOST_SHOWN // 2) : at + MOST_SHOWN // 2])
