"""What is measured of delivery, and with what load.

`actors` are connections (users, for commits), `burst` are users that share them.
"""

from __future__ import annotations

from typing import Final

from bench.delivery.scenarios import EVERYBODY, Scenario, load, metric
from bench.figures import OWN


def _idle(name: str, connections: int, users: int, seconds: float, *, subjects: str = OWN) -> Scenario:
    whose = "a user each" if users == connections else f"{users} users"
    of = f"{connections:,} idle connections, {whose}"
    return Scenario(
        name,
        load(name, seconds, connections, users),
        load(name, 0.3, 40, 40 if users == connections else 4),
        240.0,
        (
            metric(f"{name}_memory", f"resident memory of each of {of}", "KiB"),
            metric(f"{name}_rate", f"connections opened, until all of {connections:,} are in", "/s", "higher"),
            metric(f"{name}_opening_pause", "longest wait for an answer while they are being opened", "ms"),
            metric(f"{name}_pause", "longest wait for an answer while they are idle", "ms"),
            metric(f"{name}_cpu", f"processor time that {of} take, signs of life included", "ms/s"),
        ),
        subjects,
    )


def _push(connections: int, *, seconds: float = 5.0, subjects: str = OWN) -> Scenario:
    name = f"push_{connections}"
    to = f"to {connections:,} connections of one user" if connections > 1 else "to one connection"
    return Scenario(
        name,
        load(name, seconds, connections, 1),
        load(name, 0.5, min(connections, 20), 1),
        180.0,
        (
            metric(f"{name}_rate", f"messages received {to}: all a bare server can, or 20 answers", "/s", "higher"),
            metric(f"{name}_cpu", f"processor time of the server for each message {to}", "µs"),
        ),
        subjects,
    )


def _storm(name: str, connections: int, users: int, how: str) -> Scenario:
    whose = "a user each" if users == connections else f"of {users} users"
    return Scenario(
        name,
        load(name, 0.0, connections, users),
        load(name, 0.0, 40, 40 if users == connections else 4),
        240.0,
        (
            metric(f"{name}_back", f"kill -9, start: until all {connections:,}, {whose}, are in again {how}", "s"),
            metric(f"{name}_whole", "the same, until each has the 10 events that it had missed", "s"),
            metric(f"{name}_cpu", "processor time of the daemon for all of that, its start included", "s"),
            metric(f"{name}_clients_cpu", "processor time of the clients meanwhile, on a core of their own", "s"),
        ),
    )


def _drain(name: str, connections: int) -> Scenario:
    return Scenario(
        name,
        load(name, 0.0, connections, connections),
        load(name, 0.0, 40, 40),
        240.0,
        (
            metric(f"{name}_whole", f"SIGTERM: until the last of {connections:,} has been sent away with 1012", "s"),
            metric(f"{name}_peak", "the most of them that were sent away within 100 ms", "closes"),
            metric(f"{name}_pause", "longest wait for an answer meanwhile", "ms"),
            metric(f"{name}_exit", "SIGTERM: until the daemon has ended, with exit code 0", "s"),
        ),
    )


def _commit(users: int) -> Scenario:
    name = f"commit_{users}"
    whose = "one user" if users == 1 else f"{users} users"
    return Scenario(
        name,
        load(name, 3.0, users, users),
        load(name, 0.1, min(users, 20), users),
        60.0,
        (
            metric(f"{name}_rate", f"events committed, 16 at a time of {whose}", "/s", "higher"),
            metric(f"{name}_median", "from the offer until it is on the disk, median", "ms"),
            metric(f"{name}_p99", "the same, of 100 the slowest", "ms"),
        ),
    )


RESTART: Final = Scenario(
    "restart",
    load("restart", 0.0, 1, 1),
    load("restart", 0.0, 1, 1),
    60.0,
    (metric("restart", "from the start of the process until the daemon listens", "s"),),
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
    _drain("drain_10k", 10_000),
    _commit(1),
    _commit(20),
    _commit(200),
)
LARGE: Final = ("idle_10k", "shared_10k")
"""Not in the quick form: they show nothing there that the small ones do not."""
