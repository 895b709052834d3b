"""What is measured of agents, and with what load. A *scenario* is as in `delivery`: one life of a daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bench.delivery.scenarios import EVERYBODY, Scenario, load, metric
from bench.table import TIMES

if TYPE_CHECKING:
    from bench.figures import Metric

Amount = tuple[float, int, int]
"""Of a load: seconds, actors, burst."""
SHORT_RUNS: Final = 30
"""Runs whose first token is measured beside the streams."""


def _own(name: str, full: Amount, quick: Amount, limit: float, *metrics: Metric) -> Scenario:
    """One for understudy alone."""
    return Scenario(name, load(name, *full), load(name, *quick), limit, metrics)


def _relay(streams: int) -> Scenario:
    name = f"relay_{streams}"
    of = f"{streams} streams of 50 pieces a second" if streams > 1 else "one stream of 50 pieces a second"
    beside = f"beside {of}"
    return Scenario(
        name,
        load(name, 6.0, streams, SHORT_RUNS),
        load(name, 0.5, min(streams, 5), 3),
        180.0,
        (
            metric(f"{name}_cpu", f"processor time for each piece that the provider sent, {of}", "µs"),
            metric(f"{name}_first", f"time added to the first token, {beside}: median of {SHORT_RUNS}", "ms"),
            metric(f"{name}_first_max", "the same, the slowest", "ms"),
            metric(f"{name}_burst", f"the same, where all {streams} begin at once: median", "ms"),
            metric(f"{name}_delay", "time added to a later piece, from the provider to the client: median", "ms"),
        ),
        EVERYBODY,
    )


BEGIN: Final = _own(
    "begin",
    (0.0, 20, 200),
    (0.0, 3, 6),
    120.0,
    metric("begin_p50", "from start_run to running, one after the other, of 200 the middle one", "ms"),
    metric("begin_p99", "the same, of 100 the slowest", "ms"),
)
TASKS: Final = _own(
    "tasks",
    (0.0, 20, 400),
    (0.0, 3, 6),
    180.0,
    metric("tasks_p50", "from submit_task to running, one after the other, the middle one", "ms"),
    metric("tasks_p99", "the same, of 100 the slowest", "ms"),
    metric("tasks_rate", "tasks of 20 users submitted at once, until all are running", "/s", "higher"),
)
BATCHES: Final = _own(
    "batches",
    (1.0, 5, 4),
    (0.1, 5, 4),
    180.0,
    metric("batches_batches", "twenty agents in four batches of five, a second of writing each", "s"),
    metric("batches_sequence", "the same twenty, one after the other", "s"),
    metric("batches_ratio", "batches by sequence; a fifth if writing were all that takes time", TIMES),
    metric("batches_remediation", "the workflow remediation: as many, three validations of 0.1 s between", "s"),
    metric("batches_remediation_ratio", "remediation by its steps in sequence", TIMES),
)
OUTAGE: Final = _own(
    "outage",
    (12.0, 1, 40),
    (1.0, 1, 4),
    240.0,
    metric("outage_failure", "first token of the three requests that find out that the lead is dead", "ms"),
    metric("outage_healthy", "first token of requests to a chain without a dead lead", "ms"),
    metric("outage_dead", "first token of requests after the third failure", "ms"),
    metric(
        "outage_pays",
        "what each of these pays for the dead lead: median of the differences of pairs",
        "ms",
        any_number=True,
    ),
    metric("outage_back", "from the lead's recovery to the first answer that is its own", "s"),
)
FLAPPING: Final = _own(
    "flapping",
    (60.0, 10, 5),
    (6.0, 3, 5),
    240.0,
    metric("flapping_off", "requests without a whole answer while the lead fails and heals, without a spare", "%"),
    metric("flapping_on", "the same outage, with a spare", "%", any_number=True),
    metric("flapping_ratio", "with by without", TIMES, any_number=True),
)
FLOOD: Final = _own(
    "flood",
    (40.0, 20, 65),
    (2.0, 6, 1),
    300.0,
    metric("flood_calm", "waiting time of 19 of 20 users at a busy limit: mean", "ms"),
    metric("flood_flood", "the same 19 while the twentieth floods: mean", "ms"),
    metric("flood_ratio", "with the flood by without", TIMES),
)
CANCEL: Final = _own(
    "cancel",
    (1.0, 200, 0),
    (0.2, 10, 0),
    120.0,
    metric("cancel_upstream", "200 streams cancelled at once: until none is open at the provider", "s"),
    metric("cancel_told", "the same, until every client has heard of it", "s"),
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
LARGE: Final = ("relay_100", "relay_200")
"""Not in the quick form: they show nothing there that the small ones do not."""
