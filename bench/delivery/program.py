"""One scenario with one subject, measured once: `python -m bench.delivery.program SUBJECT [COMMAND…] -- [KEY=VALUE…]`.

Prints one JSON object: {"values": {METRIC: …}, "version", "runtime", "share"}. `share` is what part of the machine's
processor time was spent on this program and its servers: the rest was somebody else's.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import trio

from bench.delivery.commits import commits
from bench.delivery.drain import drain
from bench.delivery.idle import idle
from bench.delivery.processes import Cores, allow_files, busy_seconds, pin
from bench.delivery.push import push
from bench.delivery.servers import Site
from bench.delivery.storm import restart, storm
from bench.delivery.swarm import NotServed
from bench.program import Load

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Measure = Callable[[str, Load, Sequence[str], Site], dict[str, float]]

SPARE_FILES: Final = 200
"""Files that a program needs beside its sockets."""

ASK_VERSION: Final = "import sys; from importlib.metadata import version; print(version(sys.argv[1]))"


def scenario(subject: str, load: Load, command: Sequence[str], site: Site) -> dict[str, float]:
    """Measure.

    Args:
        subject: whose server.
        load: its metric is the scenario's name.
        command: what runs the server of a peer.
        site: where.
    """
    match load.metric.partition("_")[0]:
        case "push":
            return push(subject, load, command, site)
        case "commit":
            return trio.run(partial(commits, load, site.directory))
        case "restart":
            return restart(site)
        case "drain":
            return drain(load, site)
        case "storm":
            return storm(load, site)
        case _:
            return idle(subject, load, command, site)


def release(subject: str, command: Sequence[str]) -> str:
    """The version of what is measured; a peer's own Python knows it."""
    python = command[0] if command else sys.executable
    return subprocess.run(
        [python, "-c", ASK_VERSION, subject], capture_output=True, text=True, check=True
    ).stdout.strip()


def used_seconds() -> float:
    """Processor time of this program, and of the servers that it has seen end."""
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(sum(resource.getrusage(who)[:2]) for who in whose)


def run_scenario(measure: Measure, arguments: Sequence[str]) -> None:
    """The program: read the arguments, measure, print."""
    subject, *rest = arguments
    split = rest.index("--")
    command, load = rest[:split], Load.parse(rest[split + 1 :])
    files = allow_files(load.actors + SPARE_FILES)
    if files < load.actors + SPARE_FILES:
        sys.exit(f"only {files} files may be open here (ulimit -n)")
    cores = Cores.of(os.sched_getaffinity(0))
    pin(os.getpid(), cores.server if load.metric.startswith("commit") else cores.others)
    busy, used = busy_seconds(), used_seconds()
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        try:
            values = measure(subject, load, command, Site(Path(directory), cores))
        except NotServed as error:
            sys.exit(str(error))
    share = (used_seconds() - used) / max(busy_seconds() - busy, 0.01)
    answer: dict[str, Any] = {
        "values": values,
        "version": release(subject, command),
        "runtime": f"{platform.python_implementation()} {platform.python_version()}",
        "share": min(share, 1.0),
    }
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    run_scenario(scenario, sys.argv[1:])
