"""The collector as the program sets it up. In a process of its own: it belongs to the process."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import gc
from understudy.collector import THRESHOLDS, tuned_collector

before = gc.get_threshold()
with tuned_collector() as collector:
    assert gc.get_threshold() == THRESHOLDS
    frozen = gc.get_freeze_count()
    assert frozen > 1000
    kept = [[] for _ in range(50_000)]
    gc.collect(1)
    assert gc.get_freeze_count() >= frozen + 50_000, "survivors are frozen"
    assert not collector.has_grown, "little growth is no reason to look"
    kept += [[] for _ in range(500_000)]
    gc.collect(1)
    assert collector.has_grown
    for each in kept:
        each.append(each)  # cycles, frozen before they became garbage
    del kept, each
    gc.collect()
    assert gc.get_freeze_count() > 500_000, "what is frozen is not looked at"
    collector.look_at_all()
    assert gc.get_freeze_count() < 500_000, "a look at everything finds frozen cycles"
    assert not collector.has_grown
assert gc.get_threshold() == before
assert gc.get_freeze_count() == 0
assert not gc.callbacks
"""


def test_survivors_are_frozen_and_everything_is_looked_at_in_steps_of_growth():
    subprocess.run([sys.executable, "-c", SCRIPT], check=True, timeout=60)
