"""Pausing and resuming a run: what is asked of models meanwhile, and what is said."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from actors.workflows.messages import Held
from tests.support.runs_system import TWO_CALLS, runs_system
from tests.support.users_system import virtual


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
                await here.until_status(run_id, "paused")
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
                assert set(here.causes()) == {"c1", "p1", "r1"}
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
                assert here.causes() == {"c1": "queued 0", "p1": "paused 1", "r1": "running 1"}

        virtual(main)

    def test_an_agent_between_two_calls_rests_and_then_goes_on_in_the_same_attempt(self, monkeypatch: Any) -> None:
        async def main() -> None:
            async with runs_system(monkeypatch, plays=TWO_CALLS) as here:
                run_id = await here.paused_while("test")
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
                assert here.causes()["p1"] == "test.1 paused"

        virtual(main)

    def test_what_ends_meanwhile_ends_the_run(self, monkeypatch: Any) -> None:
        async def main() -> None:
            async with runs_system(monkeypatch, plays={("text", 1): ["think", "wait 3", "answer"]}) as here:
                run_id = await here.start()
                await here.until_called("text")
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
                assert set(here.causes()) == {"c1"}

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
                await here.until_status(run_id, "paused")
                await here.resume(run_id, command_id="r2")
                assert await here.ended(run_id) == "completed"

        virtual(main)

    def test_cancelled_while_it_is_paused(self, monkeypatch: Any) -> None:
        async def main() -> None:
            async with runs_system(monkeypatch, plays=TWO_CALLS) as here:
                run_id = await here.paused_while("test")
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
                await here.until_status(run_id, "paused")
                assert here.story()[-2:] == ["analysis.1 error interrupted", "paused 0"]
                shown = await here.base.handle({"id": "g", "type": "get_run", "metadata": {"run_id": run_id}})
                (step,) = shown["steps"]
                assert (step["status"], step["error_type"]) == ("error", "interrupted")
                assert step["content"] == "This step was interrupted."
                await here.resume(run_id)
                assert await here.ended(run_id) == "completed"
                assert "analysis.2 completed" in here.story()

        virtual(main)
