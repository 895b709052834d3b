"""What a pause does to a step's clock, and that it outlives a restart."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from actors.workflows.definitions import StepDefinition
from tests.support.memory_journal import Plan
from tests.support.runs_system import TWO_CALLS, runs_system, workflow
from tests.support.users_system import virtual


class TestTheClock:
    def test_it_stands_while_the_step_rests(self, monkeypatch: Any) -> None:
        async def main() -> None:
            definition = workflow(StepDefinition("analysis", "analyst"), StepDefinition("test", "tester", timeout=5.0))
            plays = {("test", 1): ["think", "wait 2", "think", "wait 2", "answer"]}
            async with runs_system(monkeypatch, definition, plays=plays) as here:
                run_id = await here.start()
                await here.until_called("test")
                await here.pause(run_id)
                await trio.sleep(3600)
                await here.resume(run_id)
                assert await here.ended(run_id) == "completed"
                assert "test.1 completed" in here.story()

        virtual(main)

    def test_and_goes_on_from_there(self, monkeypatch: Any) -> None:
        async def main() -> None:
            definition = workflow(StepDefinition("analysis", "analyst"), StepDefinition("test", "tester", timeout=5.0))
            plays = {("test", 1): ["think", "wait 2", "think", "hang"]}
            async with runs_system(monkeypatch, definition, plays=plays) as here:
                run_id = await here.start()
                await here.until_called("test")
                await here.pause(run_id)
                await trio.sleep(3600)
                resumed = trio.current_time()
                await here.resume(run_id)
                while here.record(run_id).step("test").status != "error":
                    await trio.sleep(0.01)
                assert trio.current_time() - resumed == pytest.approx(5.0 - 2.2, abs=0.2)
                assert await here.ended(run_id) == "completed"

        virtual(main)


class TestOverARestart:
    @pytest.mark.parametrize("on_restart", ["resume", "fail"])
    def test_a_paused_run_stays_paused(self, on_restart: Any, monkeypatch: Any) -> None:
        async def main() -> None:
            definition = workflow(StepDefinition("analysis", "analyst"), StepDefinition("test", "tester"))
            definition = type(definition)("delivery", "D", definition.steps, on_restart)
            plan = Plan()
            async with runs_system(monkeypatch, definition, plan=plan) as here:
                run_id = await here.start()
                await trio.sleep(0.3)
                await here.pause(run_id)
                await here.until_status(run_id, "paused")
                before = here.story()
            for daemon in ("d2", "d3"):
                async with runs_system(monkeypatch, definition, plan=plan, daemon=daemon) as here:
                    await trio.sleep(600)
                    assert here.story() == before
                    assert here.script.calls == []
                    assert (await here.pause(run_id, command_id=daemon))["status"] == "paused"
            async with runs_system(monkeypatch, definition, plan=plan, daemon="d4") as here:
                await here.resume(run_id)
                assert await here.ended(run_id) == "completed"
                assert here.script.calls == [("test", 1)]

        virtual(main)

    def test_an_agent_that_rests_before_its_first_call_has_lost_nothing(self, monkeypatch: Any) -> None:
        async def main() -> None:
            plan = Plan()
            async with runs_system(monkeypatch, plan=plan) as here:
                run_id = await here.start()
                await here.pause(run_id, agent_name="Tester")
                await here.until_status(run_id, "paused")
                before = here.story()
            async with runs_system(monkeypatch, plan=plan, daemon="d2") as here:
                await trio.sleep(600)
                here.base.crash(here.path(run_id))
                await trio.sleep(600)
                assert here.story() == before
                await here.resume(run_id)
                assert await here.ended(run_id) == "completed"
                assert here.script.calls == [("test", 1), ("text", 1)]

        virtual(main)

    def test_one_between_two_calls_has_and_begins_again_when_it_is_resumed(self, monkeypatch: Any) -> None:
        async def main() -> None:
            plan = Plan()
            async with runs_system(monkeypatch, plan=plan, plays=TWO_CALLS) as here:
                run_id = await here.paused_while("test")
                before = here.story()
            async with runs_system(monkeypatch, plan=plan, daemon="d2") as here:
                await trio.sleep(600)
                assert here.story() == [*before, "test.1 error interrupted"]
                assert here.record(run_id).status == "paused"
                await here.resume(run_id)
                assert await here.ended(run_id) == "completed"
                assert "test.2 completed" in here.story()

        virtual(main)

    def test_a_pause_that_had_not_yet_taken_effect_takes_it(self, monkeypatch: Any) -> None:
        async def main() -> None:
            plan = Plan()
            async with runs_system(monkeypatch, plan=plan, plays={("analysis", 1): ["think", "hang"]}) as here:
                run_id = await here.start()
                await trio.sleep(1)
                await here.pause(run_id)
            async with runs_system(monkeypatch, plan=plan, daemon="d2") as here:
                await trio.sleep(600)
                assert here.story()[-2:] == ["analysis.1 error interrupted", "paused 0"]
                assert here.causes()["p1"] == "paused 0"
                assert here.script.calls == []
                await here.resume(run_id)
                assert await here.ended(run_id) == "completed"

        virtual(main)
