"""Agents that the agent of a task has started: their answers, their crashes, and that none outlives what it is for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from actors.coordination.record import TaskLimits
from actors.protocol.catalogue import CATALOGUE, Failure
from actors.protocol.codes import ErrorType
from actors.workflows import children
from actors.workflows.children import DEEPEST
from actors.workflows.messages import Answered, GaveNoAnswer, StartChildAgent
from runtime import Refused
from tests.support.tasks_system import FILE, LIMITS, TasksSystem, tasks_system
from tests.support.users_system import virtual

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

TASK = "task"
ONCE = TaskLimits(timeout=60.0, attempts=1, queue=600.0, interruptions=5)


def run(test: Callable[[TasksSystem], Awaitable[None]], monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
    async def main() -> None:
        async with tasks_system(monkeypatch, **options) as here:
            await test(here)
            here.verify()

    virtual(main)


def agents_of(here: TasksSystem, task_id: str) -> list[str]:
    """The actors beneath the task, by name."""
    nodes = here.base.system.tree().walk()
    beneath = [node.path for node in nodes if f"/{task_id}/" in node.path and node.state != "ended"]
    return sorted(path.rpartition("/")[2] for path in beneath)


def test_an_answer_goes_to_the_agent_that_wanted_it_and_people_see_who_is_at_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plays = {
        (TASK, 1): ["child poet", "wait 3", "child clerk", "answer Both."],
        ("task.1", 1): ["wait 3", "answer A poem."],
        ("task.2", 1): ["degraded"],
    }

    async def test(here: TasksSystem) -> None:
        task_id = await here.submit("File this", parameters={"drawer": 3}, **FILE)
        record = await here.ended(task_id)
        assert record.result["text"] == "Both."
        assert here.script.children == [
            (TASK, "A poem.", "Poet has finished."),
            (TASK, None, "Clerk could not reach a model."),
        ]
        first, second, third = here.script.situations
        assert (second.step, second.attempt, second.mission) == ("task.1", 1, "For task.")
        assert (second.user, second.run_id, second.brief) == ("ada", task_id, first.brief)
        assert third.step == "task.2"
        said = [f["content"] for f in here.log() if f["metadata"].get("task_id") == task_id]
        assert "Poet has started." in said
        assert "Poet has finished." in said
        assert set(here.story(task_id)) == {"queued", "running 1", "completed 1"}

    run(test, monkeypatch, plays=plays)


def test_one_that_crashes_is_begun_again_and_uses_up_nothing_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    plays: dict[tuple[str, int], list[str]] = {
        (TASK, 1): ["child poet", "child poet", "child poet", "answer"],
        **{("task.1", attempt): ["crash"] for attempt in (1, 2)},
        **{("task.2", attempt): ["crash"] for attempt in (1, 2, 3)},
        ("task.3", 1): ["leave"],
        ("task.3", 2): ["crash"],
    }

    async def test(here: TasksSystem) -> None:
        record = await here.ended(await here.submit("File this", **FILE))
        assert (record.status, record.attempt, record.tries) == ("completed", 1, 0)
        assert [(text is None, sentence) for _, text, sentence in here.script.children] == [
            (False, "Poet has finished."),
            (True, CATALOGUE[Failure.AGENT_CRASHED].sentence),
            (False, "Poet has finished."),
        ]
        assert [s.attempt for s in here.script.situations] == [1, 1, 2, 3, 1, 2, 3, 1, 2, 3]

    run(test, monkeypatch, plays=plays)


def test_the_depth_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [TASK + ".1" * depth for depth in range(DEEPEST + 1)]
    plays = {(name, 1): ["child poet", f"answer {name}"] for name in names}

    async def test(here: TasksSystem) -> None:
        await here.ended(await here.submit("File this", **FILE))
        assert [s.step for s in here.script.situations] == names
        refused, *answered = here.script.children
        assert refused[:2] == (names[-1], None)
        assert "10 levels deep" in refused[2]
        assert answered == [(name, f"{name}.1", "Poet has finished.") for name in reversed(names[:-1])]

    run(test, monkeypatch, plays=plays)


def test_who_is_unknown_or_one_too_many_is_refused_and_what_gives_no_answer_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(children, "MOST_OF_A_RUN", 1)
    plays = {(TASK, 1): ["child eve", "child poet", "child poet", "answer"], ("task.1", 1): ["give up"]}

    async def test(here: TasksSystem) -> None:
        assert (await here.ended(await here.submit("File this", **FILE))).status == "completed"
        unknown, failed, many = [sentence for _, _, sentence in here.script.children]
        assert "clerk, poet" in unknown
        assert failed == CATALOGUE[Failure.CONTENT_POLICY].sentence
        assert "no more" in many

    run(test, monkeypatch, plays=plays)


DEEP = {(TASK, 1): ["child poet"], ("task.1", 1): ["child poet"], ("task.1.1", 1): ["hang"]}
ALL = ["attempt-1", "attempt-1.task.1-1", "attempt-1.task.1.1-1"]


def test_a_task_that_is_cancelled_takes_them_all_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        task_id = await here.submit("File this", **FILE)
        await trio.sleep(2)
        assert agents_of(here, task_id) == ALL
        assert await here.cancel(task_id) is True
        await trio.sleep(1)
        assert agents_of(here, task_id) == []
        assert here.record(task_id).error == CATALOGUE[Failure.TASK_CANCELLED].sentence
        assert here.script.children == []

    run(test, monkeypatch, plays=DEEP)


@pytest.mark.parametrize("end", ["overdue", "crash", "the task's own crash"])
def test_the_next_attempt_finds_none_of_the_last_ones(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plays = {**DEEP, (TASK, 2): ["wait 3", "answer"]}

    async def test(here: TasksSystem) -> None:
        task_id = await here.submit("File this", **FILE)
        await trio.sleep(2)
        if end == "crash":
            here.crash(f"/tasks/{task_id}/attempt-1")
        elif end == "overdue":
            await trio.sleep(LIMITS.timeout)
        else:
            here.crash(f"/tasks/{task_id}")
        await here.until_status(task_id, "running", 2)
        await trio.sleep(1)
        assert agents_of(here, task_id) == ["attempt-2"]
        assert (await here.ended(task_id)).status == "completed"

    run(test, monkeypatch, plays=plays)


def test_one_ends_with_the_call_that_started_it_and_its_own_go_too(monkeypatch: pytest.MonkeyPatch) -> None:
    plays = {**DEEP, (TASK, 1): ["child poet 5", "wait 5", "answer"]}

    async def test(here: TasksSystem) -> None:
        task_id = await here.submit("File this", **FILE)
        await trio.sleep(2)
        assert agents_of(here, task_id) == ALL
        await trio.sleep(5)
        assert agents_of(here, task_id) == ["attempt-1"]
        assert (await here.ended(task_id)).status == "completed"
        assert here.script.children == [(TASK, None, "overdue")]

    run(test, monkeypatch, plays=plays)


def test_a_crash_in_the_middle_takes_only_those_below(monkeypatch: pytest.MonkeyPatch) -> None:
    plays = {**DEEP, (TASK, 1): ["child poet", "answer"], ("task.1", 2): ["wait 3", "answer"]}

    async def test(here: TasksSystem) -> None:
        task_id = await here.submit("File this", **FILE)
        await trio.sleep(2)
        here.crash(f"/tasks/{task_id}/attempt-1.task.1-1")
        await trio.sleep(1)
        assert agents_of(here, task_id) == ["attempt-1", "attempt-1.task.1-2"]
        assert (await here.ended(task_id)).status == "completed"

    run(test, monkeypatch, plays=plays)


def test_what_an_attempt_says_that_is_over_counts_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    plays = {(TASK, 1): ["child poet", "answer"], ("task.1", 1): ["wait 5", "answer A poem."]}

    async def test(here: TasksSystem) -> None:
        task_id = await here.submit("File this", **FILE)
        await trio.sleep(2)
        task = here.base.system.ref(f"/tasks/{task_id}")
        late = Answered("task.1", 7, "Late", "gpt", False, False, None, 1)
        assert await task.ask(late, 5) is True
        assert await task.ask(GaveNoAnswer("task.9", 1, ErrorType.TIMEOUT), 5) is True
        for step, attempt in ((TASK, 2), ("task.1", 2), ("task.9", 1)):
            with pytest.raises(Refused):
                await task.ask(StartChildAgent(step, attempt, "c", "poet", "Look."), 5)
        await here.ended(task_id)
        assert here.script.children == [(TASK, "A poem.", "Poet has finished.")]

    run(test, monkeypatch, plays=plays, limits=ONCE)
