"""Tasks and remote workers over real sockets: a program in another language, lost connections, killed daemons."""

from __future__ import annotations

import shutil
import signal
import struct
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.support.daemon import QUICK, house, http, serve
from tests.support.device import Device, devices
from tests.support.held_model import WHOLE, held_model

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(__file__).parents[2]
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="there is no node here")
QUICK_LOSS = "[workers]\noffline_after = 0.3\n"
COUNTING = {"required_capabilities": ["count words"]}


async def submit(device: Device, description: str, **more: Any) -> str:
    answer = await device.ask("submit_task", description, **more)
    assert answer["type"] == "reply", answer
    assert answer["metadata"]["status"] == "queued"
    return str(answer["metadata"]["task_id"])


def statuses(device: Device, task_id: str) -> list[str]:
    """How the task stood, by the log: a status with its attempt."""
    own = [f["metadata"] for f in device.log if f["type"] == "task_status" and f["metadata"]["task_id"] == task_id]
    return [" ".join(map(str, filter(None, (found["status"], found.get("attempt"))))) for found in own]


async def ended(device: Device, task_id: str) -> dict[str, Any]:
    """The metadata of the task's last event."""

    def last() -> Any:
        own = [f for f in device.log if f["type"] == "task_status" and f["metadata"]["task_id"] == task_id]
        return next((f["metadata"] for f in own if f["metadata"]["status"] in {"completed", "failed"}), None)

    found: dict[str, Any] = await device.until(last)
    return found


async def register(device: Device, *capabilities: str, name: str = "Counter", **more: Any) -> str:
    answer = await device.ask("register_agent", name=name, capabilities=list(capabilities), **more)
    assert answer["type"] == "reply", answer
    return str(answer["metadata"]["agent_id"])


async def assigned(device: Device, task_id: str, attempt: int = 1) -> dict[str, Any]:
    found = await device.wait_for(type="task_assigned", task_id=task_id, attempt=attempt)
    return found


async def complete(device: Device, task_id: str, attempt: int = 1, **more: Any) -> dict[str, Any]:
    more = {"status": "completed", "result": {"by": device.client_id}, **more}
    return await device.ask("task_update", task_id=task_id, attempt=attempt, **more)


async def task_of(port: int, task_id: str, user: str = "ada") -> Any:
    return await http(port, f"/api/tasks/{task_id}", headers={"X-User-Id": user})


@asynccontextmanager
async def example(port: int, *, user: str = "ada", client_id: str = "node") -> AsyncIterator[trio.Process]:
    """`examples/worker.mjs` as a process."""
    assert NODE is not None
    command = [NODE, str(ROOT / "examples" / "worker.mjs"), f"127.0.0.1:{port}", user, client_id]
    process = await trio.lowlevel.open_process(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        with trio.CancelScope(shield=True):
            if process.returncode is None:
                process.kill()
            await process.wait()


async def agents(port: int, user: str = "ada") -> dict[str, Any]:
    found = (await http(port, "/api/agents", headers={"X-User-Id": user})).json
    return {agent["agent_id"]: agent for agent in found}


async def counter_is(port: int, state: str) -> str:
    """Wait until the example's agent is so; its id."""
    with trio.fail_after(20):
        while True:
            for agent_id, agent in (await agents(port)).items():
                if agent["name"] == "Word counter" and agent["status"] == state:
                    return agent_id
            await trio.sleep(0.02)


@needs_node
async def test_a_worker_in_another_language_does_tasks(tmp_path: Path) -> None:
    async with house(tmp_path, None) as here, devices(here.port, "ada") as [ada]:
        await ada.ask("subscribe", channel="task_completion")
        async with example(here.port):
            agent_id = await counter_is(here.port, "idle")
            task_id = await submit(ada, "four words are here", **COUNTING)
            end = await ended(ada, task_id)
            assert end["result"] == {"words": 4}
            assert end["agent"] == agent_id
            assert statuses(ada, task_id) == ["queued", "running 1", "completed 1"]
            told = await ada.wait_for(type="channel", channel="task_completion")
            assert told["metadata"]["payload"]["task_id"] == task_id
            failing = await submit(ada, "and these", parameters={"fail": True}, **COUNTING)
            assert (await ended(ada, failing))["error"] == "I was asked to fail."
            shown = (await agents(here.port))[agent_id]
            assert (shown["metrics"]["tasks_completed"], shown["metrics"]["tasks_failed"]) == (1, 1)
        ada.verify()


@needs_node
async def test_a_worker_killed_in_mid_task_and_another_does_it(tmp_path: Path) -> None:
    async with (
        house(tmp_path, None, more=QUICK_LOSS) as here,
        devices(here.port, "ada", "ada") as [ada, other],
        example(here.port) as process,
    ):
        await counter_is(here.port, "idle")
        task_id = await submit(ada, "one two three", parameters={"seconds": 3600}, **COUNTING)
        await ada.wait_for(type="task_status", task_id=task_id, status="running")
        await register(other, "count words", name="Spare")
        process.send_signal(signal.SIGKILL)
        work = await assigned(other, task_id, attempt=2)
        assert work["metadata"]["parameters"] == {"seconds": 3600}
        await counter_is(here.port, "offline")
        assert (await complete(other, task_id, 2))["metadata"]["status"] == "completed"
        assert (await ended(ada, task_id))["result"] == {"by": other.client_id}
        assert statuses(ada, task_id) == ["queued", "running 1", "queued", "running 2", "completed 2"]
        for each in (ada, other):
            await ended(each, task_id)
            each.verify()


async def test_a_worker_hears_that_its_task_was_cancelled_before_it_is_given_the_next(tmp_path: Path) -> None:
    async with house(tmp_path, None) as here, devices(here.port, "ada", "ada") as [ada, worker]:
        await register(worker, "count words", max_concurrent_tasks=1)
        first = await submit(ada, "one two three", **COUNTING)
        await assigned(worker, first)
        second = await submit(ada, "four five", **COUNTING)
        gone = await http(here.port, f"/api/tasks/{first}", method="DELETE", headers={"X-User-Id": "ada"})
        assert gone.status == 200
        await assigned(worker, second)
        told = [f for f in worker.frames if f["type"] in ("task_assigned", "task_withdrawn")]
        assert [(f["type"], f["metadata"]["task_id"]) for f in told] == [
            ("task_assigned", first),
            ("task_withdrawn", first),
            ("task_assigned", second),
        ]
        assert (await complete(worker, first))["metadata"]["code"] == "conflict"
        assert (await complete(worker, second))["metadata"]["status"] == "completed"
        await ended(ada, second)
        for each in (ada, worker):
            await ended(each, second)
            each.verify()


async def test_a_worker_whose_connection_is_reset_and_that_does_not_come_back(tmp_path: Path) -> None:
    async with (
        house(tmp_path, None, more=QUICK_LOSS) as here,
        devices(here.port, "ada", "ada", "ada") as [ada, first, second],
    ):
        agent_id = await register(first, "count words")
        task_id = await submit(ada, "one two three", **COUNTING)
        await assigned(first, task_id)
        await register(second, "count words")
        await reset(first)
        await assigned(second, task_id, 2)
        await second.ask("task_update", "Half.", task_id=task_id, attempt=2, status="running")
        assert (await complete(second, task_id, 2))["metadata"]["status"] == "completed"
        await ended(ada, task_id)
        assert (await agents(here.port))[agent_id]["status"] == "offline"
        for each in (ada, second):
            await ended(each, task_id)
            each.verify()


async def reset(device: Device) -> None:
    """The worker's machine resets its connection."""
    device.comes_back = False
    socket = device._socket
    assert socket is not None
    stream: Any = socket._stream
    while not isinstance(stream, trio.SocketStream):
        stream = stream._stream
    stream.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    await trio.aclose_forcefully(stream)
    await device.until(lambda: device.ended)


async def test_a_worker_that_comes_back_goes_on_with_what_it_had(tmp_path: Path) -> None:
    async with house(tmp_path, None) as here, devices(here.port, "ada", "ada") as [ada, worker]:
        agent_id = await register(worker, "count words")
        task_id = await submit(ada, "one two three", **COUNTING)
        await assigned(worker, task_id)
        connection = worker.welcome["metadata"]["connection_id"]
        here.crash(f"/gateway/connections/{connection}")
        await worker.until(lambda: len(worker.connections) == 2)
        offer = await worker.until(
            lambda: next((f for f in worker.connections[1].frames if f["type"] == "task_assigned"), None)
        )
        assert (offer["metadata"]["task_id"], offer["metadata"]["attempt"]) == (task_id, 1)
        assert await register(worker, "count words") == agent_id
        await complete(worker, task_id)
        await ended(ada, task_id)
        assert statuses(ada, task_id) == ["queued", "running 1", "completed 1"]
        for each in (ada, worker):
            await ended(each, task_id)
            each.verify()


async def test_critical_first_over_real_sockets(tmp_path: Path) -> None:
    async with house(tmp_path, None) as here, devices(here.port, "ada", "ada") as [ada, worker]:
        tasks = {}
        for number, priority in enumerate(["LOW", "HIGH", "MEDIUM", "CRITICAL", "LOW", "CRITICAL"]):
            tasks[await submit(ada, f"Task {number}", priority=priority, **COUNTING)] = f"{priority} {number}"
        await register(worker, "count words", max_concurrent_tasks=1)
        done: list[str] = []
        while len(done) < len(tasks):
            offer = await worker.until(
                lambda: next(
                    (
                        f["metadata"]["task_id"]
                        for f in worker.frames
                        if f["type"] == "task_assigned" and tasks[f["metadata"]["task_id"]] not in done
                    ),
                    None,
                )
            )
            done.append(tasks[offer])
            await complete(worker, offer)
        assert done == ["CRITICAL 3", "CRITICAL 5", "HIGH 1", "MEDIUM 2", "LOW 0", "LOW 4"]
        await ada.until(lambda: sum(f["metadata"].get("status") == "completed" for f in ada.log) == len(tasks))
        ada.verify()


async def test_a_stranger_neither_sees_nor_touches_a_task(tmp_path: Path) -> None:
    async with house(tmp_path, None) as here, devices(here.port, "ada", "eve") as [ada, eve]:
        agent_id = await register(ada, "count words")
        await register(eve, "count words", name="Evil")
        task_id = await submit(ada, "a secret of mine", **COUNTING)
        await assigned(ada, task_id)
        stranger = {"X-User-Id": "eve"}
        assert (await task_of(here.port, task_id, "eve")).status == 404
        for method in ("GET", "DELETE"):
            answer = await http(here.port, f"/api/tasks/{task_id}", method=method, headers=stranger)
            assert (answer.status, answer.json["code"]) == (404, "not_found")
        assert (await http(here.port, "/api/tasks", headers=stranger)).json == {"tasks": []}
        refused = await complete(eve, task_id)
        assert refused["metadata"]["code"] == "not_found"
        to_hers = await http(
            here.port, f"/api/agents/{agent_id}/tasks", method="POST", body={"description": "x"}, headers=stranger
        )
        assert to_hers.status == 404
        await complete(ada, task_id)
        await ended(ada, task_id)
        assert not [f for f in eve.frames if "secret" in str(f)]
        for each in (ada, eve):
            each.verify()


async def test_tasks_over_http(tmp_path: Path) -> None:
    async with held_model() as model, house(tmp_path, model.base_url) as here:
        mine = {"X-User-Id": "ada"}
        new = {"description": "Write a line about tea", "parameters": {"lines": 1}, "priority": "HIGH"}
        key = {**mine, "Idempotency-Key": "once"}
        first = await http(here.port, "/api/agents/writer/tasks", method="POST", body=new, headers=key)
        again = await http(here.port, "/api/agents/writer/tasks", method="POST", body=new, headers=key)
        assert (first.status, first.json) == (201, again.json)
        assert first.json["status"] == "queued"
        task_id = first.json["task_id"]
        other = (await http(here.port, "/api/tasks", method="POST", body=new, headers=mine)).json["task_id"]
        with trio.fail_after(20):
            while (await task_of(here.port, task_id)).json["status"] != "running":
                await trio.sleep(0.01)
        answer = await http(here.port, f"/api/tasks/{other}", method="DELETE", headers=mine)
        assert (answer.json["status"], answer.json["error"]) == ("failed", "This task was cancelled.")
        model.release()
        with trio.fail_after(20):
            while (shown := (await task_of(here.port, task_id)).json)["status"] != "completed":
                await trio.sleep(0.01)
        assert shown["result"]["text"] == WHOLE
        assert (shown["agent"], shown["attempts"], shown["parameters"]) == ("writer", 1, {"lines": 1})
        assert shown["created_at"] <= shown["started_at"] <= shown["completed_at"]
        listed = (await http(here.port, "/api/tasks?limit=1", headers=mine)).json
        assert [task["task_id"] for task in listed["tasks"]] == [task_id]
        rest = (await http(here.port, f"/api/tasks?cursor={listed['next_cursor']}", headers=mine)).json
        assert [task["task_id"] for task in rest["tasks"]] == [other]
        assert (await http(here.port, "/api/tasks?active=true", headers=mine)).json == {"tasks": []}
        wrong = await http(here.port, "/api/tasks", method="POST", body={**new, "priority": "URGENT"}, headers=mine)
        assert wrong.status == 422
        assert wrong.json["fields"] == {"priority": "priority must be LOW, MEDIUM, HIGH or CRITICAL."}
        nobody = await http(here.port, "/api/agents/nobody/tasks", method="POST", body=new, headers=mine)
        assert nobody.status == 404
        assert await here.metric('understudy_tasks_total{outcome="submitted"}') == 2
        assert await here.metric('understudy_tasks_total{outcome="completed"}') == 1
        assert await here.metric('understudy_agents{status="idle"}') >= 2
        assert await here.metric('understudy_slots_wanted{priority="CRITICAL"}') == 0


async def test_an_engine_does_a_task_of_its_type(tmp_path: Path) -> None:
    async with house(tmp_path, None) as here, devices(here.port, "ada") as [ada]:
        task_id = await submit(ada, "What do we know of tea?", task_type="memory_query")
        end = await ended(ada, task_id)
        assert (end["status"], end["agent"]) == ("completed", "perfect_recall")
        assert end["result"]["engine"] == "perfect_recall"
        ada.verify()


async def test_agents_that_come_at_run_time_outlive_kill_9(tmp_path: Path) -> None:
    file = configured(tmp_path)
    new = {"name": "smith", "role": "Smith", "prompt": "You forge.", "capabilities": ["forge"]}
    async with serve(file, tmp_path / "data") as served:
        made = await http(served.port, "/api/agents", method="POST", body=new)
        assert (made.status, made.json["agent_id"], made.json["status"]) == (201, "smith", "idle")
        assert (await http(served.port, "/api/agents", method="POST", body=new)).status == 409
        wrong = await http(served.port, "/api/agents", method="POST", body={**new, "name": "no such name", "role": ""})
        assert set(wrong.json["fields"]) == {"name", "role"}
        served.signal(signal.SIGKILL)
        await served.ended()
    async with serve(file, tmp_path / "data") as served, devices(served.port, "ada") as [ada]:
        assert (await http(served.port, "/api/agents/smith")).json["capabilities"] == ["forge"]
        end = await ended(ada, await submit(ada, "A horseshoe", required_capabilities=["forge"]))
        assert (end["status"], end["agent"]) == ("completed", "smith")
        assert (await http(served.port, "/api/agents/smith", method="DELETE")).status == 200
        assert (await http(served.port, "/api/agents/smith")).status == 404
        assert (await http(served.port, "/api/agents/smith", method="DELETE")).status == 404
        assert (await http(served.port, "/api/agents/writer", method="DELETE")).status == 409
        ada.verify()


def configured(directory: Path, more: str = "") -> Path:
    quick = QUICK.replace('base_url = "{base_url}"\n', "").replace("{{", "{").replace("}}", "}")
    file = directory / "tasks.toml"
    file.write_text(quick + more)
    return file


async def test_kill_9_with_tasks_queued_and_running(tmp_path: Path) -> None:
    """What waited waits, in its place; what was under way is the next attempt, and the last one's result is late."""
    file = configured(tmp_path)
    async with trio.open_nursery() as nursery:
        async with serve(file, tmp_path / "data") as served:
            ada, worker = Device(served.port, "ada"), Device(served.port, "ada")
            await nursery.start(ada.live)
            await nursery.start(worker.live)
            await register(worker, "count words", max_concurrent_tasks=1)
            running = await submit(ada, "The first", **COUNTING)
            await assigned(worker, running)
            low = await submit(ada, "The second", priority="LOW", **COUNTING)
            high = await submit(ada, "The third", priority="HIGH", id="repeated", **COUNTING)
            served.signal(signal.SIGKILL)
            await served.ended()
            await ada.until(lambda: ada.codes)
            await worker.until(lambda: worker.codes)
        async with serve(file, tmp_path / "data") as again:
            ada.port = worker.port = again.port
            stale = await complete(worker, running)
            assert stale["metadata"]["code"] == "conflict"
            ada.repeated.add("repeated")
            assert await submit(ada, "The third", priority="HIGH", id="repeated", **COUNTING) == high
            await register(worker, "count words", max_concurrent_tasks=1)
            for task_id, attempt in ((high, 1), (running, 2), (low, 1)):
                await assigned(worker, task_id, attempt)
                assert (await complete(worker, task_id, attempt))["type"] == "reply"
            for task_id in (running, low, high):
                assert (await ended(ada, task_id))["result"] == {"by": worker.client_id}
            assert statuses(ada, running) == ["queued", "running 1", "queued", "running 2", "completed 2"]
            assert statuses(ada, low) == statuses(ada, high) == ["queued", "running 1", "completed 1"]
            for each in (ada, worker):
                for task_id in (running, low, high):
                    await ended(each, task_id)
                each.verify()
        nursery.cancel_scope.cancel()
