"""A provider's failures as people read them, and as an operator finds them; and both APIs through the whole daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from actors.protocol.catalogue import BUSY_RETRYING, CATALOGUE, Failure
from tests.support.daemon import House, house, http
from tests.support.device import Device
from tests.support.sentences import every_sentence
from tests.support.simulated_model import simulated_model

if TYPE_CHECKING:
    from pathlib import Path

# What providers really send: keys, paths, stack traces, names of classes and of other customers.
MARKS = ("sk-proj-4f9Kq2LmZ8", "/srv/inference/worker.py", "KeyError", "org-7Hq", "inference-pod-17", "Traceback")
NASTY = " ".join(("Incorrect key sk-proj-4f9Kq2LmZ8 of org-7Hq:", *MARKS[1:]))

FAULTS: list[tuple[dict[str, Any], str, Failure | None]] = [
    ({"fault": "status", "status": 500, "message": NASTY, "code": "KeyError"}, "server_error", None),
    ({"fault": "status", "status": 401, "message": NASTY, "code": "invalid_api_key"}, "configuration", None),
    ({"fault": "status", "status": 400, "message": NASTY}, "bad_request", Failure.BAD_REQUEST),
    ({"fault": "status", "status": 400, "message": NASTY, "code": "content_filter"}, "content_policy",
     Failure.CONTENT_POLICY),
    ({"fault": "status", "status": 429, "message": NASTY, "retry_after": 400}, "rate_limit", None),
    ({"fault": "error_event", "after_tokens": 0, "message": NASTY, "code": "org-7Hq"}, "server_error", None),
    ({"fault": "wrong_shape", "after_tokens": 0, "payload": f'{{"Traceback": "{NASTY}"}}'}, "malformed", None),
]  # fmt: skip


ALONE = """
[models.other]
model = "lead-2"
api = "{api}"
[agents.alone]
role = "Loner"
prompt = "You are the Loner."
models = ["other"]
[workflows.alone]
title = "One step"
steps = [{{ name = "only", agent = "alone" }}]
"""


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_nothing_of_a_provider_reaches_a_client_and_the_log_has_the_cause(tmp_path: Path, api: str) -> None:
    async with simulated_model("lead-1", tokens_per_second=float("inf")) as model:
        for number, (fault, kind, failure) in enumerate(FAULTS):
            # A daemon for each: none finds the model left alone because of the one before.
            async with (
                house(tmp_path / f"{number}", model.base_url, more=ALONE.format(api=api)) as daemon,
                trio.open_nursery() as clients,
            ):
                ada = Device(daemon.port, "ada")
                await clients.start(ada.live)
                model.simulation.tell({"lead-2": fault})
                run_id = await ada.start_run(workflow="alone")
                await ada.run_ended(run_id)
                check(ada, daemon, run_id, kind, failure)
                clients.cancel_scope.cancel()


def check(ada: Device, daemon: House, run_id: str, kind: str, failure: Failure | None) -> None:
    for frame in ada.frames:
        assert not any(mark in str(frame) for mark in MARKS), frame
    statuses = [frame for frame in ada.log if frame["type"] == "agent_status"]
    trouble = [frame for frame in statuses if frame["metadata"]["status"] in ("retrying", "fallback", "error")]
    assert trouble
    assert {frame["content"] for frame in trouble} <= every_sentence()
    if failure is not None:
        assert trouble[-1]["content"] == CATALOGUE[failure].sentence
        assert trouble[-1]["metadata"]["error_type"] == CATALOGUE[failure].error_type
    causes = [line for line in daemon.log if line.get("run_id") == run_id and line.get("kind") == kind]
    assert causes, "an operator finds the cause by the run"
    assert causes[0]["endpoint"] == "other"
    assert causes[0]["detail"]
    assert "sk-proj-4f9Kq2LmZ8" not in str(daemon.log), "and no key, not even there"


async def test_who_waits_for_a_turn_reads_that_the_service_is_busy_and_the_limits_show_it(tmp_path: Path) -> None:
    async with simulated_model("lead-1", tokens_per_second=20) as model:
        more = ALONE.format(api="chat").replace('api = "chat"', "in_flight = 1")
        async with house(tmp_path, model.base_url, more=more) as daemon, trio.open_nursery() as clients:
            ada, bob = Device(daemon.port, "ada"), Device(daemon.port, "bob")
            await clients.start(ada.live)
            await clients.start(bob.live)
            first = await ada.start_run(workflow="alone")
            await ada.wait_for(type="agent_delta")
            second = await bob.start_run(workflow="alone")
            busy = await bob.until(
                lambda: next((f for f in bob.log if f["metadata"].get("status") == "retrying"), None)
            )
            assert busy["content"] == BUSY_RETRYING
            assert busy["metadata"]["error_type"] == "rate_limit"
            limits = {one["model"]: one for one in (await http(daemon.port, "/api/rate-limits")).json}
            other = limits["other"]
            assert (other["in_flight"], other["in_flight_limit"], other["waiting"]) == (1, 1, 1)
            assert (other["waiting_users"], other["granted"], other["source"]) == (1, 1, "configured")
            await ada.ask("cancel_run", run_id=first)
            await bob.wait_for(type="agent_delta")
            limits = {one["model"]: one for one in (await http(daemon.port, "/api/rate-limits")).json}
            assert limits["other"]["wait_longest_ms"] >= 1000
            await bob.ask("cancel_run", run_id=second)
            assert await bob.run_ended(second) == "cancelled"
            bob.verify()
            clients.cancel_scope.cancel()
