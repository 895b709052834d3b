"""The proof in its short form. The long one is `python -m tests.isolation.proof`."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

import pytest

from actors.artifacts.store import Artifacts
from tests.isolation.disk import look_at_files
from tests.isolation.leaks import LEAKS
from tests.isolation.marks import Marks
from tests.isolation.person import DIG, EXECUTIONS, FILE, RUNS, TOOLS
from tests.isolation.probes import PROBES
from tests.isolation.proof import prove
from tests.isolation.world import SHARED

if TYPE_CHECKING:
    from pathlib import Path

LONGEST: Final = 300
"""Seconds: it is bound by what it does, and a busy machine may take its time."""
TYPES: Final = sorted({task_type for task_type, _ in EXECUTIONS})
EVERYTHING: Final = (
    *(f"run {workflow}" for workflow, _ in RUNS),
    *(f"fate {fate}" for _, fate in RUNS),
    *("run that was completed", "run that was cancelled"),
    *(f"task for {each}" for each in (FILE, DIG, *TYPES)),
    *(f"execution of {each}" for each in TYPES),
    *(f"tool {each}" for each in (*TOOLS, "read_artifact")),
    *("memories found", "download", "events polled", "command over HTTP", "reading", "mode set"),
    *("worker of one's own", "worker of everybody", "task done by one's own worker", "task done by another's worker"),
    *("connection lost", "takeover", "replay", "subscribe granted", "subscribe refused"),
    *(f"crash of {path}" for path in SHARED),
    *("crash of users", "crash of runs", "crash of gateway"),
    *(f"probe of {each}" for each in PROBES),
    *("probe of an approval that waits", "operator's look at everything"),
)
"""What has to have happened, for its not having hurt to mean anything."""


@pytest.mark.timeout(LONGEST)
async def test_nothing_of_one_user_reaches_another(tmp_path: Path) -> None:
    summary = await prove(tmp_path, seed=7)
    assert summary.marks.wrong == []
    assert [what for what in EVERYTHING if not summary.happened.get(what)] == []
    assert summary.provider.with_tools > 0
    assert {"event", "reply", "memory", "run", "task", "artifact"} <= summary.kept.keys()


@pytest.mark.timeout(LONGEST)
@pytest.mark.parametrize(
    "name",
    [
        "memory without user",
        "conversation of the step before",
        "runs by their id alone",
        "events to the next user and nobody looks",
    ],
)
async def test_what_is_broken_on_purpose_is_found(tmp_path: Path, name: str) -> None:
    """The quick ones; `python -m tests.isolation.proof --leaks` has them all."""
    summary = await prove(tmp_path, seed=1, broken=LEAKS[name]())
    assert summary.marks.wrong


def test_a_mark_is_known_for_whose_it_is() -> None:
    marks, rng = Marks(), random.Random(1)
    own, foreign = marks.canary("ada", rng), marks.canary("eve", rng)
    marks.look("ada", f"a text of {own}, and canaryunknownnn", "here")
    marks.claim("ada", "0" * 32, "the run")
    marks.claim("ada", "0" * 32, "the run")
    assert marks.wrong == []
    marks.look("ada", f"a text of {own} and {foreign}", "here")
    marks.look("eve", f"/api/runs/{'0' * 32}", "there")
    marks.claim("eve", "0" * 32, "the run")
    marks.look_for_any(own, "the log")
    assert [sentence[:12] for sentence in marks.wrong] == [
        "here: ada ha",
        "there: eve h",
        "the run 0000",
        "the log: ada",
    ]
    assert marks.found.is_set()


def test_a_file_lies_with_whose_words_it_holds(tmp_path: Path) -> None:
    marks, rng = Marks(), random.Random(1)
    canaries = {user: marks.canary(user, rng) for user in ("ada", "ada/eve")}
    artifacts = Artifacts(tmp_path / "artifacts")
    for user, canary in canaries.items():
        artifacts.write(user, "run", "step", "a.txt", canary.encode())
    assert look_at_files(tmp_path, marks) == 2
    assert marks.wrong == []
    artifacts.write("ada", "run", "step", "b.txt", canaries["ada/eve"].encode())
    look_at_files(tmp_path, marks)
    assert len(marks.wrong) == 1
