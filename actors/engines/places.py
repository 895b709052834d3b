"""Places for work that goes on at the same time, of all executions together: fair between users.

A place that becomes free goes to the user who has the fewest, of several to the one who has waited longest since the
last. That alone would let a large graph, begun a moment before all others, hold every place for as long as its tasks
take; so nobody takes the last tenth while no other wants it (`may_take`): whoever comes finds a place.
"""

from __future__ import annotations

from collections import Counter, deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from actors.models.fair_line import may_take

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Places:
    """Args:
    number: how many there are.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._taken = Counter[str]()
        self._waiting: dict[str, deque[trio.Event]] = {}

    @asynccontextmanager
    async def one(self, user: str) -> AsyncIterator[None]:
        """Wait for a place, and hold it while the block lasts. Cancelled, it is given back, or no longer wanted."""
        granted = trio.Event()
        self._waiting.setdefault(user, deque()).append(granted)
        self._grant()
        try:
            await granted.wait()
            yield
        finally:
            if granted.is_set():
                self._taken[user] -= 1
                if not self._taken[user]:
                    del self._taken[user]
            else:
                self._leave(user, granted)
            self._grant()

    def _grant(self) -> None:
        while self._waiting and (taken := self._taken.total()) < self._number:
            users = len(self._taken.keys() | self._waiting.keys())
            may = [
                user
                for user in self._waiting
                if may_take(
                    self._number, own=self._taken[user], others=taken - self._taken[user], wanted=1, users=users
                )
            ]
            if not may:
                return
            user = min(may, key=self._taken.__getitem__)
            waiting = self._waiting.pop(user)  # and behind all others, where more of them wait
            granted = waiting.popleft()
            if waiting:
                self._waiting[user] = waiting
            self._taken[user] += 1
            granted.set()

    def _leave(self, user: str, granted: trio.Event) -> None:
        waiting = self._waiting[user]
        waiting.remove(granted)
        if not waiting:
            del self._waiting[user]
