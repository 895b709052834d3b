"""Runs, workflows and rate limits: what the commands about runs do, as resources."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import attrs
from litestar import Request, get, post
from litestar.params import FromPath, JSONBody
from msgspec import UNSET, Meta, UnsetType

from actors.protocol.codes import ErrorCode
from actors.protocol.commands import Identifier, Name, Options
from actors.workflows.messages import SteerAll
from actors.workflows.orders import Order
from runtime import ActorError
from understudy.http.callers import operators_only
from understudy.http.commands import Commands
from understudy.http.failures import RequestRefused
from understudy.http.reading import Active, Cursor, PageSize
from understudy.http.sources import RateLimits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from litestar.handlers import HTTPRouteHandler

    from actors.workflows.definitions import StepDefinition
    from understudy.http.sources import Sources

STEER_WITHIN: Final = 40.0


@attrs.frozen(slots=False)
class Approval:
    """When an answer waits for a person: always, or only where the session's mode says so.

    `within`: seconds in which somebody has to decide; left out, where there is no end to it. `on_timeout`: what then
    becomes of the answer.
    """

    always: bool
    on_timeout: str
    within: float | UnsetType = UNSET


@attrs.frozen(slots=False)
class Step:
    """One step of a workflow. `batch`: to which it belongs; `validates`: the batch that it judges."""

    name: str
    agent: str
    depends_on: list[str]
    on_failure: str
    approval: Approval
    batch: str | UnsetType = UNSET
    validates: str | UnsetType = UNSET


@attrs.frozen(slots=False)
class Workflow:
    """What a run may follow."""

    name: str
    title: str
    steps: list[Step]


@attrs.frozen(slots=False)
class NewRun:
    """The brief, and what `start_run` takes besides."""

    brief: Annotated[str, Meta(description="a text of 10 to 10,000 characters")]
    workflow: Name | None = None
    session_id: Identifier | None = None
    options: Options | None = None


@attrs.frozen(slots=False)
class Whom:
    """One agent of a run; all of it, if left out."""

    agent_name: Name | None = None


@attrs.frozen(slots=False)
class Steered:
    """How many runs have recorded an order."""

    runs: int


def routes(sources: Sources) -> Sequence[HTTPRouteHandler]:
    """The routes of this module."""
    carry_out = Commands(sources).carry_out

    @get("/api/workflows", summary="The workflows", operation_id="workflows", tags=["runs"])
    async def workflows() -> list[Workflow]:
        return [
            Workflow(
                workflow.name,
                workflow.title,
                [_shown(step) for step in workflow.steps],
            )
            for workflow in sources.workflows.values()
        ]

    @get("/api/runs", summary="The caller's runs, oldest first", operation_id="runs", tags=["runs"])
    async def runs(
        request: Request[Any, Any, Any],
        active: Active = None,
        cursor: Cursor = None,
        limit: PageSize = 100,
    ) -> dict[str, Any]:
        wanted = {"active": active, "cursor": cursor, "limit": limit}
        return await carry_out(
            request, "list_runs", {name: value for name, value in wanted.items() if value is not None}
        )

    @post("/api/runs", status_code=201, summary="Start a run", operation_id="start_run", tags=["runs"])
    async def start(request: Request[Any, Any, Any], data: JSONBody[NewRun]) -> dict[str, Any]:
        metadata = {"workflow": data.workflow, "options": data.options}
        return await carry_out(request, "start_run", metadata, data.brief, session_id=data.session_id, called="brief")

    @get("/api/runs/{run_id:str}", summary="One run as it stands", operation_id="run", tags=["runs"])
    async def run(request: Request[Any, Any, Any], run_id: FromPath[str]) -> dict[str, Any]:
        return await carry_out(request, "get_run", {"run_id": run_id})

    @post(
        "/api/runs/{run_id:str}/cancel",
        status_code=200,
        summary="Cancel a run, or one agent of it",
        operation_id="cancel_run",
        tags=["runs"],
    )
    async def cancel(
        request: Request[Any, Any, Any], run_id: FromPath[str], data: JSONBody[Whom | None] = None
    ) -> dict[str, Any]:
        agent_name = None if data is None else data.agent_name
        return await carry_out(request, "cancel_run", {"run_id": run_id, "agent_name": agent_name})

    async def steer_all(order: Order) -> Steered:
        try:
            return Steered(await sources.system.ref("/runs").ask(SteerAll(order), STEER_WITHIN))
        except ActorError:
            raise RequestRefused(ErrorCode.UNAVAILABLE, retry_after=1) from None

    @post(
        "/api/runs/pause",
        status_code=200,
        summary="Pause every run, of every user",
        operation_id="pause_runs",
        tags=["runs"],
        guards=[operators_only(sources.identify)],
    )
    async def pause_all() -> Steered:
        return await steer_all(Order.SUSPEND)

    @post(
        "/api/runs/resume",
        status_code=200,
        summary="Resume every run that was paused so; what its owner has paused stays so",
        operation_id="resume_runs",
        tags=["runs"],
        guards=[operators_only(sources.identify)],
    )
    async def resume_all() -> Steered:
        return await steer_all(Order.RELEASE)

    @get("/api/rate-limits", summary="Model endpoints against their limits", operation_id="rate_limits", tags=["runs"])
    async def rate_limits() -> list[RateLimits]:
        return list(await sources.rate_limits())

    return [workflows, runs, start, run, cancel, pause_all, resume_all, rate_limits]


def _shown(step: StepDefinition) -> Step:
    policy = step.approval
    within = UNSET if policy.on_timeout == "wait" else policy.within
    return Step(
        step.name,
        step.agent,
        list(step.depends_on),
        step.on_failure,
        Approval(policy.always, policy.on_timeout, within),
        step.batch or UNSET,
        step.validates or UNSET,
    )
