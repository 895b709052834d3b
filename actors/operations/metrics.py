"""The metrics of a daemon, in Prometheus' words.

Nothing is measured twice: at a scrape the collector reads the plain counters that kernel and daemon keep anyway, so a
message costs nothing more for being counted here. Each daemon has a registry of its own; the library's global one stays
empty.

Labels are kinds of actors (classes), reasons, codes, and paths of the static tree: nothing that grows with users, runs
or connections. What clients can choose is told as `other` unless the protocol knows it. A counter that can be counted
at all is there from the start, with 0, so that its first increase is seen.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from actors.coordination.counts import TASK_COUNTS
from actors.operations.census import Census, take_census, take_census_in_turns
from actors.operations.counters import OTHER, DaemonCounters
from actors.operations.pauses import BOUNDS, Pauses, watch_pauses
from actors.operations.tool_metrics import of_tools
from actors.protocol.channel_events import AgentState
from actors.protocol.codes import CLOSES, GOING_AWAY, NORMAL, ErrorCode
from actors.protocol.commands import KNOWN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from prometheus_client.metrics_core import Metric

    from actors.coordination.counts import CoordinationCounts
    from actors.engines.counts import EngineCounts
    from runtime import System

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
"""Of what `Metrics.render` returns."""

_CLOSE_CODES: Final = (NORMAL, GOING_AWAY, 1006, *CLOSES)
_STATES: Final = ("starting", "running", "waiting", "suspended", "stopping")
_ENGINE_STATES: Final = ("running", "degraded", "offline")
_SILENT: Final = ("unacknowledged", "uncommitted")
_SIMPLE: Final = (
    ("isolation_violations", "Events refused because they were about to go to a user who may not see them."),
    ("connections_opened", "WebSockets opened."),
    ("events_emitted", "Durable events handed to a user's context."),
    ("events_committed", "Durable events in the log."),
    ("events_sent", "Durable events written to connections."),
    ("events_delivered", "Durable events acknowledged by a client."),
    ("events_due", "Durable events committed while a client that acknowledges was connected."),
    ("events_due_acknowledged", "Of the events that were due, those acknowledged by a client."),
    ("ephemeral_sent", "Ephemeral frames written to connections."),
    ("ephemeral_merged", "Ephemeral events that a newer one replaced."),
    ("give_ups", "Restart budgets used up."),
    ("escalations", "Supervisors that ended because a restart budget was used up."),
    ("refused_tells", "Refusals that nobody waited for."),
    ("hook_failures", "Hooks of actors that raised or were cut off."),
    ("overdue_stops", "Stops of the tree that missed their deadline."),
    ("stuck", "Actors found to have work and to finish none of it."),
    ("loop_blocks", "Times that the loop did not turn for long."),
)


class Metrics:
    """A collector for `prometheus_client`, with the registry that it stands in.

    Args:
        system: whose tree is counted.
        counters: what the daemon counts itself.
        pauses: of the garbage collector.
        lost_lines: how many lines of the log were not written.
    """

    def __init__(
        self, system: System, counters: DaemonCounters, pauses: Pauses, lost_lines: Callable[[], int] = lambda: 0
    ) -> None:
        self._system = system
        self._counters = counters
        self._pauses = pauses
        self._lost_lines = lost_lines
        self._told: dict[tuple[str, str], int] = {}
        self._taken: Census | None = None
        self.registry = CollectorRegistry()
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    def render(self) -> bytes:
        """All metrics as Prometheus text (`CONTENT_TYPE`). Call it in the system's thread; has no checkpoint."""
        return generate_latest(self.registry)

    async def render_in_turns(self) -> bytes:
        """As `render`, for a tree of any size: others get their turn while it is being counted.

        Cancellation: nothing has happened.
        """
        census = await take_census_in_turns(self._system)
        self._taken = census
        try:
            return self.render()
        finally:
            self._taken = None

    def collect(self) -> Iterator[Metric]:
        """For the registry."""
        census = take_census(self._system) if self._taken is None else self._taken
        self._let_none_fall(census)
        yield from _of_actors(census)
        yield from _of_kernel(self._system)
        yield from _of_daemon(self._counters)
        yield _of_pauses(self._pauses)
        yield CounterMetricFamily(
            "understudy_log_lines_lost", "Lines of the log that were not written.", self._lost_lines()
        )
        yield from _of_engines(self._counters.engines)
        yield from _of_coordination(self._counters.coordination)
        yield from of_tools(self._counters.tools)

    def _let_none_fall(self, census: Census) -> None:
        """Tell of no count less than was told before, for Prometheus would take it for a restart of the daemon.

        In the middle of a turn the kernel has counted what it skipped and not yet what it handled, so that the latter
        looks less than it was. At the end of the turn all are right again.
        """
        for kind, tally in census.kinds.items():
            for outcome, count in tally.outcomes.items():
                told = max(count, self._told.get((kind, outcome), 0))
                self._told[kind, outcome] = tally.outcomes[outcome] = told


@contextmanager
def open_metrics(
    system: System, counters: DaemonCounters, lost_lines: Callable[[], int] = lambda: 0
) -> Iterator[Metrics]:
    """The metrics of a daemon, for as long as the block lasts: while they are open they hear of collections."""
    with watch_pauses() as pauses:
        yield Metrics(system, counters, pauses, lost_lines)


def _of_actors(census: Census) -> Iterable[Metric]:
    messages = CounterMetricFamily(
        "understudy_messages", "Messages by what became of them.", labels=("kind", "outcome")
    )
    waiting = GaugeMetricFamily("understudy_mailbox_messages", "Messages that wait now.", labels=("kind",))
    deepest = GaugeMetricFamily(
        "understudy_mailbox_deepest_messages", "Messages that wait in the fullest mailbox.", labels=("kind",)
    )
    actors = GaugeMetricFamily("understudy_actors", "Actors that there are now.", labels=("kind", "state"))
    ended = CounterMetricFamily("understudy_actors_ended", "Actors that are gone for good.", labels=("kind",))
    begun = CounterMetricFamily("understudy_incarnations", "Times that an actor was started.", labels=("kind",))
    restarts = CounterMetricFamily("understudy_restarts", "Times that an actor was started again.", labels=("kind",))
    for kind, tally in sorted(census.kinds.items()):
        for outcome, count in tally.outcomes.items():
            messages.add_metric((kind, outcome), count)
        waiting.add_metric((kind,), tally.waiting)
        deepest.add_metric((kind,), tally.deepest)
        for state in _STATES:
            actors.add_metric((kind, state), tally.states[state])
        ended.add_metric((kind,), tally.ended)
        begun.add_metric((kind,), tally.incarnations)
        restarts.add_metric((kind,), tally.restarts)
    dropped = _counter("messages_dropped", "Messages that a mailbox did not keep, by reason.", "reason", census.drops)
    return (messages, dropped, waiting, deepest, actors, ended, begun, restarts, *_of_supervisors(census))


def _of_supervisors(census: Census) -> Iterable[Metric]:
    used = GaugeMetricFamily("understudy_restart_budget_used", "Restarts that count against it now.", labels=("child",))
    limit = GaugeMetricFamily("understudy_restart_budget_limit", "Restarts allowed in the period.", labels=("child",))
    for path, restarts in sorted(census.budgets.items()):
        used.add_metric((path,), restarts.used)
        limit.add_metric((path,), restarts.limit)
    in_charge = GaugeMetricFamily(
        "understudy_fallback_in_charge", "1 for the target that takes the messages.", labels=("fallback", "target")
    )
    failures = GaugeMetricFamily(
        "understudy_fallback_failures", "Failures of a target in a row.", labels=("fallback", "target")
    )
    for path, state in sorted(census.fallbacks.items()):
        for target, count in state.failures.items():
            in_charge.add_metric((path, target), int(target == state.active))
            failures.add_metric((path, target), count)
    switched = GaugeMetricFamily(
        "understudy_fallbacks_active", "Fallbacks whose lead is not in charge now.", census.switched
    )
    return used, limit, in_charge, failures, switched


def _of_kernel(system: System) -> Iterable[Metric]:
    yield _counter("dead_letters", "Messages that nobody will handle, by reason.", "reason", system.dead_letters.counts)
    yield GaugeMetricFamily("understudy_wheel_entries", "Deadlines and timers that are set now.", len(system.wheel))
    yield CounterMetricFamily(
        "understudy_report_failures", "Reports of the kernel that could not be logged.", system.report_failures
    )


def _of_daemon(counters: DaemonCounters) -> Iterable[Metric]:
    for name, text in _SIMPLE:
        yield CounterMetricFamily(f"understudy_{name}", text, getattr(counters, name))
    yield GaugeMetricFamily("understudy_connections", "WebSockets that are open now.", counters.connections_open)
    closed = _known(counters.connections_closed, _CLOSE_CODES)
    yield _counter("connections_closed", "WebSockets closed, by close code.", "code", closed)
    refused = counters.connections_refused
    yield _counter("connections_refused", "Connections refused before the upgrade, by status.", "status", refused)
    yield _counter("commands", "Commands begun, by type.", "type", _known(counters.commands, sorted(KNOWN)))
    errors = _known(counters.command_errors, tuple(ErrorCode))
    yield _counter("command_errors", "Commands answered by an error, by its code.", "code", errors)
    yield _counter("http_responses", "Answers over HTTP, by status.", "status", counters.http_responses)
    silent = {kind: counters.silent_failures.get(kind, 0) for kind in _SILENT}
    yield _counter("silent_failures", "Events found not to have been delivered, by kind.", "kind", silent)
    yield _counter("crashes", "Incarnations that ended abnormally, by kind of actor.", "kind", counters.crashes)
    yield _counter("supervisor_restarts", "Restarts ordered by supervisors.", "component", counters.restarts)
    yield _counter("fallback_switches", "Changes of the target in charge.", "fallback", counters.switches)


def _of_engines(engines: Mapping[str, EngineCounts]) -> Iterable[Metric]:
    up = GaugeMetricFamily(
        "understudy_engine_state", "1 for the state that the engine is in.", labels=("engine", "state")
    )
    executing = GaugeMetricFamily("understudy_engine_executing", "Executions under way now.", labels=("engine",))
    queued = GaugeMetricFamily("understudy_engine_queued", "Executions that wait now.", labels=("engine",))
    executions = CounterMetricFamily(
        "understudy_engine_executions", "Executions by what became of them.", labels=("engine", "outcome")
    )
    seconds = CounterMetricFamily(
        "understudy_engine_seconds", "Seconds from arrival to end, of completed executions.", labels=("engine",)
    )
    for name, engine in sorted(engines.items()):
        for state in _ENGINE_STATES:
            up.add_metric((name, state), int(engine.state == state))
        executing.add_metric((name,), engine.executing)
        queued.add_metric((name,), engine.queued)
        for outcome in ("completed", "failed", "cancelled", "diverted", "refused"):
            executions.add_metric((name, outcome), getattr(engine, outcome))
        seconds.add_metric((name,), engine.milliseconds / 1000)
    return up, executing, queued, executions, seconds


def _of_coordination(counts: CoordinationCounts) -> Iterable[Metric]:
    outcomes = {outcome: counts.tasks[outcome] for outcome in TASK_COUNTS}
    yield _counter("tasks", "Tasks by what became of them; again: attempts that another followed.", "outcome", outcomes)
    waiting = GaugeMetricFamily("understudy_slots_wanted", "Who waits for an agent now.", labels=("priority",))
    for priority, count in counts.waiting().items():
        waiting.add_metric((priority,), count)
    yield waiting
    agents, states = (
        GaugeMetricFamily("understudy_agents", "Agents that there are now.", labels=("status",)),
        counts.agents(),
    )
    for state in AgentState:
        agents.add_metric((state.value,), states.get(state.value, 0))
    yield agents


def _of_pauses(pauses: Pauses) -> Metric:
    family = HistogramMetricFamily(
        "understudy_gc_pause_seconds", "How long the garbage collector held everything up.", labels=("generation",)
    )
    names = (*(f"{bound:g}" for bound in BOUNDS), "+Inf")
    for generation, counts in enumerate(pauses.counts):
        sums = [sum(counts[: position + 1]) for position in range(len(counts))]
        family.add_metric((str(generation),), list(zip(names, sums, strict=True)), pauses.seconds[generation])
    return family


def _counter(name: str, text: str, label: str, counts: Mapping[Any, int]) -> Metric:
    family = CounterMetricFamily(f"understudy_{name}", text, labels=(label,))
    for key, count in counts.items():
        family.add_metric((str(key),), count)
    return family


def _known(counts: Mapping[Any, int], known: Iterable[Any]) -> dict[Any, int]:
    """The counts of what is known, 0 included, and the sum of the rest as `other`."""
    found = {key: counts.get(key, 0) for key in known}
    return {**found, OTHER: sum(counts.values()) - sum(found.values())}
