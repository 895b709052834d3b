"""What a daemon has of tools, and what its agents are given of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs

from actors.artifacts.shelf import Shelf
from actors.tools.counts import ToolCounts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import trio

    from actors.artifacts.store import Artifacts
    from actors.tools.context import MemoryOfUsers
    from actors.tools.definitions import ToolDefinition

ROUNDS: Final = 16
DEEPEST: Final = 10


class ToolSource(Protocol):
    """Something that has tools, and not always the same."""

    async def tools(self) -> Sequence[ToolDefinition]:
        """Those that it has now."""


@attrs.frozen
class ToolBox:
    """Tools, and what they need.

    Attributes:
        tools: the definitions, by name.
        rounds: how often one answer may ask for tools before it has to do without.
        threads: how many tools may block a thread at once; trio's own limit if None.
        artifacts: where files of runs are kept; None: nowhere.
        memory: the searchable memory.
        log: for operators.
        sources: where further tools come from while the daemon runs, by the name that agents know each by.
        counts: where what is measured is put.
    """

    tools: Mapping[str, ToolDefinition] = attrs.field(factory=dict)
    rounds: int = ROUNDS
    threads: trio.CapacityLimiter | None = None
    artifacts: Artifacts | None = None
    memory: MemoryOfUsers | None = None
    log: Any = None
    sources: Mapping[str, ToolSource] = attrs.field(factory=dict)
    counts: ToolCounts = attrs.field(factory=ToolCounts)

    def __attrs_post_init__(self) -> None:
        self.counts.expect((*self.tools, *self.sources))

    async def offered(self, names: tuple[str, ...]) -> dict[str, ToolDefinition]:
        """The tools of these names, by their own; what a source does not have now is left out, and logged."""
        found = self.named(names)
        for name in names:
            if name in self.sources:
                tools = await self.sources[name].tools()
                found |= {tool.name: tool for tool in tools}
                if not tools and self.log is not None:
                    self.log.warning("no tools of a server", server=name)
        return found

    def named(self, names: Iterable[str]) -> dict[str, ToolDefinition]:
        """Those of these names that there are."""
        return {name: self.tools[name] for name in names if name in self.tools}

    def shelf(self, user: str, run_id: str, step: str, parents: tuple[str, ...]) -> Shelf | None:
        """A step's view of the artifacts."""
        return None if self.artifacts is None else Shelf(self.artifacts, user, run_id, step, parents)
