"""The other commands of `understudy`, as processes."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from tests.support.daemon import COMMAND, program, quick_file, serve, simulate
from tests.support.device import devices
from tests.support.held_model import held_model

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.daemon import Program
    from tests.support.held_model import HeldModel

ROLES = ("Analyst", "Architect", "Developer", "Tester", "Deployer")


async def ran(*arguments: str) -> tuple[int, str]:
    """Exit code and output of a command."""
    async with program(*arguments) as command:
        code = await command.ended()
        assert "Traceback" not in command.text
        return code, command.text


async def test_run_prints_five_answers_and_cancel_knows_what_it_is_told(tmp_path: Path) -> None:
    async with simulate("lead-1") as model:
        file = quick_file(tmp_path, f"http://127.0.0.1:{model.port}/v1")
        async with serve(file, tmp_path / "data", command=COMMAND) as served:
            url = f"127.0.0.1:{served.port}"
            code, text = await ran("run", "A shop that sells tea by weight", "--url", url)
            assert code == 0
            assert [role for role in ROLES if role in text] == list(ROLES)
            assert "completed" in text.splitlines()[-1]
            code, text = await ran("run", "too short", "--url", url)
            assert (code, len(text.splitlines())) == (1, 1)
            code, text = await ran("cancel", "nothing", "--url", url)
            assert (code, len(text.splitlines())) == (1, 1)


async def test_run_without_a_daemon_says_how_to_start_one() -> None:
    code, text = await ran("run", "A shop that sells tea by weight", "--url", "127.0.0.1:1")
    assert code == 1
    [line] = text.splitlines()
    assert "understudy serve" in line


@asynccontextmanager
async def under_way(directory: Path, brief: str) -> AsyncIterator[tuple[HeldModel, Program, str, str]]:
    """`understudy run` in mid-answer: the model that is held, the program, where the daemon is, and the run's id."""
    async with (
        held_model() as model,
        serve(quick_file(directory, model.base_url), directory / "data") as served,
        program("run", brief, "--url", (url := f"127.0.0.1:{served.port}"), "--workflow", "short") as running,
    ):
        await model.until(open=1)
        yield model, running, url, await open_run(served.port)


async def test_cancel_waits_until_everything_in_the_run_has_stopped(tmp_path: Path) -> None:
    async with under_way(tmp_path, "A brief to be cancelled") as (model, running, url, run_id):
        code, text = await ran("cancel", run_id, "--url", url)
        assert (code, text) == (0, f"Run {run_id} cancelled.")
        assert await running.ended() == 1
        await model.until(open=0, left=1)


async def open_run(port: int) -> str:
    """The one run of the user that the command line is where none is named."""
    async with devices(port, "dev") as [device]:
        [run] = (await device.ask("list_runs"))["metadata"]["runs"]
        return str(run["run_id"])


async def test_config_tells_each_value_and_where_it_came_from(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text('[models.default]\nmodel = "mine"\napi_key = "sk-very-secret-key"\n')
    code, text = await ran("config", "--config", str(file), "--format", "json")
    assert code == 0
    assert json.loads(text)
    assert "mine" in text
    assert "sk-very-secret-key" not in text
    code, text = await ran("config", "--config", str(tmp_path / "nowhere.toml"))
    assert code == 2


async def test_pause_and_resume_a_run(tmp_path: Path) -> None:
    async with under_way(tmp_path, "A brief to be paused") as (model, running, url, run_id):
        code, text = await ran("pause", run_id, "--url", url)
        assert (code, text.startswith(f"Told to pause: run {run_id}.")) == (0, True)
        model.release()
        await running.line("The run is paused.")
        assert model.asked == 1
        code, text = await ran("resume", run_id, "--url", url)
        assert (code, text) == (0, f"Told to go on: run {run_id}.")
        assert await running.ended() == 0
        assert model.asked == 2
