"""What one client is told in answer to what it has said, and what the outcome of a command means for that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actors.gateway.entrance import LEAVING, RUSH
from actors.gateway.outbound import Out
from actors.protocol.codes import NOT_YET, ErrorCode
from actors.protocol.commands import (
    CANCEL_RUN,
    DECIDE,
    PAUSE_RUN,
    RESUME_RUN,
    SET_MODE,
    START_RUN,
    SUBMIT_TASK,
    TASK_UPDATE,
)
from actors.protocol.connection_events import error, reply
from actors.protocol.event_types import GapReason
from actors.protocol.events import encode
from actors.users.messages import CommandError, OutcomeUnknown, Replaced
from runtime import NotAccepted, Refused

if TYPE_CHECKING:
    from actors.gateway.connection import Connection
    from actors.protocol.decode import Command, Rejected
    from actors.protocol.events import Event

DURABLE_COMMANDS: Final = frozenset(
    {START_RUN, CANCEL_RUN, PAUSE_RUN, RESUME_RUN, DECIDE, SET_MODE, SUBMIT_TASK, TASK_UPDATE}
)
"""Those that change something for good: it matters whether they were carried out."""

COME_BACK: Final = (1.0, 3.0)
"""Seconds, from and to, after which a client that was not welcomed is to come back: those who have waited together are
not to come together again."""
UNREACHABLE: Final = "Your data cannot be reached at this moment. Please try again shortly."
CROWDED: Final = "You have too many connections open. Please close one, then try again."
LOST: Final = {
    GapReason.EPOCH: "Your history was started anew. Please load what you need again.",
    GapReason.AHEAD: "Your position is ahead of what is stored. Please load what you need again.",
    GapReason.TRIMMED: "Some events are too old to be sent again. Please load what you need again.",
}


class Answers:
    """Words them for one connection, and counts the errors."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def say(self, event: Event) -> None:
        self._connection.write(Out(encode(event)))

    def reply(self, reply_to: str, metadata: dict[str, Any]) -> None:
        """It was carried out."""
        self.say(reply(self._connection.services.stamps.stamp(), reply_to=reply_to, metadata=metadata))

    def not_now(self, reply_to: str, *, storage: bool) -> None:
        """There is no `welcome`: because of `storage`, or because it took too long. The connection is to be closed."""
        retry_after = round(self._connection.system.rng.uniform(*COME_BACK), 3)
        why = UNREACHABLE if storage else RUSH
        self.error(ErrorCode.UNAVAILABLE, reply_to, content=why, retry_after=retry_after)

    def not_yet(self, reply_to: str) -> None:
        """The protocol has this command, and this version does not."""
        self.error(ErrorCode.UNAVAILABLE, reply_to, content=NOT_YET)

    def leaving(self, reply_to: str, retry_after: float) -> None:
        """No work is begun any more: the daemon is about to leave."""
        self.error(ErrorCode.UNAVAILABLE, reply_to, content=LEAVING, retry_after=retry_after)

    def rejected(self, rejected: Rejected) -> None:
        """It was no command."""
        self.error(rejected.code, rejected.reply_to, content=rejected.message, fields=rejected.fields)

    def problem(self, why: CommandError, reply_to: str) -> None:
        """It was not carried out, for a reason that somebody has worded."""
        details = dict(why.details or {})
        fields = details.pop("fields", None)
        self.error(why.code, reply_to, content=why.content, fields=fields, retry_after=why.retry_after, details=details)

    def error(
        self,
        code: ErrorCode,
        reply_to: str | None,
        *,
        content: str | None = None,
        fields: dict[str, str] | None = None,
        retry_after: float | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        """It was not carried out; without `content`, in the code's own words."""
        if reply_to is not None:
            self._connection.services.counters.command_errors[code.value] += 1
        stamp = self._connection.services.stamps.stamp()
        self.say(
            error(
                stamp, code, content=content, reply_to=reply_to, fields=fields, retry_after=retry_after, details=details
            )
        )


def is_one_too_many(problem: Exception | None) -> bool:
    """Whether the context said that this user has as many connections as one may have."""
    reason = problem.reason if isinstance(problem, Refused) else None
    return isinstance(reason, CommandError) and reason.code is ErrorCode.LIMIT_REACHED


def is_replaced(problem: Exception | None) -> bool:
    """Whether the context said that there is a newer connection of the same client."""
    return isinstance(problem, Refused) and isinstance(problem.reason, Replaced)


def perhaps_done(command: Command, problem: Exception) -> bool:
    """Whether a command that came out so may have been carried out: then nothing may be said of it."""
    if isinstance(problem, Refused):
        return isinstance(problem.reason, OutcomeUnknown)
    return command.type in DURABLE_COMMANDS and not isinstance(problem, NotAccepted)
