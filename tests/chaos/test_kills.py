"""The chaos test in its short form. The long one is `python -m tests.chaos.kills`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from actors.models.simulated.prompts import text_digest
from tests.chaos.kills import Person, Summary, chaos, look_at_the_model, look_through
from tests.support.device import Device

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.grammar_tables import Frame


async def test_a_daemon_that_is_killed_twice_loses_doubles_and_repeats_nothing(tmp_path: Path) -> None:
    summary = await chaos(tmp_path, kills=2, clients=4, seed=5)
    assert sum(summary.runs.values()) >= 4
    assert summary.finished_steps >= 4
    assert summary.interrupted >= 1
    assert summary.connections >= 8 * 3
    assert "all of them ended" in "\n".join(summary.lines())


def answered(content: str, timestamp: str, **more: Any) -> Frame:
    metadata = {"step": "s", "attempt": 1, **more}
    return {"type": "agent_response", "run_id": "r", "content": content, "timestamp": timestamp, "metadata": metadata}


def report(content: str, *asked: float) -> dict[str, Any]:
    return {"left_out": 0, "prompts": {"p": {"answer": text_digest(content), "asked": list(asked), "answered": []}}}


AT = 1_795_163_400.0  # 2026-11-20T08:30:00Z


def test_a_step_that_is_asked_for_again_after_it_had_finished_would_be_found() -> None:
    log = [answered("An answer", "2026-11-20T08:30:00.500Z")]
    summary = Summary(seed=1, clients=1)
    look_at_the_model(report("An answer", AT, AT + 0.4), log, summary)
    assert (summary.finished_steps, summary.requests) == (1, 2)
    with pytest.raises(AssertionError, match="had finished"):
        look_at_the_model(report("An answer", AT, AT + 0.6), log, Summary(seed=1, clients=1))
    with pytest.raises(AssertionError, match="one answer"):
        look_at_the_model(report("An answer", AT), log * 2, Summary(seed=1, clients=1))
    degraded = [answered("Nobody was asked", "2026-11-20T08:30:00.500Z", degraded=True)]
    look_at_the_model(report("An answer", AT), degraded, Summary(seed=1, clients=1))


def status(run_id: str, name: str) -> Frame:
    return {"type": "run_status", "run_id": run_id, "metadata": {"status": name}}


@pytest.mark.parametrize(
    "log",
    [
        [status("r1", "queued")],
        [status("r1", "queued"), status("r1", "completed"), status("r1", "completed")],
        [status("r1", "queued"), status("r1", "completed"), status("r2", "queued"), status("r2", "completed")],
        [],
    ],
)
def test_a_run_without_its_one_end_or_that_nobody_asked_for_would_be_found(log: list[Frame]) -> None:
    person = Person([Device(0, "ada")], ["r1"])
    with pytest.raises((AssertionError, ValueError)):
        look_through(person, log, Summary(seed=1, clients=1))
    good = [status("r1", "queued"), status("r1", "completed")]
    summary = Summary(seed=1, clients=1)
    look_through(person, good, summary)
    assert summary.runs == {"completed": 1}
    assert json.dumps(summary.events) == "2"
