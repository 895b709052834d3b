"""What is counted of tools: how each call ended, how long it took, and the threads that were left to themselves.

Plain values that the metrics read; one a daemon. A model can word any name, so calls are counted by the names of the
configuration: a tool's own, that of the server whose tool it is, and `other` for everything else.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import attrs

from actors.protocol.catalogue import Failure

if TYPE_CHECKING:
    from collections.abc import Iterable

OTHER: Final = "other"
DONE: Final = "done"
FAILED: Final = "failed"
CANCELLED: Final = "cancelled"
ENDS: Final = (DONE, FAILED, "timed_out", "invalid_arguments", "unknown", CANCELLED)
"""How a call may end. Cancelled: from outside, by the end of its attempt, whatever caused that."""
SERVER_MARK: Final = "__"
"""Between the name of a server of tools and that of its tool."""
BOUNDS: Final = (0.01, 0.05, 0.25, 1.0, 5.0, 30.0, 120.0, 600.0)
"""Upper bounds, in seconds, of the classes that durations are sorted into; the last class has none."""

_ENDS_OF: Final = {
    Failure.TOOL_TIMEOUT: "timed_out",
    Failure.TOOL_INPUT: "invalid_arguments",
    Failure.TOOL_UNKNOWN: "unknown",
    Failure.TOOL_INTERRUPTED: CANCELLED,
}


def end_of(failure: Failure | None) -> str:
    """How a call with this failure, or None, counts. Pure."""
    return DONE if failure is None else _ENDS_OF.get(failure, FAILED)


@attrs.define(eq=False)
class Durations:
    """Calls by how long they took: one count for each class of `BOUNDS` (not cumulated), and the `seconds` of all."""

    counts: list[int] = attrs.field(factory=lambda: [0] * (len(BOUNDS) + 1))
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[sum(seconds > bound for bound in BOUNDS)] += 1
        self.seconds += seconds


@attrs.define(eq=False)
class ToolCounts:
    """The counters of one daemon's tools.

    Attributes:
        names: the tools and the servers of the configuration, each there from the start.
        ends: calls by name and end.
        durations: of the calls that were carried out, by name; those of unknown tools are none.
        late: results that came when nobody waited for them any more, by name.
        threads_left: threads that are still busy with a call that is over.
    """

    names: dict[str, None] = attrs.field(factory=dict)
    ends: Counter[tuple[str, str]] = attrs.field(factory=Counter)
    durations: dict[str, Durations] = attrs.field(factory=dict)
    late: Counter[str] = attrs.field(factory=Counter)
    threads_left: int = 0

    def expect(self, names: Iterable[str]) -> None:
        """These are the names of the configuration."""
        for name in names:
            self.names[name] = None
            self.durations.setdefault(name, Durations())

    def label(self, tool: str) -> str:
        """The name that a call of this tool is counted under."""
        server = tool.partition(SERVER_MARK)[0]
        return next((name for name in (tool, server) if name in self.names), OTHER)

    def ended(self, tool: str, end: str, seconds: float) -> None:
        """A call is over."""
        name = self.label(tool)
        self.ends[name, end] += 1
        if name in self.durations and end not in {"unknown", "invalid_arguments"}:
            self.durations[name].add(seconds)
