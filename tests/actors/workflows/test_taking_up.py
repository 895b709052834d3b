"""Runs that an earlier incarnation of their actor, of its supervisor or of the daemon has left."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import attrs
import pytest
import trio

from actors.durable.supervisor import TakeUp
from actors.storage.journal import Append
from actors.users.keys import OPEN, RUNS, run_key
from actors.workflows.attempts import AttemptLimits
from actors.workflows.definitions import StepDefinition
from actors.workflows.record import Cause, encode_record, new_record
from runtime import ActorError
from tests.support.memory_journal import Plan
from tests.support.runs_system import AGENTS, BRIEF, THREE, runs_system, workflow
from tests.support.users_system import settle, virtual

TWO = workflow(StepDefinition("analysis", "analyst"), StepDefinition("test", "tester"))


class TestTakingUp:
    def test_a_run_of_an_earlier_daemon_goes_on(self, monkeypatch: Any) -> None:
        async def main() -> None:
            for moment in range(12):
                plan = Plan()
                async with runs_system(monkeypatch, TWO, plan=plan) as here:
                    run_id = await here.start()
                    await trio.sleep(moment / 10)
                    done = [step.name for step in here.record(run_id).steps if step.ended]
                async with runs_system(monkeypatch, TWO, plan=plan, daemon="d2") as here:
                    assert await here.ended(run_id) == "completed"
                    assert not {situation.step for situation in here.script.situations} & set(done)
                    interrupted = [line for line in here.story() if line.endswith("error interrupted")]
                    assert len(interrupted) == sum(step.attempt - 1 for step in here.record(run_id).steps)
                    assert (await here.base.handle(get(run_id)))["run"]["status"] == "completed"

        virtual(main)

    def test_a_run_that_is_to_fail_is_closed(self, monkeypatch: Any) -> None:
        async def main() -> None:
            definition = attrs.evolve(TWO, on_restart="fail")
            for moment in range(1, 12):
                plan = Plan()
                async with runs_system(monkeypatch, definition, plan=plan) as here:
                    run_id = await here.start()
                    await trio.sleep(moment / 10)
                    if here.record(run_id).status == "completed":
                        continue
                async with runs_system(monkeypatch, TWO, plan=plan, daemon="d2") as here:
                    assert await here.ended(run_id) == "failed"
                    assert here.log()[-1]["content"] == "This run was interrupted. Please start it again."
                    assert here.script.situations == []
                    assert (await here.start("c2")) != run_id
                    await trio.sleep(30)

        virtual(main)

    def test_a_run_that_is_to_fail_and_has_not_begun_begins(self, monkeypatch: Any) -> None:
        async def main() -> None:
            plan = Plan()
            key = run_key("ada", "r1")
            record = new_record("ada", "r1", "s", attrs.evolve(TWO, on_restart="fail"), BRIEF, "now")
            plan.storage.state[RUNS, key] = encode_record(record)
            plan.storage.state[OPEN, key] = b"s"
            async with runs_system(monkeypatch, TWO, plan=plan, daemon="d2") as here:
                assert await here.ended("r1") == "completed"

        virtual(main)

    @pytest.mark.parametrize("victim", ["run", "runs"])
    def test_one_that_is_to_fail_does_so_too_when_its_actor_crashes(self, victim: str, monkeypatch: Any) -> None:
        async def main() -> None:
            async with runs_system(monkeypatch, attrs.evolve(TWO, on_restart="fail")) as here:
                run_id = await here.start()
                await trio.sleep(0.7)
                here.base.crash({"run": here.path(run_id), "runs": "/runs"}[victim])
                assert await here.ended(run_id) == "failed"
                assert "analysis.1 completed" in here.story()
                assert "test.1 error interrupted" in here.story()

        virtual(main)

    def test_an_agent_that_has_left_the_configuration_is_a_step_that_failed(self, monkeypatch: Any) -> None:
        async def main() -> None:
            plan = Plan()
            key = run_key("ada", "r1")
            gone = workflow(StepDefinition("analysis", "analyst"), StepDefinition("gone", "nobody"))
            plan.storage.state[RUNS, key] = encode_record(new_record("ada", "r1", "s", gone, BRIEF, "now"))
            plan.storage.state[OPEN, key] = b"s"
            async with runs_system(monkeypatch, TWO, plan=plan) as here:
                assert await here.ended("r1") == "completed"
                assert here.story()[-3:] == ["gone.1 started", "gone.1 error configuration", "completed 2"]

        virtual(main)

    def test_also_where_its_attempt_rests(self, monkeypatch: Any) -> None:
        async def main() -> None:
            plan = Plan()
            async with runs_system(monkeypatch, THREE, plan=plan) as here:
                run_id = await here.start()
                await here.pause(run_id, agent_name="Tester")
                await here.until_status(run_id, "paused")
                before = here.story()
            monkeypatch.delitem(AGENTS, "tester")
            async with runs_system(monkeypatch, THREE, plan=plan, daemon="d2") as here:
                assert await here.ended(run_id) == "completed"
                assert here.story()[len(before)] == "test.1 error configuration"
                assert here.base.crashes("Run") == 0

        virtual(main)

    def test_a_step_that_is_cut_off_too_often_is_given_up(self, monkeypatch: Any) -> None:
        async def main() -> None:
            plan = Plan()
            hangs = {("analysis", n): ["think", "hang"] for n in range(1, 4)}
            run_id = ""
            for number in range(1, 5):
                limits = AttemptLimits(crashes=1, cuts=3)
                daemon = f"d{number}"
                async with runs_system(monkeypatch, TWO, plan=plan, plays=hangs, daemon=daemon, limits=limits) as here:
                    run_id = run_id or await here.start()
                    await trio.sleep(0.3)
                    if number == 4:
                        assert await here.ended(run_id) == "completed"
                        assert here.record(run_id).step("analysis").missing == "it was interrupted"
                        assert "analysis.4 started" not in here.story()

        virtual(main)

    def test_the_time_of_an_attempt_that_a_restart_has_cut_does_not_count(self, monkeypatch: Any) -> None:
        async def main() -> None:
            definition = workflow(StepDefinition("analysis", "analyst", timeout=5.0), StepDefinition("test", "tester"))
            plan = Plan()
            async with runs_system(monkeypatch, definition, plan=plan, plays={("analysis", 1): ["hang"]}) as here:
                run_id = await here.start()
                await trio.sleep(3)
            await trio.sleep(3600)
            plays = {("analysis", 2): ["think", "wait 3", "answer"]}
            async with runs_system(monkeypatch, definition, plan=plan, daemon="d2", plays=plays) as here:
                assert await here.ended(run_id) == "completed"
                assert "analysis.2 completed" in here.story()

        virtual(main)

    def test_an_open_tool_is_closed_with_its_attempt(self, monkeypatch: Any) -> None:
        async def main() -> None:
            plan = Plan()
            plays = {("analysis", 1): ["think", "tool", "tool done", "write", "tool", "hang"]}
            async with runs_system(monkeypatch, TWO, plan=plan, plays=plays) as here:
                run_id = await here.start()
                await trio.sleep(2)
            async with runs_system(monkeypatch, TWO, plan=plan, daemon="d2") as here:
                assert await here.ended(run_id) == "completed"
                own = [line for line in here.story() if line.startswith("analysis.1")]
                assert own[2:] == [
                    "analysis.1 executing_tool",
                    "analysis.1 tool_executing",
                    "analysis.1 tool_completed success",
                    "analysis.1 executing_tool",
                    "analysis.1 tool_executing",
                    "analysis.1 tool_completed error",
                    "analysis.1 error interrupted",
                ]

        virtual(main)

    def test_a_run_that_an_earlier_daemon_was_asked_to_cancel_is_cancelled(self, monkeypatch: Any) -> None:
        async def main() -> None:
            plan = Plan()
            async with runs_system(monkeypatch, TWO, plan=plan, plays={("analysis", 1): ["hang"]}) as here:
                run_id = await here.start()
                await trio.sleep(1)

                def stop_after_a_commit(point: str) -> None:
                    if point.startswith("after") and isinstance(plan.heard[-1], Append):
                        here.base.system.stop(0.0)

                plan.at = stop_after_a_commit
                with suppress(ActorError):  # the answer may still come
                    await here.cancel(run_id)
            plan.at = str
            assert here.record(run_id).cancelled
            async with runs_system(monkeypatch, TWO, plan=plan, daemon="d2") as here:
                assert await here.ended(run_id) == "cancelled"
                assert here.script.situations == []

        virtual(main)

    def test_a_run_of_this_daemon_goes_on_when_its_supervisor_restarts(self, monkeypatch: Any) -> None:
        async def main() -> None:
            async with runs_system(monkeypatch, THREE) as here:
                run_id = await here.start()
                await trio.sleep(0.7)
                here.base.crash("/runs")
                assert await here.ended(run_id) == "completed"
                assert "analysis.2 started" not in here.story()
                assert "test.2 completed" in here.story()

        virtual(main)

    def test_more_open_runs_than_fit_a_page(self, monkeypatch: Any) -> None:
        async def main() -> None:
            plan = Plan()
            ids = [f"r{number:04}" for number in range(1200)]
            failing = attrs.evolve(TWO, on_restart="fail")
            for run_id in ids:
                key = run_key("ada", run_id)
                record = new_record("ada", run_id, f"s{run_id}", failing, BRIEF, "2026-11-20T08:30:00.000Z")
                plan.storage.state[RUNS, key] = encode_record(attrs.evolve(record, daemon="d1"))
                plan.storage.state[OPEN, key] = b"s"
            async with runs_system(monkeypatch, TWO, plan=plan, daemon="d2") as here:
                await trio.sleep(200)
                assert not any(space == OPEN for space, _ in plan.storage.state)
                assert {frame["metadata"]["status"] for frame in here.log()} == {"failed"}
                assert len(here.log()) == len(ids)

        virtual(main)

    def test_listing_is_tried_until_it_works(self, monkeypatch: Any) -> None:
        async def main() -> None:
            plan = Plan()
            async with runs_system(monkeypatch, TWO, plan=plan) as here:
                run_id = await here.start()
                await trio.sleep(0.3)
            plan.trouble = True
            async with runs_system(monkeypatch, TWO, plan=plan) as here:
                await trio.sleep(20)
                plan.trouble = False
                assert await here.ended(run_id) == "completed"

        virtual(main)

    def test_to_start_it_again_is_fine(self, monkeypatch: Any) -> None:
        async def main() -> None:
            async with runs_system(monkeypatch, TWO) as here:
                run_id = await here.start()
                await settle()
                runs = here.base.system.ref("/runs")
                assert await runs.ask(TakeUp("ada", run_id), 5) is await runs.ask(TakeUp("ada", run_id), 5)
                assert await here.ended(run_id) == "completed"
                again = await runs.ask(TakeUp("ada", run_id), 5)
                await trio.sleep(5)
                assert not here.alive(again.path)

        virtual(main)


def get(run_id: str) -> dict[str, Any]:
    return {"id": "g", "type": "get_run", "metadata": {"run_id": run_id}}


def test_a_record_reads_back_as_it_was_written() -> None:
    from actors.workflows.record import decode_record

    record = new_record("ada", "r", "s", THREE, BRIEF, "2026-11-20T08:30:00.000Z")
    record = record.put(
        attrs.evolve(
            record.steps[0], text="Tea 🍵", status="completed", began=1.5, cancel=True, cause=Cause("pause", "c")
        )
    )
    record = attrs.evolve(record, options={"deep": [1, None]}, cause=Cause("resume", "d"), ended_at=2.5)
    assert decode_record(encode_record(record)) == record
