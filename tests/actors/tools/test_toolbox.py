"""What agents are given of a daemon's tools, also of servers that are not always there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from actors.artifacts.store import Artifacts
from actors.tools.definitions import ToolDefinition, tool_from
from actors.tools.toolbox import ToolBox

if TYPE_CHECKING:
    from pathlib import Path


def echo(text: str) -> str:
    """Say it."""
    return text


@attrs.define(eq=False)
class Server:
    """Has these tools now."""

    has: list[ToolDefinition]

    async def tools(self) -> list[ToolDefinition]:
        return self.has


class Lines:
    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def warning(self, event: str, **values: Any) -> None:
        self.lines.append((event, values))


async def test_a_server_has_what_it_has_now_and_one_that_has_nothing_is_logged() -> None:
    lines = Lines()
    files, gone = Server([tool_from(echo, name="files__echo")]), Server([])
    box = ToolBox({"echo": tool_from(echo)}, log=lines, sources={"files": files, "gone": gone})
    assert list(await box.offered(("echo", "files", "gone", "unknown"))) == ["echo", "files__echo"]
    assert lines.lines == [("no tools of a server", {"server": "gone"})]
    files.has = []
    assert list(await box.offered(("files", "echo"))) == ["echo"]
    assert list(await ToolBox(sources={"gone": gone}).offered(("gone",))) == []


def test_calls_are_counted_under_the_names_of_tools_and_servers_alone() -> None:
    box = ToolBox({"echo": tool_from(echo)}, sources={"files": Server([])})
    assert list(box.counts.names) == ["echo", "files"]
    assert [box.counts.label(name) for name in ("echo", "files__x", "x")] == ["echo", "files", "other"]


def test_without_a_store_there_is_no_shelf(tmp_path: Path) -> None:
    assert ToolBox().shelf("ada", "r1", "second", ("first",)) is None
    shelf = ToolBox(artifacts=Artifacts(tmp_path)).shelf("ada", "r1", "second", ("first",))
    assert shelf is not None
    assert shelf.readable == ("second", "first")
