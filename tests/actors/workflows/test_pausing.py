"""Pausing and resuming a run or one of its agents: what is asked of models meanwhile, and what is said."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from actors.protocol.codes import ErrorCode
from actors.users.messages import Locate
from actors.workflows.definitions import StepDefinition
from actors.workflows.messages import Held, SteerAll
from actors.workflows.orders import Order
from runtime import Refused
from tests.support.memory_journal import Plan
from tests.support.runs_system import RunsSystem, runs_system, workflow
from tests.support.users_system import settle, virtual

TWO_CALLS = {("test", 1): ["think", "write", "wait 1", "think", "write", "answer"]}
"""The tester calls its model twice."""
PARALLEL = workflow(
    StepDefinition("analysis", "analyst", depends_on=()),
    StepDefinition("test", "tester", depends_on=()),
    StepDefinition("text", "writer", depends_on=("analysis", "test")),
)


async def until_status(here: RunsSystem, run_id: str, status: str) -> None:
    with trio.fail_after(600):
        while here.record(run_id).status != status:
            await trio.sleep(0.01)


def causes(here: RunsSystem) -> dict[str, str]:
    """The event that each command is named in, in short."""
    named = zip(here.log(), here.story(), strict=True)
    return {frame["metadata"]["cause"]: line for frame, line in named if "cause" in frame["metadata"]}


class TestARun:
    @pytest.mark.parametrize("takes", [0.0, 0.03])
    @pytest.mark.parametrize("moment", [0.0, 0.05, 0.15, 0.25, 0.45, 0.55, 0.95])
    def test_at_any_moment(self, moment: float, takes: float, monkeypatch: Any) -> None:
        async def main() -> None:
            async with runs_system(monkeypatch, plays=TWO_CALLS) as here:
                await here.base.follow()
                here.plan.takes = takes
                run_id = await here.start()
                await trio.sleep(moment)
                reply = await here.pause(run_id)
                assert reply["status"] in {"queued", "running"}
                calls = list(here.script.calls)
                await until_status(here, run_id, "paused")
                assert len(here.script.calls) <= len(calls) + (takes > 0)  # asked before the order had come to it
                asked = list(here.script.calls)
                before = here.story()
                await trio.sleep(3600)
                assert here.script.calls == asked
                assert here.story() == before
                assert before[-1].startswith("paused")
                assert await here.resume(run_id) == {"run_id": run_id, "status": "paused"}
                assert await here.ended(run_id) == "completed"
                assert here.story()[len(before)].startswith("running")
                assert set(causes(here)) == {"c1", "p1", "r1"}
                assert len(set(here.script.calls)) == 3

        virtual(main)

    def test_the_running_call_goes_on_to_its_end_and_nothing_else_begins(self, monkeypatch: Any) -> None:
        async def main() -> None:
            plays = {("analysis", 1): ["think", "wait 10", "answer"]}
            async with runs_system(monkeypatch, plays=plays) as here:
                run_id = await here.start()
                await trio.sleep(1)
                await here.pause(run_id)
                await trio.sleep(60)
                assert here.story()[-3:] == ["analysis.1 completed", "running 1", "paused 1"]
                answer = await here.base.handle({"id": "g", "type": "get_run", "metadata": {"run_id": run_id}})
                assert answer["run"]["status"] == "paused"
                await here.resume(run_id)
                assert await here.ended(run_id) == "completed"
                assert causes(here) == {"c1": "queued 0", "p1": "paused 1", "r1": "running 1"}

        virtual(main)

    def test_an_agent_between_two_calls_rests_and_then_goes_on_in_the_same_attempt(self, monkeypatch: Any) -> None:
        async def main() -> None:
            async with runs_system(monkeypatch, plays=TWO_CALLS) as here:
                run_id = await here.start()
                while ("test", 1) not in here.script.calls:
                    await trio.sleep(0.01)
                await here.pause(run_id)
                await until_status(here, run_id, "paused")
                assert here.story()[-2:] == ["test.1 paused", "paused 1"]
                await here.resume(run_id)
                assert await here.ended(run_id) == "completed"
                own = [line for line in here.story() if line.startswith("test.")]
                assert [line.split(" ")[1] for line in own if "=" not in line] == [
                    "started",
                    "thinking",
                    "paused",
                    "thinking",
                    "completed",
                ]
                assert causes(here)["p1"] == "test.1 paused"

        virtual(main)

    def test_what_ends_meanwhile_ends_the_run(self, monkeypatch: Any) -> None:
        async def main() -> None:
            async with runs_system(monkeypatch, plays={("text", 1): ["think", "wait 3", "answer"]}) as here:
                run_id = await here.start()
                while ("text", 1) not in here.script.calls:
                    await trio.sleep(0.01)
                await here.pause(run_id)
                assert await here.ended(run_id) == "completed"
                assert not any("paused" in line for line in here.story())
                assert await here.pause(run_id, command_id="p2") == {"run_id": run_id, "status": "completed"}
                assert await here.resume(run_id) == {"run_id": run_id, "status": "completed"}

        virtual(main)

    def test_resumed_before_it_took_effect(self, monkeypatch: Any) -> None:
        async def main() -> None:
            async with runs_system(monkeypatch, plays={("analysis", 1): ["think", "wait 3", "answer"]}) as here:
                run_id = await here.start()
                await trio.sleep(1)
                await here.pause(run_id)
                assert (await here.resume(run_id))["status"] == "running"
                assert await here.ended(run_id) == "completed"
                assert not any("paused" in line for line in here.story())
                assert set(causes(here)) == {"c1"}

        virtual(main)

    def test_what_an_agent_said_of_an_earlier_pause_is_ignored(self, monkeypatch: Any) -> None:
        """It was let go meanwhile, and told to hold again: its call may be under way."""

        async def main() -> None:
            async with runs_system(monkeypatch, plays={("analysis", 1): ["think", "wait 9", "answer"]}) as here:
                run_id = await here.start()
                await trio.sleep(1)
                await here.pause(run_id)
                await here.resume(run_id)
                await here.pause(run_id, command_id="p2")
                here.base.system.ref(here.path(run_id)).tell(Held("analysis", 1, 1))
                await trio.sleep(1)
                assert here.story()[-1] == "analysis.1 thinking"
                await until_status(here, run_id, "paused")
                await here.resume(run_id, command_id="r2")
                assert await here.ended(run_id) == "completed"

        virtual(main)

    def test_cancelled_while_it_is_paused(self, monkeypatch: Any) -> None:
        async def main() -> None:
            async with runs_system(monkeypatch, plays=TWO_CALLS) as here:
                run_id = await here.start()
                while ("test", 1) not in here.script.calls:
                    await trio.sleep(0.01)
                await here.pause(run_id)
                await until_status(here, run_id, "paused")
                assert (await here.cancel(run_id))["status"] == "paused"
                assert await here.ended(run_id) == "cancelled"
                assert here.story()[-2:] == ["test.1 cancelled", "cancelled 2"]

        virtual(main)

    def test_an_agent_that_crashes_meanwhile_is_begun_again_when_it_is_resumed(self, monkeypatch: Any) -> None:
        async def main() -> None:
            plays = {("analysis", 1): ["think", "wait 3", "crash"]}
            async with runs_system(monkeypatch, plays=plays) as here:
                run_id = await here.start()
                await trio.sleep(1)
                await here.pause(run_id)
                await until_status(here, run_id, "paused")
                assert here.story()[-2:] == ["analysis.1 error interrupted", "paused 0"]
                shown = await here.base.handle({"id": "g", "type": "get_run", "metadata": {"run_id": run_id}})
                (step,) = shown["steps"]
                assert (step["status"], step["error_type"]) == ("error", "interrupted")
                assert step["content"] == "This step was interrupted."
                await here.resume(run_id)
                assert await here.ended(run_id) == "completed"
                assert "analysis.2 completed" in here.story()

        virtual(main)


class TestAnAgent:
    def test_one_whose_turn_has_not_come_is_begun_and_rests(self, monkeypatch: Any) -> None:
        async def main() -> None:
            async with runs_system(monkeypatch) as here:
                run_id = await here.start()
                await here.pause(run_id, agent_name="Tester")
                await until_status(here, run_id, "paused")
                assert here.story()[-4:] == ["running 1", "test.1 started", "test.1 paused", "paused 1"]
                steps = (await here.base.handle({"id": "g", "type": "get_run", "metadata": {"run_id": run_id}}))[
                    "steps"
                ]
                assert steps[1]["status"] == "paused"
                await here.resume(run_id, agent_name="Tester")
                assert await here.ended(run_id) == "completed"
                assert causes(here) == {"c1": "queued 0", "p1": "test.1 paused", "r1": "running 1"}
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
                assert causes(here)["r1"] == "test.1 thinking"

        virtual(main)

    def test_resuming_the_run_resumes_every_agent(self, monkeypatch: Any) -> None:
        async def main() -> None:
            async with runs_system(monkeypatch, PARALLEL) as here:
                run_id = await here.start()
                await here.pause(run_id, agent_name="test")
                await here.pause(run_id, command_id="p2", agent_name="text")
                await until_status(here, run_id, "paused")
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
                await until_status(here, run_id, "paused")
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
                await until_status(here, run_id, "paused")
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


class TestTheClock:
    def test_it_stands_while_the_step_rests(self, monkeypatch: Any) -> None:
        async def main() -> None:
            definition = workflow(StepDefinition("analysis", "analyst"), StepDefinition("test", "tester", timeout=5.0))
            plays = {("test", 1): ["think", "wait 2", "think", "wait 2", "answer"]}
            async with runs_system(monkeypatch, definition, plays=plays) as here:
                run_id = await here.start()
                while ("test", 1) not in here.script.calls:
                    await trio.sleep(0.01)
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
                while ("test", 1) not in here.script.calls:
                    await trio.sleep(0.01)
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
                await until_status(here, run_id, "paused")
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
                await until_status(here, run_id, "paused")
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
                run_id = await here.start()
                while ("test", 1) not in here.script.calls:
                    await trio.sleep(0.01)
                await here.pause(run_id)
                await until_status(here, run_id, "paused")
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
                assert causes(here)["p1"] == "paused 0"
                assert here.script.calls == []
                await here.resume(run_id)
                assert await here.ended(run_id) == "completed"

        virtual(main)


class TestAll:
    def test_every_run_is_paused_and_resumed(self, monkeypatch: Any) -> None:
        async def main() -> None:
            async with runs_system(monkeypatch, plays={("analysis", 1): ["think", "wait 5", "answer"]}) as here:
                runs = here.base.system.ref("/runs")
                assert await runs.ask(SteerAll(Order.PAUSE), 5) == 0
                first = await here.start()
                await here.base.users.ask(Locate("bob"), 5)
                await settle()
                fields = {"id": "c2", "type": "start_run", "content": "Another shop, for bob"}
                await here.base.handle(fields, user="bob")
                await trio.sleep(1)
                assert await runs.ask(SteerAll(Order.PAUSE), 5) == 2
                await trio.sleep(600)
                assert here.story()[-1] == "paused 1"
                assert {step for step, _ in here.script.calls} == {"analysis"}
                assert await runs.ask(SteerAll(Order.RESUME), 5) == 2
                assert await here.ended(first) == "completed"

        virtual(main)
