"""Remote workers, in virtual time: what they are told, what they say of it, and whose tasks they see."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio

from actors.coordination.record import TASKS
from actors.coordination.roster import Worker, agent_id_of
from actors.protocol.catalogue import CATALOGUE, Failure
from actors.storage.interface import PutState
from actors.storage.journal import Append
from tests.support.tasks_system import TasksSystem, refused, run
from tests.support.users_system import settle


def test_a_worker_is_told_and_says_how_it_went(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        digger = await here.digger()
        agent_id = await digger.register()
        task_id = await here.under_way("Dig", parameters={"deep": 2}, priority="HIGH", task_type="earth")
        await settle()
        (offer,) = [f for f in digger.follower.frames if f["type"] == "task_assigned"]
        assert offer["content"] == "Dig"
        assert "seq" not in offer
        fields = {name: offer["metadata"][name] for name in ("task_id", "attempt", "task_type", "parameters")}
        assert fields == {"task_id": task_id, "attempt": 1, "task_type": "earth", "parameters": {"deep": 2}}
        assert offer["metadata"]["deadline"].endswith("Z")
        assert (await here.agents())[agent_id].status == "processing"
        assert await digger.update(task_id, 1, "running", "Half of it is out.") == {"status": "running"}
        await trio.sleep(2)
        assert here.log()[-1]["content"] == "Half of it is out."
        assert await digger.update(task_id, 1, "completed", "Done.", result={"earth": [1, None]}) == {
            "status": "completed"
        }
        record = await here.ended(task_id)
        assert (record.result, record.sentence) == ({"earth": [1, None]}, "Done.")
        assert here.story(task_id) == ["queued", "running 1", "running 1", "completed 1"]
        view = (await here.agents())[agent_id]
        assert (view.status, view.metrics.tasks_completed, view.metrics.success_rate) == ("idle", 1, 1.0)
        assert view.metrics.average_response_ms

    run(test, monkeypatch)


def test_a_reply_comes_before_what_it_causes_and_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        digger = await here.digger()
        await digger.register()
        task_id = await here.under_way()
        await settle()
        before = len(digger.follower.frames)
        await digger.update(task_id, 1, "completed", command_id="done")
        assert len(digger.follower.frames) == before
        await here.ended(task_id)
        assert digger.follower.frames[before]["metadata"]["cause"] == "done"

    run(test, monkeypatch)


def test_progress_is_told_once_a_second_and_the_last_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        digger = await here.digger()
        await digger.register()
        task_id = await here.under_way()
        for number in range(100):
            await digger.update(task_id, 1, "running", f"{number} shovels")
            await trio.sleep(0.05)
        await trio.sleep(2)
        told = [f["content"] for f in here.log() if f["metadata"]["status"] == "running"]
        assert told[-1] == "99 shovels"
        assert 4 <= len(told) <= 8
        await digger.update(task_id, 1, "completed")
        await here.ended(task_id)

    run(test, monkeypatch)


def test_how_far_it_is_does_not_write_the_task_again(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    made = Append.__init__

    def counted(self: Append, records: Any) -> None:
        effects = [effect for record in records for effect in record.effects if isinstance(effect, PutState)]
        written.extend(len(effect.value) for effect in effects if effect.space == TASKS)
        made(self, records)

    monkeypatch.setattr(Append, "__init__", counted)

    async def test(here: TasksSystem) -> None:
        digger = await here.digger()
        await digger.register()
        task_id = await here.under_way(parameters={"map": "x" * 100_000})
        before = len(written)
        for number in range(20):
            await digger.update(task_id, 1, "running", f"{number} shovels")
            await trio.sleep(2)
        assert written[before:] == []
        assert [f["content"] for f in here.log()][-1] == "19 shovels"
        await digger.update(task_id, 1, "completed", "Out.", result={"earth": 1})
        record = await here.ended(task_id)
        assert (record.result, record.sentence) == ({"earth": 1}, "Out.")
        assert len(written[before:]) <= 2, "what was reported, and the end"

    run(test, monkeypatch)


@pytest.mark.parametrize(
    ("says", "error"),
    [
        ({"error": "There is a rock."}, "There is a rock."),
        ({"content": "It is hard."}, "It is hard."),
        ({}, "The worker could not do this task."),
    ],
)
def test_a_worker_that_cannot_do_it(says: dict[str, Any], error: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        digger = await here.digger()
        agent_id = await digger.register()
        task_id = await here.under_way()
        assert await digger.update(task_id, 1, "failed", **says) == {"status": "failed"}
        assert (await here.ended(task_id)).error == error
        assert here.story(task_id) == ["queued", "running 1", "failed 1"]
        assert (await here.agents())[agent_id].status == "error"

    run(test, monkeypatch)


def test_a_failure_that_may_pass_is_tried_again_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        first, second = await here.digger(), await here.digger()
        await first.register()
        task_id = await here.under_way()
        await second.register()
        assert await first.update(task_id, 1, "failed", error="Tired.", retry=True) == {"status": "queued"}
        await here.until_status(task_id, "running", 2)
        await settle()
        assert second.offers() == [(task_id, 2)]
        assert await second.update(task_id, 2, "failed", error="Tired.", retry=True) == {"status": "queued"}
        await here.until_status(task_id, "running", 3)
        last = second if (task_id, 3) in second.offers() else first
        assert await last.update(task_id, 3, "failed", error="Tired.", retry=True) == {"status": "failed"}
        assert (await here.ended(task_id)).error == "Tired."

    run(test, monkeypatch)


@pytest.mark.parametrize("says", ["completed", "failed", "failed, and may be tried again"])
def test_one_that_is_cancelled_while_its_workers_word_is_being_kept(says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker's word came first; but where it wants another attempt, there is none."""

    async def test(here: TasksSystem) -> None:
        digger = await here.digger()
        await digger.register()
        task_id = await here.under_way()
        await settle()
        here.plan.takes = 1.0
        status, _, more = says.partition(",")
        word = partial(digger.update, task_id, 1, status, error="Tired." * (status == "failed"), retry=bool(more))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(word)
            while here.base.actor(f"/tasks/{task_id}").record.reported is None:
                await trio.sleep(0.1)
            assert await here.cancel(task_id) is True
            assert here.record(task_id).ended
        here.plan.takes = 0.0
        record = await here.ended(task_id)
        assert (record.status, record.attempt) == ("completed" if status == "completed" else "failed", 1)
        assert (
            record.error
            == {
                "completed": "",
                "failed": "Tired.",
                "failed, and may be tried again": CATALOGUE[Failure.TASK_CANCELLED].sentence,
            }[says]
        )
        assert digger.offers() == [(task_id, 1)]

    run(test, monkeypatch)


def test_an_update_of_an_attempt_that_is_over_is_a_conflict(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        first, second = await here.digger(), await here.digger()
        await first.register()
        task_id = await here.under_way()
        await second.register()
        first.drop()
        await here.until_status(task_id, "running", 2)
        back = await first.back()
        with refused("conflict"):
            await back.update(task_id, 1, "completed", result="late")
        with refused("conflict"):
            await back.update(task_id, 2, "completed", result="not mine")
        await second.update(task_id, 2, "completed", result="in time")
        with refused("conflict"):
            await second.update(task_id, 2, "completed", result="twice")
        assert (await here.ended(task_id)).result == "in time"
        with refused("conflict"):
            await second.update(task_id, 2, "completed", result="much later")

    run(test, monkeypatch)


def test_the_number_of_the_attempt_counts_though_the_worker_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        digger = await here.digger()
        await digger.register()
        task_id = await here.under_way()
        await digger.update(task_id, 1, "failed", error="Tired.", retry=True)
        await here.until_status(task_id, "running", 2)
        with refused("conflict"):
            await digger.update(task_id, 1, "completed", result="of the first")
        await digger.update(task_id, 2, "completed", result="of the second")
        assert (await here.ended(task_id)).result == "of the second"

    run(test, monkeypatch)


def test_nothing_is_offered_before_the_attempt_is_on_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a daemon that is killed in between would give the same number to another."""

    async def test(here: TasksSystem) -> None:
        digger = await here.digger()
        task_id = await here.submit()
        await trio.sleep(1)
        here.plan.close_gate()
        await digger.register()
        await trio.sleep(5)
        assert digger.offers() == []
        here.plan.gate.set()
        await here.until_status(task_id, "running")
        await settle()
        assert digger.offers() == [(task_id, 1)]
        await digger.update(task_id, 1, "completed")
        await here.ended(task_id)

    run(test, monkeypatch)


def test_a_stranger_cannot_update_a_task_and_its_owner_may_not(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        worker, stranger, owner = [await here.digger(user) for user in ("mole", "bob", "ada")]
        await worker.register(role="operator", shared=True)
        task_id = await here.under_way()
        for _ in range(2):
            with refused("not_found"):
                await stranger.update(task_id, 1, "completed")
            with refused("forbidden"):
                await owner.update(task_id, 1, "completed")
            if not here.record(task_id).ended:
                await worker.update(task_id, 1, "completed", result=1)
                await here.ended(task_id)
        with refused("not_found"):
            await stranger.update("no such task", 1, "completed")
        assert here.story(task_id) == ["queued", "running 1", "completed 1"]
        assert [f for f in here.log("mole") if f["type"] == "task_status"] == []

    run(test, monkeypatch)


def test_a_users_worker_gets_that_users_tasks_only(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        digger = await here.digger("bob")
        agent_id = await digger.register(role="operator")
        with refused("forbidden"):
            await digger.register(role="user", shared=True)
        mine, theirs = await here.submit(user="ada"), await here.submit(user="bob")
        await here.until_status(theirs, "running", user="bob")
        await trio.sleep(30)
        assert digger.offers() == [(theirs, 1)]
        assert here.story(mine) == ["queued"]
        assert agent_id not in await here.agents("ada")
        assert agent_id in await here.agents("bob")
        assert agent_id in await here.agents("ada", operator=True)
        await digger.update(theirs, 1, "completed")
        await here.cancel(mine)
        await here.ended(theirs, user="bob")

    run(test, monkeypatch)


def test_one_with_the_role_of_worker_serves_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        digger = await here.digger("mole")
        await digger.register(role="worker")
        task_id = await here.under_way(user="ada")
        await digger.update(task_id, 1, "completed")
        await here.ended(task_id)

    run(test, monkeypatch)


def test_a_worker_needs_a_connection_and_registers_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        with refused("bad_request"):
            await here.say("ada", "register_agent", name="Nobody")
        digger = await here.digger()
        for number in range(100):
            await digger.register(name=f"Digger {number}")
        with refused("limit_reached"):
            await digger.register(name="One more")
        await digger.register(name="Digger 5", max_concurrent_tasks=7)
        slots = sorted(agent.max_concurrent_tasks for agent in (await here.agents()).values())
        assert slots[-1] == 7

    run(test, monkeypatch)


def test_no_two_workers_have_an_agent_id_in_common_however_they_are_called() -> None:
    parts = [("a\0b", "c", "n"), ("a", "b\0c", "n"), ("a", "b", "c\0n"), ("ab", "c", "n"), ("1:a", "c", "n")]
    ids = {agent_id_of(Worker(user, client), name) for user, client, name in parts}
    assert len(ids) == len(parts)
    assert agent_id_of(Worker("a", "b"), "My digger!").startswith("My-digger-")
