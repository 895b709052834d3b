"""`python -m bench agents`: measure, and print a table or one JSON object."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Final

from bench import options
from bench.agents.metrics import SCENARIOS, scenario_of, tasks
from bench.agents.subjects import NAMES, subject
from bench.delivery.running import Turns
from bench.figures import Results, quietness
from bench.machine import describe
from bench.measure import Stoppable, measure
from bench.options import say
from bench.table import render

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

RUNS: Final = 3
QUICK_RUNS: Final = 1


def parser() -> argparse.ArgumentParser:
    names = [scenario.name for scenario in SCENARIOS]
    described = sys.modules[__name__].__doc__
    return options.parser("agents", described, RUNS, choices=names, of="SCENARIO", subjects=NAMES)


def main(arguments: Sequence[str]) -> int:
    """Run it. 1 if understudy itself failed at anything: the peer may. 2 where this is not Linux. 130 after Ctrl-C."""
    given = parser().parse_args(arguments)
    if sys.platform != "linux":
        say("this benchmark reads /proc and waits with epoll: it needs Linux")
        return 2
    chosen = given.only or [scenario.name for scenario in SCENARIOS]
    wanted = [task for task in tasks(quick=given.quick) if scenario_of(task.metric.name).name in chosen]
    names = [name for name in NAMES if given.subjects is None or name in given.subjects]
    runs = given.runs or (QUICK_RUNS if given.quick else RUNS)
    machine = describe()
    stoppable = Stoppable()
    turns = Turns(stoppable, lambda line: say(f"{line} of {runs}"), scenario_of)
    with stoppable:
        found = measure(wanted, [subject(name) for name in names], runs, turns.run, lambda _line: None)
    machine["processor time spent on the benchmark"] = quietness(found.shares)
    machine["subjects"] = found.subjects
    results = Results("agents", machine, found.metrics(wanted), found.figures, {}, dict(found.failed))
    print(json.dumps(results.as_json(), ensure_ascii=False, indent=1) if given.json else render(results, names))
    return found.exit_code
