"""Agents: who is there, and for operators those that come and go at run time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import attrs
from litestar import Request, delete, get, post
from litestar.params import FromPath, JSONBody
from msgspec import Meta

from actors.agents.definitions import GENERAL_DEGRADED, AgentDefinition
from actors.coordination.messages import DefineAgent, ListAgents, RemoveAgent
from actors.protocol.codes import ErrorCode
from actors.protocol.commands import Capabilities
from actors.protocol.wire_values import wire_value, without_nulls
from understudy.configuration.kinds import FILLED, TITLE
from understudy.configuration.structure import NAME_OF_TABLE
from understudy.coordination import COORDINATOR
from understudy.http.callers import operators_only
from understudy.http.failures import RequestRefused
from understudy.http.tasks import ask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from litestar.handlers import HTTPRouteHandler

    from actors.protocol.channel_events import AgentView
    from understudy.configuration.kinds import Form
    from understudy.http.sources import Sources

COMMIT_WITHIN: Final = 40.0
LONGEST_TEXT: Final = 100_000
MOST_SLOTS: Final = 100_000


@attrs.frozen(slots=False)
class NewAgent:
    """An agent of the daemon, as `[agents.NAME]` of the configuration has it. It outlives a restart.

    `models`: a chain that an agent of the configuration has; the first of them if left out.
    """

    name: Annotated[str, Meta(description=NAME_OF_TABLE.allowed)]
    role: Annotated[str, Meta(description=TITLE.allowed)]
    prompt: Annotated[str, Meta(description=FILLED.allowed)]
    models: Annotated[list[str], Meta(description="a list of names of models")] = attrs.field(factory=list)
    capabilities: Capabilities = ()
    max_concurrent_tasks: Annotated[int, Meta(description=f"a whole number from 1 to {MOST_SLOTS:,}")] = 100
    temperature: Annotated[float | None, Meta(description="a number from 0 to 2")] = None
    max_tokens: Annotated[int | None, Meta(description="a whole number, 1 or more")] = None
    degraded: Annotated[str | None, Meta(description="a text")] = None


def routes(sources: Sources) -> Sequence[HTTPRouteHandler]:
    """The routes of this module."""
    guards = [operators_only(sources.identify)]

    async def seen(request: Request[Any, Any, Any]) -> dict[str, AgentView]:
        caller = sources.identify(request.headers)
        order = ListAgents(caller.user_id, caller.role == "operator")
        return {agent.agent_id: agent for agent in await ask(sources.system, COORDINATOR, order)}

    @get("/api/agents", summary="The agents", operation_id="agents", tags=["agents"])
    async def agents(request: Request[Any, Any, Any]) -> list[dict[str, Any]]:
        return [_shown(agent) for agent in (await seen(request)).values()]

    @get("/api/agents/{agent_id:str}", summary="One agent", operation_id="agent", tags=["agents"])
    async def agent(request: Request[Any, Any, Any], agent_id: FromPath[str]) -> dict[str, Any]:
        found = (await seen(request)).get(agent_id)
        if found is None:
            raise RequestRefused(ErrorCode.NOT_FOUND)
        return _shown(found)

    @post(
        "/api/agents",
        status_code=201,
        summary="Define an agent",
        operation_id="define_agent",
        tags=["agents"],
        guards=guards,
    )
    async def define(data: JSONBody[NewAgent]) -> dict[str, Any]:
        problems = _problems(data)
        if problems:
            raise RequestRefused(ErrorCode.INVALID_FIELDS, fields=problems)
        definition = AgentDefinition(
            name=data.name,
            role=data.role,
            prompt=data.prompt,
            models=tuple(data.models),
            temperature=data.temperature,
            max_tokens=data.max_tokens,
            degraded=GENERAL_DEGRADED if data.degraded is None else data.degraded,
            capabilities=tuple(dict.fromkeys(data.capabilities)),
            max_concurrent_tasks=data.max_concurrent_tasks,
        )
        return _shown(await ask(sources.system, COORDINATOR, DefineAgent(definition), COMMIT_WITHIN))

    @delete(
        "/api/agents/{agent_id:str}",
        status_code=200,
        summary="Remove an agent that was defined at run time, or a worker",
        operation_id="remove_agent",
        tags=["agents"],
        guards=guards,
    )
    async def remove(agent_id: FromPath[str]) -> dict[str, Any]:
        return _shown(await ask(sources.system, COORDINATOR, RemoveAgent(agent_id), COMMIT_WITHIN))

    return [agents, agent, define, remove]


def _problems(new: NewAgent) -> dict[str, str]:
    """A sentence for each field that the configuration would refuse as well."""
    texts: tuple[tuple[str, str, Form], ...] = (
        ("name", new.name, NAME_OF_TABLE),
        ("role", new.role, TITLE),
        ("prompt", new.prompt, FILLED),
    )
    problems = {name: f"{name} must be {form.allowed}." for name, value, form in texts if not form.fits(value)}
    if len(new.prompt) > LONGEST_TEXT:
        problems["prompt"] = f"prompt must have at most {LONGEST_TEXT:,} characters."
    if not 1 <= new.max_concurrent_tasks <= MOST_SLOTS:
        problems["max_concurrent_tasks"] = f"max_concurrent_tasks must be a whole number from 1 to {MOST_SLOTS:,}."
    if new.temperature is not None and not 0 <= new.temperature <= 2:
        problems["temperature"] = "temperature must be a number from 0 to 2."
    if new.max_tokens is not None and new.max_tokens < 1:
        problems["max_tokens"] = "max_tokens must be a whole number, 1 or more."
    return problems


def _shown(agent: AgentView) -> dict[str, Any]:
    found: dict[str, Any] = without_nulls(wire_value(attrs.asdict(agent)))
    return found
