"""What is measured of agents, and with what load. A *scenario* is as in `delivery`: one life of a daemon."""

from __future__ import annotations

from typing import Final

from bench.delivery.metrics import EVERYBODY, Scenario
from bench.figures import Better, Metric
from bench.measure import Task
from bench.program import Load
from bench.table import TIMES


def _metric(name: str, title: str, unit: str, better: Better = "lower") -> Metric:
    return Metric(name, title, unit, better)


def _load(name: str, seconds: float, actors: int, burst: int = 0) -> Load:
    return Load(name, seconds, actors, burst, 0.0)


def _relay(streams: int) -> Scenario:
    name = f"relay_{streams}"
    of = f"{streams} streams of 50 pieces a second" if streams > 1 else "one stream of 50 pieces a second"
    beside = f"beside {of}"
    return Scenario(
        name,
        _load(name, 6.0, streams, 30),
        _load(name, 0.5, min(streams, 5), 3),
        180.0,
        (
            _metric(f"{name}_cpu", f"processor time for each piece that the provider sent, {of}", "µs"),
            _metric(f"{name}_first", f"time added to the first token, {beside}: median of {30}", "ms"),
            _metric(f"{name}_first_max", "the same, the slowest", "ms"),
            _metric(f"{name}_burst", f"the same, where all {streams} begin at once: median", "ms"),
            _metric(f"{name}_delay", "time added to a later piece, from the provider to the client: median", "ms"),
        ),
        EVERYBODY,
    )


BEGIN: Final = Scenario(
    "begin",
    _load("begin", 0.0, 20, 200),
    _load("begin", 0.0, 3, 6),
    120.0,
    (
        _metric("begin_p50", "from start_run to running, one after the other, of 200 the middle one", "ms"),
        _metric("begin_p99", "the same, of 100 the slowest", "ms"),
    ),
)
TASKS: Final = Scenario(
    "tasks",
    _load("tasks", 0.0, 20, 400),
    _load("tasks", 0.0, 3, 6),
    180.0,
    (
        _metric("tasks_p50", "from submit_task to running, one after the other, the middle one", "ms"),
        _metric("tasks_p99", "the same, of 100 the slowest", "ms"),
        _metric("tasks_rate", "tasks of 20 users submitted at once, until all are running", "/s", "higher"),
    ),
)
BATCHES: Final = Scenario(
    "batches",
    _load("batches", 1.0, 5, 4),
    _load("batches", 0.1, 5, 4),
    180.0,
    (
        _metric("batches_batches", "twenty agents in four batches of five, a second of writing each", "s"),
        _metric("batches_sequence", "the same twenty, one after the other", "s"),
        _metric("batches_ratio", "batches by sequence; a fifth if writing were all that takes time", TIMES),
        _metric("batches_remediation", "the workflow remediation: as many, three validations of 0.1 s between", "s"),
        _metric("batches_remediation_ratio", "remediation by its steps in sequence", TIMES),
    ),
)
OUTAGE: Final = Scenario(
    "outage",
    _load("outage", 12.0, 1, 40),
    _load("outage", 1.0, 1, 4),
    240.0,
    (
        _metric("outage_failure", "first token of the three requests that find out that the lead is dead", "ms"),
        _metric("outage_healthy", "first token of requests to a chain without a dead lead", "ms"),
        _metric("outage_dead", "first token of requests after the third failure", "ms"),
        _metric("outage_pays", "what each of these pays for the dead lead: median of the differences of pairs", "ms"),
        _metric("outage_back", "from the lead's recovery to the first answer that is its own", "s"),
    ),
)
FLAPPING: Final = Scenario(
    "flapping",
    _load("flapping", 60.0, 10, 5),
    _load("flapping", 6.0, 3, 5),
    240.0,
    (
        _metric("flapping_off", "requests without a whole answer while the lead fails and heals, without a spare", "%"),
        _metric("flapping_on", "the same outage, with a spare", "%"),
        _metric("flapping_ratio", "with by without", TIMES),
    ),
)
FLOOD: Final = Scenario(
    "flood",
    _load("flood", 40.0, 20, 65),
    _load("flood", 2.0, 6, 1),
    300.0,
    (
        _metric("flood_calm", "waiting time of 19 of 20 users at a busy limit: mean", "ms"),
        _metric("flood_flood", "the same 19 while the twentieth floods: mean", "ms"),
        _metric("flood_ratio", "with the flood by without", TIMES),
    ),
)
CANCEL: Final = Scenario(
    "cancel",
    _load("cancel", 1.0, 200),
    _load("cancel", 0.2, 10),
    120.0,
    (
        _metric("cancel_upstream", "200 streams cancelled at once: until none is open at the provider", "s"),
        _metric("cancel_told", "the same, until every client has heard of it", "s"),
    ),
)
SCENARIOS: Final = (
    _relay(1),
    _relay(20),
    _relay(100),
    _relay(200),
    BEGIN,
    TASKS,
    BATCHES,
    OUTAGE,
    FLAPPING,
    FLOOD,
    CANCEL,
)
BY_NAME: Final = {scenario.name: scenario for scenario in SCENARIOS}
LARGE: Final = ("relay_100", "relay_200")
"""Not in the quick form: they show nothing there that the small ones do not."""


def tasks(*, quick: bool = False) -> tuple[Task, ...]:
    """Every metric with the load of its scenario. `quick` shows that all of it works, and is no measurement."""
    return tuple(
        Task(metric, (scenario.quick if quick else scenario.load)._replace(metric=metric.name), scenario.limit)
        for scenario in SCENARIOS
        if not (quick and scenario.name in LARGE)
        for metric in scenario.metrics
    )


def scenario_of(metric: str) -> Scenario:
    """The one that gives a metric."""
    return next(scenario for scenario in SCENARIOS if any(metric == its.name for its in scenario.metrics))
