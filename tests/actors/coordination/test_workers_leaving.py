"""Remote workers that go, come back, fall silent or take their leave, and what becomes of what they had."""

from __future__ import annotations

import attrs
import pytest
import trio

from actors.coordination.workers import FORGET_AFTER
from actors.protocol.catalogue import CATALOGUE, Failure
from tests.support.tasks_system import LIMITS, OFFLINE_AFTER, TasksSystem, refused, run
from tests.support.users_system import settle

LOST = CATALOGUE[Failure.WORKER_LOST].sentence


def test_a_worker_that_goes_is_offline_after_a_while_and_its_tasks_go_to_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(here: TasksSystem) -> None:
        first, second = await here.digger(), await here.digger()
        agent_id = await first.register(max_concurrent_tasks=2)
        tasks = [await here.submit() for _ in range(2)]
        for task_id in tasks:
            await here.until_status(task_id, "running")
        await second.register(name="Spare", max_concurrent_tasks=5)
        first.drop()
        left = trio.current_time()
        await settle()
        third = await here.under_way()
        assert (third, 1) in second.offers()
        assert (await here.agents())[agent_id].status == "processing"
        for task_id in tasks:
            await here.until_status(task_id, "running", 2)
            assert "went away" in here.record(task_id).sentence or here.story(task_id)[2] == "queued"
        assert trio.current_time() - left == pytest.approx(OFFLINE_AFTER, abs=1)
        gone = (await here.agents())[agent_id]
        assert (gone.status, gone.metrics.tasks_failed, gone.current_tasks) == ("offline", 2, 0)
        for task_id, attempt in second.offers():
            await second.update(task_id, attempt, "completed")
        for task_id in [*tasks, third]:
            assert (await here.ended(task_id)).status == "completed"
        await trio.sleep(FORGET_AFTER + 60)
        assert agent_id not in await here.agents()

    run(test, monkeypatch)


def test_one_that_comes_back_in_time_keeps_its_tasks_and_is_told_them_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        digger = await here.digger()
        agent_id = await digger.register()
        task_id = await here.under_way()
        digger.drop()
        await trio.sleep(OFFLINE_AFTER - 5)
        back = await digger.back()
        assert back.offers() == [(task_id, 1)]
        assert await back.register() == agent_id
        await settle()
        assert back.offers() == [(task_id, 1)], "once on a connection"
        await trio.sleep(OFFLINE_AFTER + 5)
        assert here.story(task_id) == ["queued", "running 1"]
        await back.update(task_id, 1, "completed")
        await here.ended(task_id)

    run(test, monkeypatch, limits=attrs.evolve(LIMITS, timeout=600.0))


def test_one_that_is_silent_past_a_deadline_is_offline_until_it_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connection stands all the time, and nothing at all comes on it."""

    async def test(here: TasksSystem) -> None:
        silent, spare = await here.digger(), await here.digger()
        agent_id = await silent.register(max_concurrent_tasks=2)
        tasks = [await here.submit() for _ in range(2)]
        await here.until_status(tasks[0], "running")
        await trio.sleep(LIMITS.timeout / 2)
        await spare.register(name="Spare", max_concurrent_tasks=5)
        for task_id in tasks:
            await here.until_status(task_id, "running", 2)
        assert sorted(spare.offers()) == sorted((task_id, 2) for task_id in tasks)
        assert (await here.agents())[agent_id].status == "offline"
        with refused("conflict"):
            await silent.update(tasks[0], 1, "running", "Oh.")
        assert (await here.agents())[agent_id].status != "offline"
        for task_id in tasks:
            await spare.update(task_id, 2, "completed")
            await here.ended(task_id)
        more = await here.under_way()
        await here.cancel(more)

    run(test, monkeypatch)


def test_whatever_comes_from_one_that_is_silent_ends_its_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """It need not be a word of its work: it was told to leave that."""

    async def test(here: TasksSystem) -> None:
        silent = await here.digger()
        agent_id = await silent.register()
        task_id = await here.under_way()
        await trio.sleep(LIMITS.timeout + 5)
        assert (await here.agents())[agent_id].status == "offline"
        assert silent.offers() == [(task_id, 1)]
        silent.heartbeat()
        await here.until_status(task_id, "running", 2)
        await settle()
        assert (await here.agents())[agent_id].status == "processing"
        assert silent.offers() == [(task_id, 1), (task_id, 2)]
        await silent.update(task_id, 2, "completed")
        await here.ended(task_id)

    run(test, monkeypatch)


def test_one_that_shows_signs_of_life_and_no_more_is_too_slow_and_not_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        slow = await here.digger()
        agent_id = await slow.register(max_concurrent_tasks=2)
        task_id = await here.under_way()
        await trio.sleep(LIMITS.timeout / 2)
        other = await here.under_way()
        slow.heartbeat()
        await here.until_status(task_id, "running", 2)
        await settle()
        assert slow.heard() == [
            ("task_assigned", task_id, 1),
            ("task_assigned", other, 1),
            ("task_withdrawn", task_id, 1),
            ("task_assigned", task_id, 2),
        ]
        assert (await here.agents())[agent_id].status == "processing"
        for each in (task_id, other):
            await slow.update(each, here.record(each).attempt, "completed")
            await here.ended(each)
        assert here.story(other) == ["queued", "running 1", "completed 1"]

    run(test, monkeypatch)


def test_a_crash_of_the_coordinator_makes_nobody_silent_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        silent = await here.digger()
        agent_id = await silent.register()
        task_id = await here.under_way()
        await trio.sleep(LIMITS.timeout + 5)
        here.crash("/coordinator")
        await trio.sleep(3)
        assert (await here.agents())[agent_id].status == "offline"
        silent.heartbeat()
        await here.until_status(task_id, "running", 2)
        assert (await here.agents())[agent_id].status != "offline"
        await here.cancel(task_id)

    run(test, monkeypatch)


def test_one_that_speaks_and_is_too_slow_loses_only_that_task(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        slow = await here.digger()
        agent_id = await slow.register(max_concurrent_tasks=2)
        task_id = await here.under_way()
        for _ in range(3):
            for second in range(12):
                attempt = here.record(task_id).attempt
                if here.record(task_id).open:
                    await slow.update(task_id, attempt, "running", f"{second}")
                await trio.sleep(5)
        assert (await here.agents())[agent_id].status != "offline"
        record = await here.ended(task_id)
        assert (record.status, record.attempt) == ("failed", 3)
        assert record.error == CATALOGUE[Failure.TASK_TIMEOUT].sentence

    run(test, monkeypatch)


def test_taking_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        first, second = await here.digger(), await here.digger()
        agent_id = await first.register()
        task_id = await here.under_way()
        await second.register(name="Spare")
        with refused("not_found"):
            await second.say("unregister_agent", agent_id=agent_id)
        assert await first.say("unregister_agent", agent_id=agent_id) == {"agent_id": agent_id}
        await here.until_status(task_id, "running", 2)
        assert agent_id not in await here.agents()
        with refused("not_found"):
            await first.say("unregister_agent", agent_id=agent_id)
        await second.update(task_id, 2, "completed")
        await here.ended(task_id)
        assert first.follower.ref.target.watchable() is not None

    run(test, monkeypatch)


def test_losing_every_worker_ends_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        task_id = await here.submit()
        for attempt in (1, 2, 3):
            digger = await here.digger()
            agent_id = await digger.register()
            await here.until_status(task_id, "running", attempt)
            await digger.say("unregister_agent", agent_id=agent_id)
        record = await here.ended(task_id)
        assert (record.status, record.error) == ("failed", LOST)

    run(test, monkeypatch)


def test_a_worker_that_went_while_the_coordinator_was_down(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        first, second = await here.digger(), await here.digger()
        agent_id = await first.register()
        task_id = await here.under_way()
        await second.register(name="Spare")
        for _ in range(3):
            here.crash("/coordinator")
            await trio.sleep(0.001)
        first.drop()
        await here.until_status(task_id, "running", 2)
        assert (await here.agents())[agent_id].status == "offline"
        here.crash("/coordinator")
        await trio.sleep(5)
        assert (await here.agents())[agent_id].status == "offline"
        await second.update(task_id, 2, "completed")
        await here.ended(task_id)
        await trio.sleep(FORGET_AFTER + 60)
        assert agent_id not in await here.agents()

    run(test, monkeypatch)
