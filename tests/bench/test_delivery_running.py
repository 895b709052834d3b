"""One life of a server gives several figures, and each is asked for by itself."""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import TYPE_CHECKING

import pytest

from bench.delivery.command import COMPARISON
from bench.delivery.running import Turns, answers_of
from bench.figures import OWN
from bench.measure import Answer, ProgramFailed, Stoppable, Subject, measure, run_command

if TYPE_CHECKING:
    from collections.abc import Sequence

OURS, OTHER = Subject(OWN, ("ours",)), Subject("aiohttp", ("other",))
COMMIT = [task for task in COMPARISON.tasks() if task.metric.name.startswith("commit_20_")]
PUSH = [task for task in COMPARISON.tasks() if task.metric.name.startswith("push_100_")]


turns = partial(Turns, COMPARISON.scenario_of)


def said(values: dict[str, float]) -> str:
    return json.dumps({"values": values, "version": "1.0", "runtime": "a runtime", "share": 0.5})


class Server:
    """Gives 1, 2, 3, … for each metric of the scenario, one a life."""

    def __init__(self, failing: Sequence[int] = (), interrupted: int = 0) -> None:
        self.lives: list[list[str]] = []
        self._failing = failing
        self._interrupted = interrupted

    def __call__(self, command: Sequence[str], _limit: float) -> str:
        self.lives.append(list(command))
        if len(self.lives) in self._failing:
            raise ProgramFailed("out of sockets")
        if len(self.lives) == self._interrupted:
            raise KeyboardInterrupt
        name = next(word for word in command if word.startswith("metric=")).removeprefix("metric=")
        (scenario,) = [each for each in COMPARISON.scenarios if each.name == name]
        return said({metric.name: float(len(self.lives)) for metric in scenario.metrics})


def test_a_scenario_runs_once_a_turn_for_all_of_its_metrics():
    server, lines = Server(), []
    found = measure(COMMIT, [OURS], 3, turns(server, lines.append).run, lambda _line: None)
    assert len(server.lives) == 3
    assert server.lives[0][:2] == ["ours", "metric=commit_20"]
    assert [found.figures[task.metric.name][OWN].max for task in COMMIT] == [3.0] * 3
    assert found.failed == {}
    assert lines == [f"commit_20: {OWN}, run {number}" for number in (1, 2, 3)]


def test_subjects_alternate():
    server = Server()
    found = measure(PUSH, [OURS, OTHER], 2, turns(server).run, lambda _line: None)
    assert [life[0] for life in server.lives] == ["ours", "other"] * 2
    assert found.figures["push_100_cpu"]["aiohttp"].max == 4.0
    assert found.subjects == dict.fromkeys((OWN, "aiohttp"), "1.0 (a runtime)")


def test_a_peer_is_not_asked_for_what_has_nothing_to_compare_with():
    server = Server()
    found = measure(COMMIT, [OURS, OTHER], 1, turns(server).run, lambda _line: None)
    assert [life[0] for life in server.lives] == ["ours"]
    assert set(found.subjects) == {OWN}
    assert found.failed == {}


def test_a_life_that_fails_fails_all_of_its_metrics_and_is_not_lived_again():
    server = Server(failing=[2])
    found = measure(COMMIT, [OURS], 3, turns(server).run, lambda _line: None)
    assert found.failed == {OWN: {task.metric.name: "out of sockets" for task in COMMIT}}
    assert len(server.lives) == 2


def test_of_a_scenario_that_ctrl_c_cuts_off_every_metric_keeps_what_its_earlier_lives_gave():
    server, lines = Server(interrupted=3), []
    found = measure(
        [*COMMIT, *PUSH],
        [OURS],
        5,
        turns(Stoppable(server), lines.append).run,
        lambda _line: None,
    )
    assert len(server.lives) == len(lines) == 3
    assert [found.figures[task.metric.name][OWN].runs for task in COMMIT] == [2] * 3
    assert found.metrics([*COMMIT, *PUSH]) == [task.metric for task in COMMIT]
    assert found.exit_code == 130


def test_a_metric_that_was_not_given_is_a_failure():
    given = turns(lambda _command, _limit: said({"commit_20_rate": 1.0}))
    assert given.run(OURS, COMMIT[0].load, 1.0) == Answer(1.0, "1.0", "a runtime", 0.5)
    with pytest.raises(ProgramFailed, match="gave no commit_20_median"):
        given.run(OURS, COMMIT[1].load, 1.0)


@pytest.mark.parametrize("line", ["", "[]", "{}", '{"values": [], "version": "", "runtime": "", "share": 1}'])
def test_an_answer_of_another_shape_is_none(line: str):
    with pytest.raises(ProgramFailed, match="no answer"):
        answers_of(line)


def test_what_a_program_has_started_ends_with_it():
    # The child holds the program's output open: were it left alone, the output would never end, nor would this test.
    waiting = "import threading; threading.Event().wait()"
    child = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {waiting!r}])"
    with pytest.raises(ProgramFailed, match="not done within 1 s"):
        run_command([sys.executable, "-c", f"{child}; {waiting}"], 1.0)
