"""Addresses that the protocol promises and this version does not serve yet.

They answer `unavailable`, which a client understands, instead of `not_found`, which would be a lie about the protocol.
A group of routes that comes to be takes its lines out of the table. None of them is in the OpenAPI document.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn

from litestar import route

from actors.protocol.codes import NOT_YET, ErrorCode
from understudy.http.failures import RequestRefused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from litestar.handlers import HTTPRouteHandler
    from litestar.types import Method

PROMISED: Final[tuple[tuple[str, tuple[Method, ...]], ...]] = (
    ("/api/system/overview", ("GET",)),
    ("/api/sessions", ("GET",)),
    ("/api/sessions/{session_id:str}", ("GET",)),
    ("/api/monitoring/metrics", ("GET",)),
    ("/api/monitoring/alerts", ("GET",)),
    ("/api/monitoring/alerts/{alert_id:str}/resolve", ("POST",)),
    ("/api/flags", ("GET",)),
    ("/api/flags/rollback", ("POST",)),
    ("/api/flags/kill", ("POST",)),
    ("/api/flags/{name:str}", ("GET", "PUT")),
    ("/api/experiments", ("GET",)),
    ("/api/experiments/{name:str}", ("GET",)),
    ("/api/notices", ("POST",)),
    ("/api/tokens/revoke", ("POST",)),
    ("/api/audit", ("GET",)),
)


def routes() -> Sequence[HTTPRouteHandler]:
    """One route a line of the table."""
    return [_refuse(path, methods) for path, methods in PROMISED]


def _refuse(path: str, methods: tuple[Method, ...]) -> HTTPRouteHandler:
    @route(path, http_method=methods, include_in_schema=False, status_code=200)
    async def promised() -> None:
        refuse()

    return promised


def refuse() -> NoReturn:
    """Say that it comes later."""
    raise RequestRefused(ErrorCode.UNAVAILABLE, NOT_YET)
