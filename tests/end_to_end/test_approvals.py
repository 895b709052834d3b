"""Workflows, approvals and modes, over real sockets: with the simulated model, and over `kill -9`."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.daemon import House, Served, house, http, serve
from tests.support.device import Device, devices
from tests.support.simulated_model import simulated_model

if TYPE_CHECKING:
    from pathlib import Path

ASKING = """
[workflows.asks]
title = "The first of two asks"
on_restart = "{on_restart}"
approval_on_timeout = "{on_timeout}"
approval_timeout = {timeout}
steps = [
    {{ name = "writing", agent = "writer", approval = true, on_failure = "stop" }},
    {{ name = "critique", agent = "critic" }},
]
"""


def asking(on_timeout: str = "reject", timeout: float = 600.0, on_restart: str = "resume") -> str:
    return ASKING.format(on_timeout=on_timeout, timeout=timeout, on_restart=on_restart)


async def approval(device: Device, number: int = 1) -> dict[str, Any]:
    """The metadata of that approval_request."""

    def found() -> Any:
        requests = [frame for frame in device.log if frame["type"] == "approval_request"]
        return requests[number - 1] if len(requests) >= number else None

    frame: dict[str, Any] = await device.until(found)
    return dict(frame["metadata"])


async def ended(device: Device, run_id: str) -> str:
    status = await device.run_ended(run_id)
    device.verify()
    return str(status)


class TestDecisions:
    @pytest.mark.parametrize(("decision", "status"), [("approve", "completed"), ("reject", "failed")])
    async def test_a_person_decides(self, decision: str, status: str, tmp_path: Path) -> None:
        async with house(tmp_path, None, more=asking()) as here, devices(here.port, "ada", "bob") as (ada, bob):
            run_id = await ada.start_run(workflow="asks")
            asked = await approval(ada)
            await ada.wait_for(type="run_status", status="waiting_for_approval")
            shown = (await ada.ask("get_run", run_id=run_id))["metadata"]
            assert shown["run"]["status"] == "waiting_for_approval"
            assert shown["approvals"][0]["answer"] == asked["answer"]
            stranger = await bob.ask("decide", approval_id=asked["approval_id"], decision="approve")
            assert stranger["metadata"]["code"] == "not_found"
            reply = await ada.ask("decide", approval_id=asked["approval_id"], decision=decision, digest=asked["digest"])
            assert reply["type"] == "reply", reply
            assert await ended(ada, run_id) == status
            answers = [frame["content"] for frame in ada.log if frame["type"] == "agent_response"]
            assert (asked["answer"] in answers) == (decision == "approve")
            again = await ada.ask("decide", approval_id=asked["approval_id"], decision=decision)
            assert again["metadata"]["status"] == reply["metadata"]["status"]
            other = await ada.ask("decide", "Shorter.", approval_id=asked["approval_id"], decision="modify")
            assert other["metadata"] | {"code": "conflict", "decision": decision} == other["metadata"]

    async def test_modified_with_feedback(self, tmp_path: Path) -> None:
        async with house(tmp_path, None, more=asking()) as here, devices(here.port, "ada") as (ada,):
            run_id = await ada.start_run(workflow="asks")
            first = await approval(ada)
            empty = await ada.ask("decide", approval_id=first["approval_id"], decision="modify")
            assert empty["metadata"]["code"] == "invalid_fields"
            await ada.ask("decide", "Please in verse.", approval_id=first["approval_id"], decision="modify")
            second = await approval(ada, 2)
            assert (second["attempt"], second["step"]) == (2, "writing")
            await ada.ask("decide", approval_id=second["approval_id"], decision="approve")
            assert await ended(ada, run_id) == "completed"

    @pytest.mark.parametrize(("on_timeout", "status"), [("reject", "failed"), ("approve", "completed")])
    async def test_nobody_decides_in_time(self, on_timeout: str, status: str, tmp_path: Path) -> None:
        async with house(tmp_path, None, more=asking(on_timeout, 0.3)) as here, devices(here.port, "ada") as (ada,):
            run_id = await ada.start_run(workflow="asks")
            asked = await approval(ada)
            assert await ended(ada, run_id) == status
            result = await ada.wait_for(type="approval_result")
            assert (result["metadata"]["decision"], result["metadata"]["by"]) == (on_timeout, "timeout")
            late = await ada.ask("decide", approval_id=asked["approval_id"], decision="approve")
            assert late["metadata"]["code"] == "expired"

    async def test_over_http(self, tmp_path: Path) -> None:
        async with house(tmp_path, None, more=asking()) as here, devices(here.port, "dev") as (dev,):
            run_id = await dev.start_run(workflow="asks")
            asked = await approval(dev)
            metadata = {"approval_id": asked["approval_id"], "decision": "approve"}
            body = {"id": "decide-1", "type": "decide", "metadata": metadata}
            assert (await http(here.port, "/api/commands", method="POST", body=body)).status == 200
            assert await ended(dev, run_id) == "completed"


@pytest.mark.parametrize("on_restart", ["resume", "fail"])
async def test_killed_while_it_waits_the_answer_is_still_there(on_restart: str, tmp_path: Path) -> None:
    async with simulated_model("simulated") as model:
        file = tmp_path / "u.toml"
        agents = "".join(
            f'[agents.{n}]\nrole = "{n.capitalize()}"\nprompt = "You are {n}."\n' for n in ("writer", "critic")
        )
        url = f'[models.default]\nmodel = "lead"\nbase_url = "{model.base_url}"\n'
        file.write_text(url + agents + asking(on_restart=on_restart))
        async with serve(file, tmp_path / "data") as served, devices(served.port, "ada") as (ada,):
            run_id = await ada.start_run(workflow="asks")
            asked = await approval(ada)
            await ada.wait_for(type="run_status", status="waiting_for_approval")
            await kill(served, ada)
            async with serve(file, tmp_path / "data") as again:
                ada.port = again.port
                shown = (await ada.ask("get_run", run_id=run_id))["metadata"]
                assert shown["approvals"][0]["answer"] == asked["answer"]
                assert shown["run"]["status"] == "waiting_for_approval"
                counts = (await http(model.port, "/faults")).json["requests"]
                assert counts["lead"]["total"] == 1
                await ada.ask("decide", approval_id=asked["approval_id"], decision="approve", digest=asked["digest"])
                assert await ended(ada, run_id) == "completed"
                texts = [frame["content"] for frame in ada.log if frame["type"] == "agent_response"]
                assert texts[0] == asked["answer"]
                attempts = [frame["metadata"]["attempt"] for frame in ada.log if frame["type"] == "agent_response"]
                assert attempts == [1, 1]


async def kill(served: Served, device: Device) -> None:
    over = len(device.codes)
    served.signal(signal.SIGKILL)
    assert await served.ended() == -signal.SIGKILL
    await device.until(lambda: len(device.codes) > over)


async def test_in_hitl_every_answer_waits_and_off_starts_nothing(tmp_path: Path) -> None:
    async with house(tmp_path, None) as here, devices(here.port, "ada", "bob") as (ada, bob):
        assert (await ada.ask("set_mode", mode="hitl"))["metadata"]["mode"] == "hitl"
        run_id = await ada.start_run()
        for number in (1, 2):
            asked = await approval(ada, number)
            await ada.ask("decide", approval_id=asked["approval_id"], decision="approve")
        assert await ended(ada, run_id) == "completed"
        await ada.ask("set_mode", mode="off")
        refused = await ada.ask("start_run", "A shop that sells tea by weight", workflow="short")
        assert (refused["type"], refused["metadata"]["code"]) == ("error", "forbidden")
        assert "autopilot" in refused["content"]
        # Another user's agents answer by themselves.
        assert await ended(bob, await bob.start_run()) == "completed"
        wrong = await ada.ask("set_mode", mode="never")
        assert wrong["metadata"]["fields"] == {"mode": "mode must be autopilot, hitl or off."}


class TestRemediation:
    async def test_from_end_to_end(self, tmp_path: Path) -> None:
        async with house(tmp_path, None) as here, devices(here.port, "ada") as (ada,):
            run_id = await ada.start_run("Orders are lost when two pay at once", workflow="remediation")
            assert await ended(ada, run_id) == "completed"
            shown = (await ada.ask("get_run", run_id=run_id))["metadata"]
            assert (shown["run"]["done"], len(shown["steps"])) == (23, 23)
            story = [
                f"{frame['metadata']['step']} {frame['metadata']['status']}"
                for frame in ada.log
                if frame["type"] == "agent_status"
            ]
            for before, gate, after in (
                ("core-", "core-validation", "integration-"),
                ("integration-", "integration-validation", "testing-"),
                ("testing-", "testing-validation", "monitoring-"),
            ):
                begins = story.index(f"{gate} started")
                work = [n for n, line in enumerate(story) if line.startswith(before) and gate not in line]
                assert max(work) < begins
                assert min(n for n, line in enumerate(story) if line.startswith(after)) > story.index(
                    f"{gate} completed"
                )
                starts = [n for n in work if story[n].endswith("started")]
                assert max(starts) < min(n for n in work if story[n].endswith("completed"))

    async def test_a_batch_that_is_not_approved_holds_the_next(self, tmp_path: Path) -> None:
        async with house(tmp_path, None) as here, devices(here.port, "ada") as (ada,):
            brief = "Orders are lost when two pay at once.\nplay-verdict: reject - The repair of data is missing."
            run_id = await ada.start_run(brief, workflow="remediation")
            assert await ended(ada, run_id) == "failed"
            last = [frame for frame in ada.log if frame["type"] == "run_status"][-1]
            assert last["content"] == (
                'Batch "core" was not approved, so nothing that builds on it was begun. The repair of data is missing.'
            )
            assert not any(frame["metadata"].get("step", "").startswith("integration") for frame in ada.log)

    async def test_the_review_is_consolidated(self, tmp_path: Path) -> None:
        async with house(tmp_path, None) as here, devices(here.port, "ada") as (ada,):
            run_id = await ada.start_run("Please review this: a cache without an end", workflow="review")
            assert await ended(ada, run_id) == "completed"
            assert complaints(here) == []


def complaints(here: House) -> list[str]:
    """What the daemon's log has to complain about."""
    return [line["event"] for line in here.log if line.get("level") in {"error", "critical"}]
