"""Messages that nobody will handle: counted by reason, the latest kept for a look."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime._messages import DeadLetter

KEPT: Final = 100


class DeadLetters:
    """What became of the messages that came too late or were dropped.

    Attributes:
        counts: how many, by reason.
        listener_failures: how many calls of a listener raised. It must not be able to fail whoever sent the message.
        recent: the latest, as (path, type of message, reason). Messages themselves are not kept: they may be large, and
            they may be somebody's.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.recent: deque[tuple[str, str, str]] = deque(maxlen=KEPT)
        self.listener_failures = 0
        self._listeners: dict[Callable[[DeadLetter], None], None] = {}

    def listen(self, listener: Callable[[DeadLetter], None]) -> Callable[[], None]:
        """Have `listener` called with each dead letter, synchronously, until the returned function is called."""
        self._listeners[listener] = None
        return lambda: self._listeners.pop(listener, None)

    def add(self, letter: DeadLetter) -> None:
        self.counts[letter.reason] += 1
        self.recent.append((letter.path, type(letter.message).__name__, letter.reason))
        for listener in list(self._listeners):
            try:
                listener(letter)
            except Exception:  # noqa: BLE001 - it runs inside somebody's `tell`
                self.listener_failures += 1
