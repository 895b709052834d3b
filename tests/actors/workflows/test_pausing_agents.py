"""Pausing and resuming one agent of a run, while the others go on."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from actors.protocol.codes import ErrorCode
from actors.workflows.definitions import StepDefinition
from runtime import Refused
from tests.support.runs_system import runs_system, workflow
from tests.support.users_system import virtual

PARALLEL = workflow(
    StepDefinition("analysis", "analyst", depends_on=()),
    StepDefinition("test", "tester", depends_on=()),
    StepDefinition("text", "writer", depends_on=("analysis", "test")),
)


class TestAnAgent:
    def test_one_whose_turn_has_not_come_is_begun_and_rests(self, monkeypatch: Any) -> None:
        async def main() -> None:
            async with runs_system(monkeypatch) as here:
                run_id = await here.start()
                await here.pause(run_id, agent_name="Tester")
                await here.until_status(run_id, "paused")
                assert here.story()[-4:] == ["running 1", "test.1 started", "test.1 paused", "paused 1"]
                steps = (await here.base.handle({"id": "g", "type": "get_run", "metadata": {"run_id": run_id}}))[
                    "steps"
                ]
                assert steps[1]["status"] == "paused"
                await here.resume(run_id, agent_name="Tester")
                assert await here.ended(run_id) == "completed"
                assert here.causes() == {"c1": "queued 0", "p1": "test.1 paused", "r1": "running 1"}
                assert "test.1 completed" in here.story()

        virtual(main)

    def test_the_others_go_on(self, monkeypatch: Any) -> None:
        async def main() -> None:
            plays = {("analysis", 1): ["think", "wait 5", "answer"]}
            async with runs_system(monkeypatch, PARALLEL, plays=plays) as here:
                run_id = await here.start()
                await here.pause(run_id, agent_name="test")
                await trio.sleep(2)
                assert here.record(run_id).status == "running"
                assert set(here.story()[-2:]) == {"analysis.1 thinking", "test.1 paused"}
                await here.resume(run_id, agent_name="test")
                assert await here.ended(run_id) == "completed"
                assert not any(line.startswith("paused") for line in here.story())
                assert here.causes()["r1"] == "test.1 thinking"

        virtual(main)

    def test_resuming_the_run_resumes_every_agent(self, monkeypatch: Any) -> None:
        async def main() -> None:
            async with runs_system(monkeypatch, PARALLEL) as here:
                run_id = await here.start()
                await here.pause(run_id, agent_name="test")
                await here.pause(run_id, command_id="p2", agent_name="text")
                await here.until_status(run_id, "paused")
                await here.resume(run_id)
                assert await here.ended(run_id) == "completed"
                assert "text.1 paused" not in here.story()

        virtual(main)

    def test_one_may_go_on_while_the_run_is_paused(self, monkeypatch: Any) -> None:
        async def main() -> None:
            async with runs_system(monkeypatch) as here:
                run_id = await here.start()
                await trio.sleep(0.3)
                await here.pause(run_id)
                await here.until_status(run_id, "paused")
                await here.resume(run_id, agent_name="Tester")
                await trio.sleep(60)
                assert here.record(run_id).status == "paused"
                assert [step for step, _ in here.script.calls] == ["analysis", "test"]
                await here.resume(run_id, command_id="r2")
                assert await here.ended(run_id) == "completed"

        virtual(main)

    def test_cancelling_one_that_rests_lets_the_others_go_on(self, monkeypatch: Any) -> None:
        async def main() -> None:
            async with runs_system(monkeypatch) as here:
                run_id = await here.start()
                await here.pause(run_id, agent_name="Tester")
                await here.until_status(run_id, "paused")
                assert (await here.cancel(run_id, agent_name="Tester"))["status"] == "paused"
                assert await here.ended(run_id) == "completed"
                story = here.story()
                assert story[story.index("test.1 cancelled") + 1] == "running 2"
                assert "text.1 completed" in story

        virtual(main)

    def test_who_is_none_of_the_run(self, monkeypatch: Any) -> None:
        async def main() -> None:
            async with runs_system(monkeypatch) as here:
                run_id = await here.start()
                for order in ("pause", "resume"):
                    with pytest.raises(Refused) as caught:
                        await here.steer(order, run_id, command_id=order, agent_name="Nobody")
                    assert caught.value.reason.code is ErrorCode.NOT_FOUND
                assert await here.ended(run_id) == "completed"

        virtual(main)
