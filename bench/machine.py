"""What a benchmark ran on: enough to judge a figure by, nothing that names the machine or its owner."""

from __future__ import annotations

import os
import platform
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


def describe() -> dict[str, Any]:
    """Processor, cores, system, Python, and how busy it was before the benchmark began."""
    found: dict[str, Any] = {
        "processor": processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }
    if hasattr(os, "getloadavg"):
        found["load before"] = round(os.getloadavg()[0], 2)
    return found


def processor() -> str:
    """Its name, as far as the system tells."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or "unknown"


@contextmanager
def pinned() -> Iterator[bool]:
    """Keep this process, and every program that it starts inside the block, on one core, where the system can do that.

    Gives whether it does. The last core: the first one has the machine's interrupts to serve.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield False
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield True
    finally:
        os.sched_setaffinity(0, before)
