"""What is measured of delivery, and with what load.

A *scenario* is one life of a server; it gives the figures of several metrics at once. A metric belongs to one.
"""

from __future__ import annotations

from typing import Final

import attrs

from bench.figures import OWN, Better, Metric
from bench.measure import Task
from bench.program import Load

EVERYBODY: Final = "everybody"
"""A scenario is for every subject, or only for understudy, where there is nothing to compare with."""


@attrs.frozen
class Scenario:
    """One life of a server.

    Attributes:
        name: what its program is asked for.
        load: how much. `actors` are connections (users, for commits), `burst` are users that share them.
        quick: the same, where only is shown that it works.
        limit: seconds that it may take.
        metrics: what it gives.
        subjects: `EVERYBODY`, or the name of the only one.
    """

    name: str
    load: Load
    quick: Load
    limit: float
    metrics: tuple[Metric, ...]
    subjects: str = OWN


def _metric(name: str, title: str, unit: str, better: Better = "lower") -> Metric:
    return Metric(name, title, unit, better)


def _load(name: str, seconds: float, connections: int, users: int) -> Load:
    return Load(name, seconds, connections, users, 0.0)


def _idle(name: str, connections: int, users: int, seconds: float, *, subjects: str = OWN) -> Scenario:
    whose = "a user each" if users == connections else f"{users} users"
    of = f"{connections:,} idle connections, {whose}"
    return Scenario(
        name,
        _load(name, seconds, connections, users),
        _load(name, 0.3, 40, 40 if users == connections else 4),
        240.0,
        (
            _metric(f"{name}_memory", f"resident memory of each of {of}", "KiB"),
            _metric(f"{name}_rate", f"connections opened, until all of {connections:,} are in", "/s", "higher"),
            _metric(f"{name}_opening_pause", "longest wait for an answer while they are being opened", "ms"),
            _metric(f"{name}_pause", "longest wait for an answer while they are idle", "ms"),
            _metric(f"{name}_cpu", f"processor time that {of} take, signs of life included", "ms/s"),
        ),
        subjects,
    )


def _push(connections: int, *, seconds: float = 5.0, subjects: str = OWN) -> Scenario:
    name = f"push_{connections}"
    to = f"to {connections:,} connections of one user" if connections > 1 else "to one connection"
    return Scenario(
        name,
        _load(name, seconds, connections, 1),
        _load(name, 0.5, min(connections, 20), 1),
        180.0,
        (
            _metric(f"{name}_rate", f"messages received {to}, as fast as the server can", "/s", "higher"),
            _metric(f"{name}_cpu", f"processor time of the server for each message {to}", "µs"),
        ),
        subjects,
    )


def _storm(name: str, connections: int, users: int, how: str) -> Scenario:
    whose = "a user each" if users == connections else f"of {users} users"
    return Scenario(
        name,
        _load(name, 0.0, connections, users),
        _load(name, 0.0, 40, 40 if users == connections else 4),
        240.0,
        (
            _metric(f"{name}_back", f"kill -9, start: until all {connections:,}, {whose}, are in again {how}", "s"),
            _metric(f"{name}_whole", "the same, until each has the 10 events that it had missed", "s"),
        ),
    )


def _commit(users: int) -> Scenario:
    name = f"commit_{users}"
    whose = "one user" if users == 1 else f"{users} users"
    return Scenario(
        name,
        _load(name, 3.0, users, users),
        _load(name, 0.1, min(users, 20), users),
        60.0,
        (
            _metric(f"{name}_rate", f"events committed, 16 at a time of {whose}", "/s", "higher"),
            _metric(f"{name}_median", "from the offer until it is on the disk, median", "ms"),
            _metric(f"{name}_p99", "the same, of 100 the slowest", "ms"),
        ),
    )


RESTART: Final = Scenario(
    "restart",
    _load("restart", 0.0, 1, 1),
    _load("restart", 0.0, 1, 1),
    60.0,
    (_metric("restart", "from the start of the process until the daemon listens", "s"),),
)
SCENARIOS: Final = (
    _idle("idle_1k", 1000, 1000, 3.0, subjects=EVERYBODY),
    _idle("shared_1k", 1000, 50, 3.0),
    _idle("idle_10k", 10_000, 10_000, 10.0),
    _idle("shared_10k", 10_000, 50, 10.0),
    _push(1),
    _push(100, subjects=EVERYBODY),
    _push(1000),
    _push(5000),
    RESTART,
    _storm("storm", 5000, 5000, "as fast as they can"),
    _storm("storm_shared", 5000, 50, "as fast as they can"),
    _storm("storm_jitter", 5000, 5000, "with full jitter"),
    _commit(1),
    _commit(20),
    _commit(200),
)
BY_NAME: Final = {scenario.name: scenario for scenario in SCENARIOS}
LARGE: Final = ("idle_10k", "shared_10k")
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
