"""Tasks while their actor, the coordinator, an agent or storage fails: each ends once. In virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest
import trio

from actors.protocol.catalogue import CATALOGUE, Failure
from tests.support.memory_journal import Plan
from tests.support.tasks_system import DIG, FILE, LIMITS, WRITE, TasksSystem, run

if TYPE_CHECKING:
    from tests.support.memory_journal import Fault

TASK = "task"


def sentence(failure: Failure) -> str:
    return CATALOGUE[failure].sentence


@pytest.mark.parametrize("path", ["/tasks", "/tasks/TASK", "/coordinator", "/users/ada", "/storage", "/users"])
@pytest.mark.parametrize("at", [0.05, 0.5, 2.0])
def test_a_crash_and_the_task_ends_once(path: str, at: float, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        task_id = await here.submit("File", **FILE)
        queued = await here.submit("Write", **WRITE)
        more = await here.submit("Write more", **WRITE)
        await trio.sleep(at)
        here.crash(path.replace("TASK", task_id))
        for each in (task_id, queued, more):
            assert (await here.ended(each)).status == "completed"
            story = here.story(each)
            assert story.count("completed 1") + story.count("completed 2") == 1
        if path == "/coordinator":
            assert here.story(task_id) == ["queued", "running 1", "completed 1"]
        agents = await here.agents()
        assert (agents["clerk"].current_tasks, agents["poet"].current_tasks) == (0, 0)

    run(test, monkeypatch, plays={(TASK, 1): ["wait 3", "answer"]})


def test_after_a_crash_of_the_coordinator_nobody_is_given_more_than_they_may_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(here: TasksSystem) -> None:
        first = await here.submit("First", **WRITE)
        await here.until_status(first, "running")
        waiting = [await here.submit(f"More {n}", **WRITE) for n in range(3)]
        for _ in range(3):
            here.crash("/coordinator")
            for _ in range(40):
                running = [t for t in [first, *waiting] if here.record(t).open]
                assert len(running) <= 1
                await trio.sleep(0.1)
        for task_id in [first, *waiting]:
            await here.ended(task_id)
        begun = [s.run_id for s in here.script.situations]
        assert begun == [first, *waiting]

    run(test, monkeypatch, plays={(TASK, 1): ["wait 6", "answer"]})


def test_a_task_whose_actor_fails_again_and_again_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        task_id = await here.submit("File", **FILE)
        for attempt in (1, 2, 3, 4):
            await here.until_status(task_id, "running", attempt)
            here.crash(f"/tasks/{task_id}")
        record = await here.ended(task_id)
        assert (record.status, record.error) == ("failed", sentence(Failure.TASK_INTERRUPTED))

    run(test, monkeypatch, plays={(TASK, n): ["hang"] for n in range(1, 9)})


def test_a_task_that_is_cut_off_too_often_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        task_id = await here.submit("File", **FILE)
        for attempt in (1, 2):
            await here.until_status(task_id, "running", attempt)
            here.crash(f"/tasks/{task_id}")
        assert (await here.ended(task_id)).error == sentence(Failure.TASK_INTERRUPTED)

    plays = {(TASK, n): ["hang"] for n in range(1, 9)}
    run(test, monkeypatch, plays=plays, limits=attrs.evolve(LIMITS, interruptions=2))


def test_what_was_accepted_and_not_started_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The context is gone before it can have the task's actor started."""

    async def test(here: TasksSystem) -> None:
        here.base.system.suspend("/tasks")
        task_id = await here.submit("File", **FILE)
        here.crash("/users/ada")
        here.crash("/tasks")  # with the order that waited in its mailbox handled by nobody in particular
        assert (await here.ended(task_id)).status == "completed"

    run(test, monkeypatch)


@pytest.mark.parametrize("fault", ["clean", "unknown", "unknown but done", "crash", "crash but done"])
@pytest.mark.parametrize("place", range(5))
def test_trouble_with_storage_at_each_commit(fault: Fault, place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan()

    async def test(here: TasksSystem) -> None:
        digger = await here.digger()
        await digger.register()
        if place:
            task_id = await here.submit()
            await here.until_status(task_id, "queued" if place == 1 else "running")
            plan.faults.extend([fault])
            await here.until_status(task_id, "running")
        else:
            plan.faults.extend([fault])
            with trio.fail_after(600):
                while True:
                    try:
                        answer = await here.say("ada", "submit_task", "Dig", command_id="same", **DIG)
                        break
                    except Exception:
                        await trio.sleep(0.5)
            task_id = answer["task_id"]
            await here.until_status(task_id, "running")
        while not digger.offers():
            await trio.sleep(0.1)
        if place == 3:
            plan.faults.extend([fault])
        (_, attempt) = digger.offers()[-1]
        answer = await digger.update(task_id, attempt, "completed", result=1, command_id="done")
        assert answer == {"status": "completed"}
        record = await here.ended(task_id)
        assert record.result == 1
        assert here.story(task_id) == ["queued", "running 1", "completed 1"]
        assert await digger.update(task_id, attempt, "completed", result=1, command_id="done") == answer

    run(test, monkeypatch, plan=plan)
