"""Finding the tools that the configuration names: those of its tables, those that ship, and entry points.

A table with `function` says where its tool is. Every other name, of a table or of an agent's `tools`, is that of a
tool that ships or, if there is none, of an entry point of the group `understudy.tools`.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from actors.tools.definitions import TIMEOUT, BadTool, tool_from
from actors.tools.loading import GROUP, entry_point_tools, find_function
from actors.tools.shipped import SHIPPED
from understudy.configuration.errors import suggestion
from understudy.configuration.kinds import shown
from understudy.configuration.sources import Path, Source
from understudy.configuration.structure import Problem
from understudy.configuration.tool_tables import ToolSettings, ToolTable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from importlib.metadata import EntryPoint

    from understudy.configuration.tables import Document


class ToolSearch:
    """What `find_tools` has found.

    Attributes:
        tools: the tools, by name.
        problems: what is wrong.
        derived: the sources of values that no table gives.
    """

    def __init__(self, document: Document) -> None:
        self.tools: dict[str, ToolSettings] = {}
        self.problems: list[Problem] = []
        self.derived: dict[Path, Source] = {}
        self._tables = document.tools
        self._servers = document.mcp
        self._points: Mapping[str, EntryPoint] | None = None

    @property
    def points(self) -> Mapping[str, EntryPoint]:
        """The entry points; looked up when the first is wanted."""
        if self._points is None:
            self._points = entry_point_tools()
        return self._points

    def find(self, name: str, place: Path) -> None:
        """Find a tool that is named at `place`."""
        if (
            (name in self._servers and place[0] == "agents")
            or name in self.tools
            or any(problem.path[:2] == ("tools", name) for problem in self.problems)
        ):
            return
        table = self._tables.get(name, ToolTable())
        own: float | None = None
        if table.function is not None:
            path, place, source = table.function, ("tools", name, "function"), None
        elif name in SHIPPED:
            function, own = SHIPPED[name]
            path, source = f"{function.__module__}:{function.__qualname__}", Source("derived", "a tool that ships")
        elif name in self.points:
            path, source = self.points[name].value, Source("derived", f"an entry point of {GROUP}")
        else:
            known = {
                *SHIPPED,
                *self.points,
                *self._servers,
                *(other for other, t in self._tables.items() if t.function is not None),
            }
            what = (
                "has no function, and names no tool that there is" if place[0] == "tools" else "names the unknown tool"
            )
            named = "" if place[0] == "tools" else f" {shown(name)}"
            self.problems.append(Problem(place, f"{what}{named}; {suggestion(name, known)}"))
            return
        timeout = table.timeout or own or TIMEOUT
        try:
            definition = tool_from(find_function(path), name=name, description=table.description, timeout=timeout)
        except BadTool as error:
            wrong = (
                f"is {shown(path)}, which {error}" if source is None else f"is the tool {shown(path)}, which {error}"
            )
            self.problems.append(Problem(place, wrong))
            return
        self.tools[name] = ToolSettings(name, path, timeout, definition.description, definition)
        self._note(name, "function", source)
        self._note(name, "timeout", None if table.timeout is not None else Source("derived", "the tool's own"))
        self._note(name, "description", None if table.description is not None else Source("derived", "its docstring"))

    def _note(self, name: str, key: str, source: Source | None) -> None:
        if source is not None:
            self.derived["tools", name, key] = source


def find_tools(document: Document) -> ToolSearch:
    """Every tool of a document. Imports the modules that they are in."""
    search = ToolSearch(document)
    for name, place in _named(document):
        search.find(name, place)
    for name in document.mcp:
        if importlib.util.find_spec("mcp") is None:
            search.problems.append(
                Problem(("mcp", name), "needs a package that is not installed; install understudy[mcp]")
            )
        if name in search.tools:
            search.problems.append(Problem(("mcp", name), f"has the name of a tool, {shown(name)}; give it another"))
    return search


def _named(document: Document) -> Iterator[tuple[str, Path]]:
    for name in document.tools:
        yield name, ("tools", name)
    for agent, table in document.agents.items():
        for index, name in enumerate(table.tools):
            yield name, ("agents", agent, "tools", index)
