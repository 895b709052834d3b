"""The text of one attempt on its way to the run: what was written, and how far the run has been told of it.

What has come together is told as one, at once; but for what follows within 30 ms, which is told when these are over,
together with what comes until then. So a slow model, which is read less often than that, keeps nobody waiting, and a
quick one does not flood anybody. Where the run does not take it, it is told again, from the same place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime import Actor

COALESCE: Final = 0.03
"""Seconds between two tellings, at least."""
PARAGRAPH: Final = "\n\n"


@attrs.frozen
class Flush:
    """Timer: tell the run what was written."""


class Text:
    """Made by the agent's actor for itself, whose `receive` calls `due` with each `Flush`.

    Args:
        actor: whose timer it is.
        tell: hands the run a piece that begins behind so many code points; whether it was taken.
    """

    def __init__(self, actor: Actor, tell: Callable[[int, str], bool]) -> None:
        self._actor = actor
        self._tell = tell
        self.pieces: list[str] = []
        """All text so far."""
        self.length = 0
        """Code points of it."""
        self._untold: list[str] = []
        self._told = 0  # code points
        self._not_before = 0.0  # trio's clock
        self._waits = False  # for its timer
        self._gap = False

    def new_paragraph(self) -> None:
        """What comes next is of another call of the model."""
        self._gap = True

    def add(self, piece: str) -> None:
        """The model has written something; `caught_up` follows."""
        if not piece:
            return
        if self._gap:
            self._gap, piece = False, PARAGRAPH + piece
        self.pieces.append(piece)
        self.length += len(piece)
        self._untold.append(piece)

    def caught_up(self) -> None:
        """No more is there at the moment."""
        if self._waits or not self._untold:
            return
        left = self._not_before - self._actor.now()
        if left > 0:
            self._wait(left)
        else:
            self.flush()

    def due(self) -> None:
        """The timer is over."""
        self._waits = False
        self.flush()

    def flush(self) -> None:
        """Tell what has not been told, if the run takes it."""
        if not self._untold:
            return
        text = "".join(self._untold)
        if self._tell(self._told, text):
            self._untold = []
            self._told += len(text)
            self._not_before = self._actor.now() + COALESCE
        else:
            self._wait(COALESCE)

    def start_over(self) -> None:
        """What was told may not have reached anybody: tell all of it again."""
        self._told = 0
        self._untold = list(self.pieces)
        self.flush()

    def _wait(self, seconds: float) -> None:
        self._waits = True
        self._actor.timer("flush", seconds, Flush())
