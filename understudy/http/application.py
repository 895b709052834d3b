"""The ASGI application: routes put together, and what holds for every answer.

It needs no lifespan and no asyncio, starts no thread, and touches no logger of the process. One daemon builds one, and
nothing in it is shared with another's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from litestar import Litestar
from litestar.datastructures import MutableScopeHeaders
from litestar.exceptions import ValidationException

from understudy.http import (
    agents,
    artifacts,
    description,
    drain,
    engines,
    later,
    pages,
    polling,
    probes,
    runs,
    supervisors,
    tasks,
    websockets,
)
from understudy.http.failures import exception_handlers
from understudy.http.reading import StrictRequest, misread

if TYPE_CHECKING:
    from hypercorn.typing import ASGIFramework
    from litestar.handlers import HTTPRouteHandler
    from litestar.types import BeforeMessageSendHookHandler, Message, Scope

    from actors.operations.counters import DaemonCounters
    from understudy.http.sources import Sources

BODY_LIMIT_BYTES: Final = 2 * 1024 * 1024
"""As large as a frame over the WebSocket may be."""


def build_app(sources: Sources) -> ASGIFramework:
    """The application over these sources.

    Takes some 100 ms, so build it once. It waits for nothing but what `sources` give it, and may be cancelled at any
    time.
    """
    document = description.describe(_described(sources), sources.version)
    app = Litestar(
        [*_described(sources), *pages.routes(), *later.routes(), description.route(document)],
        before_send=[_finish(sources.counters)],
        exception_handlers={**exception_handlers(sources.log), ValidationException: misread},
        request_class=StrictRequest,
        request_max_body_size=BODY_LIMIT_BYTES,
        openapi_config=None,
        logging_config=None,
        debug=False,  # would show stack traces; None reads the environment
        pdb_on_exception=False,
    )

    async def serve(scope: Any, receive: Any, send: Any) -> None:  # each library has its own words for these
        if scope.get("method") == "HEAD":
            scope = {**scope, "method": "GET"}  # the server keeps the body back
        await app(scope, receive, send)

    return serve


def _described(sources: Sources) -> list[HTTPRouteHandler]:
    """The routes that stand in the OpenAPI document. Made anew for each application: they belong to one."""
    parts = (probes, supervisors, polling, runs, websockets, drain, engines, artifacts, agents, tasks)
    return [route for part in parts for route in part.routes(sources)]


def _finish(counters: DaemonCounters) -> BeforeMessageSendHookHandler:
    async def finish(message: Message, _scope: Scope) -> None:
        """What every answer has, errors included."""
        if message["type"] == "http.response.start":
            headers = MutableScopeHeaders.from_message(message)
            headers["x-content-type-options"] = "nosniff"
            headers.setdefault("cache-control", "no-store")
            counters.http_responses[message["status"]] += 1

    return finish
