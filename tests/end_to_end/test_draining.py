"""The end of a daemon as its clients, its operator and its exit code see it."""

from __future__ import annotations

import json
import signal
import sys
from typing import TYPE_CHECKING, Any

import trio

from tests.support.daemon import http, quick_file, serve
from tests.support.device import Device, devices
from tests.support.held_model import held_model

if TYPE_CHECKING:
    from pathlib import Path

NEVER_ENDS = """
import trio
from actors.workflows.run import Run
from understudy.cli import main

async def stay():
    while True:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            pass

real = Run.started

async def started(self):
    await real(self)
    self.start(stay, name="stay")

Run.started = started
main()
"""
"""The program, with a task in each run that nothing can end."""

TAKES_NOTHING = """
import os
import signal

reading, writing = os.pipe()
os.set_blocking(writing, False)
try:
    while True:
        os.write(writing, bytes(4096))
except BlockingIOError:
    os.set_blocking(writing, True)

def stop_reading(*_):
    os.dup2(writing, 2)
    print("nobody reads any more", flush=True)

signal.signal(signal.SIGUSR1, stop_reading)
"""
"""Before a program: from SIGUSR1 on nobody takes what it writes to stderr."""


async def test_many_clients_leave_in_mid_run_each_at_its_time(tmp_path: Path) -> None:
    users = [f"user{number}" for number in range(20)]
    async with held_model() as model, trio.open_nursery() as nursery:
        file = quick_file(tmp_path, model.base_url)
        async with (
            serve(file, tmp_path / "data", "--shutdown-deadline", "10") as served,
            devices(served.port, *users) as here,
        ):
            for device in here:
                await device.run_under_way()
                device.comes_back = False
            with trio.fail_after(10):
                served.signal(signal.SIGTERM)
                assert await served.ended() == 0
            waits = []
            for device in here:
                await device.until(lambda device=device: device.codes)
                assert device.codes == [1012]
                draining = [frame for frame in device.frames if frame["type"] == "draining"]
                assert len(draining) == 1
                waits.append(draining[0]["metadata"]["retry_after"])
                device.verify(midrun=True)
            assert len(set(waits)) > 10
            assert "Traceback" not in served.text
        nursery.cancel_scope.cancel()
        model.release()


async def test_an_operator_may_have_it_drain_over_http(tmp_path: Path) -> None:
    async with (
        held_model() as model,
        trio.open_nursery() as clients,
        serve(quick_file(tmp_path, model.base_url), tmp_path / "data", "--shutdown-deadline", "10") as served,
    ):
        ada = Device(served.port, "ada")
        await clients.start(ada.live)
        ada.comes_back = False
        answer = await http(served.port, "/api/drain", method="POST")
        assert answer.status == 202
        assert answer.json == {"status": "draining", "within": 10.0}
        assert await served.ended() == 0
        await ada.until(lambda: ada.codes)
        assert ada.codes == [1012]
        line = json.loads(await served.line("stopping"))
        assert line["why"] == "POST /api/drain by dev"
        clients.cancel_scope.cancel()


async def test_while_it_drains_nothing_is_begun_over_http_either(tmp_path: Path) -> None:
    async with (
        held_model() as model,
        serve(quick_file(tmp_path, model.base_url), tmp_path / "data", "--shutdown-deadline", "8") as served,
    ):
        lingering = await trio.open_tcp_stream("127.0.0.1", served.port)  # it is given a second to say something
        served.signal(signal.SIGTERM)
        await served.line("stopping")
        body = {"id": "one", "type": "start_run", "content": "A brief that is long enough", "metadata": {}}
        answer = await http(served.port, "/api/commands", method="POST", body=body)
        assert (answer.status, answer.json["metadata"]["code"]) == (503, "unavailable")
        ready = await http(served.port, "/ready")
        assert ready.status == 503
        await lingering.aclose()
        assert await served.ended() == 0


async def test_an_answer_that_is_held_open_comes_when_the_daemon_leaves(tmp_path: Path) -> None:
    async with (
        held_model() as model,
        trio.open_nursery() as clients,
        serve(quick_file(tmp_path, model.base_url), tmp_path / "data", "--shutdown-deadline", "8") as served,
    ):
        begun = (await http(served.port, "/api/events?client_id=c")).json
        answers = []

        async def poll() -> None:
            position = f"epoch={begun['epoch']}&after={begun['seq']}"
            answers.append(await http(served.port, f"/api/events?client_id=c&{position}&wait=25"))

        clients.start_soon(poll)
        with trio.fail_after(10):
            while len(connections(await http(served.port, "/api/supervisors"))) < 2:  # the other one is who looks
                await trio.sleep(0.01)
        served.signal(signal.SIGTERM)
        assert await served.ended() == 0
    [answer] = answers
    assert answer.status == 200
    assert answer.json == {"epoch": begun["epoch"], "seq": begun["seq"], "resumed": True, "events": []}


def connections(tree: Any) -> list[Any]:
    [gateway] = [node for node in tree.json["children"] if node["path"] == "/gateway"]
    [found] = [node for node in gateway["children"] if node["path"] == "/gateway/connections"]
    return list(found["children"])


async def test_a_task_that_cannot_be_ended_is_abandoned_at_the_deadline(tmp_path: Path) -> None:
    """Trio cannot abandon a task; the program can, and says which and how (exit code 70)."""
    async with held_model() as model, trio.open_nursery() as clients:
        file = quick_file(tmp_path, model.base_url)
        command = (sys.executable, "-c", NEVER_ENDS)
        async with serve(file, tmp_path / "data", "--shutdown-deadline", "1.5", command=command) as served:
            ada = Device(served.port, "ada")
            await clients.start(ada.live)
            ada.comes_back = False
            await ada.run_under_way()
            served.signal(signal.SIGTERM)
            assert await served.ended() == 70
            line = await served.line("gave up waiting for")
            assert "/runs/" in line
            await ada.until(lambda: ada.codes)
        clients.cancel_scope.cancel()


async def test_it_gives_up_at_the_deadline_where_nobody_takes_its_log(tmp_path: Path) -> None:
    command = (sys.executable, "-c", TAKES_NOTHING + NEVER_ENDS)
    async with held_model() as model, trio.open_nursery() as clients:
        file = quick_file(tmp_path, model.base_url)
        async with serve(file, tmp_path / "data", "--shutdown-deadline", "1.5", command=command) as served:
            ada = Device(served.port, "ada")
            await clients.start(ada.live)
            ada.comes_back = False
            await ada.run_under_way()
            served.signal(signal.SIGUSR1)
            await served.line("nobody reads any more")
            served.signal(signal.SIGTERM)
            assert await served.ended() == 70
        clients.cancel_scope.cancel()
