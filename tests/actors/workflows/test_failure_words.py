"""What a person reads of a step that has failed, by the catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from actors.protocol.catalogue import CATALOGUE, Failure
from actors.users.keys import OPEN, RUNS, run_key
from actors.workflows.definitions import StepDefinition
from actors.workflows.record import encode_record, new_record
from tests.support.memory_journal import Plan
from tests.support.runs_system import BRIEF, runs_system, workflow
from tests.support.users_system import virtual

if TYPE_CHECKING:
    from tests.support.runs_system import RunsSystem

SHORT = workflow(StepDefinition("analysis", "analyst", timeout=5.0), StepDefinition("test", "tester"))


def sentences(here: RunsSystem, type_: str) -> list[str]:
    """What stands in Ada's log of a step or a tool that has failed, in its order."""
    failed = [frame for frame in here.log() if frame["type"] == type_ and frame["metadata"]["status"] == "error"]
    return [frame["content"] if type_ == "agent_status" else frame["metadata"]["error"] for frame in failed]


def test_a_step_that_takes_longer_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with runs_system(monkeypatch, SHORT, plays={("analysis", 1): ["think", "hang"]}) as here:
            assert await here.ended(await here.start()) == "completed"
            assert sentences(here, "agent_status") == [CATALOGUE[Failure.STEP_TIMEOUT].sentence]
            assert here.script.earlier[-1][0].missing_reason == CATALOGUE[Failure.STEP_TIMEOUT].missing

    virtual(main)


def test_a_tool_at_work_when_its_attempt_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with runs_system(monkeypatch, SHORT, plays={("analysis", 1): ["think", "tool", "hang"]}) as here:
            await here.ended(await here.start())
            assert sentences(here, "tool_completed") == [CATALOGUE[Failure.TOOL_INTERRUPTED].sentence]

    virtual(main)


def test_an_agent_that_has_left_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        plan, key = Plan(), run_key("ada", "r1")
        gone = workflow(StepDefinition("analysis", "nobody"), StepDefinition("test", "tester"))
        plan.storage.state[RUNS, key] = encode_record(new_record("ada", "r1", "s", gone, BRIEF, "now"))
        plan.storage.state[OPEN, key] = b"s"
        async with runs_system(monkeypatch, SHORT, plan=plan) as here:
            assert await here.ended("r1") == "completed"
            assert sentences(here, "agent_status") == [CATALOGUE[Failure.AGENT_MISSING].sentence]

    virtual(main)


@pytest.mark.parametrize("play", [["think", "crash"], ["think", "leave"]])
def test_an_agent_that_crashes_or_leaves(monkeypatch: pytest.MonkeyPatch, play: list[Any]) -> None:
    async def main() -> None:
        async with runs_system(monkeypatch, SHORT, plays={("analysis", 1): play}) as here:
            await here.ended(await here.start())
            assert sentences(here, "agent_status") == [CATALOGUE[Failure.INTERRUPTED].sentence]

    virtual(main)
