"""`POST /api/drain`: an operator sends the daemon away, as SIGTERM does. And what others are told meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import attrs
from litestar import Request, post

from actors.gateway.entrance import LEAVING
from actors.protocol.codes import ErrorCode
from understudy.http.callers import operators_only
from understudy.http.failures import RequestRefused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from litestar.handlers import HTTPRouteHandler

    from understudy.http.sources import Sources


@attrs.frozen(slots=False)
class Draining:
    """The daemon takes nobody in any more, sends its clients away, and has ended `within` so many seconds."""

    status: Literal["draining"]
    within: float


def leaving(sources: Sources) -> RequestRefused | None:
    """Why no work is begun any more; None while the daemon is not going down."""
    if sources.phase() != "draining":
        return None
    return RequestRefused(ErrorCode.UNAVAILABLE, LEAVING, retry_after=round(sources.come_back(), 3))


def routes(sources: Sources) -> Sequence[HTTPRouteHandler]:
    """The routes of this module."""

    @post(
        "/api/drain",
        status_code=202,
        guards=[operators_only(sources.identify)],
        summary="Drain the daemon, and end it",
        operation_id="drain",
        tags=["operations"],
    )
    async def drain(request: Request[Any, Any, Any]) -> Draining:
        if sources.drain is None:
            raise RequestRefused(ErrorCode.UNAVAILABLE)
        caller = sources.identify(request.headers)
        return Draining("draining", sources.drain(f"POST /api/drain by {caller.user_id}"))

    return [drain]
