"""The traps that other actor systems fell into. Each has a test named after it: the trap, with underscores.

    python -m tests.proofs.traps

runs them all. `test_traps.py` checks that each of them exists and is neither skipped nor expected to fail.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
TRAPS: Final = {
    "tests/runtime/test_traps.py": (
        "a reply to an asker who has gone kills the server",
        "the timeout starts only after a blocking send",
        "a crash during a call leaves the caller hanging",
        "an exception returned as a value is raised at the caller",
        "a failed start leaves a zombie",
        "a temporary child's crash cancels its siblings",
        "stop is a message in a full queue",
        "a stop timeout per level multiplies with depth",
        "a deque with a maximum length drops the oldest under a policy called wait",
        "an aliveness check before enqueueing loses the message put after the drain",
        "a scope reused after a crash stays cancelled",
        "one exception escaping a cell cancels every sibling",
        "rescheduling a task twice",
        "a parked cancel counted as a failure",
        "wheel buckets that are never dropped",
        "stored exceptions that keep their frames",
        "waiting for started in the supervisor's turn, so that ten thousand start one by one",
        "a child that asks its parent in started",
        # Not in the list that the design began with:
        "a parent that asks a child which asks it in started",
        "two full actors that send to each other",
        "two tasks of full actors that send to each other end by their deadlines",
        "an overflow policy throws into the sender",
        "a timer runs twice after a restart",
    ),
    "tests/runtime/test_interrupt.py": ("an interrupt between an append and a reschedule",),
    "tests/proofs/test_traps.py": (
        "the host's own Cancelled is taken for a failure and does not pass",
        "hypothesis runs every example under one schedule",
    ),
}
"""By the module whose test springs it."""


def name_of(trap: str) -> str:
    """The name of the test."""
    return "test_" + re.sub(r"\W+", "_", trap.lower().replace("'", ""))


def all_tests() -> list[str]:
    """The ids of all tests, as pytest takes them."""
    return [f"{module}::{name_of(trap)}" for module, traps in TRAPS.items() for trap in traps]


if __name__ == "__main__":
    sys.exit(subprocess.run([sys.executable, "-m", "pytest", *all_tests()], cwd=ROOT, check=False).returncode)
