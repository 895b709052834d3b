"""Running the programs of a benchmark in turn, each in a process of its own.

A program that fails, hangs or prints nonsense does not end the benchmark: it is named, with what it said, and not
asked for that metric again.

Ctrl-C ends the program that is running and starts no other; what has been found until then is what the benchmark shows.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import attrs

from bench.figures import OWN, Figure, Metric, in_turn
from bench.options import say

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import FrameType, TracebackType

    from bench.program import Load

INTERRUPTED: Final = 130
ROOT: Final = Path(__file__).resolve().parents[1]


class ProgramFailed(Exception):
    """A measuring program did not give a figure. The text says why, in a line."""


class Stopped(Exception):
    """Somebody has pressed Ctrl-C: no program is started any more."""


@attrs.frozen
class Subject:
    """One side of a comparison.

    Attributes:
        name: the package's name.
        command: what runs its program, without the load's arguments.
    """

    name: str
    command: tuple[str, ...]


@attrs.frozen
class Task:
    """One metric, and the load that shows it.

    Attributes:
        limit: seconds that one program may take.
    """

    metric: Metric
    load: Load
    limit: float


@attrs.frozen
class Answer:
    """What a program printed.

    Attributes:
        value: None for a metric that its subject cannot do.
        version: of the subject.
        runtime: what ran it.
        share: of the core, while it measured: 1 is all of it.
    """

    value: float | None
    version: str
    runtime: str
    share: float


@attrs.define
class Found:
    """What has been found so far; see `Results`.

    Attributes:
        shares: of every run that gave a value.
        stopped: whether that is not all, because of Ctrl-C.
    """

    figures: dict[str, dict[str, Figure]] = attrs.field(factory=dict)
    failed: dict[str, dict[str, str]] = attrs.field(factory=lambda: defaultdict(dict))
    subjects: dict[str, str] = attrs.field(factory=dict)
    shares: list[float] = attrs.field(factory=list)
    stopped: bool = False

    def metrics(self, tasks: Sequence[Task]) -> list[Metric]:
        """What to show of these: all, or, of a benchmark that was stopped, those of which there is something."""
        metrics = [task.metric for task in tasks]
        failed = {name for failures in self.failed.values() for name in failures}
        return [each for each in metrics if not self.stopped or self.figures.get(each.name) or each.name in failed]

    @property
    def exit_code(self) -> int:
        """130 where it was stopped, as a shell has it; else 1 if our own side has failed at anything: peers may."""
        return INTERRUPTED if self.stopped else int(OWN in self.failed)


def measure(
    tasks: Sequence[Task],
    subjects: Sequence[Subject],
    runs: int,
    run: Callable[[Subject, Load, float], Answer],
    progress: Callable[[str], None],
) -> Found:
    """All metrics, one after the other; in each, the subjects in turn, `runs` times.

    Args:
        tasks: what to measure.
        subjects: whom.
        runs: how often each.
        run: starts one program and gives its answer; raises `ProgramFailed`, or `Stopped`. After that it may still give
            answers that it has already.
        progress: told what is being done.
    """
    found = Found()
    by_name = {subject.name: subject for subject in subjects}
    for task in tasks:
        metric = task.metric.name
        values: dict[str, list[float]] = {name: [] for name in by_name}
        unable: set[str] = set()
        for number, name in enumerate(in_turn(by_name, runs)):
            if name in unable or metric in found.failed.get(name, {}):
                continue
            if not found.stopped:
                progress(f"{metric}: {name}, run {number // len(by_name) + 1} of {runs}")
            try:
                answer = run(by_name[name], task.load, task.limit)
                if answer.value is None:
                    unable.add(name)
                else:
                    found.subjects[name] = f"{answer.version} ({answer.runtime})"
                    Figure.of([answer.value], any_number=task.metric.any_number)
                    values[name].append(answer.value)
                    found.shares.append(answer.share)
            except (ProgramFailed, ValueError) as error:
                found.failed[name][metric] = str(error)
            except Stopped:
                found.stopped = True
        found.figures[metric] = {
            name: Figure.of(measured, any_number=task.metric.any_number)
            for name, measured in values.items()
            if measured and metric not in found.failed.get(name, {})
        }
    if found.stopped:
        say("stopped: what had not been measured is missing")
    return found


class Stoppable:
    """Runs commands until Ctrl-C; from then on, none. In its `with` block Ctrl-C raises nothing but `Stopped` here.

    Args:
        run: as `run_command`.
    """

    def __init__(self, run: Callable[[Sequence[str], float], str] | None = None) -> None:
        self._run = run_command if run is None else run
        self._running = self._stopped = False
        self._before: Any = None

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGINT, self._heard)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _heard(self, _number: int, _frame: FrameType | None) -> None:
        self._stopped = True
        if self._running:
            self._running = False
            raise KeyboardInterrupt

    def __call__(self, command: Sequence[str], limit: float) -> str:
        """As `run_command`; raises `Stopped` too."""
        try:
            self._running = True
            if not self._stopped:
                return self._run(command, limit)
        except KeyboardInterrupt:
            self._stopped = True
        finally:
            self._running = False
        raise Stopped

    def program(self, subject: Subject, load: Load, limit: float) -> Answer:
        """Run a program once.

        Raises:
            ProgramFailed: it could not be started, failed, took longer than `limit` seconds, or printed no answer.
            Stopped: it was, or another was before it.
        """
        return answer_of(self([*subject.command, *load.arguments()], limit))


def run_command(command: Sequence[str], limit: float) -> str:
    """What a command prints. Whatever it has started itself ends with it, also where it is not done in time.

    Raises:
        ProgramFailed: it could not be started, failed, or took longer than `limit` seconds.
    """
    try:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
    except OSError as error:
        raise ProgramFailed(f"could not be started: {error.strerror}") from None
    try:
        stdout, stderr = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        raise ProgramFailed(f"not done within {limit:g} s") from None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    if process.returncode != 0:
        raise ProgramFailed(last_line(stderr) or f"exit code {process.returncode}")
    return stdout


def answer_of(text: str) -> Answer:
    """The answer in the last line that a program printed.

    Raises:
        ProgramFailed: there is none.
    """
    line = last_line(text)
    try:
        found: dict[str, Any] = json.loads(line)
        value = found["value"]
        share = float(found["share"])
        return Answer(None if value is None else float(value), str(found["version"]), str(found["runtime"]), share)
    except (ValueError, KeyError, TypeError):
        raise ProgramFailed(f"no answer, but {line[:80]!r}") from None


def last_line(text: str) -> str:
    """The last line that is not empty."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """The environment of a program: nothing that has coverage measure it, which would measure coverage."""
    return {key: value for key, value in given.items() if not key.startswith(("COV_", "COVERAGE_"))}
