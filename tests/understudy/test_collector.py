"""The collector as the program sets it up. In a process of its own: it belongs to the process."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import gc
from understudy.collector import AT_LEAST, EACH_TASK, THRESHOLDS, tuned_collector

def grow(objects):
    kept = []
    for _ in range(objects // 50_000):
        kept += [[] for _ in range(50_000)]
        gc.collect(1)
    return kept

before = gc.get_threshold()
with tuned_collector() as collector:
    assert gc.get_threshold() == THRESHOLDS
    frozen = gc.get_freeze_count()
    assert frozen > 1000
    kept = grow(50_000)
    assert gc.get_freeze_count() >= frozen + 50_000, "survivors are frozen"
    assert not collector.has_grown(0), "little growth is no reason to look"
    kept += grow(AT_LEAST)
    tasks = AT_LEAST // EACH_TASK
    assert not collector.has_grown(tasks), "nor is what tasks account for"
    kept += grow(2 * AT_LEAST)
    assert collector.has_grown(tasks)
    for each in kept:
        each.append(each)  # cycles, frozen before they became garbage
    del kept, each
    gc.collect()
    assert gc.get_freeze_count() > 3 * AT_LEAST, "what is frozen is not looked at"
    collector.look_at_all(0)
    assert gc.get_freeze_count() < 200_000, "a look at everything finds frozen cycles"
    assert not collector.has_grown(0)
assert gc.get_threshold() == before
assert gc.get_freeze_count() == 0
assert not gc.callbacks
"""


def test_survivors_are_frozen_and_everything_is_looked_at_in_steps_of_growth():
    subprocess.run([sys.executable, "-c", SCRIPT], check=True, timeout=60)
