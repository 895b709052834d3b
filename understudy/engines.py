"""The engines' part of the tree, by the configuration: who does what, within which limits, and who stands in.

engines              one_for_one; an engine that keeps failing waits longer and longer, and nobody else is touched
├─ perfect_recall    fallback: engine, then plain_scan
├─ parallel_mind     fallback: engine, then one_by_one
├─ creative          fallback: engine, then single_draft
└─ hybrid            leads a task through the three
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import attrs

from actors.engines.asking import ModelAccess, ModelAsker
from actors.engines.counts import EngineCounts, Load
from actors.engines.creative import Creative, Studio
from actors.engines.embeddings import Embeddings
from actors.engines.engine import Engine, Part
from actors.engines.fallback import BUDGET, MAILBOX, EnginePlan, engine_spec
from actors.engines.graph import Defaults
from actors.engines.hybrid import Hybrid
from actors.engines.memory import Memory
from actors.engines.parallel import Crew, GraphLimits, ParallelMind
from actors.engines.recall import MemoryLimits, PerfectRecall
from actors.engines.routing import EngineName, path_of
from actors.engines.scan import PlainScan
from actors.engines.workers import AgentWorker, SearchWorker
from supervisors import ChildSpec, Policy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from structlog.typing import FilteringBoundLogger

    from actors.engines.strategy import Strategy
    from actors.models.leaseholder import Leaseholder
    from actors.protocol.stamps import Stamps
    from runtime import Ref, System
    from understudy.configuration.settings import Settings

PROBE_LEEWAY = 30.0
"""Seconds that a probe may take beyond the longest execution."""


@attrs.frozen(kw_only=True)
class EngineServices:
    """What the engines are given.

    Attributes:
        system: the system that they run in.
        journal: where memories are kept.
        models: how models are reached.
        stamps: where ids and times come from.
        counts: where what is measured of each is put.
        log: for operators.
    """

    system: System
    journal: Ref[Any]
    models: ModelAccess
    stamps: Stamps
    counts: dict[str, EngineCounts]
    log: FilteringBoundLogger


def engine_chains(settings: Settings) -> tuple[tuple[str, ...], ...]:
    """The chains of models that the engines ask."""
    engines = settings.engines
    return engines.parallel_mind.models, engines.creative.models, engines.creative.judge, *_embeddings_chain(settings)


def _embeddings_chain(settings: Settings) -> tuple[tuple[str, ...], ...]:
    """The chain of the model that makes vectors of meaning; none where it is a simulated one, which has no meaning."""
    name = settings.engines.perfect_recall.embeddings_model
    return () if name is None or settings.models[name].simulated else ((name,),)


def engine_timeout(settings: Settings, engine: EngineName) -> float:
    """Seconds that an execution is given whose sender does not say; a hybrid one has those of its stages together."""
    engines = settings.engines
    own = {
        EngineName.PERFECT_RECALL: engines.perfect_recall.timeout,
        EngineName.PARALLEL_MIND: engines.parallel_mind.timeout,
        EngineName.CREATIVE: engines.creative.timeout,
    }
    return own.get(engine, sum(own.values()))


def engine_children(settings: Settings, services: EngineServices) -> list[ChildSpec]:
    """What stands under the `engines` supervisor."""
    plans = (_recall(settings, services), _parallel(settings, services), _creative(settings, services))
    specs = []
    for plan in plans:
        counts = services.counts[plan.lead.name] = EngineCounts(plan.lead.name)
        specs.append(engine_spec(plan, counts, services.stamps, services.log))
    return [*specs, _hybrid(settings, services, plans)]


def _plan(
    settings: Settings,
    engine: EngineName,
    limits: tuple[int, int],
    lead: Any,
    understudy: tuple[str, Any],
) -> EnginePlan:
    fallback = settings.fallback
    probe_within = engine_timeout(settings, engine) + PROBE_LEEWAY
    name, strategy = understudy
    return EnginePlan(
        Part(engine.value, None, *limits, lead),
        Part(name, engine.value, *limits, strategy),
        Policy(fallback.failures, fallback.open_first, fallback.open_cap, probe_within=probe_within),
    )


def _recall(settings: Settings, services: EngineServices) -> EnginePlan:
    own = settings.engines.perfect_recall
    limits = MemoryLimits(own.memories, own.characters)
    embedding = _embeddings_chain(settings)

    def lead(leases: Leaseholder) -> Strategy:
        embed = None
        for chain in embedding:
            embed = Embeddings(services.models.chain(chain), chain[0], leases, services.models.rng)
        return PerfectRecall(services.journal, services.stamps, limits, embed)

    def scan(_: Leaseholder) -> Strategy:
        return PlainScan(services.journal, services.stamps, limits, own.scan_events)

    return _plan(settings, EngineName.PERFECT_RECALL, (own.limit, own.queue), lead, ("plain_scan", scan))


def _parallel(settings: Settings, services: EngineServices) -> EnginePlan:
    own = settings.engines.parallel_mind
    memory = Memory(services.system.ref(path_of(EngineName.PERFECT_RECALL)))

    def work(leases: Leaseholder, *, in_turn: bool) -> Strategy:
        agent = AgentWorker(ModelAsker(leases, services.models), settings.agents, own.models)
        crew = Crew(
            {"agent": agent, "search": SearchWorker(memory)},
            frozenset(settings.agents),
            Defaults(own.retries, own.task_timeout),
            GraphLimits(own.tasks, own.workers),
            services.models.rng,
            services.log,
        )
        return ParallelMind(crew, in_turn=in_turn)

    lead, in_turn = partial(work, in_turn=False), partial(work, in_turn=True)
    return _plan(settings, EngineName.PARALLEL_MIND, (own.limit, own.queue), lead, ("one_by_one", in_turn))


def _creative(settings: Settings, services: EngineServices) -> EnginePlan:
    own = settings.engines.creative
    studio = Studio(own.candidates, own.temperatures, own.models, own.judge, settings.agents)

    def work(leases: Leaseholder, *, alone: bool) -> Strategy:
        return Creative(ModelAsker(leases, services.models), studio, alone=alone)

    lead, alone = partial(work, alone=False), partial(work, alone=True)
    return _plan(settings, EngineName.CREATIVE, (own.limit, own.queue), lead, ("single_draft", alone))


def _hybrid(settings: Settings, services: EngineServices, plans: Sequence[EnginePlan]) -> ChildSpec:
    """A hybrid execution waits for the engines and does nothing itself: as many as the narrowest of them takes."""
    own, name = settings.engines.creative, EngineName.HYBRID.value

    def lead(leases: Leaseholder) -> Strategy:
        # An understudy takes what its engine takes, and holds nothing that would have to be given back.
        checks = {EngineName(plan.lead.name): plan.understudy.strategy(leases).problems for plan in plans}
        return Hybrid(lambda engine: services.system.ref(path_of(engine)), checks)

    part = Part(name, None, own.limit, own.queue, lead)
    load = Load()
    counts = services.counts[name] = EngineCounts(name, own.limit, own.queue, loads={name: load})
    return ChildSpec(name, lambda: Engine(part, counts, load, services.log), mailbox=MAILBOX, budget=BUDGET)
