"""The shape of `[tools.NAME]`, and a tool with everything filled in.

What each key is for stands in default.toml.
"""

from typing import Annotated

import attrs

from actors.tools.definitions import ToolDefinition
from understudy.configuration.kinds import FILLED, NAMED, Form, Range


def _is_function(value: str) -> bool:
    module, colon, function = value.partition(":")
    return bool(colon) and all(part.isidentifier() for part in (*module.split("."), *function.split(".")))


FUNCTION = Form('a function as "module:function"', _is_function)
Seconds = Annotated[float, Range(0.01, 86_400, "seconds")]


@attrs.frozen
class ToolTable:
    """`[tools.NAME]`, as written. Without `function` it changes a tool that there is."""

    function: Annotated[str, FUNCTION] | None = None
    timeout: Seconds | None = None
    description: Annotated[str, FILLED] | None = None


@attrs.frozen
class McpTable:
    """`[mcp.NAME]`: a server of tools, a process that the daemon starts."""

    command: Annotated[str, FILLED]
    args: tuple[str, ...] = ()
    environment: tuple[Annotated[str, NAMED], ...] = ()
    timeout: Seconds = 30.0


@attrs.frozen
class ToolSettings:
    """One tool, found.

    Parameters:
        name: its key, by which agents and models name it.
        function: where it is, as "module:function".
        timeout: seconds that a call may take.
        description: what the model is told that it does.
        definition: the tool itself.
    """

    name: str
    function: str
    timeout: float
    description: str
    definition: ToolDefinition = attrs.field(repr=False, eq=False)
