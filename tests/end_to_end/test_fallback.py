"""Three calls in a row fail: the understudy takes over, the fourth leaves the lead alone, a probe brings it back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import trio

from tests.support.daemon import http, serve
from tests.support.device import Device
from tests.support.simulated_model import SimulatedModel, simulated_model

if TYPE_CHECKING:
    from pathlib import Path

FIVE = """
[calls]
attempts = 3
[fallback]
failures = 3
open_first = {open_first}
open_cap = 60.0
[models.default]
model = "lead-large"
base_url = "{lead}"
[models.understudy]
model = "second-small"
base_url = "{understudy}"
[agents.writer]
role = "Writer"
prompt = "You are the Writer of a team. Write a little."
models = ["default", "understudy"]
[workflows.five]
title = "Five calls, one after the other"
steps = [
    {{ name = "one", agent = "writer" }},
    {{ name = "two", agent = "writer" }},
    {{ name = "three", agent = "writer" }},
    {{ name = "four", agent = "writer" }},
    {{ name = "five", agent = "writer" }},
]
"""
STEPS = ["one", "two", "three", "four", "five"]


async def counts(model: SimulatedModel, name: str) -> dict[str, int]:
    found: dict[str, int] = (await http(model.port, "/faults")).json["requests"].get(name, {})
    return found


def of(ada: Device, run_id: str, kind: str, **metadata: Any) -> list[dict[str, Any]]:
    return [
        frame
        for frame in ada.log
        if frame.get("run_id") == run_id and frame["type"] == kind and metadata.items() <= frame["metadata"].items()
    ]


async def test_nine_requests_fail_and_the_lead_comes_back_with_a_probe(tmp_path: Path) -> None:
    # The open time: longer than the calls that must find the lead open, shorter than what the test waits for it.
    open_first = 4.0
    async with (
        simulated_model("lead-large") as lead,
        simulated_model("second-small") as second,
        trio.open_nursery() as clients,
    ):
        file = tmp_path / "two.toml"
        file.write_text(FIVE.format(open_first=open_first, lead=lead.base_url, understudy=second.base_url))
        async with serve(file, tmp_path / "data") as served:
            ada = Device(served.port, "ada")
            await clients.start(ada.live)
            await ada.ask("subscribe", channel="system_alerts")
            faults = {"lead-large": {"fault": "status", "status": 500, "requests": 9}}
            assert (await http(lead.port, "/faults", method="PUT", body=faults)).status == 200

            first = await ada.start_run(workflow="five")
            assert await ada.run_ended(first) == "completed"
            answered_by = [frame["metadata"]["model"] for frame in of(ada, first, "agent_response")]
            assert answered_by == ["second-small"] * 5
            # Three calls, each with its three attempts: the fourth and the fifth did not touch the lead.
            asked = await counts(lead, "lead-large")
            assert (asked["total"], asked["faulted"], asked["ok"]) == (9, 9, 0)
            assert (await counts(second, "second-small"))["ok"] == 5
            retrying = [frame["metadata"]["step"] for frame in of(ada, first, "agent_status", status="retrying")]
            assert retrying == ["one", "one", "two", "two", "three", "three"]
            fallbacks = of(ada, first, "agent_status", status="fallback")
            assert [(frame["metadata"]["step"], frame["metadata"]["model"]) for frame in fallbacks] == [
                (step, "second-small") for step in STEPS
            ]
            assert {frame["metadata"]["degraded"] for frame in of(ada, first, "agent_response")} == {False}
            tree = (await http(served.port, "/api/supervisors")).json
            assert chain(tree)["active"] == "understudy"
            ready = (await http(served.port, "/ready")).json
            assert (ready["status"], ready["checks"]["model default"]["status"]) == ("degraded", "degraded")
            switched = json.loads(await served.line('"fallback": "/models/chain-default+understudy"'))
            assert (switched["active"], switched["before"]) == ("understudy", "default")

            # The second run, once the lead is due: its first call is the one probe, and the rest stay there.
            with trio.fail_after(30):
                while chain((await http(served.port, "/api/supervisors")).json)["active"] != "default":
                    run_id = await ada.start_run(workflow="five")
                    assert await ada.run_ended(run_id) == "completed"
            asked = await counts(lead, "lead-large")
            assert asked["faulted"] == 9
            assert asked["ok"] >= 1
            back = await ada.start_run(workflow="five")
            assert await ada.run_ended(back) == "completed"
            assert [f["metadata"]["model"] for f in of(ada, back, "agent_response")] == ["lead-large"] * 5
            assert of(ada, back, "agent_status", status="fallback") == []
            ready = (await http(served.port, "/ready")).json
            assert (ready["status"], ready["checks"]["model default"]["status"]) == ("ok", "ok")
            told = [frame["metadata"]["payload"] for frame in ada.frames if frame["type"] == "channel"]
            [raised, resolved] = [alert for alert in told if "stands in" in alert["message"]]
            assert raised["message"] == "chain-default+understudy: understudy stands in for default."
            assert resolved == {**raised, "resolved_at": resolved["resolved_at"]}
            ada.verify()
            assert "Traceback" not in served.text
            clients.cancel_scope.cancel()


def chain(tree: dict[str, Any]) -> dict[str, Any]:
    """The fallback over both models, in the tree."""
    nodes = [tree]
    while nodes:
        node = nodes.pop()
        if node["path"] == "/models/chain-default+understudy":
            return node
        nodes += node["children"]
    raise AssertionError("the tree shows no such chain")


async def test_a_simulated_model_is_never_the_understudy_of_a_real_one(tmp_path: Path) -> None:
    async with (
        simulated_model("lead-large") as lead,
        simulated_model("simulated") as second,
        trio.open_nursery() as clients,
    ):
        file = tmp_path / "two.toml"
        file.write_text(FIVE.format(open_first=60.0, lead=lead.base_url, understudy=second.base_url))
        async with serve(file, tmp_path / "data") as served:
            ada = Device(served.port, "ada")
            await clients.start(ada.live)
            first = await ada.start_run(workflow="five")  # the lead says who it is
            assert await ada.run_ended(first) == "completed"
            faults = {"lead-large": {"fault": "status", "status": 401}}
            assert (await http(lead.port, "/faults", method="PUT", body=faults)).status == 200
            run_id = await ada.start_run(workflow="five")
            assert await ada.run_ended(run_id) == "completed"
            answers = of(ada, run_id, "agent_response")
            assert [answer["metadata"]["degraded"] for answer in answers] == [True] * 5
            assert not any("model" in answer["metadata"] for answer in answers)
            ada.verify()
            clients.cancel_scope.cancel()
