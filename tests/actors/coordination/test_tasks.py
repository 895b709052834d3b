"""Tasks from their acceptance to their end: queue, attempts, timeouts, retries, cancelling. In virtual time."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio

from actors.coordination.record import TaskLimits
from actors.durable.supervisor import TakeUp
from actors.operations.channels import Published, Topic
from actors.protocol.catalogue import CATALOGUE, Failure
from actors.protocol.channel_events import Channel
from runtime import Actor, Refused
from supervisors import ChildSpec
from tests.support.tasks_system import DIG, FILE, LIMITS, WRITE, TasksSystem, run
from tests.support.users_system import START, settle

TASK = "task"


def sentence(failure: Failure) -> str:
    return CATALOGUE[failure].sentence


def test_an_agent_of_the_daemon_does_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        task_id = await here.submit("File this", parameters={"drawer": 3}, **FILE)
        record = await here.ended(task_id)
        assert here.story(task_id) == ["queued", "running 1", "completed 1"]
        assert record.result == {"text": "The answer of task, attempt 1.", "model": "gpt"}
        assert record.attempts[-1].agent_id == "clerk"
        (situation,) = here.script.situations
        assert (situation.user, situation.run_id) == ("ada", task_id)
        assert situation.brief == 'File this\n\nParameters:\n{\n  "drawer": 3\n}'
        assert here.log()[0]["metadata"]["cause"] == "submit_task-0"
        assert dict(here.counts.tasks) == {"submitted": 1, "completed": 1}

    run(test, monkeypatch)


def test_trap_6_critical_first_and_then_first_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """One slot, equal priorities among them: in the order of priority, and of coming."""

    async def test(here: TasksSystem) -> None:
        first = await here.submit("First", **WRITE)
        await here.until_status(first, "running")
        names: dict[str, str] = {}
        order = ["LOW", "CRITICAL", "MEDIUM", "HIGH", "LOW", "CRITICAL", "MEDIUM", "HIGH"]
        for number, priority in enumerate(order):
            names[await here.submit("More", priority=priority, **WRITE)] = f"{priority} {number}"
        for task_id in names:
            await here.ended(task_id)
        begun = [names[s.run_id] for s in here.script.situations if s.run_id in names]
        assert begun == [
            *("CRITICAL 1", "CRITICAL 5", "HIGH 3", "HIGH 7"),
            *("MEDIUM 2", "MEDIUM 6", "LOW 0", "LOW 4"),
        ]
        of_tasks = [situation for situation in here.script.situations if situation.run_id in names]
        assert [each.priority for each in of_tasks] == [names[each.run_id].split()[0] for each in of_tasks]

    run(test, monkeypatch, plays={(TASK, 1): ["wait 5", "answer"]})


def test_never_more_at_once_than_an_agent_may(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        tasks = [await here.submit(f"File {n}", **FILE) for n in range(7)]
        busiest = 0
        while any(not here.record(task_id).ended for task_id in tasks):
            clerk = (await here.agents())["clerk"]
            running = sum(here.record(task_id).open for task_id in tasks)
            busiest = max(busiest, running)
            assert running <= clerk.max_concurrent_tasks == 2
            await trio.sleep(0.2)
        assert busiest == 2
        clerk = (await here.agents())["clerk"]
        assert (clerk.current_tasks, clerk.metrics.tasks_completed) == (0, 7)

    run(test, monkeypatch, plays={(TASK, 1): ["wait 3", "answer"]})


def test_an_attempt_that_takes_too_long_is_over_and_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        began = trio.current_time()
        task_id = await here.submit("File", **FILE)
        await here.ended(task_id)
        assert here.story(task_id) == ["queued", "running 1", "queued", "running 2", "completed 2"]
        assert trio.current_time() - began == pytest.approx(LIMITS.timeout, abs=5)
        assert (await here.agents())["clerk"].current_tasks == 0

    run(test, monkeypatch, plays={(TASK, 1): ["hang"]})


@pytest.mark.parametrize(
    ("play", "failure"), [("hang", Failure.TASK_TIMEOUT), ("crash", Failure.AGENT_CRASHED), ("leave", None)]
)
def test_after_so_many_attempts_it_has_failed(
    play: str, failure: Failure | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(here: TasksSystem) -> None:
        task_id = await here.submit("File", **FILE)
        record = await here.ended(task_id)
        assert record.status == "failed"
        assert here.story(task_id)[-3:] == ["queued", "running 3", "failed 3"]
        assert record.error == sentence(failure or Failure.AGENT_CRASHED)
        assert here.counts.tasks["again"] == 2
        assert (await here.agents())["clerk"].metrics.tasks_failed == 3

    run(test, monkeypatch, plays={(TASK, n): [play] for n in (1, 2, 3)})


def test_what_an_agent_cannot_do_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        task_id = await here.submit("File", **FILE)
        assert (await here.ended(task_id)).error == sentence(Failure.CONTENT_POLICY)
        assert here.story(task_id) == ["queued", "running 1", "failed 1"]

    run(test, monkeypatch, plays={(TASK, 1): ["give up"]})


def test_nobody_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        task_id = await here.submit()
        await trio.sleep(LIMITS.queue - 5)
        assert here.story(task_id) == ["queued"]
        await trio.sleep(10)
        assert (await here.ended(task_id)).error == sentence(Failure.TASK_UNCLAIMED)
        assert not list(here.counts.board.waiting)

    run(test, monkeypatch)


@pytest.mark.parametrize("seconds", [0.0, 10.0])
def test_cancelling(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it waits, and while an agent is at work."""

    async def test(here: TasksSystem) -> None:
        wanted = FILE if seconds else DIG
        task_id = await here.submit("Whatever", **wanted)
        await trio.sleep(seconds)
        assert await here.cancel(task_id) is True
        record = await here.ended(task_id)
        assert (record.status, record.error) == ("failed", sentence(Failure.TASK_CANCELLED))
        assert await here.cancel(task_id) is True
        assert here.story(task_id) == (["queued", "running 1", "failed 1"] if seconds else ["queued", "failed"])
        assert (await here.agents())["clerk"].current_tasks == 0
        assert not list(here.counts.board.waiting)
        assert dict(here.counts.tasks) == {"submitted": 1, "cancelled": 1}

    run(test, monkeypatch, plays={(TASK, 1): ["hang"]})


def test_nobody_cancels_what_is_somebody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        task_id = await here.submit()
        ended = await here.submit("File", **FILE)
        await here.ended(ended)
        for each in ("no such task", ended):
            with pytest.raises(Refused, match="not_found"):
                await here.cancel(each, user="bob")
        with pytest.raises(Refused, match="not_found"):
            await here.cancel(task_id, user="bob")
        assert here.story(task_id) == ["queued"]
        await here.cancel(task_id)

    run(test, monkeypatch)


def test_the_same_command_again_is_carried_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        first = await here.say("ada", "submit_task", "File", command_id="same", **FILE)
        again = await here.say("ada", "submit_task", "File", command_id="same", **FILE)
        assert first == again
        await here.ended(first["task_id"])
        assert await here.say("ada", "submit_task", "File", command_id="same", **FILE) == first
        with pytest.raises(Refused, match="conflict"):
            await here.say("ada", "submit_task", "Another", command_id="same", **FILE)
        assert here.counts.tasks["submitted"] == 1

    run(test, monkeypatch)


def test_a_user_may_have_so_many_open(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        tasks = [await here.submit() for _ in range(3)]
        with pytest.raises(Refused, match="limit_reached"):
            await here.submit()
        await here.cancel(tasks[0])
        tasks.append(await here.submit())
        other = await here.submit(user="bob")
        for task_id in tasks:
            await here.cancel(task_id)
        await here.cancel(other, user="bob")

    run(test, monkeypatch, most_open=3)


def test_results_are_kept_for_their_time_and_then_swept(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        task_id = await here.submit("File", **FILE)
        await here.ended(task_id)
        waits = await here.submit("Forever", **DIG)
        await trio.sleep(3_500)
        assert here.stored(task_id)
        await trio.sleep(1_200)
        assert not here.stored(task_id)
        spaces = {space for space, key in here.plan.storage.state if task_id in key}
        assert spaces == set()
        assert here.stored(waits)
        await here.cancel(waits)

    run(test, monkeypatch, limits=attrs.evolve(LIMITS, queue=1e6), keep=3_600.0)


def test_the_end_is_told_on_the_channel_to_its_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        heard: list[Published] = []

        class Listener(Actor):
            async def started(self) -> None:
                self.subscribe(Topic(Channel.TASK_COMPLETION, "ada"))
                self.subscribe(Topic(Channel.AGENT_STATUS, "ada"))

            async def receive(self, message: Any) -> None:
                heard.append(message)

        root: Any = here.base.system.root
        root.actor.start_child(ChildSpec("listener", Listener))
        await settle()
        task_id = await here.submit("File", **FILE)
        other = await here.submit("File", user="bob", **FILE)
        await here.ended(task_id)
        await here.ended(other, user="bob")
        assert {published.owner for published in heard} == {"ada"}
        payloads = [(p.channel, p.event.metadata["payload"]) for p in heard]
        (done,) = [payload for channel, payload in payloads if channel == Channel.TASK_COMPLETION]
        assert (done["task_id"], done["status"], done["attempts"]) == (task_id, "completed", 1)
        states = [payload["status"] for channel, payload in payloads if channel == Channel.AGENT_STATUS]
        assert states[0] == "processing"

    run(test, monkeypatch)


def test_a_task_that_there_is_not_has_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        await here.tasks.ask(TakeUp("ada", "none"), 5)
        await trio.sleep(5)
        assert not here.alive("/tasks/none")

    run(test, monkeypatch)


def test_the_limits_have_defaults_that_are_those_of_the_configuration() -> None:
    assert TaskLimits() == TaskLimits(timeout=300.0, attempts=3, queue=3600.0, interruptions=20)
    assert START
