"""One scenario with one subject, measured once: `python -m bench.agents.program SUBJECT [COMMAND…] -- [KEY=VALUE…]`.

Prints what `bench.delivery.program` prints, in the same way.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from bench.agents.flood import flood
from bench.agents.outage import flapping, outage
from bench.agents.relay import cancel, relay
from bench.agents.work import batches, begin, tasks
from bench.delivery.program import run_scenario
from bench.delivery.swarm import NotServed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.delivery.servers import Site
    from bench.program import Load

ALONE = {
    "begin": begin,
    "tasks": tasks,
    "batches": batches,
    "outage": outage,
    "flapping": flapping,
    "flood": flood,
    "cancel": cancel,
}


def scenario(subject: str, load: Load, command: Sequence[str], site: Site) -> dict[str, float]:
    """Measure; the arguments are those of `bench.delivery.program.scenario`."""
    measure = ALONE.get(load.metric)
    try:
        return relay(subject, load, command, site) if measure is None else measure(load, site)
    except ExceptionGroup as group:
        error = first_of(group)
        raise NotServed(f"{type(error).__name__}: {error}") from group


def first_of(error: Exception) -> Exception:
    """What one of the clients' tasks failed of: the last line that is printed is all that a reader sees."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


if __name__ == "__main__":
    run_scenario(scenario, sys.argv[1:])
