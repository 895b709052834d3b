"""Every code that a refused command or request can have, had from one daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from actors.protocol.codes import ERRORS, ErrorCode
from tests.support.daemon import House, house, http, until
from tests.support.device import BRIEF, Device, devices
from tests.support.held_model import held_model

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NOT_YET = {ErrorCode.UNAUTHORIZED}
"""There is no authentication yet: nobody can be told to sign in."""
MORE = """
[connections]
commands_per_minute = 40
[tasks]
open_per_user = 1
[workflows.asks]
title = "Asks, and not for long"
approval_timeout = 0.05
steps = [{ name = "writing", agent = "writer", approval = true }]
"""


class Codes:
    """Those that came, each with the sentence that a person reads."""

    def __init__(self) -> None:
        self.came: dict[str, str] = {}

    def see(self, code: Mapping[str, Any], sentence: str) -> None:
        assert sentence
        self.came[code["code"]] = sentence

    async def over_websocket(self, device: Device, kind: str, content: str = "", **metadata: Any) -> None:
        answer = await device.ask(kind, content, **metadata)
        assert answer["type"] == "error", answer
        self.see(answer["metadata"], answer["content"])

    async def over_http(self, here: House, path: str, **more: Any) -> None:
        answer = await http(here.port, path, headers={"X-User-Id": "ada"}, **more)
        assert answer.status >= 400, answer
        assert answer.status == ERRORS[ErrorCode(answer.json["code"])].status
        self.see(answer.json, answer.json["message"])


async def test_each_code_can_be_had_and_says_what_a_person_can_do(tmp_path: Path) -> None:
    codes = Codes()
    async with (
        held_model() as model,
        house(tmp_path, model.base_url, more=MORE) as here,
        devices(here.port, "ada", "flood") as (ada, flood),
    ):
        await codes.over_websocket(ada, "hello")
        await codes.over_websocket(ada, "dance")
        await codes.over_websocket(ada, "create_session")
        await codes.over_websocket(ada, "start_run", "short", workflow="short")
        await codes.over_websocket(ada, "get_run", run_id="none")
        await ada.ask("set_mode", mode="off")
        await codes.over_websocket(ada, "start_run", BRIEF, workflow="short")
        await ada.ask("set_mode", mode="autopilot")
        await ada.ask("submit_task", "Dig", required_capabilities=["nobody can"])
        await codes.over_websocket(ada, "submit_task", "Dig", required_capabilities=["nobody can"])
        await ada.ask("start_run", BRIEF, id="twice", workflow="short")
        await codes.over_websocket(ada, "start_run", f"{BRIEF}, and more", id="twice", workflow="short")
        await codes.over_websocket(ada, "start_run", BRIEF, workflow="short")
        model.release()
        await ada.run_ended((await ada.wait_for(type="run_status"))["run_id"])
        run_id = await ada.start_run(workflow="asks")
        await ada.run_ended(run_id)
        asked = (await ada.wait_for(type="approval_request"))["metadata"]["approval_id"]
        await codes.over_websocket(ada, "decide", approval_id=asked, decision="approve")
        for _ in range(45):
            answer = await flood.ask("list_runs")
            if answer["type"] == "error":
                codes.see(answer["metadata"], answer["content"])
        await codes.over_http(here, "/api/tasks", method="POST", body={"description": "x" * 12_000_000})
        await _fail_in_the_middle(here, codes)
    assert set(codes.came) == set(ErrorCode) - NOT_YET


async def _fail_in_the_middle(here: House, codes: Codes) -> None:
    """The context fails while it waits for the journal: nobody knows what became of the command."""
    await http(here.port, "/api/supervisors/storage/suspend", method="POST")
    context = here.system.ref("/users/ada").target.actor
    body = {"brief": BRIEF, "workflow": "short"}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: codes.over_http(here, "/api/runs", method="POST", body=body))
        await until(lambda: context.commands.repeats._pending)
        here.crash("/users/ada")
        nursery.start_soon(lambda: http(here.port, "/api/supervisors/storage/resume", method="POST"))
