"""A run of a workflow: order, failures, cancelling, timeouts."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from actors.durable.supervisor import TakeUp
from actors.users.context import UserContext
from actors.workflows.definitions import StepDefinition
from actors.workflows.messages import Answered, Steer, Wrote
from actors.workflows.orders import Order
from runtime import Refused
from tests.support.runs_system import THREE, answer, runs_system, workflow
from tests.support.users_system import settle, virtual

PARALLEL = workflow(
    StepDefinition("analysis", "analyst", depends_on=()),
    StepDefinition("test", "tester", depends_on=()),
    StepDefinition("text", "writer", depends_on=("analysis", "test")),
)


def step_story(step: str, attempt: int = 1) -> list[str]:
    where = f"{step}.{attempt}"
    return [f"{where} started", f"{where} thinking", f"{where} ={answer(step, attempt)}", f"{where} completed"]


class TestTheMainJob:
    def test_steps_answer_in_order_each_building_on_the_ones_before(self, monkeypatch: Any) -> None:
        async def main() -> None:
            async with runs_system(monkeypatch) as here:
                follower = await here.base.follow()
                run_id = await here.start()
                assert await here.ended(run_id) == "completed"
                assert here.story() == [
                    "queued 0",
                    "running 0",
                    *step_story("analysis"),
                    "running 1",
                    *step_story("test"),
                    "running 2",
                    *step_story("text"),
                    "completed 3",
                ]
                assert [len(earlier) for earlier in here.script.earlier] == [0, 1, 2]
                assert here.script.earlier[2][0].text == answer("analysis", 1)
                (first, *_) = here.script.situations
                assert (first.mission, first.brief, first.user, first.priority) == (
                    "Analyse it.",
                    "A shop that sells tea by weight",
                    "ada",
                    "HIGH",
                )
                deltas = [frame["content"] for frame in follower.frames if frame["type"] == "agent_delta"]
                assert "".join(deltas[:2]) == answer("analysis", 1)[:14]

        virtual(main)

    def test_steps_that_wait_for_nothing_go_side_by_side(self, monkeypatch: Any) -> None:
        async def main() -> None:
            async with runs_system(monkeypatch, PARALLEL) as here:
                run_id = await here.start()
                assert await here.ended(run_id) == "completed"
                story = here.story()
                assert story[2:4] == ["analysis.1 started", "test.1 started"]
                assert story.index("text.1 started") > story.index("test.1 completed")

        virtual(main)

    def test_what_an_agent_tells_becomes_events(self, monkeypatch: Any) -> None:
        async def main() -> None:
            plays = {("analysis", 1): ["think", "retry", "retry timeout", "fall back", "work", "write", "answer"]}
            async with runs_system(monkeypatch, plays=plays) as here:
                follower = await here.base.follow()
                run_id = await here.start()
                assert await here.ended(run_id) == "completed"
                own = [frame for frame in follower.frames if frame["metadata"].get("step") == "analysis"]
                assert [(frame["metadata"].get("status"), frame["content"]) for frame in own[2:6]] == [
                    ("retrying", "AI service is busy. Retrying in a moment..."),
                    ("retrying", "AI service did not answer. Trying again..."),
                    ("fallback", "Another AI model takes over."),
                    ("fallback", "No AI model can be reached right now."),
                ]
                assert own[2]["metadata"]["retry_after"] == 1.5
                assert own[4]["metadata"]["model"] == "other"
                assert own[6]["type"] == "agent_progress"
                assert own[6]["metadata"]["tokens"] == 3
                assert own[0]["metadata"]["task"] == "Analyse it."
                ids = {frame["metadata"]["message_id"] for frame in own if "message_id" in frame["metadata"]}
                assert len(ids) == 1
                assert all(len(message_id) <= 64 for message_id in ids)

        virtual(main)


class TestFailures:
    def test_a_step_without_an_answer_does_not_sink_the_run(self, monkeypatch: Any) -> None:
        async def main() -> None:
            async with runs_system(monkeypatch, plays={("test", 1): ["think", "write", "give up"]}) as here:
                run_id = await here.start()
                assert await here.ended(run_id) == "completed"
                assert "test.1 error content_policy" in here.story()
                earlier = here.script.earlier[-1][1]
                assert (earlier.text, earlier.missing_reason) == (None, "the AI service declined to answer")
                assert "running 2" in here.story()

        virtual(main)

    def test_a_run_whose_every_step_fails_has_failed(self, monkeypatch: Any) -> None:
        async def main() -> None:
            plays = {(step, 1): ["give up"] for step in ("analysis", "test", "text")}
            async with runs_system(monkeypatch, plays=plays) as here:
                run_id = await here.start()
                assert await here.ended(run_id) == "failed"

        virtual(main)

    def test_a_step_that_stops_the_run(self, monkeypatch: Any) -> None:
        async def main() -> None:
            definition = workflow(
                StepDefinition("analysis", "analyst", depends_on=(), on_failure="stop"),
                StepDefinition("test", "tester", depends_on=()),
                StepDefinition("text", "writer", depends_on=("test",)),
            )
            async with runs_system(monkeypatch, definition, plays={("analysis", 1): ["give up"]}) as here:
                run_id = await here.start()
                assert await here.ended(run_id) == "failed"
                assert "test.1 completed" in here.story()
                assert "text.1 started" not in here.story()

        virtual(main)

    def test_partial_and_degraded_answers_are_handed_on_as_what_they_are(self, monkeypatch: Any) -> None:
        async def main() -> None:
            plays = {("analysis", 1): ["partial Half an"], ("test", 1): ["degraded Nobody could be asked."]}
            async with runs_system(monkeypatch, plays={key: ["think", *play] for key, play in plays.items()}) as here:
                run_id = await here.start()
                assert await here.ended(run_id) == "completed"
                half, degraded = here.script.earlier[-1]
                assert half.text is not None
                assert half.text.startswith("Half an")
                assert "broke off" in half.text
                assert degraded.text is None
                responses = {f["metadata"]["step"]: f["metadata"] for f in here.log() if f["type"] == "agent_response"}
                assert responses["analysis"]["partial"] is True
                assert responses["test"]["degraded"] is True
                assert "model" not in responses["test"]

        virtual(main)

    def test_an_agent_that_crashes_is_begun_again_and_again_and_then_given_up(self, monkeypatch: Any) -> None:
        async def main() -> None:
            plays = {("test", attempt): ["think", "write", "crash"] for attempt in (1, 2, 3)}
            async with runs_system(monkeypatch, plays=plays) as here:
                await here.base.follow()
                run_id = await here.start()
                assert await here.ended(run_id) == "completed"
                own = [line for line in here.story() if line.startswith("test.")]
                assert own == [
                    line
                    for attempt in (1, 2, 3)
                    for line in (
                        f"test.{attempt} started",
                        f"test.{attempt} thinking",
                        f"test.{attempt} error interrupted",
                    )
                ]
                assert here.record(run_id).step("test").missing == "it was interrupted"
                message_ids = {
                    frame["metadata"]["message_id"]
                    for frame in here.base.followers[0].frames
                    if frame["type"] == "agent_delta" and frame["metadata"]["step"] == "test"
                }
                assert len(message_ids) == 3

        virtual(main)

    def test_an_agent_that_leaves_without_a_word_is_begun_again(self, monkeypatch: Any) -> None:
        async def main() -> None:
            async with runs_system(monkeypatch, plays={("test", 1): ["think", "leave"]}) as here:
                run_id = await here.start()
                assert await here.ended(run_id) == "completed"
                assert "test.1 error interrupted" in here.story()
                assert "test.2 completed" in here.story()

        virtual(main)

    def test_what_an_old_attempt_says_is_ignored(self, monkeypatch: Any) -> None:
        async def main() -> None:
            plays = {("analysis", 1): ["think", "crash"], ("analysis", 2): ["think", "wait 5", "answer"]}
            async with runs_system(monkeypatch, plays=plays) as here:
                follower = await here.base.follow()
                run_id = await here.start()
                await trio.sleep(1)
                run = here.base.system.ref(here.path(run_id))
                run.tell(Wrote("analysis", 1, 0, "from the dead"))
                await run.ask(Answered("analysis", 1, "from the dead", "gpt", False, False, None, 1), 5)
                assert await here.ended(run_id) == "completed"
                assert not any("from the dead" in frame["content"] for frame in follower.frames)

        virtual(main)


class TestTimeouts:
    def test_a_step_that_takes_too_long_is_stopped(self, monkeypatch: Any) -> None:
        async def main() -> None:
            definition = workflow(StepDefinition("analysis", "analyst", timeout=5.0), StepDefinition("test", "tester"))
            async with runs_system(monkeypatch, definition, plays={("analysis", 1): ["think", "hang"]}) as here:
                began = trio.current_time()
                run_id = await here.start()
                while here.record(run_id).step("analysis").status != "error":
                    await trio.sleep(0.01)
                assert trio.current_time() - began == pytest.approx(5.0, abs=0.2)
                assert await here.ended(run_id) == "completed"
                assert "analysis.1 error timeout" in here.story()

        virtual(main)

    def test_all_attempts_together_have_the_time_also_over_a_restart_of_the_run(self, monkeypatch: Any) -> None:
        async def main() -> None:
            definition = workflow(StepDefinition("analysis", "analyst", timeout=5.0), StepDefinition("test", "tester"))
            plays = {("analysis", 1): ["wait 2", "crash"], ("analysis", 2): ["hang"], ("analysis", 3): ["hang"]}
            async with runs_system(monkeypatch, definition, plays=plays) as here:
                began = trio.current_time()
                run_id = await here.start()
                await trio.sleep(3)
                here.base.crash(here.path(run_id))
                while here.record(run_id).step("analysis").status != "error":
                    await trio.sleep(0.01)
                assert trio.current_time() - began == pytest.approx(5.0, abs=0.5)
                assert await here.ended(run_id) == "completed"
                assert "analysis.3 error timeout" in here.story()

        virtual(main)

    def test_a_step_that_ends_in_time_is_not_bothered(self, monkeypatch: Any) -> None:
        async def main() -> None:
            definition = workflow(
                StepDefinition("analysis", "analyst", timeout=5.0), StepDefinition("test", "tester", timeout=50.0)
            )
            async with runs_system(
                monkeypatch, definition, plays={("test", 1): ["think", "wait 20", "answer"]}
            ) as here:
                run_id = await here.start()
                assert await here.ended(run_id) == "completed"
                assert not any("error" in line for line in here.story())

        virtual(main)


class TestTheContext:
    def test_agents_start_over_when_the_context_has_begun_anew(self, monkeypatch: Any) -> None:
        async def main() -> None:
            async with runs_system(
                monkeypatch, plays={("analysis", 1): ["think", "write", "wait 3", "answer"]}
            ) as here:
                run_id = await here.start()
                await trio.sleep(1)
                here.base.crash("/users/ada")
                assert await here.ended(run_id) == "completed"
                assert here.script.started_over == ["analysis"]

        virtual(main)

    def test_a_run_outlives_contexts_that_are_given_up(self, monkeypatch: Any) -> None:
        from supervisors import Intensity

        async def main() -> None:
            async with runs_system(monkeypatch, budget=Intensity(0, 1.0)) as here:
                run_id = await here.start()
                for _ in range(4):
                    await trio.sleep(0.25)
                    here.base.crash("/users/ada")
                assert await here.ended(run_id) == "completed"

        virtual(main)

    def test_a_run_that_nobody_knows_stops(self, monkeypatch: Any) -> None:
        async def main() -> None:
            async with runs_system(monkeypatch) as here:
                here.plan.takes = 0.1
                run = await here.base.system.ref("/runs").ask(TakeUp("ada", "nothing"), 5)
                with pytest.raises(Refused):
                    await run.ask(Steer(Order.CANCEL), 5)
                await trio.sleep(5)
                assert not here.alive("/runs/nothing")
                assert here.story() == []

        virtual(main)

    def test_reading_the_record_is_tried_until_it_works(self, monkeypatch: Any) -> None:
        async def main() -> None:
            async with runs_system(monkeypatch) as here:
                run_id = await here.start()
                here.plan.trouble = True
                await trio.sleep(40)
                here.base.crash(here.path(run_id))
                await trio.sleep(40)
                here.plan.trouble = False
                assert await here.ended(run_id) == "completed"

        virtual(main)


def test_the_tree_shows_how_a_run_stands(monkeypatch: Any) -> None:
    async def main() -> None:
        async with runs_system(monkeypatch) as here:
            here.plan.close_gate()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(here.start)
                await settle()
                here.plan.gate.set()
            await trio.sleep(0.6)
            run_id = next(iter(here.base.actor("/runs").children))
            assert here.base.actor(here.path(run_id)).inspect() == {"status": "running", "done": 1}
            assert await here.ended(run_id) == "completed"
            assert THREE.steps[1].depends_on == ("analysis",)
            assert UserContext.batch == 1

    virtual(main)
