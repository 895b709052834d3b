"""Who waits for an engine, and who is next: fair between users, so that one who floods waits for themselves."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Waiting(Protocol):
    """What can stand in the line."""

    @property
    def user(self) -> str: ...


W = TypeVar("W", bound=Waiting)


class WaitingLine(Generic[W]):
    """A bounded line. Next is the first of the user who has the fewest executions under way."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: list[W] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[W]:
        return iter(list(self._waiting))

    @property
    def full(self) -> bool:
        return len(self._waiting) >= self._most

    def add(self, waiter: W) -> None:
        self._waiting.append(waiter)

    def leave(self, waiter: W) -> None:
        self._waiting.remove(waiter)

    def next(self, executing: Iterable[str]) -> W | None:
        """Take out who is next, `executing` being the users of what is under way."""
        if not self._waiting:
            return None
        busy = Counter(executing)
        waiter = min(self._waiting, key=lambda each: busy[each.user])  # the first among equals
        self._waiting.remove(waiter)
        return waiter
