"""What can go wrong between a client and the daemon, each named by whose fault it is.

Flat on purpose: each of them wants another answer, so there is no parent to catch them by.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.protocol.codes import Reconnect

if TYPE_CHECKING:
    from collections.abc import Mapping


class Unreachable(Exception):
    """No connection came about: nobody listens, it is no Understudy, or it refused before the upgrade.

    `status` is the HTTP status of a refusal, else None; `retry_after` seconds, where the daemon named them. `reconnect`
    is false where trying again cannot help (403, 404: wrong origin, wrong path).
    """

    def __init__(self, url: str, why: str, *, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(f"{url}: {why}")
        self.url = url
        self.why = why
        self.status = status
        self.retry_after = retry_after
        self.reconnect = status is None or status == 429 or status >= 500

    def anew(self) -> Unreachable:
        """The same, to be raised once more: several tasks may, and an exception keeps the frames that it passed."""
        return Unreachable(self.url, self.why, status=self.status, retry_after=self.retry_after)


class ConnectionEnded(Exception):
    """The connection is over, and everything that it had delivered has been handed out.

    `how` and `resume` are the columns of PROTOCOL.md, "Closing", for `code`; `reconnect` says whether the same `hello`
    may be tried again (with 4419 it takes a new token first). `retry_after` (seconds) is what the daemon asked for;
    `message` its own sentence about the close, where it sent one.
    """

    def __init__(
        self,
        code: int,
        reason: str,
        *,
        how: Reconnect,
        resume: bool,
        retry_after: float | None = None,
        message: str | None = None,
    ) -> None:
        super().__init__(f"{code} {reason}".rstrip())
        self.code = code
        self.reason = reason
        self.how = how
        self.reconnect = how not in (Reconnect.NEVER, Reconnect.WITH_NEW_TOKEN)
        self.resume = resume
        self.retry_after = retry_after
        self.message = message

    def anew(self) -> ConnectionEnded:
        """As `Unreachable.anew`."""
        return ConnectionEnded(
            self.code,
            self.reason,
            how=self.how,
            resume=self.resume,
            retry_after=self.retry_after,
            message=self.message,
        )


class CommandRefused(Exception):
    """The daemon answered with an `error`: nothing was done.

    `message` is for a person, `fields` maps what was wrong to a sentence each, `metadata` is all that came with it.
    """

    def __init__(self, code: str, message: str, *, metadata: Mapping[str, object]) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.metadata = metadata
        self.retryable = metadata.get("retryable") is True
        retry_after = metadata.get("retry_after")
        self.retry_after = float(retry_after) if isinstance(retry_after, int | float) else None
        fields = metadata.get("fields")
        self.fields = {str(name): str(why) for name, why in fields.items()} if isinstance(fields, dict) else {}


class CommandTooLarge(Exception):
    """The caller's command is longer than the daemon takes (bytes). Nothing was sent; the connection goes on."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"the command has {size:,} bytes; the daemon takes {limit:,}")
        self.size = size
        self.limit = limit


class NotSent(Exception):
    """A command did not leave, and will not: nothing was done.

    `reason` is full (the queue holds as many bytes without an answer as it may) or age (no way to the daemon was found
    in time).
    """

    def __init__(self, command_type: str, command_id: str, reason: str) -> None:
        super().__init__(f"{command_type} was not sent: {reason}")
        self.command_type = command_type
        self.command_id = command_id
        self.reason = reason


class NoAnswer(Exception):
    """A command was not answered in time (`within`, seconds), and whether it was carried out is unknown.

    Repeating it with the same `command_id` is safe.
    """

    def __init__(self, command_type: str, command_id: str, within: float) -> None:
        super().__init__(f"no answer to {command_type} within {within:g} s")
        self.command_type = command_type
        self.command_id = command_id
        self.within = within
