"""`python -m bench kernel`: measure, and print a table or one JSON object."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.figures import OWN, Results, quietness
from bench.kernel.metrics import tasks
from bench.kernel.subjects import NAMES, Missing, subject
from bench.machine import describe, pinned
from bench.measure import measure, run_program
from bench.table import render

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.measure import Subject

RUNS: Final = 5
QUICK_RUNS: Final = 1


def parser() -> argparse.ArgumentParser:
    metrics = [task.metric.name for task in tasks()]
    found = argparse.ArgumentParser(prog="python -m bench kernel", description=sys.modules[__name__].__doc__)
    found.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    found.add_argument("--quick", action="store_true", help="show that all of it works: small loads, one run")
    found.add_argument("--runs", type=positive, metavar="N", help=f"runs of each figure, {RUNS} if not given")
    found.add_argument("--only", nargs="+", choices=metrics, metavar="METRIC", help=f"of {', '.join(metrics)}")
    found.add_argument("--subjects", nargs="+", choices=NAMES, metavar="NAME", help=f"of {', '.join(NAMES)}")
    return found


def positive(text: str) -> int:
    """A number of runs."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not 1 or more")
    return number


def main(arguments: Sequence[str]) -> int:
    """Run it. 1 if understudy itself failed at anything: peers may."""
    options = parser().parse_args(arguments)
    wanted = [task for task in tasks(quick=options.quick) if options.only is None or task.metric.name in options.only]
    names = [name for name in NAMES if options.subjects is None or name in options.subjects]
    runs = options.runs or (QUICK_RUNS if options.quick else RUNS)
    machine = describe()
    there: list[Subject] = []
    missing: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        for name in names:
            try:
                there.append(subject(name, Path(scratch)))
            except Missing as error:
                missing[name] = str(error)
        with pinned() as one_core:
            found = measure(wanted, there, runs, run_program, lambda line: print(line, file=sys.stderr, flush=True))
    machine["one core"] = f"{'pinned' if one_core else 'not pinned, this system cannot'}; {quietness(found.shares)}"
    machine["subjects"] = found.subjects
    metrics = [task.metric for task in wanted]
    results = Results("kernel", machine, metrics, found.figures, missing, dict(found.failed))
    print(json.dumps(results.as_json(), ensure_ascii=False, indent=1) if options.json else render(results, names))
    return 1 if OWN in found.failed else 0
