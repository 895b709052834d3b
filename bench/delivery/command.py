"""`python -m bench delivery`: measure, and print a table or one JSON object."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Final

from bench import options
from bench.delivery.metrics import SCENARIOS, scenario_of, tasks
from bench.delivery.running import Turns
from bench.delivery.subjects import NAMES, Missing, subject
from bench.figures import Results, quietness
from bench.machine import describe
from bench.measure import Stoppable, measure
from bench.options import say
from bench.table import render

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from bench.measure import Subject

RUNS: Final = 3
QUICK_RUNS: Final = 1


def parser() -> argparse.ArgumentParser:
    names = [scenario.name for scenario in SCENARIOS]
    described = sys.modules[__name__].__doc__
    return options.parser("delivery", described, RUNS, choices=names, of="SCENARIO", subjects=NAMES)


def main(arguments: Sequence[str]) -> int:
    """Run it. 1 if understudy itself failed at anything: peers may. 2 where this is not Linux. 130 after Ctrl-C."""
    given = parser().parse_args(arguments)
    if sys.platform != "linux":
        say("this benchmark reads /proc and waits with epoll: it needs Linux")
        return 2
    wanted = [
        task
        for task in tasks(quick=given.quick)
        if given.only is None or scenario_of(task.metric.name).name in given.only
    ]
    names = [name for name in NAMES if given.subjects is None or name in given.subjects]
    runs = given.runs or (QUICK_RUNS if given.quick else RUNS)
    machine = describe()
    there: list[Subject] = []
    missing: dict[str, str] = {}
    for name in names:
        try:
            there.append(subject(name))
        except Missing as error:
            missing[name] = str(error)
    stoppable = Stoppable()
    turns = Turns(stoppable, lambda line: say(f"{line} of {runs}"))
    with stoppable:
        found = measure(wanted, there, runs, turns.run, lambda _line: None)
    machine["processor time spent on the benchmark"] = quietness(found.shares)
    machine["subjects"] = found.subjects
    results = Results("delivery", machine, found.metrics(wanted), found.figures, missing, dict(found.failed))
    print(json.dumps(results.as_json(), ensure_ascii=False, indent=1) if given.json else render(results, names))
    return found.exit_code
