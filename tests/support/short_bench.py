"""A benchmark in its short form, as a person runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from bench.measure import ROOT

WITHIN = 110
"""Seconds."""


def run_short(bench: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end, which must be a good one."""
    command = [sys.executable, "-m", "bench", bench, "--quick", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=WITHIN, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def short_form(bench: str, *subjects: str, only: tuple[str, ...] = ()) -> dict[str, Any]:
    """What `--json` gives for these subjects, and for `only` these scenarios if any are named."""
    options = ["--json", "--subjects", *subjects, *(["--only", *only] if only else [])]
    found: dict[str, Any] = json.loads(run_short(bench, *options).stdout)
    return found
