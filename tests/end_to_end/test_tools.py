"""Tools, artifacts and child agents through the real daemon, over real sockets, with the simulated model."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import trio

from actors.agents import step
from tests.support.daemon import QUICK, WITHIN, House, house, http, serve, until
from tests.support.device import Device, devices

MORE = """
[tools.forecast]
function = "tests.support.plugin_tools:forecast"
[tools.think]
function = "tests.support.plugin_tools:think"
timeout = 0.3
[tools.block]
function = "tests.support.plugin_tools:block"
[tools.wait_for]
function = "tests.support.plugin_tools:wait_for"
timeout = 0.3
[tools.soon]
function = "tests.support.plugin_tools:fail"
timeout = 0.3
[tools.fail]
function = "tests.support.plugin_tools:fail"
[agents.handy]
role = "Handyman"
prompt = "You are the Handyman."
tools = ["forecast", "think", "block", "wait_for", "soon", "fail", "search_memory", "remember", "read_artifact",
    "write_artifact", "list_artifacts"]
[agents.chief]
role = "Chief"
prompt = "You are the Chief."
capabilities = ["lead"]
tools = ["start_agent"]
[workflows.tooled]
title = "With tools"
steps = [{ name = "work", agent = "handy" }]
[workflows.two]
title = "Two steps"
steps = [{ name = "first", agent = "writer" }, { name = "second", agent = "handy" }]
[workflows.led]
title = "With children"
steps = [{ name = "lead", agent = "chief" }]
"""


def call(tool: str, /, **arguments: Any) -> str:
    return f"\ncall-tool: {tool} {json.dumps(arguments)}"


async def one_run(ada: Device, brief: str, workflow: str = "tooled") -> tuple[str, list[dict[str, Any]]]:
    run_id = await ada.start_run("A shop that sells tea." + brief, workflow=workflow)
    assert await ada.run_ended(run_id) == "completed"
    return run_id, [frame for frame in ada.log if frame.get("run_id") == run_id]


def story(log: list[dict[str, Any]]) -> list[str]:
    kinds = ("agent_status", "agent_response", "tool_executing", "tool_completed")
    return [
        f["metadata"].get("status", f["type"]) if f["type"] == "agent_status" else f["type"]
        for f in log
        if f["type"] in kinds
    ]


async def get(port: int, path: str, user: str = "ada") -> tuple[int, dict[str, str], bytes]:
    """A request with its path exactly as it is written."""
    head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\nX-User-Id: {user}\r\n\r\n"
    with trio.fail_after(WITHIN):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(head.encode())
            received = b"".join([piece async for piece in stream])
    top, _, body = received.partition(b"\r\n\r\n")
    first, *lines = top.decode().split("\r\n")
    return int(first.split()[1]), {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}, body


async def test_the_five_events_and_what_may_be_shown_of_a_tool(tmp_path: Path) -> None:
    async with house(tmp_path, None, more=MORE) as daemon, devices(daemon.port, "ada") as [ada]:
        _, log = await one_run(ada, call("forecast", city="c" * 300, days=2))
        assert story(log) == [
            *("started", "thinking", "executing_tool", "tool_executing", "tool_completed"),
            *("thinking", "agent_response", "completed"),
        ]
        [begun] = [f["metadata"] for f in log if f["type"] == "tool_executing"]
        assert begun["tool_input"] == {"city": "c" * 200, "days": 2}
        assert begun["truncated"] is True
        [ended] = [f["metadata"] for f in log if f["type"] == "tool_completed"]
        assert ended["status"] == "success"
        assert ended["tool_output"]["api_key"] == "[redacted]"
        assert ended["tool_output"]["city"] == "c" * 300
        assert len(ended["tool_output"]["text"]) < 10_000
        assert ended["truncated"] is True
        [answer] = [f for f in log if f["type"] == "agent_response"]
        assert "sk-of-the-weather"[:3] in answer["content"] or "city" in answer["content"], "the model has the result"
        ada.verify()


@pytest.mark.parametrize(
    ("brief", "status"),
    [
        (call("think", seconds=30), "timeout"),
        (call("think", seconds="long"), "error"),
        (call("fail", how="problem"), "error"),
        (call("fail", how="crash"), "error"),
        (call("nothing_of_the_kind"), "error"),
        (call("forecast", city="Rome", country="Italy"), "error"),
    ],
)
async def test_every_failure_is_told_and_the_run_goes_on(tmp_path: Path, brief: str, status: str) -> None:
    async with house(tmp_path, None, more=MORE) as daemon, devices(daemon.port, "ada") as [ada]:
        run_id, log = await one_run(ada, brief)
        [ended] = [f["metadata"] for f in log if f["type"] == "tool_completed"]
        assert ended["status"] == status
        assert "tool_output" not in ended
        for hidden in ("hunter2", "/srv", "RuntimeError"):
            assert hidden not in json.dumps([f for f in log if f["type"] != "agent_response"])
        [told] = [line for line in daemon.log if line["event"] == "tool failed"]
        assert (told["run_id"], told["step"], told["attempt"]) == (run_id, ended["step"], ended["attempt"])
        assert "hunter2" not in str(daemon.log)
        ada.verify()


async def test_a_thread_that_hangs_keeps_its_place_and_everybody_is_told(tmp_path: Path) -> None:
    """One thread for tools: the first call takes it for good, the second finds none, and then it is free again."""
    file = tmp_path / "file"
    more = MORE + "[runs]\ntool_threads = 1\n"
    async with house(tmp_path, None, more=more) as daemon, devices(daemon.port, "ada") as [ada]:
        _, log = await one_run(ada, call("wait_for", path=str(file)) + call("soon", how="problem"))
        first, second = [f["metadata"]["status"] for f in log if f["type"] == "tool_completed"]
        assert (first, second) == ("timeout", "timeout")
        [said] = [line for line in daemon.log if line["event"] == "no thread was free for a tool"]
        assert (said["tool"], said["left"], said["level"]) == ("soon", 1, "error")
        assert await daemon.metric("understudy_tool_threads_left") == 1
        file.touch()
        await until(lambda: any(line["event"] == "late result of a tool dropped" for line in daemon.log))
        assert await daemon.metric("understudy_tool_threads_left") == 0
        assert await daemon.metric('understudy_tool_late_results_total{tool="wait_for"}') == 1
        assert await daemon.metric('understudy_tool_calls_total{outcome="timed_out",tool="wait_for"}') == 1
        assert await daemon.metric('understudy_tool_seconds_count{tool="soon"}') == 1
        _, log = await one_run(ada, call("wait_for", path=str(file)))
        assert [f["metadata"]["status"] for f in log if f["type"] == "tool_completed"] == ["success"]
        ada.verify()


async def test_a_file_is_written_and_read_by_the_step_behind_and_downloaded_by_its_owner_alone(tmp_path: Path) -> None:
    async with house(tmp_path, None, more=MORE) as daemon, devices(daemon.port, "ada") as [ada]:
        brief = (
            call("write_artifact", name="first.md", content="mine, <script>")
            + call("write_artifact", name="../up", content="")
            + call("read_artifact", name="first.md", step="first")
            + call("read_artifact", name="first.md", step="other")
        )
        run_id, log = await one_run(ada, brief, "two")
        done = [f["metadata"] for f in log if f["type"] == "tool_completed"]
        assert [each["status"] for each in done] == ["success", "error", "success", "error"]
        answers = {f["metadata"]["step"]: f for f in log if f["type"] == "agent_response"}
        assert {name: f["metadata"]["artifact"] for name, f in answers.items()} == {
            "first": "first.md",
            "second": "second.md",
        }
        assert done[2]["tool_output"]["content"].startswith(answers["first"]["content"][:100])

        base = f"/api/runs/{run_id}/artifacts"
        status, _, body = await get(daemon.port, base)
        listed = json.loads(body)
        assert status == 200
        assert [(a["name"], a["step"], a["conflict"]) for a in listed] == [
            ("first.md", "first", True),
            ("first.md", "second", True),
            ("second.md", "second", False),
        ]
        assert all(len(a["checksum"]) == 64 and a["size"] and a["written"] for a in listed)
        status, headers, body = await get(daemon.port, f"{base}/second.md")
        assert status == 200
        assert body.decode() == answers["second"]["content"]
        assert headers["content-type"].startswith("text/plain")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-disposition"] == 'attachment; filename="second.md"'
        status, _, body = await get(daemon.port, f"{base}/first.md")
        assert (status, json.loads(body)["code"]) == (409, "conflict")
        assert "first, second" in json.loads(body)["fields"]["step"]
        assert (await get(daemon.port, f"{base}/first.md?step=second"))[2] == b"mine, <script>"
        assert (await get(daemon.port, f"{base}/first.md?step=third"))[0] == 404
        for path in (base, f"{base}/second.md"):
            assert (await get(daemon.port, path, "eve"))[0] == 404
        for name in ("..%2f..%2fstate.db", "%2e%2e/second.md", "../second.md", "..", "%00", ".unfinished-x", "a" * 500,
                     "second.md%00", "..%5csecond.md", "%2fetc%2fpasswd", "second.md/", "%c0%ae%c0%ae"):  # fmt: skip
            status, _, body = await get(daemon.port, f"{base}/{name}")
            assert status == 404 or name == "second.md/", name
            assert b"SQLite" not in body
            assert b"root:" not in body
        assert (await get(daemon.port, "/api/runs/..%2f..%2fada/artifacts"))[0] == 404
        ada.verify()


async def test_a_child_agent_has_its_own_events_and_the_depth_has_an_end(tmp_path: Path) -> None:
    async with house(tmp_path, None, more=MORE) as daemon, devices(daemon.port, "ada") as [ada]:
        _, log = await one_run(ada, call("start_agent", agent="critic", mission="Say what is wrong."), "led")
        child = [f["metadata"] for f in log if f["metadata"].get("parent") == "lead"]
        assert [c["status"] for c in child if "status" in c] == ["started", "thinking", "completed"]
        assert {c["step"] for c in child} == {"lead.1"}
        assert [f["metadata"]["steps"] for f in log if f["type"] == "run_status"][-1] == ["lead"]
        [ended] = [f["metadata"] for f in log if f["type"] == "tool_completed"]
        assert ended["tool_output"]["agent"] == "critic"

        _, log = await one_run(ada, call("start_agent", agent="chief", mission="Go deeper."), "led")
        begun = [f["metadata"]["step"] for f in log if f["metadata"].get("status") == "started"]
        assert begun == ["lead" + ".1" * depth for depth in range(11)]
        done = [f["metadata"] for f in log if f["type"] == "tool_completed"]
        assert [each["status"] for each in done] == ["error", *["success"] * 10]
        assert done[0]["step"] == "lead" + ".1" * 10

        _, log = await one_run(ada, call("start_agent", agent="nobody", mission="?"), "led")
        assert [f["metadata"]["status"] for f in log if f["type"] == "tool_completed"] == ["error"]
        ada.verify()


async def test_the_agent_of_a_task_starts_others_too(tmp_path: Path) -> None:
    async with house(tmp_path, None, more=MORE) as daemon, devices(daemon.port, "ada") as [ada]:
        description = "A shop that sells tea." + call("start_agent", agent="critic", mission="Say what is wrong.")
        answer = await ada.ask("submit_task", description, required_capabilities=["lead"])
        task_id = answer["metadata"]["task_id"]
        done = await ada.wait_for(type="task_status", task_id=task_id, status="completed")
        assert "critic" in done["metadata"]["result"]["text"], "the model has the child's answer"
        assert await daemon.metric('understudy_tool_calls_total{outcome="done",tool="start_agent"}') == 1
        await left(daemon, task_id)
        folder = tmp_path / "data" / "artifacts" / "=ada" / f"={task_id}"
        assert sorted(path.name for path in folder.rglob("*.md")) == ["task.1.md", "task.md"]
        ada.verify()


async def test_a_run_that_is_cancelled_closes_tool_and_child(tmp_path: Path) -> None:
    more = MORE.replace('tools = ["start_agent"]', 'tools = ["start_agent", "block"]')
    async with house(tmp_path, None, more=more) as daemon, devices(daemon.port, "ada") as [ada]:
        brief = call("start_agent", agent="handy", mission="Block.") + call("block", seconds=60)
        run_id = await ada.start_run(brief, workflow="led")
        await ada.wait_for(type="tool_executing", run_id=run_id)
        await ada.ask("cancel_run", run_id=run_id)
        assert await ada.run_ended(run_id) == "cancelled"
        ada.verify()
        await left(daemon, run_id)


async def left(daemon: House, run_id: str) -> None:
    with trio.fail_after(WITHIN):
        while any(run_id in path for path in daemon.paths()):
            await trio.sleep(0.01)


async def test_killed_in_mid_tool_the_tool_is_closed_and_called_again(tmp_path: Path) -> None:
    file = tmp_path / "u.toml"
    quick = QUICK.replace('base_url = "{base_url}"\n', "").replace("{{", "{").replace("}}", "}")
    file.write_text(quick + MORE.replace("timeout = 0.3", "timeout = 60"))
    async with serve(file, tmp_path / "data") as first:
        ada = Device(first.port, "ada")
        async with trio.open_nursery() as nursery:
            await nursery.start(ada.live)
            run_id = await ada.start_run("Tea." + call("think", seconds=3.0), workflow="tooled")
            await ada.wait_for(type="tool_executing", run_id=run_id)
            first.signal(signal.SIGKILL)
            await first.ended()
            async with serve(file, tmp_path / "data", port=first.port):
                assert await ada.run_ended(run_id) == "completed"
                ada.comes_back = False
                nursery.cancel_scope.cancel()
    log = [f for f in ada.log if f.get("run_id") == run_id]
    done = [(f["metadata"]["attempt"], f["metadata"]["status"]) for f in log if f["type"] == "tool_completed"]
    assert done == [(1, "error"), (2, "success")]
    ada.verify()


async def test_the_memory_is_searched_for_its_owner_only(tmp_path: Path) -> None:
    async with house(tmp_path, None, more=MORE) as daemon, devices(daemon.port, "ada", "eve") as [ada, eve]:
        await one_run(ada, call("remember", content="The tea of Assam is sold by weight"))
        _, log = await one_run(ada, call("search_memory", query="Assam tea"))
        [found] = [f["metadata"]["tool_output"] for f in log if f["type"] == "tool_completed"]
        assert [memory["content"] for memory in found["memories"]] == ["The tea of Assam is sold by weight"]
        _, log = await one_run(eve, call("search_memory", query="Assam tea"))
        [found] = [f["metadata"]["tool_output"] for f in log if f["type"] == "tool_completed"]
        assert found["memories"] == []
        ada.verify()
        eve.verify()


async def test_the_files_of_a_run_are_listed_only_once_it_is_there(tmp_path: Path) -> None:
    async with house(tmp_path, None, more=MORE) as daemon:
        assert (await http(daemon.port, "/api/runs/none/artifacts")).status == 404


async def test_the_files_of_a_run_go_with_its_record(tmp_path: Path) -> None:
    async with house(tmp_path, None, more=MORE) as daemon, devices(daemon.port, "ada") as [ada]:
        old, _ = await one_run(ada, call("write_artifact", name="x.txt", content="x"))
    folder = tmp_path / "data" / "artifacts" / "=ada" / f"={old}"
    assert sorted(path.name for path in folder.rglob("*.*")) == ["work.md", "x.txt"]
    while folder.stat().st_mtime + 2.0 > time.time():  # the shortest time for which records are kept
        await trio.sleep(0.05)
    async with house(tmp_path, None, more=MORE + "[log]\nseconds = 1\n") as daemon:
        await until(lambda: not folder.exists())
        await until(lambda: daemon.node("/runs"))
        with trio.fail_after(WITHIN):
            while (await get(daemon.port, f"/api/runs/{old}/artifacts"))[0] != 404:
                await trio.sleep(0.01)


async def test_an_answer_is_given_where_the_disk_does_not_take_its_file(tmp_path: Path) -> None:
    async with house(tmp_path, None, more=MORE) as daemon, devices(daemon.port, "ada") as [ada]:
        (tmp_path / "data" / "artifacts").write_text("in the way")
        _, log = await one_run(ada, call("write_artifact", name="x.txt", content="x"))
        [answer] = [f for f in log if f["type"] == "agent_response"]
        assert "artifact" not in answer["metadata"]
        assert [f["metadata"]["status"] for f in log if f["type"] == "tool_completed"] == ["error"]
        assert any(line["event"] == "answer not kept as an artifact" for line in daemon.log)
        assert str(tmp_path) not in json.dumps(log), "and no path, not even in what the model repeats"
        ada.verify()


async def test_a_file_that_the_disk_was_too_slow_for_does_not_appear_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, written = threading.Event(), []

    def slow(handle: int) -> None:
        if "/artifacts/" in str(path := Path(f"/proc/self/fd/{handle}").readlink()) and path.is_file():
            go_on.wait(WITHIN)
            written.append(path)

    monkeypatch.setattr(step, "KEEP_WITHIN", 0.2)
    monkeypatch.setattr(os, "fsync", slow)
    async with house(tmp_path, None, more=MORE) as daemon, devices(daemon.port, "ada") as [ada]:
        run_id, log = await one_run(ada, "Something without a file")
        [answer] = [f for f in log if f["type"] == "agent_response"]
        assert "artifact" not in answer["metadata"]
        go_on.set()
        await until(lambda: written and not written[0].exists())
        status, _, listed = await get(daemon.port, f"/api/runs/{run_id}/artifacts")
        assert (status, listed) == (200, b"[]")
        ada.verify()
