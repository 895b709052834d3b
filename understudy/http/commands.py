"""A command of the protocol in the caller's name, for routes that do what a command does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from actors.protocol.codes import ErrorCode
from actors.protocol.event_types import EventType
from understudy.http.failures import RequestRefused
from understudy.http.polling import Polling

if TYPE_CHECKING:
    from litestar import Request

    from actors.users.messages import CommandError
    from understudy.http.sources import Sources

IDEMPOTENCY_KEY: Final = "idempotency-key"


class Commands:
    """Carries them out over the daemon's actors."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._polling = Polling(sources)

    async def carry_out(
        self, request: Request[Any, Any, Any], type_: str, metadata: dict[str, Any], content: str = ""
    ) -> dict[str, Any]:
        """The reply's metadata. Raises RequestRefused: the error, as HTTP says it."""
        caller = self._sources.identify(request.headers)
        command_id = request.headers.get(IDEMPOTENCY_KEY) or self._sources.stamps.id()
        envelope = {"id": command_id, "type": type_, "content": content, "metadata": metadata}
        _, event = await self._polling.command(caller.user_id, msgspec.json.encode(envelope).decode())
        if event.type == EventType.ERROR:
            retry_after = event.metadata.get("retry_after")
            raise RequestRefused(
                ErrorCode(event.metadata["code"]),
                event.content,
                fields=event.metadata.get("fields"),
                retry_after=_seconds(retry_after),
            )
        return {name: value for name, value in event.metadata.items() if name != "reply_to"}


def refused(why: CommandError) -> RequestRefused:
    """What an actor refuses, as HTTP says it."""
    fields = (why.details or {}).get("fields")
    return RequestRefused(why.code, why.content, fields=fields, retry_after=_seconds(why.retry_after))


def _seconds(retry_after: float | None) -> int | None:
    return None if retry_after is None else max(1, round(retry_after))
