"""The short form of `python -m bench first_token`: it measures, and what it measures is sane."""

from __future__ import annotations

import json
import subprocess
import sys


def test_the_short_form_measures_both():
    command = [sys.executable, "-m", "bench", "first_token", "--quick", "--json"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=100).stdout)
    assert found["bench"] == "first_token"
    assert found["metrics"]["first_token"]["understudy"]["runs"] == 3
    assert found["metrics"]["status"]["understudy"]["median"] > 0
