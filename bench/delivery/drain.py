"""A daemon that is asked to go while thousands of clients are connected: how it sends them away, and when it has ended.

The probe's connections are sent away like all others, each at a moment of its own, so it has many and asks on one that
is left. What the daemon makes the others wait is seen until the last of those has gone.
"""

from __future__ import annotations

import signal
import subprocess
from time import monotonic
from typing import TYPE_CHECKING, Final

from bench.delivery.dialects import dialect
from bench.delivery.leaving import LeavingSwarm
from bench.delivery.servers import Daemon, probing
from bench.delivery.swarm import NotServed
from bench.figures import OWN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.delivery.servers import Site
    from bench.program import Load

OPEN_WITHIN: Final = 120.0
SETTLE: Final = 1.0
"""Seconds for what is left to do when the last connection is in."""
LEAVE_WITHIN: Final = 30.0
"""Seconds from SIGTERM: the daemon's own deadline is 20."""
PROBES: Final = 32
WINDOW: Final = 0.1
"""Seconds in which the closes are counted."""


def drain(load: Load, site: Site) -> dict[str, float]:
    """See `metrics`.

    Raises:
        NotServed: a client was not told, or was closed otherwise than with 1012, or the daemon did not exit with 0.
    """
    name = load.metric
    with Daemon(site).running() as running:
        swarm = LeavingSwarm(running.port, dialect(OWN))
        swarm.open_all(swarm.join(f"user{number % load.burst}" for number in range(load.actors)))
        swarm.run(lambda: swarm.inside == load.actors, OPEN_WITHIN, "opening")
        with probing(OWN, running.port, site, connections=PROBES) as probe:
            swarm.rest(SETTLE)
            began = monotonic()
            running.process.send_signal(signal.SIGTERM)
            swarm.run(lambda: swarm.inside == 0, LEAVE_WITHIN, "the goodbye")
            try:
                status = running.process.wait(began + LEAVE_WITHIN - monotonic())
            except subprocess.TimeoutExpired:
                raise NotServed(f"it has not ended {LEAVE_WITHIN:g} s after SIGTERM") from None
            ended = monotonic()
        swarm.close()
    if status or len(swarm.gone) != load.actors:
        raise NotServed(f"{len(swarm.gone)} of {load.actors} were sent away; {swarm.ended}; exit code {status}")
    return {
        f"{name}_whole": max(swarm.gone) - began,
        f"{name}_peak": most_within(swarm.gone, WINDOW),
        f"{name}_pause": probe.longest(began, max(swarm.gone)) * 1e3,
        f"{name}_exit": ended - began,
    }


def most_within(times: Sequence[float], window: float) -> int:
    """How many of these ascending times lie in one window of so many seconds, at most. Pure."""
    first = most = 0
    for place, time in enumerate(times):
        while time - times[first] > window:
            first += 1
        most = max(most, place - first + 1)
    return most
