"""The command of a benchmark that is made of scenarios: measure, and print a table or one JSON object."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Final

import attrs

from bench import options
from bench.delivery.running import Turns
from bench.delivery.scenarios import scenario_among, tasks_of
from bench.figures import Results, quietness
from bench.machine import describe
from bench.measure import Stoppable, measure
from bench.options import say
from bench.peers.environments import Missing
from bench.table import render

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from bench.delivery.scenarios import Scenario
    from bench.measure import Subject, Task

RUNS: Final = 3
QUICK_RUNS: Final = 1


@attrs.frozen
class Comparison:
    """One benchmark.

    Attributes:
        name: as `python -m bench` knows it.
        description: for `--help`.
        scenarios: what is measured.
        large: the names of those that the quick form leaves out: they show nothing there that the small ones do not.
        names: who is compared.
        subject: gives how to measure one of them; raises `Missing` where it is not there.
    """

    name: str
    description: str | None
    scenarios: tuple[Scenario, ...]
    large: tuple[str, ...]
    names: tuple[str, ...]
    subject: Callable[[str], Subject]

    def tasks(self, *, quick: bool = False) -> tuple[Task, ...]:
        """Every metric with the load of its scenario. `quick` shows that all of it works, and is no measurement."""
        return tasks_of(self.scenarios, quick=quick, large=self.large)

    def scenario_of(self, metric: str) -> Scenario:
        """The one that gives a metric."""
        return scenario_among(self.scenarios, metric)

    def parser(self) -> argparse.ArgumentParser:
        choices = [scenario.name for scenario in self.scenarios]
        return options.parser(self.name, self.description, RUNS, choices=choices, of="SCENARIO", subjects=self.names)

    def main(self, arguments: Sequence[str]) -> int:
        """Run it. 1 if understudy itself failed at anything: peers may. 2 where this is not Linux. 130 after Ctrl-C."""
        given = self.parser().parse_args(arguments)
        if sys.platform != "linux":
            say("this benchmark reads /proc and waits with epoll: it needs Linux")
            return 2
        chosen = given.only or [scenario.name for scenario in self.scenarios]
        wanted = [task for task in self.tasks(quick=given.quick) if self.scenario_of(task.metric.name).name in chosen]
        names = [name for name in self.names if given.subjects is None or name in given.subjects]
        runs = given.runs or (QUICK_RUNS if given.quick else RUNS)
        machine = describe()
        there: list[Subject] = []
        missing: dict[str, str] = {}
        for name in names:
            try:
                there.append(self.subject(name))
            except Missing as error:
                missing[name] = str(error)
        stoppable = Stoppable()
        turns = Turns(self.scenario_of, stoppable, lambda line: say(f"{line} of {runs}"))
        with stoppable:
            found = measure(wanted, there, runs, turns.run, lambda _line: None)
        machine["processor time spent on the benchmark"] = quietness(found.shares)
        machine["subjects"] = found.subjects
        results = Results(self.name, machine, found.metrics(wanted), found.figures, missing, dict(found.failed))
        print(json.dumps(results.as_json(), ensure_ascii=False, indent=1) if given.json else render(results, names))
        return found.exit_code
