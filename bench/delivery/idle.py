"""Connections that say nothing but what the protocol has them say: what they cost, and what they do to others."""

from __future__ import annotations

import random
from time import monotonic
from typing import TYPE_CHECKING, Final

from bench.delivery.dialects import dialect
from bench.delivery.processes import TICK
from bench.delivery.servers import Daemon, bare, probing
from bench.delivery.swarm import Swarm
from bench.figures import OWN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.delivery.servers import Site
    from bench.delivery.swarm import Client
    from bench.program import Load

WARM: Final = 20
"""Connections opened beforehand, and kept: what the first one costs is not the price of each."""
SETTLE: Final = 1.0
"""Seconds for what is left to do when the last connection is in."""
OPEN_WITHIN: Final = 120.0
KIB: Final = 1024


def idle(subject: str, load: Load, command: Sequence[str], site: Site) -> dict[str, float]:
    """See `metrics`; `command` runs the server of a peer. Where a server asks for heartbeats, it gets them."""
    name = load.metric
    rng = random.Random(1)
    with Daemon(site).running() if subject == OWN else bare(command, site) as running:
        swarm = Swarm(running.port, dialect(subject))
        swarm.open_all(swarm.join([f"warm{number}" for number in range(WARM)], prefix="w"))
        swarm.run(lambda: swarm.inside == WARM, OPEN_WITHIN, "warming up")
        swarm.rest(SETTLE / 2)
        with probing(subject, running.port, site) as probe:
            before = running.memory
            many = swarm.join(f"user{number % load.burst}" for number in range(load.actors))
            opening = monotonic()
            swarm.open_all(many)
            took = swarm.run(lambda: swarm.inside == WARM + load.actors, OPEN_WITHIN, "opening")
            for client in many:
                stay_alive(swarm, client, rng)
            swarm.rest(SETTLE)
            begin, used = monotonic(), running.cpu
            passed = swarm.rest(load.seconds)
            spent, end = running.cpu - used, monotonic()
            grown = running.memory - before
            swarm.close()
    return {
        f"{name}_memory": max(grown / load.actors / KIB, 0.01),
        f"{name}_rate": load.actors / took,
        f"{name}_opening_pause": probe.longest(opening, begin) * 1e3,
        f"{name}_pause": probe.longest(begin, end) * 1e3,
        f"{name}_cpu": max(spent, 1 / TICK) / passed * 1e3,
    }


def stay_alive(swarm: Swarm, client: Client, rng: random.Random) -> None:
    """Have a heartbeat sent each interval, if the server asks for any, the first after a random part of one."""
    assert client.welcome is not None
    interval = client.welcome.get("heartbeat_interval")
    if interval is None:
        return
    sent = 0

    def beat() -> None:
        nonlocal sent
        sent += 1
        client.say(swarm.dialect.ping(sent))
        swarm.later(interval, beat)

    swarm.later(rng.uniform(0.0, interval), beat)
