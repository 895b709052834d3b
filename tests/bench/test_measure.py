"""Programs run in turn; one that fails does not end the benchmark."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import pytest

from bench.figures import OWN, Figure, Metric
from bench.measure import Answer, ProgramFailed, Stoppable, Subject, Task, answer_of, environment, measure
from bench.program import Load, Rounds, middle
from bench.table import amount

if TYPE_CHECKING:
    from collections.abc import Sequence

LOAD = Load("tell", 0.5, 1, 1000, 0.00002)
TASKS = [Task(Metric(name, name, "/s", "higher"), LOAD._replace(metric=name), 9.0) for name in ("tell", "ask")]
SUBJECTS = [Subject(name, (name,)) for name in ("a", "b", "c")]


def python(code: str) -> Subject:
    return Subject("a", (sys.executable, "-c", code))


def test_subjects_alternate_and_their_runs_become_figures():
    calls, lines = [], []

    def run(subject: Subject, load: Load, limit: float) -> Answer:
        calls.append((load.metric, subject.name, limit))
        return Answer(float(len(calls)), "1.0", "a runtime", 0.5)

    found = measure(TASKS, SUBJECTS, 2, run, lines.append)
    assert calls[:6] == [("tell", name, 9.0) for name in "abcabc"]
    assert [metric for metric, _, _ in calls[6:]] == ["ask"] * 6
    assert found.figures["tell"]["a"] == Figure(2.5, 1.0, 4.0, 2)
    assert found.shares == [0.5] * 12
    assert found.subjects == dict.fromkeys("abc", "1.0 (a runtime)")
    assert found.failed == {}
    assert lines[3] == "tell: a, run 2 of 2"


def test_who_fails_is_named_and_not_asked_again_for_that_metric():
    calls = []

    def run(subject: Subject, load: Load, _limit: float) -> Answer:
        calls.append((load.metric, subject.name))
        if (load.metric, subject.name, calls.count((load.metric, subject.name))) == ("tell", "b", 2):
            raise ProgramFailed("out of threads")
        return Answer(1.0, "1.0", "a runtime", 0.5)

    found = measure(TASKS, SUBJECTS, 3, run, lambda _: None)
    assert found.failed == {"b": {"tell": "out of threads"}}
    assert set(found.figures["tell"]) == {"a", "c"}
    assert calls.count(("tell", "b")) == 2
    assert found.figures["ask"]["b"].runs == 3


def test_what_was_found_before_ctrl_c_is_kept_and_nothing_is_started_after_it(capsys: pytest.CaptureFixture[str]):
    calls, lines = [], []

    def run(command: Sequence[str], _limit: float) -> str:
        calls.append(command[0])
        if len(calls) == 5:
            raise KeyboardInterrupt
        return '{"value": 2.0, "version": "1", "runtime": "r", "share": 1.0}'

    found = measure(TASKS, SUBJECTS, 2, Stoppable(run).program, lines.append)
    assert calls == list("abcab")
    assert len(lines) == 5
    assert (found.stopped, found.exit_code, found.failed) == (True, 130, {})
    assert {name: figure.runs for name, figure in found.figures["tell"].items()} == {"a": 2, "b": 1, "c": 1}
    assert found.figures["ask"] == {}
    assert found.metrics(TASKS) == [TASKS[0].metric]
    assert capsys.readouterr().err == "stopped: what had not been measured is missing\n"


def test_ctrl_c_between_two_programs_is_heard_too():
    calls = []

    def run(command: Sequence[str], _limit: float) -> str:
        calls.append(command[0])
        return '{"value": 2.0, "version": "1", "runtime": "r", "share": 1.0}'

    def progress(line: str) -> None:
        if line == "tell: b, run 1 of 2":
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with Stoppable(run) as stoppable:
        found = measure(TASKS, SUBJECTS, 2, stoppable.program, progress)
    assert calls == ["a"]
    assert found.stopped
    assert signal.getsignal(signal.SIGINT) == before


@pytest.mark.parametrize(("broken", "code"), [("a", 0), (OWN, 1)])
def test_the_exit_code_says_whether_our_own_side_has_failed(broken: str, code: int):
    def run(subject: Subject, _load: Load, _limit: float) -> Answer:
        if subject.name == broken:
            raise ProgramFailed("out of threads")
        return Answer(1.0, "1.0", "a runtime", 0.5)

    found = measure(TASKS, [SUBJECTS[0], Subject(OWN, ("own",))], 1, run, lambda _: None)
    assert found.exit_code == code
    assert found.metrics(TASKS) == [task.metric for task in TASKS]


def test_who_cannot_do_a_metric_has_no_figure_and_has_not_failed():
    found = measure(
        TASKS[:1], SUBJECTS, 3, lambda s, _l, _t: Answer(None if s.name == "b" else 1.0, "1", "r", 1.0), print
    )
    assert set(found.figures["tell"]) == {"a", "c"}
    assert found.failed == {}


def test_a_value_that_measured_nothing_is_a_failure():
    found = measure(TASKS[:1], SUBJECTS[:1], 3, lambda *_: Answer(0.0, "1", "r", 1.0), print)
    assert found.failed == {"a": {"tell": "0.0 is no positive number"}}


def test_where_nothing_at_all_is_a_figure_it_is_shown_as_it_is():
    task = Task(Metric("tell", "tell", "%", "lower", any_number=True), LOAD, 9.0)
    for value in (0.0, -0.25):
        found = measure([task], SUBJECTS[:1], 3, lambda *_, value=value: Answer(value, "1", "r", 1.0), print)
        assert found.figures["tell"]["a"] == Figure(value, value, value, 3)
        assert amount(value, "%") in {"0 %", "-0.25 %"}


def test_a_program_is_given_its_load_and_its_last_line_is_the_answer():
    subject = python(
        "import sys, json; print('noise');"
        "print(json.dumps({'value': len(sys.argv), 'version': sys.argv[1], 'runtime': sys.argv[5], 'share': 1}))"
    )
    assert Stoppable().program(subject, LOAD, 30.0) == Answer(6.0, "metric=tell", "work=2e-05", 1.0)


@pytest.mark.parametrize(
    ("code", "limit", "why"),
    [
        ("import sys; print('first', file=sys.stderr); sys.exit('out of threads')", 30.0, "^out of threads$"),
        ("import os; os._exit(3)", 30.0, "^exit code 3$"),
        ("print('nonsense')", 30.0, "^no answer, but 'nonsense'$"),
        ("pass", 30.0, "^no answer, but ''$"),
        ("import threading; threading.Event().wait()", 0.5, r"^not done within 0.5 s$"),
    ],
)
def test_a_program_that_gives_no_figure_says_why(code: str, limit: float, why: str):
    with pytest.raises(ProgramFailed, match=why):
        Stoppable().program(python(code), LOAD, limit)


def test_a_program_that_is_not_there_says_so():
    with pytest.raises(ProgramFailed, match="could not be started: No such file"):
        Stoppable().program(Subject("a", ("no-such-program",)), LOAD, 30.0)


@pytest.mark.parametrize("line", ["[]", "3", "{}", '{"value": "fast", "version": 1, "runtime": 1, "share": 1}'])
def test_an_answer_of_another_shape_is_none(line: str):
    with pytest.raises(ProgramFailed, match="no answer"):
        answer_of(line)


def test_programs_are_not_measured_by_coverage():
    assert environment({"PATH": "p", "COVERAGE_PROCESS_START": "c", "COV_CORE": "c"}) == {"PATH": "p"}


def test_a_load_survives_the_command_line():
    assert Load.parse(LOAD.arguments()) == LOAD


def test_the_first_round_warms_up_and_at_least_one_counts():
    rounds = Rounds(0.0)
    assert len(list(rounds)) == 2
    assert rounds.count == 1
    assert rounds.rate(10) == pytest.approx(10 / (rounds.now - rounds.begun))


def test_the_middle_of_latencies():
    assert middle([3.0, 1.0, 2.0]) == 2.0
    assert middle([1.0, 2.0]) == 2.0
