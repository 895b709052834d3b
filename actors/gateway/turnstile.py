"""Lets a crowd through a few at a time, so that the others in the house are not held up by it.

When thousands of clients drop in the same instant, the end of each costs some 0.3 ms, in half a dozen steps, and trio
takes the next step of every task that can go on before it looks at anything else: all the steps of all of them make one
pause after the other. So whoever has found that its client has gone passes here first. A few go through in each turn of
the loop, in the order in which they came, and the turns stay short however many wait.

Nobody keeps a place inside: whoever lingers there, for a client that takes its time, holds up nobody behind.

Rejected: a limiter held until the end, at which a few such clients would stop everybody else's from ending.
"""

from __future__ import annotations

from typing import Final

import trio

EACH_TURN: Final = 16
"""Some 5 ms of ends."""


class Turnstile:
    """See the module. Made and used in one run of trio; `each_turn` may pass in a turn of its loop."""

    def __init__(self, each_turn: int = EACH_TURN) -> None:
        self._each_turn = each_turn
        self._left = each_turn
        self._line = trio.lowlevel.ParkingLot()
        self._coming = False

    async def pass_through(self) -> None:
        """Go on when it is one's turn: at once, without a checkpoint, where there is no crowd.

        Cancellation: one has not passed, and stands in line no more.
        """
        self._look_again()
        if self._left:
            self._left -= 1
        else:
            await self._line.park()

    def _look_again(self) -> None:
        """Have the next ones let through in the next turn."""
        if not self._coming:
            self._coming = True
            trio.lowlevel.current_trio_token().run_sync_soon(self._next_turn)

    def _next_turn(self) -> None:
        self._coming = False
        passed = len(self._line.unpark(count=self._each_turn))
        self._left = self._each_turn - passed
        if passed:
            self._look_again()
