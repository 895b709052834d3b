"""A server of tools as its actor keeps it, without a process behind it."""

from __future__ import annotations

from typing import Any

import pytest
import structlog
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.tools.context import ToolContext, ToolProblem
from actors.tools.mcp import McpServer, McpServerSpec, McpTools, RemoteTool
from runtime import Spec, open_system

CONTEXT = ToolContext("ada", "r1", "step", 1, "c1")
TIMEOUT = 2.0


class Session:
    """Answers pings, and no call of a tool."""

    def __init__(self) -> None:
        self.calls = 0

    async def call_tool(self, _name: str, _arguments: dict[str, Any]) -> None:
        self.calls += 1
        try:
            await trio.sleep_forever()
        finally:
            self.calls -= 1


class Server(McpServer):
    """Has a session with nobody."""

    async def _hold(self) -> None:
        self.session = self._session = Session()
        self._tools = (RemoteTool("hang", "Never answers.", {"type": "object"}),)
        await trio.sleep_forever()


async def test_a_call_that_is_not_answered_is_let_go_when_nobody_waits_for_it_any_more(
    autojump_clock: MockClock,
) -> None:
    server = Server(McpServerSpec("small", "none", timeout=TIMEOUT), structlog.get_logger())
    async with open_system(Spec("root", lambda: server)) as system:
        await wait_all_tasks_blocked()
        [tool] = await McpTools(system.ref("/"), "small", TIMEOUT).tools()
        for _ in range(3):
            with pytest.raises(ToolProblem, match="cannot be reached"):
                await tool.call({}, CONTEXT)
        await trio.sleep(1)
        assert (server.session.calls, server.inspect()["calls"]) == (0, 0)
        assert server.inspect()["running"], "the server itself is well"
