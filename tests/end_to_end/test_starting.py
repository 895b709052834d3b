"""What keeps a daemon from starting is one line that says what to do; what does not, is no reason not to start."""

from __future__ import annotations

import json
import os
import signal
import socket
from typing import TYPE_CHECKING

import pytest
import trio

from tests.support.daemon import http, program, quick_file, serve
from tests.support.device import Device
from tests.support.held_model import held_model
from tests.support.simulated_model import simulated_model

if TYPE_CHECKING:
    from pathlib import Path


async def refused(*arguments: str) -> str:
    """Its one line, of a daemon that does not start."""
    async with program("serve", *arguments, command=None) as served:
        assert await served.ended() == 2
        assert "Traceback" not in served.text
        [line] = served.lines
        assert line.startswith("understudy: ")
        return str(line)


def toml(directory: Path, text: str) -> str:
    file = directory / "bad.toml"
    file.write_text(text)
    return str(file)


async def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        line = await refused("--data", str(tmp_path / "data"), "--port", port)
        assert f"127.0.0.1:{port} is taken" in line
        assert "--port" in line


async def test_a_data_directory_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("in the way")
    line = await refused("--data", str(tmp_path / "data"), "--port", "0")
    assert "there is a file in its place" in line
    assert "--data" in line


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_data_directory_that_may_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o500)
    line = await refused("--data", str(tmp_path / "data"), "--port", "0")
    assert "cannot be written" in line
    assert "--data" in line


async def test_a_data_directory_below_which_nothing_can_be_made() -> None:
    line = await refused("--data", "/proc/understudy", "--port", "0")
    assert "cannot be written" in line
    assert "--data" in line


async def test_a_data_directory_in_use(tmp_path: Path) -> None:
    async with held_model() as model:
        file = quick_file(tmp_path, model.base_url)
        async with serve(file, tmp_path / "data") as first:
            line = await refused("--data", str(tmp_path / "data"), "--port", "0")
            assert f"in use by another daemon (process {first.process.pid})" in line
            assert "--data" in line
            first.signal(signal.SIGKILL)
            await first.ended()
        async with serve(file, tmp_path / "data"):  # the lock was held for life, and no longer
            pass


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[server\nport = 1", ("bad.toml",)),
        ("[server]\nprot = 1", ("prot", "port")),
        ("[sever]\nport = 1", ("sever", "server")),
        ("[fallback]\nfailures = 0", ("fallback.failures", "0", "1")),
        (
            '[workflows.mine]\ntitle = "Mine"\nsteps = [{ name = "one", agent = "anallyst" }]',
            ("workflows.mine", "anallyst"),
        ),
        ('[agents.analyst]\nmodels = ["smal"]', ("agents.analyst.models", "smal")),
        ('[server]\nhost = "0.0.0.0"', ("0.0.0.0", "authentication")),
    ],
)
async def test_a_configuration_that_cannot_be_used(text: str, words: tuple[str, ...], tmp_path: Path) -> None:
    line = await refused("--config", toml(tmp_path, text), "--data", str(tmp_path / "data"), "--port", "0")
    for word in ("bad.toml", *words):
        assert word in line
    assert not (tmp_path / "data").exists()


async def test_a_host_that_is_not_this_machine(tmp_path: Path) -> None:
    line = await refused("--host", "0.0.0.0", "--data", str(tmp_path / "data"), "--port", "0")
    assert "0.0.0.0" in line
    assert "authentication" in line


async def test_a_configuration_file_that_is_not_there(tmp_path: Path) -> None:
    line = await refused("--config", str(tmp_path / "nowhere.toml"), "--port", "0")
    assert "nowhere.toml" in line


DOWN = """
[calls]
attempts = 1
[fallback]
open_first = 60.0
open_cap = 60.0
[models.default]
model = "lead-1"
base_url = "http://127.0.0.1:{port}/v1"
"""


async def test_a_provider_that_is_down_is_told_and_the_degraded_answer_serves(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound, and nobody listens
        file = tmp_path / "down.toml"
        file.write_text(DOWN.format(port=nobody.getsockname()[1]))
        async with serve(file, tmp_path / "data") as served, trio.open_nursery() as clients:
            ready = await http(served.port, "/ready")
            assert ready.status == 200
            ada = Device(served.port, "ada")
            await clients.start(ada.live)
            assert await ada.run_ended(await ada.start_run(workflow="delivery")) == "completed"
            answers = [frame for frame in ada.log if frame["type"] == "agent_response"]
            assert [answer["metadata"]["degraded"] for answer in answers] == [True] * 5
            assert {"model" in answer["metadata"] for answer in answers} == {False}
            assert "No model could be reached" in answers[0]["content"]
            assert len({answer["content"] for answer in answers}) == 5  # each fits its role
            ada.verify()
            ready = await http(served.port, "/ready")
            assert (ready.status, ready.json["status"]) == (200, "degraded")
            assert ready.json["checks"]["model default"]["status"] == "degraded"
            told = [json.loads(line) for line in served.lines if "model" in line and '"warning"' in line]
            assert any(line.get("endpoint") == "default" for line in told), served.text
            assert "Traceback" not in served.text
            clients.cancel_scope.cancel()


async def test_a_key_that_is_refused_is_a_configuration_error_that_the_user_understands(tmp_path: Path) -> None:
    faults = {"lead-1": {"fault": "status", "status": 401}}
    async with simulated_model("lead-1") as model:
        model.simulation.tell(faults)
        file = tmp_path / "refused.toml"
        file.write_text(DOWN.format(port=model.port))
        async with serve(file, tmp_path / "data") as served, trio.open_nursery() as clients:
            ada = Device(served.port, "ada")
            await clients.start(ada.live)
            assert await ada.run_ended(await ada.start_run(workflow="delivery")) == "completed"
            counts = (await http(model.port, "/faults")).json["requests"]["lead-1"]
            assert counts["total"] == 1  # it opens at once: nobody else is made to wait for it
            fallback = await ada.wait_for(type="agent_status", status="fallback")
            assert fallback["metadata"]["error_type"] == "configuration"
            ada.verify()
            assert (await http(served.port, "/ready")).json["status"] == "degraded"
            clients.cancel_scope.cancel()
