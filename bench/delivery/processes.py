"""Processes, seen from outside: how much processor time and memory they have used, and on which core they run.

Everything is read from /proc, so that what is measured need not know of it.
"""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Final, NamedTuple

TICK: Final = os.sysconf("SC_CLK_TCK")
PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid: int) -> float:
    """Processor time of a process with all its threads, its own and the system's for it; to a hundredth of a second."""
    # The command's name, in parentheses, may hold blanks and parentheses.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def resident_bytes(pid: int) -> int:
    """Memory that a process holds. What the kernel keeps for its sockets is not in it."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


def busy_seconds() -> float:
    """Processor time that the whole machine has spent on anything since it started."""
    user, nice, system, _idle, _wait, *others = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9])
    return (user + nice + system + sum(others)) / TICK


class Cores(NamedTuple):
    """Who runs where: the server by itself, all else beside it. One core alone serves both."""

    server: frozenset[int]
    others: frozenset[int]

    @classmethod
    def of(cls, available: set[int]) -> Cores:
        """The server gets the last one: the first has the machine's interrupts to serve."""
        last = frozenset({max(available)})
        return cls(last, frozenset(available) - last or last)


def pin(pid: int, cores: frozenset[int]) -> None:
    """Keep a process that has not started threads yet on these cores."""
    os.sched_setaffinity(pid, cores)


def allow_files(wanted: int) -> int:
    """Let this process, and what it starts, have so many open files; gives how many it may really have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = hard == resource.RLIM_INFINITY
    if soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard if unlimited else max(hard, wanted)))
        except (ValueError, OSError):  # not allowed to raise the hard one
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if unlimited else min(wanted, hard), hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
