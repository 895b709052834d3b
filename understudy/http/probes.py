"""`/health`, `/ready` and `/metrics`: what load balancers, orchestrators and Prometheus ask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import attrs
import trio
from litestar import Response, get
from litestar.openapi.datastructures import ResponseSpec

from actors.operations.metrics import CONTENT_TYPE
from understudy.http.media import without_charset
from understudy.http.sources import Check, CheckStatus, Phase, Sources

if TYPE_CHECKING:
    from collections.abc import Sequence

    from litestar.handlers import HTTPRouteHandler

ANSWER_WITHIN: Final = 5.0
"""Seconds that the daemon's parts have to say how they are. Whoever probes waits hardly longer."""
_PHASES: Final[Mapping[Phase, Check]] = {
    "starting": Check("unavailable", "The daemon is starting."),
    "running": Check("ok", "The daemon is running."),
    "draining": Check("unavailable", "The daemon is going down and takes no new work."),
}


@attrs.frozen(slots=False)
class Health:
    """How the daemon is."""

    status: CheckStatus
    version: str
    uptime_seconds: float
    checks: dict[str, Check]


def overall(checks: Mapping[str, Check], required: frozenset[str]) -> CheckStatus:
    """The status of the whole: unavailable if one of the required parts is, or is missing; degraded if any is less
    than ok."""
    if any(part not in checks or checks[part].status == "unavailable" for part in required):
        return "unavailable"
    return "ok" if all(check.status == "ok" for check in checks.values()) else "degraded"


def routes(sources: Sources) -> Sequence[HTTPRouteHandler]:
    """The routes of this module."""

    def health_of(status: CheckStatus, checks: Mapping[str, Check]) -> Health:
        uptime = round(trio.current_time() - sources.started_at, 3)
        return Health(status, sources.version, uptime, dict(checks))

    async def checks_now() -> Mapping[str, Check]:
        with trio.move_on_after(ANSWER_WITHIN):
            return await sources.readiness()
        return dict.fromkeys(sources.required, Check("unavailable", "There was no answer in time."))

    @get("/health", summary="Whether the daemon is alive", operation_id="health", tags=["probes"])
    async def health() -> Health:
        # Asks no part of the daemon: one that is slow is no reason to have the whole process replaced.
        return health_of("ok", {"daemon": Check("ok", _PHASES[sources.phase()].message)})

    @get(
        "/ready",
        summary="Whether the daemon takes work",
        operation_id="ready",
        tags=["probes"],
        responses={503: ResponseSpec(Health, description="It does not", generate_examples=False)},
    )
    async def ready() -> Response[Health]:
        checks = {"daemon": _PHASES[sources.phase()], **await checks_now()}
        status = overall(checks, sources.required | {"daemon"})
        return Response(health_of(status, checks), status_code=503 if status == "unavailable" else 200)

    @get(
        "/metrics",
        media_type=without_charset(CONTENT_TYPE),
        summary="Prometheus text",
        operation_id="metrics",
        tags=["probes"],
    )
    async def metrics() -> bytes:
        return await sources.metrics()

    return [health, ready, metrics]
