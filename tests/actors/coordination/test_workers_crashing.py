"""Remote workers while something of the daemon crashes: they notice nothing. In virtual time."""

from __future__ import annotations

import pytest
import trio

from actors.storage.interface import KeepReply
from actors.storage.journal import Append, FindReply
from tests.support.tasks_system import TasksSystem, refused, run


@pytest.mark.parametrize("path", ["/coordinator", "/users/ada", "/tasks", "/storage"])
def test_a_crash_and_the_worker_notices_nothing(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        digger = await here.digger()
        agent_id = await digger.register()
        task_id = await here.under_way()
        here.crash(path)
        await trio.sleep(3)
        again = path == "/tasks"
        (attempt,) = {2} if again else {1}
        assert (task_id, attempt) in digger.offers()
        assert (await here.agents())[agent_id].current_tasks == 1
        assert await digger.update(task_id, attempt, "completed") == {"status": "completed"}
        await here.ended(task_id)
        after = await here.under_way()
        await digger.update(after, 1, "completed")
        await here.ended(after)

    run(test, monkeypatch)


@pytest.mark.parametrize("kept", [True, False])
def test_what_a_worker_says_is_recorded_once_though_the_task_crashes(
    kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As soon as it is on the disk; and before anybody has heard it, so that the attempt is over."""

    async def test(here: TasksSystem) -> None:
        digger = await here.digger()
        await digger.register()
        task_id = await here.under_way()

        def at(moment: str) -> None:
            message = here.plan.heard[-1]
            if kept and moment.startswith("after") and isinstance(message, Append):
                effects = [effect for record in message.records for effect in record.effects]
                if any(isinstance(effect, KeepReply) and effect.command_id == "done" for effect in effects):
                    here.crash(f"/tasks/{task_id}")
            elif not kept and isinstance(message, FindReply) and message.command_id == "done":
                here.plan.at = str
                here.crash("/tasks")

        here.plan.at = at
        if kept:
            answer = await digger.update(task_id, 1, "completed", result="once", command_id="done")
            assert answer == {"status": "completed"}
            assert (await here.ended(task_id)).result == "once"
            assert here.story(task_id) == ["queued", "running 1", "completed 1"]
            assert await digger.update(task_id, 1, "completed", result="once", command_id="done") == answer
        else:
            with refused("conflict"):
                await digger.update(task_id, 1, "completed", result="once", command_id="done")
            await here.until_status(task_id, "running", 2)
            await digger.update(task_id, 2, "completed")
            await here.ended(task_id)

    run(test, monkeypatch)
