"""Running the programs of a benchmark in turn, each in a process of its own.

A program that fails, hangs or prints nonsense does not end the benchmark: it is named, with what it said, and not
asked for that metric again.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from bench.figures import Figure, Metric, in_turn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.program import Load

ROOT: Final = Path(__file__).resolve().parents[1]


class ProgramFailed(Exception):
    """A measuring program did not give a figure. The text says why, in a line."""


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
    """What has been found so far; see `Results`. `shares` are those of every run that gave a value."""

    figures: dict[str, dict[str, Figure]] = attrs.field(factory=dict)
    failed: dict[str, dict[str, str]] = attrs.field(factory=lambda: defaultdict(dict))
    subjects: dict[str, str] = attrs.field(factory=dict)
    shares: list[float] = attrs.field(factory=list)


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
        run: starts one program and gives its answer; raises `ProgramFailed`.
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
        found.figures[metric] = {
            name: Figure.of(measured, any_number=task.metric.any_number)
            for name, measured in values.items()
            if measured and metric not in found.failed.get(name, {})
        }
    return found


def run_program(subject: Subject, load: Load, limit: float) -> Answer:
    """Run a program once.

    Raises:
        ProgramFailed: it could not be started, failed, took longer than `limit` seconds, or printed no answer.
    """
    return answer_of(run_command([*subject.command, *load.arguments()], limit))


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
