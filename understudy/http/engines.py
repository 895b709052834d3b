"""`/api/engines`: how the engines are, and one execution at one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import attrs
import trio
from litestar import Request, get, post
from litestar.params import JSONBody
from msgspec import UNSET, Meta, UnsetType

from actors.engines.messages import BadExecution, EngineBusy, EngineResult, Execute
from actors.engines.routing import STAGES, address, route, unknown_type
from actors.protocol.codes import ErrorCode
from actors.protocol.commands import Name, Options
from actors.protocol.wire_values import wire_value
from runtime import ActorError, Refused
from understudy.http.drain import leaving
from understudy.http.failures import RequestRefused
from understudy.http.keys import idempotency_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from litestar.handlers import HTTPRouteHandler

    from actors.protocol.channel_events import EngineView
    from understudy.http.sources import Sources

LONGEST_DESCRIPTION: Final = 10_000
LONGEST_TIMEOUT: Final = 3600.0
ANSWER_WITHIN: Final = 2.0
"""Seconds beyond the execution's own time, in which an engine says that this is over."""


@attrs.frozen(slots=False)
class EngineStatus:
    """One engine: `executing` of `limit` now, `queued` of `queue_limit`; what it has done since the daemon started.

    `state` is running, degraded while something simpler stands in for it, or offline. `average_ms` is measured, over
    what was completed, and left out until there is one.
    """

    engine: str
    state: str
    load: float
    executing: int
    queued: int
    limit: int
    queue_limit: int
    completed: int
    failed: int
    diverted: int
    average_ms: float | UnsetType = UNSET


@attrs.frozen(slots=False)
class NewExecution:
    """What is to be done; `timeout` in seconds, waiting included, of the configuration if left out."""

    task_type: Name
    description: Annotated[str, Meta(description="a text of at most 10,000 characters")] = ""
    parameters: Options = attrs.field(factory=dict)
    timeout: Annotated[float | None, Meta(description="a number of seconds above 0, at most 3600")] = None


@attrs.frozen(slots=False)
class Execution:
    """How it ended. `degraded`: it was done in a plainer way; `diverted_from`: in the place of that engine."""

    engine: str
    task_type: str
    status: Literal["completed", "failed"]
    degraded: bool
    duration_ms: int
    result: dict[str, Any]
    diverted_from: str | UnsetType = UNSET
    error: str | UnsetType = UNSET


def routes(sources: Sources) -> Sequence[HTTPRouteHandler]:
    """The routes of this module."""

    @get("/api/engines", summary="The engines", operation_id="engines", tags=["engines"])
    async def engines() -> list[EngineStatus]:
        counts = sources.counters.engines
        return [_status(counts[name].view()) for name in STAGES if name in counts]

    @post(
        "/api/engines/execute",
        status_code=200,
        summary="Have an engine do something in the caller's name, and wait for it",
        operation_id="execute",
        tags=["engines"],
    )
    async def execute(request: Request[Any, Any, Any], data: JSONBody[NewExecution]) -> Execution:
        caller = sources.identify(request.headers)
        if (going := leaving(sources)) is not None:
            raise going
        key = idempotency_key(request) or ""
        path = _checked(data)
        engine = route(data.task_type)
        assert engine is not None
        seconds = data.timeout if data.timeout is not None else sources.engine_timeout(engine)
        ask = Execute(
            data.task_type,
            data.description,
            caller.user_id,
            trio.current_time() + seconds,
            data.parameters,
            key or sources.stamps.id(),
        )
        try:
            result = await sources.system.ref(path).ask(ask, seconds + ANSWER_WITHIN)
        except Refused as refused:
            raise _refusal(refused.reason) from None
        except ActorError:
            raise RequestRefused(ErrorCode.UNAVAILABLE, retry_after=1) from None
        return _shown(result)

    return [engines, execute]


def _checked(data: NewExecution) -> str:
    """The address of the engine that is meant. Raises RequestRefused."""
    fields: dict[str, str] = {}
    path = address(data.task_type)
    if path is None:
        fields["task_type"] = unknown_type(data.task_type)
    if len(data.description) > LONGEST_DESCRIPTION:
        fields["description"] = f"This must be a text of at most {LONGEST_DESCRIPTION:,} characters."
    if data.timeout is not None and not 0 < data.timeout <= LONGEST_TIMEOUT:
        fields["timeout"] = f"This must be a number of seconds above 0, at most {LONGEST_TIMEOUT:g}."
    if fields or path is None:
        raise RequestRefused(ErrorCode.INVALID_FIELDS, fields=fields)
    return path


def _refusal(reason: object) -> RequestRefused:
    if isinstance(reason, BadExecution):
        return RequestRefused(ErrorCode.INVALID_FIELDS, fields=reason.fields)
    if isinstance(reason, EngineBusy):
        return RequestRefused(ErrorCode.RATE_LIMITED, retry_after=reason.retry_after)
    return RequestRefused(ErrorCode.UNAVAILABLE, retry_after=1)


def _status(view: EngineView) -> EngineStatus:
    return EngineStatus(**wire_value(attrs.asdict(view)))


def _shown(result: EngineResult) -> Execution:
    error = result.error
    return Execution(
        result.engine,
        result.task_type,
        result.status,
        result.degraded,
        result.duration_ms,
        _plain(result.result),
        UNSET if result.diverted_from is None else result.diverted_from,
        UNSET if error is None else error,
    )


def _plain(value: Any) -> Any:
    """As the wire has it, but for scores: a null there says that nobody has judged, and stays."""
    if isinstance(value, dict):
        plain = {name: _plain(item) for name, item in value.items()}
        return {name: item for name, item in plain.items() if item is not None or name == "score"}
    return [_plain(item) for item in value] if isinstance(value, list) else wire_value(value)
