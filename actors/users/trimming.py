"""Has a user's log forget what it need not hold: when the context wakes, and then again and again.

Nothing goes that a client is being sent, or is just being told that it will be: it would have to begin afresh because
of a moment. That holds over a crash of the context too, since who is being sent what is kept outside (`Continuity`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actors.storage.interface import Waking
from actors.storage.journal import TRIMMED_AT_ONCE, TrimLog

if TYPE_CHECKING:
    from actors.storage.interface import Trimmed
    from actors.users.context import ContextSettings, UserContext
    from runtime import Replied

TRIM_WITHIN: Final = 60.0
TRIM_AGAIN: Final = 0.5
"""Seconds until it is tried again while somebody is being told where to begin."""
MOST_KEPT: Final = 2
"""So many times `log_events` the log may hold for those who are being sent what they missed."""


class Trimming:
    """See the module. `context` is the user's."""

    __slots__ = ("_context", "_settings")

    def __init__(self, context: UserContext, settings: ContextSettings) -> None:
        self._context = context
        self._settings = settings

    def waking(self, lists: tuple[tuple[str, str], ...]) -> Waking:
        """What is asked when the context wakes; `lists` of the state is wanted."""
        limits = self._settings
        now = self._context.services.stamps.wall()
        return Waking(
            self._context.user, now, limits.log_events, limits.log_seconds, TRIMMED_AT_ONCE, lists, self._keep()
        )

    def now(self) -> None:
        """Have the oldest events forgotten, unless somebody is being told where to begin: then a little later."""
        context, limits = self._context, self._settings
        if context.arrivals.under_way:
            context.later("trim again", TRIM_AGAIN, self.now)
            return
        order = TrimLog(
            context.user, context.services.stamps.wall(), limits.log_events, limits.log_seconds, self._keep()
        )
        context.request(context.services.journal, order, TRIM_WITHIN, tag=self._trimmed)

    def _keep(self) -> int | None:
        """From which event on all has to stay; None: there is no such one."""
        if self._context.arrivals.under_way:
            return 1
        keep = self._context.devices.replayed_from()
        return None if keep is None else max(keep, self._context.released - MOST_KEPT * self._settings.log_events + 1)

    def _trimmed(self, replied: Replied) -> None:
        if replied.error is None:
            self.go_on(replied.value)

    def go_on(self, trimmed: Trimmed) -> None:
        """So much was forgotten: there may be more."""
        if trimmed.events >= TRIMMED_AT_ONCE:
            self.now()
