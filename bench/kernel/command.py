"""`python -m bench kernel`: measure, and print a table or one JSON object."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench import options
from bench.figures import Results, quietness
from bench.kernel.metrics import tasks
from bench.kernel.subjects import NAMES, subject
from bench.machine import describe, pinned
from bench.measure import Stoppable, measure
from bench.options import say
from bench.peers.environments import Missing
from bench.table import render

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from bench.measure import Subject

RUNS: Final = 5
QUICK_RUNS: Final = 1


def parser() -> argparse.ArgumentParser:
    metrics = [task.metric.name for task in tasks()]
    described = sys.modules[__name__].__doc__
    return options.parser("kernel", described, RUNS, choices=metrics, of="METRIC", subjects=NAMES)


def main(arguments: Sequence[str]) -> int:
    """Run it. 1 if understudy itself failed at anything: peers may. 130 after Ctrl-C."""
    given = parser().parse_args(arguments)
    wanted = [task for task in tasks(quick=given.quick) if given.only is None or task.metric.name in given.only]
    names = [name for name in NAMES if given.subjects is None or name in given.subjects]
    runs = given.runs or (QUICK_RUNS if given.quick else RUNS)
    machine = describe()
    there: list[Subject] = []
    missing: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        for name in names:
            try:
                there.append(subject(name, Path(scratch)))
            except Missing as error:
                missing[name] = str(error)
        with pinned() as one_core, Stoppable() as stoppable:
            found = measure(wanted, there, runs, stoppable.program, say)
    machine["one core"] = f"{'pinned' if one_core else 'not pinned, this system cannot'}; {quietness(found.shares)}"
    machine["subjects"] = found.subjects
    results = Results("kernel", machine, found.metrics(wanted), found.figures, missing, dict(found.failed))
    print(json.dumps(results.as_json(), ensure_ascii=False, indent=1) if given.json else render(results, names))
    return found.exit_code
