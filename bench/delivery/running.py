"""Scenarios that give several figures, for a `measure` that asks for one at a time.

The first metric of a scenario runs it, once for each turn; the others take what that turn gave.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from bench.delivery.scenarios import EVERYBODY
from bench.measure import Answer, ProgramFailed, Stopped, last_line, run_command

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.delivery.scenarios import Scenario
    from bench.measure import Subject
    from bench.program import Load

Turn = dict[str, Answer] | ProgramFailed
"""What one life of a server gave: an answer for each metric, or why it gave none."""


class Turns:
    """Remembers what each turn of a scenario has given.

    Args:
        scenario_of: gives the scenario that a metric belongs to.
        run: runs a command within so many seconds and gives what it printed; raises `ProgramFailed`.
        progress: told what is being run.
    """

    def __init__(
        self,
        scenario_of: Callable[[str], Scenario],
        run: Callable[[Sequence[str], float], str] = run_command,
        progress: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self._run = run
        self._scenario_of = scenario_of
        self._progress = progress
        self._stopped = False
        self._turns: dict[tuple[str, str], list[Turn]] = defaultdict(list)
        self._taken: dict[tuple[str, str], int] = defaultdict(int)

    def run(self, subject: Subject, load: Load, limit: float) -> Answer:
        """The answer of the next turn; `load.metric` says which figure of it.

        Raises:
            ProgramFailed: the turn has failed, or does not give the metric.
            Stopped: there is no such turn, and none will be.
        """
        scenario = self._scenario_of(load.metric)
        if scenario.subjects not in {EVERYBODY, subject.name}:
            return Answer(None, "", "", 1.0)
        turns = self._turns[subject.name, scenario.name]
        turn = self._taken[subject.name, load.metric]
        self._taken[subject.name, load.metric] += 1
        if turn >= len(turns):
            turns.append(self._next(subject, scenario, turn, load, limit))
        found = turns[turn]
        if isinstance(found, ProgramFailed):
            raise found
        if load.metric not in found:
            raise ProgramFailed(f"gave no {load.metric}")
        return found[load.metric]

    def _next(self, subject: Subject, scenario: Scenario, turn: int, load: Load, limit: float) -> Turn:
        if self._stopped:
            raise Stopped
        self._progress(f"{scenario.name}: {subject.name}, run {turn + 1}")
        try:
            return self._live(subject, scenario, load, limit)
        except Stopped:
            self._stopped = True
            raise

    def _live(self, subject: Subject, scenario: Scenario, load: Load, limit: float) -> Turn:
        arguments = load._replace(metric=scenario.name).arguments()
        try:
            return answers_of(self._run([*subject.command, *arguments], limit))
        except ProgramFailed as failure:
            return failure


def answers_of(text: str) -> dict[str, Answer]:
    """The answers in the last line that a program printed: metric → answer.

    Raises:
        ProgramFailed: there are none.
    """
    line = last_line(text)
    try:
        found: dict[str, Any] = json.loads(line)
        version, runtime, share = str(found["version"]), str(found["runtime"]), float(found["share"])
        return {str(name): Answer(float(value), version, runtime, share) for name, value in found["values"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ProgramFailed(f"no answer, but {line[:80]!r}") from None
