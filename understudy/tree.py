"""The daemon as a tree. Read it from top to bottom: that is the order of starting; stopping goes the other way.

    /                    one_for_one
    ├─ storage           the journal
    ├─ models            gates of the endpoints, fallbacks of the chains, the simulated model where one is needed
    ├─ engines           memory, graphs of work, drafts: see understudy/engines.py
    │  ├─ coordinator    agents, their slots, who waits for one: see understudy/coordination.py
    │  └─ tasks          dynamic: an actor for each open task
    ├─ tools             one_for_one, only where there are any: the MCP servers
    ├─ users             dynamic: a context for each active user
    ├─ runs              dynamic: a run, and beneath it its agents
    ├─ gateway           rest_for_one
    │  ├─ connections    dynamic: an actor for each accepted socket
    │  └─ listener
    ├─ operations        one_for_one
    │  ├─ pulse          what the daemon measures of itself, told on system_metrics
    │  └─ survey         asks several actors at once, for who is none
    └─ watchdog          finds actors that have work and finish none of it

Whoever needs another gets its address. Addresses outlive restarts, so nobody has to be told when one happens.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import trio

from actors.agents.step import AgentServices
from actors.artifacts.store import ARTIFACTS, Artifacts
from actors.engines.asking import ModelAccess
from actors.engines.memory import Memory
from actors.engines.routing import EngineName, path_of
from actors.gateway.admission import Policy as Admission
from actors.gateway.entrance import EntranceLimits
from actors.gateway.gateway import gateway_spec
from actors.gateway.settings import GatewayServices, GatewaySettings
from actors.models.endpoint import SIMULATED_MODEL, Endpoint
from actors.models.model_call import CallLimits
from actors.models.plan import PROBE_WITHIN, ModelsPlan
from actors.models.simulated.simulation import Simulation
from actors.models.supervisor import Models
from actors.operations.pulse import Pulse
from actors.operations.survey import Survey
from actors.protocol.connection_events import Limits
from actors.storage.journal import Journal
from actors.tools.mcp import McpServer, McpServerSpec, McpTools
from actors.tools.toolbox import ToolBox
from actors.users.context import ContextSettings, Services
from actors.users.users import Users
from actors.workflows.attempts import AttemptLimits
from actors.workflows.run import RunServices
from actors.workflows.runs import Runs
from runtime import Mailbox, Watchdog
from supervisors import ChildSpec, Intensity, Policy, supervise
from understudy.coordination import COORDINATOR, CoordinationParts, coordination, coordination_children
from understudy.engines import EngineServices, engine_chains, engine_children

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from hypercorn.config import Config
    from hypercorn.typing import ASGIFramework

    from actors.operations.channels import Published
    from actors.operations.counters import DaemonCounters
    from actors.protocol.stamps import Stamps
    from actors.storage.interface import Storage
    from actors.storage.journal import StorageTrouble
    from actors.users.silence import SilentFailure
    from runtime import Ref, System
    from understudy.configuration.settings import Settings

FOREVER = float("inf")
SURVEY = "/operations/survey"


@attrs.frozen(kw_only=True)
class Parts:
    """What the program makes before the tree starts, and the tree's actors share.

    Attributes:
        system: the system that the tree will run in.
        open_storage: opens the database (in a worker thread).
        listeners: bound sockets.
        app: the HTTP application.
        http: its server's configuration.
        stamps: where ids and times come from.
        counters: what the daemon counts.
        log: for lines that are no report of the kernel.
        storage: hears how storage stands.
        silent: hears of silent failures, of which people have to be told.
        open_alerts: gives the alerts that last.
        isolation: hears that an event was refused that was about to go to somebody else than its owner.
    """

    system: System
    open_storage: Callable[[], Storage]
    listeners: Sequence[trio.SocketListener]
    app: ASGIFramework
    http: Config
    stamps: Stamps
    counters: DaemonCounters
    log: Any
    storage: Callable[[StorageTrouble | None], None]
    silent: Callable[[SilentFailure], None]
    isolation: Callable[[], None]
    open_alerts: Callable[[], Iterable[Published]]


def daemon_tree(settings: Settings, parts: Parts) -> ChildSpec:
    """The spec of the root."""
    daemon = parts.stamps.id()  # tells a run that its daemon has ended from one whose actor has crashed
    agents = _agents(settings, parts)
    children = [
        ChildSpec("storage", lambda: Journal(parts.open_storage, parts.storage), mailbox=Mailbox(65_536)),
        ChildSpec("models", partial(_models, parts, models_plan(settings)), shutdown=FOREVER),
        _engines(settings, parts, agents),
        *_tools(settings, parts),
        ChildSpec("users", partial(_users, settings, parts), mailbox=Mailbox(8192), shutdown=FOREVER),
        ChildSpec("runs", partial(_runs, settings, parts, daemon, agents), mailbox=Mailbox(8192), shutdown=FOREVER),
        _gateway(settings, parts),
        _operations(settings, parts),
        ChildSpec("watchdog", Watchdog),
    ]
    # Each fails on a budget of its own: three of them that fail once each are no reason to end the daemon.
    return supervise("root", [attrs.evolve(child, budget=child.budget or Intensity()) for child in children])


def _operations(settings: Settings, parts: Parts) -> ChildSpec:
    interval = settings.monitoring.metrics_interval
    pulse = ChildSpec("pulse", lambda: Pulse(parts.counters, parts.stamps, interval))
    return supervise("operations", [pulse, ChildSpec("survey", Survey)])


def _ref(parts: Parts, path: str) -> Ref[Any]:
    return parts.system.ref(path)


def models_plan(settings: Settings) -> ModelsPlan:
    """The endpoints and chains of a configuration."""
    endpoints = tuple(
        Endpoint(
            model.name,
            model.base_url or "",
            model.api_key,
            model.model,
            requests_per_minute=model.requests_per_minute,
            tokens_per_minute=model.tokens_per_minute,
            in_flight=model.in_flight,
            simulated=model.simulated,
            api=model.api,
        )
        for model in settings.models.values()
    )
    fallback = settings.fallback
    probe_within = max(PROBE_WITHIN, settings.calls.attempt + 30.0)
    policy = Policy(fallback.failures, fallback.open_first, fallback.open_cap, probe_within=probe_within)
    chains = dict.fromkeys([*(agent.models for agent in settings.agents.values()), *engine_chains(settings)])
    return ModelsPlan(endpoints, tuple(chains), policy=policy)


def _models(parts: Parts, plan: ModelsPlan) -> Models:
    simulation = Simulation(rng=parts.system.rng) if plan.simulated else None
    return Models(plan, simulation, parts.log)


def _engines(settings: Settings, parts: Parts, agents: AgentServices) -> ChildSpec:
    plan = models_plan(settings)
    services = EngineServices(
        system=parts.system,
        journal=_ref(parts, "/storage"),
        models=ModelAccess(
            chain=lambda models: _ref(parts, plan.chain_path(models)),
            limits=_call_limits(settings),
            context_tokens=settings.calls.context_tokens,
            rng=parts.system.rng,
        ),
        stamps=parts.stamps,
        counts=parts.counters.engines,
        log=parts.log,
    )
    tasks = CoordinationParts(
        system=parts.system,
        stamps=parts.stamps,
        agents=agents,
        counts=parts.counters.coordination,
    )
    return supervise("engines", [*engine_children(settings, services), *coordination_children(settings, tasks)])


def _call_limits(settings: Settings) -> CallLimits:
    calls = settings.calls
    return CallLimits(
        attempts=calls.attempts,
        first_token=calls.first_token,
        idle=calls.idle,
        attempt=calls.attempt,
        total=calls.total,
        queue=calls.queue,
    )


def _users(settings: Settings, parts: Parts) -> Users:
    context = ContextSettings(
        idle_after=settings.users.idle_after,
        log_events=settings.log.events,
        log_seconds=settings.log.seconds,
        acknowledged_within=settings.users.acknowledged_within,
        connections=settings.connections.per_user,
    )
    services = Services(
        journal=_ref(parts, "/storage"),
        runs=_ref(parts, "/runs"),
        stamps=parts.stamps,
        workflows=dict(settings.workflows),
        counters=parts.counters,
        silent=parts.silent,
        coordination=coordination(settings, parts.system, parts.counters.coordination),
    )
    return Users(context, lambda: services)


def _agents(settings: Settings, parts: Parts) -> AgentServices:
    plan = models_plan(settings)
    return AgentServices(
        agents=settings.agents,
        chain=lambda models: _ref(parts, plan.chain_path(models)),
        limits=_call_limits(settings),
        context_tokens=settings.calls.context_tokens,
        rng=parts.system.rng,
        names={name: SIMULATED_MODEL if model.simulated else model.model for name, model in settings.models.items()},
        box=_box(settings, parts),
    )


def _runs(settings: Settings, parts: Parts, daemon: str, agents: AgentServices) -> Runs:
    services = RunServices(
        users=_ref(parts, "/users"),
        journal=_ref(parts, "/storage"),
        stamps=parts.stamps,
        agents=agents,
        daemon=daemon,
        limits=AttemptLimits(crashes=settings.runs.attempts, cuts=settings.runs.interruptions),
        coordinator=_ref(parts, COORDINATOR),
    )
    return Runs(services, settings.log.seconds, artifacts(settings))


def artifacts(settings: Settings) -> Artifacts:
    """Where files of runs are kept."""
    return Artifacts(settings.server.data / ARTIFACTS, most_bytes=settings.runs.artifact_bytes)


def _tools(settings: Settings, parts: Parts) -> list[ChildSpec]:
    """The servers of tools, where there are any."""
    servers = [
        McpServerSpec(name, table.command, table.args, table.environment, table.timeout)
        for name, table in settings.mcp.items()
    ]
    specs = [ChildSpec(spec.name, partial(McpServer, spec, parts.log)) for spec in servers]
    return [supervise("tools", specs)] if specs else []


def _box(settings: Settings, parts: Parts) -> ToolBox:
    return ToolBox(
        tools={name: tool.definition for name, tool in settings.tools.items()},
        rounds=settings.runs.tool_rounds,
        threads=trio.CapacityLimiter(settings.runs.tool_threads),
        artifacts=artifacts(settings),
        memory=Memory(_ref(parts, path_of(EngineName.PERFECT_RECALL))),
        log=parts.log,
        counts=parts.counters.tools,
        sources={
            name: McpTools(_ref(parts, f"/tools/{name}"), name, server.timeout) for name, server in settings.mcp.items()
        },
    )


def _gateway(settings: Settings, parts: Parts) -> ChildSpec:
    connections = settings.connections
    gateway = GatewaySettings(
        policy=Admission(frozenset(settings.server.allowed_origins)),
        limits=Limits(
            frame_bytes=connections.frame_bytes,
            outbound_bytes=connections.outbound_bytes,
            commands_per_minute=connections.commands_per_minute,
            in_flight=connections.in_flight,
            connections=connections.per_user,
            sessions=1,
            runs=1,
            log_events=settings.log.events,
            log_seconds=int(settings.log.seconds),
        ),
        heartbeat_interval=connections.heartbeat_interval,
        silent_intervals=connections.silent_intervals,
        hello_within=connections.hello_within,
        send_within=connections.send_within,
    )
    services = GatewayServices(
        users=_ref(parts, "/users"),
        journal=_ref(parts, "/storage"),
        app=parts.app,
        http=parts.http,
        stamps=parts.stamps,
        counters=parts.counters,
        log=parts.log,
        isolation=parts.isolation,
        open_alerts=parts.open_alerts,
    )
    return gateway_spec(
        gateway,
        lambda: services,
        parts.listeners,
        limits=EntranceLimits(
            total=connections.total,
            per_address=connections.per_address,
            rate=connections.admissions_per_second,
            burst=connections.admissions_at_once,
            come_back=connections.come_back,
        ),
        connections=lambda: _ref(parts, "/gateway/connections"),
    )
