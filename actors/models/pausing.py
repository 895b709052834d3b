"""What a pause means to one call: no attempt is begun, nothing is waited for, and the call's time stands still.

A call that waits (in a gate's line, for what is parked, between two attempts) leaves its place as soon as it is told to
pause: whoever asked for the pause hears at once that the call rests, and nobody is served behind one who wants nothing.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from actors.models.model_call import Pause


class Pausing:
    """Args:
    pause: whether attempts may be begun; None: always.
    postpone: is told the seconds of each rest.
    """

    def __init__(self, pause: Pause | None, postpone: Callable[[float], None]) -> None:
        self._pause = pause
        self._postpone = postpone

    @property
    def held(self) -> bool:
        return self._pause is not None and self._pause.held

    async def rest(self) -> None:
        """Returns when an attempt may be begun."""
        if self._pause is not None and self._pause.held:
            began = trio.current_time()
            await self._pause.resumed()
            self._postpone(trio.current_time() - began)

    @contextmanager
    def unless_held(self) -> Iterator[trio.CancelScope]:
        """For waiting: a pause that begins meanwhile cancels the scope."""
        with trio.CancelScope() as scope:
            if self._pause is None:
                yield scope
                return
            self._pause.interrupts(scope)
            if self._pause.held:  # since it was looked for
                scope.cancel()
            try:
                yield scope
            finally:
                self._pause.interrupts(None)

    async def sleep_until(self, due: float) -> None:
        """Trio's time; resting counts as sleeping."""
        while trio.current_time() < due:
            with self.unless_held():
                await trio.sleep_until(due)
            await self.rest()
