"""The same log and the same commands without a WebSocket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import trio

from tests.support.daemon import Response, house, http, until
from tests.support.device import devices
from tests.support.grammar import check

if TYPE_CHECKING:
    from pathlib import Path

BRIEF = "Write two short texts about the sea."


async def ask(port: int, **parameters: Any) -> dict[str, Any]:
    response = await http(port, f"/api/events?{urlencode(parameters)}")
    assert response.status == 200, response.body
    found: dict[str, Any] = response.json
    return found


async def command(port: int, type_: str, command_id: str, **fields: Any) -> Response:
    return await http(port, "/api/commands", method="POST", body={"id": command_id, "type": type_, **fields})


async def start(port: int, command_id: str = "s1") -> str:
    response = await command(port, "start_run", command_id, content=BRIEF, metadata={"workflow": "short"})
    assert response.status == 200, response.body
    assert response.json["type"] == "reply"
    assert response.json["metadata"]["reply_to"] == command_id
    run_id: str = response.json["metadata"]["run_id"]
    return run_id


async def follow(port: int, position: dict[str, Any]) -> list[dict[str, Any]]:
    """Every event until a run has ended, asked for page by page."""
    epoch, after = position["epoch"], position["seq"]
    events: list[dict[str, Any]] = []
    while not any(e["type"] == "run_status" and e["metadata"]["status"] == "completed" for e in events):
        page = await ask(port, client_id="poller", epoch=epoch, after=after, wait=20)
        assert page["resumed"] is True
        events += page["events"]
        after = events[-1]["seq"] if events else after
    return events


async def test_a_run_is_started_and_followed_without_a_websocket(tmp_path: Path):
    async with house(tmp_path, None) as here:
        position = await ask(here.port, client_id="poller")
        assert (position["seq"], position["resumed"], position["events"]) == (0, False, [])
        run_id = await start(here.port)
        with trio.fail_after(40):
            events = await follow(here.port, position)
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
        assert {event["run_id"] for event in events} == {run_id}
        assert check(events, connection=False) == []


async def test_polling_and_websocket_tell_the_same(tmp_path: Path):
    async with house(tmp_path, None) as here, devices(here.port, "dev") as [device]:
        position = await ask(here.port)
        run_id = await start(here.port)
        assert await device.run_ended(run_id) == "completed"
        page = await ask(here.port, epoch=position["epoch"], after=0)
        durable = [frame for frame in device.log if "seq" in frame]
        assert page["events"] == durable


async def test_an_empty_question_is_answered_by_the_next_event(tmp_path: Path):
    async with house(tmp_path, None) as here:
        position = await ask(here.port)
        answers: list[dict[str, Any]] = []

        async def wait() -> None:
            answers.append(await ask(here.port, epoch=position["epoch"], after=0, wait=25))

        with trio.fail_after(40):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait)
                await trio.testing.wait_all_tasks_blocked(0.05)
                await start(here.port)
        assert answers[0]["events"][0]["type"] == "run_status"


async def test_nothing_new_is_an_empty_page_when_the_wait_is_over(tmp_path: Path):
    async with house(tmp_path, None) as here:
        position = await ask(here.port)
        page = await ask(here.port, epoch=position["epoch"], after=0, wait=0.05)
        assert page == {"epoch": position["epoch"], "seq": 0, "resumed": True, "events": []}


async def test_a_position_that_cannot_be_resumed_brings_nothing(tmp_path: Path):
    async with house(tmp_path, None) as here:
        position = await ask(here.port)
        other = await ask(here.port, epoch="another", after=0)
        ahead = await ask(here.port, epoch=position["epoch"], after=7)
        assert (other["resumed"], other["events"]) == (False, [])
        assert (ahead["resumed"], ahead["events"]) == (False, [])


async def test_half_a_position_is_refused(tmp_path: Path):
    async with house(tmp_path, None) as here:
        response = await http(here.port, "/api/events?after=0")
        assert response.status == 422
        assert response.json["fields"] == {"epoch": "epoch is needed: a position is an epoch and a seq."}
        assert (await http(here.port, "/api/events?epoch=x&after=0&wait=26")).status == 422


async def test_commands_are_refused_as_over_the_websocket(tmp_path: Path):
    async with house(tmp_path, None) as here:
        port = here.port
        short = await command(port, "start_run", "1", content="short")
        assert (short.status, short.json["type"]) == (422, "error")
        assert short.json["metadata"]["fields"]["content"].startswith("The brief needs 10")
        assert (await command(port, "no_such_thing", "2")).json["metadata"]["code"] == "unknown_type"
        assert (await command(port, "typing", "3")).status == 503
        assert (await command(port, "get_run", "4", metadata={"run_id": "nobody"})).status == 404
        assert (await command(port, "hello", "5")).status == 400
        assert (await http(port, "/api/commands", method="POST", body=[1])).status == 400
        beat = await command(port, "heartbeat", "6")
        assert (beat.json["type"], beat.json["metadata"]["reply_to"]) == ("heartbeat", "6")
        assert (await command(port, "ack", "7", metadata={"seq": 0})).json["type"] == "reply"


async def test_a_command_is_carried_out_once_whichever_way_it_comes(tmp_path: Path):
    async with house(tmp_path, None) as here, devices(here.port, "dev") as [device]:
        run_id = await start(here.port, "once")
        assert await start(here.port, "once") == run_id
        assert await device.run_ended(run_id) == "completed"
        listed = await command(here.port, "list_runs", "l1")
        assert [run["run_id"] for run in listed.json["metadata"]["runs"]] == [run_id]


async def test_a_run_is_started_once_as_a_resource_or_by_a_command(tmp_path: Path):
    async with house(tmp_path, None) as here, devices(here.port, "dev") as [device]:
        run_id = await start(here.port, "once")
        body, key = {"brief": BRIEF, "workflow": "short"}, {"Idempotency-Key": "once"}
        again = await http(here.port, "/api/runs", method="POST", body=body, headers=key)
        assert (again.status, again.json["run_id"]) == (201, run_id)
        other = {**body, "brief": "Something else entirely"}
        conflict = await http(here.port, "/api/runs", method="POST", body=other, headers=key)
        assert (conflict.status, conflict.json["code"]) == (409, "conflict")
        assert await device.run_ended(run_id) == "completed"


async def test_a_resource_takes_what_the_command_takes(tmp_path: Path):
    async with house(tmp_path, None) as here, devices(here.port, "dev") as [device]:
        elsewhere = {"brief": BRIEF, "workflow": "short", "session_id": "of-somebody"}
        assert (await http(here.port, "/api/runs", method="POST", body=elsewhere)).status == 404
        run_id = await start(here.port)
        nobody = {"agent_name": "Nobody"}
        answer = await http(here.port, f"/api/runs/{run_id}/cancel", method="POST", body=nobody)
        assert (answer.status, answer.json["code"]) == (404, "not_found")
        assert await device.run_ended(run_id) == "completed"


async def test_runs_are_resources_too(tmp_path: Path):
    async with house(tmp_path, None) as here, devices(here.port, "dev") as [device]:
        port = here.port
        workflows = (await http(port, "/api/workflows")).json
        assert [w["name"] for w in workflows] == ["delivery", "remediation", "review", "short"]
        assert [step["depends_on"] for step in workflows[-1]["steps"]] == [[], ["writing"]]
        started = await http(port, "/api/runs", method="POST", body={"brief": BRIEF, "workflow": "short"})
        assert started.status == 201
        run_id = started.json["run_id"]
        busy = await http(port, "/api/runs", method="POST", body={"brief": BRIEF, "workflow": "short"})
        assert (busy.status, busy.json["code"], busy.json["run_id"]) == (409, "already_running", run_id)
        assert await device.run_ended(run_id) == "completed"
        assert (await http(port, f"/api/runs/{run_id}")).json["run"]["status"] == "completed"
        assert [run["run_id"] for run in (await http(port, "/api/runs")).json["runs"]] == [run_id]
        assert (await http(port, f"/api/runs/{run_id}/cancel", method="POST")).json["status"] == "completed"
        assert (await http(port, "/api/runs/nobody")).status == 404
        unknown = await http(port, "/api/runs", method="POST", body={"brief": BRIEF, "workflow": "?"})
        assert (unknown.status, list(unknown.json["fields"])) == (422, ["workflow"])
        [limits] = (await http(port, "/api/rate-limits")).json
        assert (limits["model"], limits["state"], limits["requests"]) == ("default", "closed", 2)


async def test_an_operator_suspends_resumes_and_restarts_an_actor(tmp_path: Path):
    async with house(tmp_path, None) as here:
        port = here.port
        assert (await http(port, "/api/supervisors/runs/suspend", method="POST")).json == {
            "path": "/runs",
            "order": "suspend",
        }
        await here_state(here, "/runs", "suspended")
        assert (await http(port, "/api/supervisors/runs/resume", method="POST")).status == 200
        await here_state(here, "/runs", "running")
        before = here.crashes
        assert (await http(port, "/api/supervisors/users/restart", method="POST")).status == 200
        await until(lambda: here.crashes == before + 1)
        await here.settled()
        assert (await http(port, "/api/supervisors/nobody/restart", method="POST")).status == 404
        assert (await http(port, "/api/supervisors/users/explode", method="POST")).status == 400


async def here_state(here: Any, path: str, state: str) -> None:
    await until(lambda: here.node(path).state == state)
