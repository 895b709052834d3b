"""A real MCP server, a process of its own, as a source of tools."""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio

from actors.tools.mcp import ListRemoteTools
from runtime import ActorError
from tests.support.daemon import WITHIN, House, house, until
from tests.support.device import Device, devices

SERVER = Path(__file__).parents[1] / "support" / "mcp_server.py"
MORE = f"""
[mcp.small]
command = '{sys.executable}'
args = ['{SERVER}']
environment = ["SHOUT_END"]
[mcp.gone]
command = "no-such-program-anywhere"
[agents.handy]
role = "Handyman"
prompt = "You are the Handyman."
tools = ["small", "gone"]
[workflows.tooled]
title = "With tools"
steps = [{{ name = "work", agent = "handy" }}]
"""


@pytest.fixture(autouse=True, scope="module")
def _library() -> None:
    """Not where this module is loaded: it takes a second, in each worker."""
    pytest.importorskip("mcp")


async def running(daemon: House) -> None:
    """Wait until the server has told its tools."""
    with trio.fail_after(WITHIN):
        while True:
            with suppress(ActorError):
                if await daemon.system.ref("/tools/small").ask(ListRemoteTools(), 5):
                    return
            await trio.sleep(0.02)


async def tool_of(ada: Device, tool: str, **arguments: Any) -> dict[str, Any]:
    run_id = await ada.start_run(f"Tea.\ncall-tool: {tool} {json.dumps(arguments)}", workflow="tooled")
    assert await ada.run_ended(run_id) == "completed"
    [ended] = [f["metadata"] for f in ada.log if f.get("run_id") == run_id and f["type"] == "tool_completed"]
    metadata: dict[str, Any] = ended
    return metadata


async def test_its_tools_are_called_its_end_is_survived_and_it_sees_only_what_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOUT_END", "!")
    monkeypatch.setenv("SHOUT_HIDDEN", "hidden")
    async with house(tmp_path, None, more=MORE) as daemon, devices(daemon.port, "ada") as [ada]:
        await running(daemon)
        said = await tool_of(ada, "small__shout", text="tea")
        assert (said["status"], said["tool_output"]) == ("success", "TEA!")
        assert (await tool_of(ada, "small__shout", text=3))["status"] == "error"
        assert (await tool_of(ada, "small__die"))["status"] == "error"
        await running(daemon)
        assert (await tool_of(ada, "small__shout", text="again"))["tool_output"] == "AGAIN!"
        lost = [line for line in daemon.log if line["event"] == "mcp server lost" and line["server"] == "gone"]
        assert {(line["command"], line["why"]) for line in lost} == {
            ("no-such-program-anywhere", "No such file or directory")
        }
        ada.verify()


async def test_killed_in_mid_call_the_call_has_failed_at_once_and_the_server_comes_back(tmp_path: Path) -> None:
    async with house(tmp_path, None, more=MORE) as daemon, devices(daemon.port, "ada") as [ada]:
        await running(daemon)
        file = tmp_path / "pid"
        brief = f"Tea.\ncall-tool: small__hang {json.dumps({'file': str(file)})}"
        run_id = await ada.start_run(brief, workflow="tooled")
        await ada.wait_for(type="tool_executing", run_id=run_id)
        pid = int(await until(lambda: file.exists() and file.read_text()))
        os.kill(pid, signal.SIGKILL)
        assert await ada.run_ended(run_id) == "completed"
        [ended] = [f["metadata"] for f in ada.log if f["type"] == "tool_completed"]
        assert ended["status"] == "error", "and not at the end of its 30 s"
        assert str(tmp_path) not in json.dumps([f for f in ada.log if f["type"] == "agent_response"])
        await until(lambda: not Path(f"/proc/{pid}").exists())  # nobody is left to wait for it
        await running(daemon)
        assert (await tool_of(ada, "small__shout", text="again"))["tool_output"] == "AGAIN"
        assert await daemon.metric('understudy_tool_calls_total{outcome="failed",tool="small"}') == 1
        assert await daemon.metric('understudy_tool_calls_total{outcome="done",tool="small"}') == 1
        assert await daemon.metric('understudy_tool_calls_total{outcome="done",tool="gone"}') == 0
        ada.verify()
