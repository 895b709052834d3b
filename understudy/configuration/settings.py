"""The typed tree that the program works with, and the checks that reach over more than one key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import attrs

from actors.agents.definitions import GENERAL_DEGRADED, AgentDefinition
from actors.protocol.commands import MOST_CAPABILITIES
from actors.workflows.checks import check_workflow
from understudy.configuration import binding
from understudy.configuration.errors import suggestion
from understudy.configuration.kinds import PLACEHOLDER_KEY, shown
from understudy.configuration.sources import Path, Source
from understudy.configuration.structure import Problem
from understudy.configuration.workflow_tables import workflow_definition

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from actors.workflows.definitions import WorkflowDefinition
    from understudy.configuration.engine_tables import EngineSettings
    from understudy.configuration.tables import (
        AgentTable,
        CallSettings,
        ConnectionSettings,
        Document,
        FallbackSettings,
        LogSettings,
        ModelTable,
        MonitoringSettings,
        RunSettings,
        ServerSettings,
        TaskSettings,
        UserSettings,
        WorkerSettings,
    )
    from understudy.configuration.tool_tables import McpTable, ToolSettings
    from understudy.configuration.workflow_tables import ApprovalSettings

PUBLIC_ENDPOINT = "https://api.openai.com/v1"
"""Where a key without a base URL belongs. Written out, since the client library would look at the environment again."""


@attrs.frozen
class ModelSettings:
    """One model at one endpoint, everything filled in.

    Parameters:
        name: its key in the configuration.
        model: the name that the endpoint knows it by.
        base_url: the endpoint; None is the simulated one, whose address is known only once it runs.
        api_key: never None where `base_url` is not; left out of `repr`.
        requests_per_minute, tokens_per_minute: None: as the endpoint's own headers say.
        in_flight: calls at a time; None: 20 until the endpoint's headers are known, no limit on a loopback address.
        api: what the endpoint speaks: chat completions or Responses.
    """

    name: str
    model: str
    base_url: str | None
    api_key: str | None = attrs.field(repr=False)
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    in_flight: int | None = None
    api: Literal["chat", "responses"] = "chat"

    @property
    def simulated(self) -> bool:
        """Whether calls go to the simulated model that the daemon starts itself."""
        return self.base_url is None


@attrs.frozen
class Settings:
    """The whole configuration, checked."""

    server: ServerSettings
    connections: ConnectionSettings
    log: LogSettings
    users: UserSettings
    runs: RunSettings
    approvals: ApprovalSettings
    monitoring: MonitoringSettings
    calls: CallSettings
    fallback: FallbackSettings
    engines: EngineSettings
    tasks: TaskSettings
    workers: WorkerSettings
    models: Mapping[str, ModelSettings]
    agents: Mapping[str, AgentDefinition]
    workflows: Mapping[str, WorkflowDefinition]
    tools: Mapping[str, ToolSettings] = attrs.field(factory=dict)
    mcp: Mapping[str, McpTable] = attrs.field(factory=dict)

    @property
    def simulated(self) -> bool:
        """Whether the default endpoint is the simulated one: neither a key nor a base URL was given for it."""
        return self.models["default"].simulated


def settle(document: Document) -> tuple[Settings, dict[Path, Source]]:
    """The settings of a document, and the sources of the values that were derived from others."""
    derived: dict[Path, Source] = {}
    default = _endpoint("default", document.models["default"], None, derived)
    models = {
        name: default if name == "default" else _endpoint(name, table, default, derived)
        for name, table in document.models.items()
    }
    agents = {name: _agent(name, table) for name, table in document.agents.items()}
    settings = Settings(
        server=document.server,
        connections=document.connections,
        log=document.log,
        users=document.users,
        runs=document.runs,
        approvals=document.approvals,
        monitoring=document.monitoring,
        calls=document.calls,
        fallback=document.fallback,
        engines=document.engines,
        tasks=document.tasks,
        workers=document.workers,
        models=models,
        agents=agents,
        workflows={
            name: workflow_definition(name, table, agents, document.approvals, document.runs.on_restart, derived)
            for name, table in document.workflows.items()
        },
    )
    return settings, derived


def check(settings: Settings) -> Iterator[Problem]:
    """What is wrong between keys that are each right by themselves."""
    refused = binding.refusal(settings.server.host)
    if refused is not None:
        yield Problem(("server", "host"), f"is {shown(settings.server.host)}, which {refused}")
    connections, fallback = settings.connections, settings.fallback
    if connections.opening_frame_bytes > connections.frame_bytes:
        yield Problem(
            ("connections", "opening_frame_bytes"),
            f"is {connections.opening_frame_bytes}; allowed: at most frame_bytes, {connections.frame_bytes}",
        )
    if fallback.open_first > fallback.open_cap:
        yield Problem(
            ("fallback", "open_first"),
            f"is {fallback.open_first}; allowed: at most open_cap, {fallback.open_cap}",
        )
    for section, names in (
        ("models", settings.models),
        ("agents", settings.agents),
        ("workflows", settings.workflows),
        ("tools", settings.tools),
    ):
        yield from _alike(section, names)
    for name, agent in settings.agents.items():
        yield from _chain(("agents", name, "models"), agent.models, settings.models)
        if len(agent.capabilities) > MOST_CAPABILITIES:
            few = f"has {len(agent.capabilities)} texts; allowed: at most {MOST_CAPABILITIES}"
            yield Problem(("agents", name, "capabilities"), few)
    yield from _engines(settings)
    for name, workflow in settings.workflows.items():
        for problem in check_workflow(workflow, settings.agents):
            yield Problem(("workflows", name), f"cannot run: {problem}")


def _endpoint(
    name: str, table: ModelTable, default: ModelSettings | None, derived: dict[Path, Source]
) -> ModelSettings:
    base_url, api_key, api = table.base_url, table.api_key, table.api
    place = ("models", name)
    if base_url is None and api_key is None and default is not None:
        # Another model of the same endpoint. Only both together: a key must not travel to another host.
        base_url, api_key, api = default.base_url, default.api_key, api or default.api
        derived[*place, "base_url"] = derived[*place, "api_key"] = Source("derived", "as models.default")
    elif base_url is None and api_key is not None:
        base_url = PUBLIC_ENDPOINT
        derived[*place, "base_url"] = Source("derived", "a key without a base URL")
    elif base_url is not None and api_key is None:
        api_key = PLACEHOLDER_KEY
        derived[*place, "api_key"] = Source("derived", "a base URL without a key")
    return ModelSettings(
        name=name,
        model=table.model,
        base_url=base_url,
        api_key=api_key,
        requests_per_minute=table.requests_per_minute,
        tokens_per_minute=table.tokens_per_minute,
        in_flight=table.in_flight,
        api=api or "chat",
    )


def _agent(name: str, table: AgentTable) -> AgentDefinition:
    return AgentDefinition(
        name=name,
        role=table.role,
        prompt=table.prompt,
        models=table.models,
        temperature=table.temperature,
        max_tokens=table.max_tokens,
        degraded=GENERAL_DEGRADED if table.degraded is None else table.degraded,
        tools=tuple(dict.fromkeys(table.tools)),
        capabilities=tuple(dict.fromkeys(table.capabilities)),
        max_concurrent_tasks=table.max_concurrent_tasks,
        approval=table.approval,
    )


def _alike(section: str, names: Collection[str]) -> Iterator[Problem]:
    """Names that differ only in case: almost always `[agents.Analyst]` meant to change `[agents.analyst]`."""
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(name.casefold(), name)
        if other != name:
            yield Problem(
                (section, name), f'differs from {section}.{other} only in case; write "{other}" or another name'
            )


def _engines(settings: Settings) -> Iterator[Problem]:
    engines, models = settings.engines, settings.models
    yield from _chain(("engines", "parallel_mind", "models"), engines.parallel_mind.models, models)
    yield from _chain(("engines", "creative", "models"), engines.creative.models, models)
    yield from _chain(("engines", "creative", "judge"), engines.creative.judge, models)
    embeddings = engines.perfect_recall.embeddings_model
    if embeddings is not None and embeddings not in models:
        path = ("engines", "perfect_recall", "embeddings_model")
        yield Problem(path, f"names the unknown model {shown(embeddings)}; {suggestion(embeddings, models)}")


def _chain(path: Path, chain: tuple[str, ...], models: Collection[str]) -> Iterator[Problem]:
    if not chain:
        yield Problem(path, "is empty; allowed: at least one model")
    for index, name in enumerate(chain):
        if name not in models:
            yield Problem((*path, index), f"names the unknown model {shown(name)}; {suggestion(name, models)}")
        if name in chain[:index]:
            yield Problem((*path, index), f"names the model {shown(name)} twice; allowed: each once")
