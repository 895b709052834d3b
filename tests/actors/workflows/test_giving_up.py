"""Runs whose actor fails too often."""

from __future__ import annotations

from typing import Any

import trio

from actors.durable.supervisor import TakeUp
from actors.workflows.definitions import StepDefinition
from supervisors import Intensity
from tests.support.runs_system import RunsSystem, runs_system, workflow
from tests.support.users_system import virtual

TWO = workflow(StepDefinition("analysis", "analyst"), StepDefinition("test", "tester"))


HANGS = {("analysis", n): ["hang"] for n in (1, 2, 3)}


async def cannot_be_closed(here: RunsSystem) -> str:
    """A run that may not fail once, and did so twice, the second time in closing: storage is in trouble."""
    run_id = await here.start()
    await trio.sleep(1)
    here.plan.trouble = True
    for _ in range(2):
        here.base.crash(here.path(run_id))
        await trio.sleep(1)
    return run_id


class TestGivingUp:
    def test_a_run_that_fails_too_often_is_closed(self, monkeypatch: Any) -> None:
        async def main() -> None:
            async with runs_system(monkeypatch, TWO, plays=HANGS, run_budget=Intensity(1, 60.0)) as here:
                run_id = await here.start()
                for _ in range(2):
                    await trio.sleep(3)
                    here.base.crash(here.path(run_id))
                assert await here.ended(run_id) == "failed"
                assert here.base.orders == []
                second = await here.start("c2")
                await trio.sleep(1)
                assert second != run_id

        virtual(main)

    def test_one_that_cannot_even_be_closed_is_tried_again_later(self, monkeypatch: Any) -> None:
        async def main() -> None:
            async with runs_system(monkeypatch, TWO, plays=HANGS, run_budget=Intensity(0, 1.0)) as here:
                run_id = await cannot_be_closed(here)
                assert not here.alive(here.path(run_id))
                here.plan.trouble = False
                here.base.context.tell(None)
                await here.base.system.ref("/runs").ask(TakeUp("ada", run_id), 5)  # as its context may do
                assert await here.ended(run_id) == "failed"
                assert "analysis.2 started" not in here.story()

        virtual(main)

    def test_and_closed_without_being_asked(self, monkeypatch: Any) -> None:
        async def main() -> None:
            async with runs_system(monkeypatch, TWO, plays=HANGS, run_budget=Intensity(0, 1.0)) as here:
                run_id = await cannot_be_closed(here)
                here.plan.trouble = False
                assert await here.ended(run_id, within=60) == "failed"

        virtual(main)
