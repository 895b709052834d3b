"""Child agents of a run at work: their answers, their crashes, and that none outlives what it is for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from actors.protocol.catalogue import CATALOGUE, Failure
from actors.workflows.children import DEEPEST
from actors.workflows.definitions import StepDefinition
from actors.workflows.messages import Answered, StartChildAgent
from tests.support.memory_journal import Plan
from tests.support.runs_system import RunsSystem, runs_system, workflow
from tests.support.users_system import virtual

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ONE = workflow(StepDefinition("text", "writer"))
DEEP = {
    ("text", 1): ["think", "child analyst", "think", "answer"],
    ("text.1", 1): ["think", "child tester", "think", "answer"],
    ("text.1.1", 1): ["think", "hang"],
}
ALL = ["text-1", "text.1-1", "text.1.1-1"]


def run(
    test: Callable[[RunsSystem, str], Awaitable[None]],
    monkeypatch: pytest.MonkeyPatch,
    plays: dict[tuple[str, int], list[str]],
    **options: Any,
) -> None:
    async def main() -> None:
        async with runs_system(monkeypatch, ONE, plays=plays, **options) as here:
            run_id = await here.start()
            await trio.sleep(2)
            await test(here, run_id)

    virtual(main)


def agents_of(here: RunsSystem, run_id: str) -> list[str]:
    nodes = here.base.system.tree().walk()
    beneath = [node.path for node in nodes if f"/{run_id}/" in node.path and node.state != "ended"]
    return sorted(path.rpartition("/")[2] for path in beneath)


def ends(here: RunsSystem) -> dict[str, list[str]]:
    """The last status of each attempt, by step, in the order in which they came."""
    found: dict[str, list[str]] = {}
    for frame in here.log():
        if frame["type"] == "agent_status" and frame["metadata"]["status"] in {"completed", "cancelled", "error"}:
            found.setdefault(frame["metadata"]["step"], []).append(frame["metadata"]["status"])
    return found


def test_its_answer_goes_to_who_wanted_it_and_it_has_events_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: RunsSystem, run_id: str) -> None:
        assert await here.ended(run_id) == "completed"
        assert here.script.children == [
            ("text", "Tea.", "Analyst has finished."),
            ("text", None, "Analyst could not reach a model."),
        ]
        own = [f["metadata"] for f in here.log() if f["metadata"].get("step") == "text.1"]
        assert {each["parent"] for each in own} == {"text"}
        assert [each["status"] for each in own if "status" in each] == ["started", "thinking", "completed"]

    plays = {
        ("text", 1): ["think", "child analyst", "child analyst", "think", "answer"],
        ("text.1", 1): ["think", "answer Tea."],
        ("text.2", 1): ["think", "degraded"],
    }
    run(test, monkeypatch, plays)


def test_a_run_that_is_cancelled_takes_them_all_with_it_and_closes_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: RunsSystem, run_id: str) -> None:
        assert agents_of(here, run_id) == ALL
        await here.cancel(run_id)
        await trio.sleep(1)
        assert agents_of(here, run_id) == []
        assert await here.ended(run_id) == "cancelled"
        assert ends(here) == {"text": ["cancelled"], "text.1": ["cancelled"], "text.1.1": ["cancelled"]}

    run(test, monkeypatch, DEEP)


@pytest.mark.parametrize("who", ["writer", "analyst"])
def test_an_agent_that_is_cancelled_takes_those_below_it(who: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the name of the step's agent; the parent of a child that was cancelled goes on without its answer."""

    async def test(here: RunsSystem, run_id: str) -> None:
        assert agents_of(here, run_id) == ALL
        here.script.lingers = 2.0
        await here.cancel(run_id, agent_name=who)
        await trio.sleep(3)
        assert not [name for name in agents_of(here, run_id) if name != "text-1"], (
            "all at once, not one after the other"
        )
        here.script.lingers = 0.0
        await here.ended(run_id)
        cancelled = ["text.1", "text.1.1", *(["text"] if who == "writer" else [])]
        assert {step for step, each in ends(here).items() if each == ["cancelled"]} == set(cancelled)
        assert here.record(run_id).status == ("failed" if who == "writer" else "completed")

    run(test, monkeypatch, DEEP)


def test_a_crash_of_the_parent_takes_them_too_and_the_next_attempt_starts_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(here: RunsSystem, run_id: str) -> None:
        here.base.crash(f"/runs/{run_id}/text-1")
        await trio.sleep(1)
        assert agents_of(here, run_id) == ["text-2", "text.2-1"]
        assert await here.ended(run_id) == "completed"
        assert ends(here) == {
            "text": ["error", "completed"],
            "text.1": ["cancelled"],
            "text.1.1": ["cancelled"],
            "text.2": ["completed"],
        }

    run(
        test,
        monkeypatch,
        {
            **DEEP,
            ("text", 2): ["think", "child analyst", "think", "answer"],
            ("text.2", 1): ["think", "wait 3", "answer"],
        },
    )


def test_a_child_that_crashes_is_begun_again_and_uses_up_nothing_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: RunsSystem, run_id: str) -> None:
        assert await here.ended(run_id) == "completed"
        assert [(text is None, sentence) for _, text, sentence in here.script.children] == [
            (False, "Analyst has finished."),
            (True, CATALOGUE[Failure.INTERRUPTED].sentence),
            (False, "Analyst has finished."),
        ]
        assert [ends(here)[f"text.{n}"] for n in (1, 2, 3)] == [
            ["error", "error", "completed"],
            ["error", "error", "error"],
            ["error", "error", "completed"],
        ]
        assert ends(here)["text"] == ["completed"]

    crash = ["think", "crash"]
    plays = {
        ("text", 1): ["think", *["child analyst"] * 3, "think", "answer"],
        **{("text.1", n): crash for n in (1, 2)},
        **{("text.2", n): crash for n in (1, 2, 3)},
        **{("text.3", n): crash for n in (1, 2)},
    }
    run(test, monkeypatch, plays)


def test_one_ends_with_the_call_that_started_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: RunsSystem, run_id: str) -> None:
        assert agents_of(here, run_id) == ALL
        await trio.sleep(4)
        assert agents_of(here, run_id) == ["text-1"]
        assert await here.ended(run_id) == "completed"
        assert ends(here) == {"text": ["completed"], "text.1": ["cancelled"], "text.1.1": ["cancelled"]}
        assert here.script.children == [("text", None, "overdue")]

    run(test, monkeypatch, {**DEEP, ("text", 1): ["think", "child analyst 4", "wait 4", "think", "answer"]})


def test_a_step_that_takes_too_long_takes_its_children_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        definition = workflow(StepDefinition("text", "writer", timeout=5.0))
        async with runs_system(monkeypatch, definition, plays=DEEP) as here:
            run_id = await here.start()
            assert await here.ended(run_id) == "failed"
            assert ends(here) == {"text": ["error"], "text.1": ["cancelled"], "text.1.1": ["cancelled"]}

    virtual(main)


def test_after_a_restart_those_that_were_cut_are_closed_and_others_started(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        plan = Plan()
        async with runs_system(monkeypatch, ONE, plays=DEEP, plan=plan) as here:
            run_id = await here.start()
            await trio.sleep(2)
            assert agents_of(here, run_id) == ALL
        plays = {("text", 2): ["think", "child analyst", "think", "answer"]}
        async with runs_system(monkeypatch, ONE, plays=plays, plan=plan, daemon="d2") as again:
            assert await again.ended(run_id) == "completed"
            assert ends(again) == {
                "text": ["error", "completed"],
                "text.1": ["error"],
                "text.1.1": ["error"],
                "text.2": ["completed"],
            }

    virtual(main)


def test_a_crash_of_the_run_itself_closes_them_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: RunsSystem, run_id: str) -> None:
        here.base.crash(f"/runs/{run_id}")
        assert await here.ended(run_id) == "completed"
        assert ends(here)["text.1"] == ends(here)["text.1.1"] == ["error"]

    run(test, monkeypatch, {**DEEP, ("text", 2): ["think", "answer"]})


def test_the_depth_has_an_end_and_who_is_unknown_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["text" + ".1" * depth for depth in range(DEEPEST + 1)]

    async def test(here: RunsSystem, run_id: str) -> None:
        assert await here.ended(run_id) == "completed"
        assert [s.step for s in here.script.situations] == names
        assert "10 levels deep" in here.script.children[0][2]
        assert "analyst, tester, writer" in here.script.children[-1][2]

    plays = {(name, 1): ["think", "child tester", "think", "answer"] for name in names}
    plays["text", 1] = ["think", "child tester", "child eve", "think", "answer"]
    run(test, monkeypatch, plays)


def test_what_an_attempt_asks_for_that_is_over_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: RunsSystem, run_id: str) -> None:
        ref = here.base.system.ref(f"/runs/{run_id}")
        assert await ref.ask(StartChildAgent("text", 2, "c", "tester", "Look."), 5) is None
        assert await ref.ask(Answered("text.1", 2, "Late", "gpt", False, False, None, 1), 5) is None
        assert agents_of(here, run_id) == ALL
        await here.cancel(run_id)
        assert await here.ended(run_id) == "cancelled"

    run(test, monkeypatch, DEEP)
