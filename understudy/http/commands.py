"""A command of the protocol in the caller's name, for routes that do what a command does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from actors.protocol.codes import ErrorCode
from actors.protocol.event_types import EventType
from understudy.http.failures import RequestRefused
from understudy.http.keys import idempotency_key
from understudy.http.polling import Polling

if TYPE_CHECKING:
    from litestar import Request

    from actors.users.messages import CommandError
    from understudy.http.sources import Sources

ERROR_FIELDS: Final = frozenset({"reply_to", "code", "retryable", "retry_after", "fields"})
"""What every `error` may have. What one has besides is of use to a program over HTTP too."""


class Commands:
    """Carries them out over the daemon's actors."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._polling = Polling(sources)

    async def carry_out(
        self,
        request: Request[Any, Any, Any],
        type_: str,
        metadata: dict[str, Any],
        content: str = "",
        *,
        session_id: str | None = None,
        called: str = "content",
    ) -> dict[str, Any]:
        """The reply's metadata. What is None in `metadata` is left out, so that the same command is the same, whichever
        way it comes. `called` is what the request calls the command's content.

        Raises:
            RequestRefused: the error, as HTTP says it.
        """
        caller = self._sources.identify(request.headers)
        command_id = idempotency_key(request) or self._sources.stamps.id()
        given = {name: value for name, value in metadata.items() if value is not None}
        envelope = {"id": command_id, "type": type_, "content": content, "metadata": given}
        if session_id is not None:
            envelope["session_id"] = session_id
        _, event = await self._polling.command(caller.user_id, msgspec.json.encode(envelope).decode())
        if event.type == EventType.ERROR:
            fields = event.metadata.get("fields", {})
            raise RequestRefused(
                ErrorCode(event.metadata["code"]),
                event.content,
                fields={called if name == "content" else name: wrong for name, wrong in fields.items()},
                retry_after=event.metadata.get("retry_after"),
                details={name: value for name, value in event.metadata.items() if name not in ERROR_FIELDS},
            )
        return {name: value for name, value in event.metadata.items() if name != "reply_to"}


def refused(why: CommandError) -> RequestRefused:
    """What an actor refuses, as HTTP says it."""
    fields = (why.details or {}).get("fields")
    return RequestRefused(why.code, why.content, fields=fields, retry_after=why.retry_after)
