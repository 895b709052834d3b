"""Runs outlive the daemon: `understudy serve` is killed, and what the models, which are not in it, see is counted."""

from __future__ import annotations

import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.support.daemon import Served, http, serve
from tests.support.device import Device
from tests.support.simulated_model import SimulatedModel, simulated_model

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

STEPS = ("one", "two", "three", "four", "five")
"""Each step has a model of its own name, so that its requests are counted by themselves."""


def configured(directory: Path, model: SimulatedModel, *, on_restart: str = "resume") -> Path:
    base_url = model.base_url
    text = f'[runs]\non_restart = "{on_restart}"\n[models.default]\nmodel = "none"\nbase_url = "{base_url}"\n'
    for name in STEPS:
        text += f'[models.{name}]\nmodel = "{name}"\nbase_url = "{base_url}"\n'
        text += f'[agents.{name}]\nrole = "{name.capitalize()}"\nprompt = "You are {name}."\nmodels = ["{name}"]\n'
    steps = ", ".join(f'{{ name = "{name}", agent = "{name}" }}' for name in STEPS)
    file = directory / "five.toml"
    file.write_text(f'{text}[workflows.five]\ntitle = "Five steps"\nsteps = [{steps}]\n')
    return file


async def requests(model: SimulatedModel) -> dict[str, dict[str, int]]:
    """What each model was asked: its counts, by its name."""
    counts: dict[str, dict[str, int]] = (await http(model.port, "/faults")).json["requests"]
    return counts


async def totals(model: SimulatedModel) -> dict[str, int]:
    return {name: counts["total"] for name, counts in (await requests(model)).items()}


async def faults(model: SimulatedModel, **by_model: dict[str, Any]) -> None:
    assert (await http(model.port, "/faults", method="PUT", body=by_model)).status == 200


async def nothing_open(model: SimulatedModel) -> dict[str, dict[str, int]]:
    """The counts, when the model has seen every connection to it end."""
    with trio.fail_after(20):
        while True:
            found = await requests(model)
            if not any(counts["open"] for counts in found.values()):
                return found
            await trio.sleep(0.01)


@asynccontextmanager
async def client(served: Served, user: str = "ada") -> AsyncIterator[Device]:
    async with trio.open_nursery() as nursery:
        device = Device(served.port, user)
        await nursery.start(device.live)
        yield device
        nursery.cancel_scope.cancel()


async def kill(served: Served, device: Device) -> None:
    ended = len(device.codes)
    served.signal(signal.SIGKILL)
    assert await served.ended() == -signal.SIGKILL
    await device.until(lambda: len(device.codes) > ended)


def attempts(device: Device, run_id: str) -> list[tuple[str, int, str]]:
    """How each attempt ended, in the order of the log."""
    return [
        (f["metadata"]["step"], f["metadata"]["attempt"], f["metadata"]["status"])
        for f in device.log
        if f["type"] == "agent_status"
        and f["run_id"] == run_id
        and f["metadata"]["status"] in {"completed", "cancelled", "error"}
    ]


async def test_killed_after_two_of_five_steps_the_run_goes_on_and_nothing_is_asked_again(tmp_path: Path) -> None:
    async with simulated_model("simulated") as model:
        file = configured(tmp_path, model)
        await faults(model, three={"fault": "stall", "after_tokens": 3, "requests": 1})
        async with serve(file, tmp_path / "data") as served, client(served) as ada:
            run_id = await ada.start_run(workflow="five")
            await ada.wait_for(type="agent_delta", step="three")
            assert await totals(model) == {"one": 1, "two": 1, "three": 1}
            await kill(served, ada)
            async with serve(file, tmp_path / "data") as again:
                ada.port = again.port
                assert await ada.run_ended(run_id) == "completed"
                assert ada.welcome["metadata"]["resumed"]
                assert await totals(model) == {"one": 1, "two": 1, "three": 2, "four": 1, "five": 1}
                assert attempts(ada, run_id) == [
                    ("one", 1, "completed"),
                    ("two", 1, "completed"),
                    ("three", 1, "error"),
                    ("three", 2, "completed"),
                    ("four", 1, "completed"),
                    ("five", 1, "completed"),
                ]
                assert {frame["run_id"] for frame in ada.log} == {run_id}
                assert ada.log[0]["seq"] == 1
                ada.verify()


async def test_killed_again_and_again(tmp_path: Path) -> None:
    """Once as soon as the run is accepted, and then in the middle of several steps."""
    async with simulated_model("simulated") as model, trio.open_nursery() as nursery:
        file = configured(tmp_path, model)
        stall = {"fault": "stall", "after_tokens": 3, "requests": 1}
        await faults(model, **dict.fromkeys(STEPS[::2], stall))
        async with serve(file, tmp_path / "data") as served:
            ada = Device(served.port, "ada")
            await nursery.start(ada.live)
            run_id = await ada.start_run(workflow="five")
            await kill(served, ada)
        for name in STEPS[::2]:
            async with serve(file, tmp_path / "data") as served:
                ada.port = served.port
                await ada.wait_for(type="agent_delta", step=name)
                await kill(served, ada)
        async with serve(file, tmp_path / "data") as served:
            ada.port = served.port
            assert await ada.run_ended(run_id) == "completed"
            counts = await nothing_open(model)
            assert {name: found["ok"] for name, found in counts.items()} == dict.fromkeys(STEPS, 1)
            ada.verify()
        nursery.cancel_scope.cancel()


async def test_a_run_that_is_to_fail_when_it_is_cut(tmp_path: Path) -> None:
    async with simulated_model("simulated") as model:
        file = configured(tmp_path, model, on_restart="fail")
        await faults(model, two={"fault": "stall", "after_tokens": 3, "requests": 1})
        async with serve(file, tmp_path / "data") as served, client(served) as ada:
            run_id = await ada.start_run(workflow="five")
            await ada.wait_for(type="agent_delta", step="two")
            await kill(served, ada)
            async with serve(file, tmp_path / "data") as again:
                ada.port = again.port
                assert await ada.run_ended(run_id) == "failed"
                assert await totals(model) == {"one": 1, "two": 1}
                assert attempts(ada, run_id)[-1] == ("two", 1, "error")
                ada.verify()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_paused_run_is_paused_at_the_next_start(number: signal.Signals, tmp_path: Path) -> None:
    async with simulated_model("simulated", tokens_per_second=400.0) as model:
        file = configured(tmp_path, model)
        async with serve(file, tmp_path / "data") as served, client(served) as ada:
            run_id = await ada.start_run(workflow="five")
            await ada.wait_for(type="agent_delta", step="one")
            answer = await ada.ask("pause_run", run_id=run_id)
            assert answer["metadata"]["status"] == "running"
            paused = await ada.wait_for(type="run_status", status="paused")
            assert paused["metadata"]["cause"] == answer["metadata"]["reply_to"]
            served.signal(number)
            await served.ended()
            await ada.until(lambda: ada.codes)
            top = ada.log[-1]["seq"]
            async with serve(file, tmp_path / "data") as again:
                ada.port = again.port
                run = (await ada.ask("get_run", run_id=run_id))["metadata"]
                assert (run["run"]["status"], run["seq"]) == ("paused", top)
                assert await totals(model) == {"one": 1}
                answer = await ada.ask("resume_run", run_id=run_id)
                assert answer["metadata"]["status"] == "paused"
                assert await ada.run_ended(run_id) == "completed"
                assert await totals(model) == dict.fromkeys(STEPS, 1)
                assert ada.log[top]["metadata"]["status"] == "running"
                ada.verify()


async def test_cancelling_closes_what_is_open_at_the_provider(tmp_path: Path) -> None:
    async with simulated_model("simulated") as model:
        file = configured(tmp_path, model)
        await faults(model, one={"fault": "stall", "after_tokens": 3, "requests": 1})
        async with serve(file, tmp_path / "data") as served, client(served) as ada:
            run_id = await under_way(ada)
            assert (await requests(model))["one"]["open"] == 1
            await ada.ask("cancel_run", run_id=run_id)
            assert await ada.run_ended(run_id) == "cancelled"
            counts = await nothing_open(model)
            assert counts["one"]["closed_by_client"] == 1
            assert set(counts) == {"one"}
            ada.verify()


async def under_way(ada: Device) -> str:
    run_id = await ada.start_run(workflow="five")
    await ada.wait_for(type="agent_delta", step="one")
    return run_id


async def test_cancelled_and_killed_at_once_it_is_cancelled(tmp_path: Path) -> None:
    async with simulated_model("simulated") as model:
        file = configured(tmp_path, model)
        await faults(model, one={"fault": "stall", "after_tokens": 3, "requests": 1})
        async with serve(file, tmp_path / "data") as served, client(served) as ada:
            run_id = await under_way(ada)
            await ada.ask("cancel_run", run_id=run_id)
            await kill(served, ada)
            async with serve(file, tmp_path / "data") as again:
                ada.port = again.port
                assert await ada.run_ended(run_id) == "cancelled"
                assert await totals(model) == {"one": 1}
                ada.verify()


async def test_an_operator_pauses_every_run_and_lets_them_go_on(tmp_path: Path) -> None:
    async with simulated_model("simulated", tokens_per_second=400.0) as model:
        file = configured(tmp_path, model)
        async with serve(file, tmp_path / "data") as served, client(served) as ada, client(served, "bob") as bob:
            runs = [await under_way(each) for each in (ada, bob)]
            assert (await http(served.port, "/api/runs/pause", method="POST")).json == {"runs": 2}
            for each in (ada, bob):
                await each.wait_for(type="run_status", status="paused")
            assert (await http(served.port, "/api/runs/resume", method="POST")).json == {"runs": 2}
            for each, run_id in zip((ada, bob), runs, strict=True):
                assert await each.run_ended(run_id) == "completed"
                each.verify()
