"""The tools that ship. An agent has those that its definition names.

    search_memory    what the user's memory holds that fits some words
    remember         keep something in it
    list_artifacts   the files of the run that the step may read
    read_artifact    one of them
    write_artifact   a file of the step's own
    start_agent      have another agent do something, and get its answer

Nothing here takes a user, a run or a step from the model: those are the context's.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from msgspec import Meta

from actors.artifacts.names import BadName
from actors.artifacts.store import ArtifactMissing, ArtifactRefused
from actors.tools.context import ToolContext, ToolProblem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actors.tools.context import MemoryOfUsers

MOST_READ: Final = 20_000
"""Characters of a file that are read at once: so many fit into the half of a prompt that results have in any case, as
`calls.context_tokens` comes. Of a part that was shortened to fit, the model could not read on in the middle."""
CHILD_TIMEOUT: Final = 600.0

Words = Annotated[str, Meta(min_length=1, max_length=2_000)]
FileName = Annotated[str, Meta(description="letters, digits, dots, hyphens and underscores", max_length=200)]
Few = Annotated[int, Meta(ge=1, le=20)]
ContentType = Literal["code", "solution", "error", "conversation"]


async def search_memory(query: Words, context: ToolContext, limit: Few = 5) -> dict[str, Any]:
    """Search what was remembered in earlier work for this user. Gives the memories that fit the query best."""
    found = await _memory(context).recall(context.user, query, limit)
    return {"memories": found.memories, "degraded": found.degraded}


async def remember(
    content: Annotated[str, Meta(min_length=1, max_length=16_000)],
    context: ToolContext,
    content_type: ContentType = "solution",
    tags: Annotated[list[Annotated[str, Meta(max_length=64)]], Meta(max_length=16)] = [],  # noqa: B006 - only read
) -> dict[str, str]:
    """Keep something worth knowing in later work for this user: a solution, a piece of code, an error and its cause."""
    key = f"{context.run_id}/{context.step}/{context.attempt}/{context.tool_call_id}"
    return {"memory_id": await _memory(context).remember(context.user, content, content_type, tags, key=key)}


def list_artifacts(context: ToolContext) -> list[dict[str, Any]]:
    """List the files that this step may read: its own, and those of the steps before it."""
    return [{"name": found.name, "step": found.step, "size": found.size} for found in context.shelf.listing()]


def read_artifact(
    name: FileName, context: ToolContext, step: str | None = None, offset: Annotated[int, Meta(ge=0)] = 0
) -> dict[str, Any]:
    """Read a file of this step or of a step before it, as text. Name the step where several have a file of that name.

    A long file comes in parts: where `next_offset` is given, call again with it as the offset.
    """
    try:
        content = context.shelf.read(name, step).decode()
    except BadName as error:
        raise ToolProblem(str(error)) from None
    except ArtifactMissing:
        raise ToolProblem(
            "There is no such file that this step may read. list_artifacts says which there are."
        ) from None
    except UnicodeDecodeError:
        raise ToolProblem("This file is not text.") from None
    part = content[offset : offset + MOST_READ]
    more = {"next_offset": offset + len(part)} if offset + len(part) < len(content) else {}
    return {"name": name, "content": part, **more}


def write_artifact(name: FileName, content: str, context: ToolContext) -> dict[str, Any]:
    """Write a text file of this step, in place of its file of the same name. The steps after it can read it."""
    try:
        written = context.shelf.write(name, content.encode())
    except (BadName, ArtifactRefused) as error:
        raise ToolProblem(str(error)) from None
    return {"name": written.name, "size": written.size}


async def start_agent(agent: str, mission: Words, context: ToolContext) -> dict[str, str]:
    """Have another agent work on a mission, and wait for its answer. It knows the brief, and what the mission says."""
    if context.start_child is None:
        raise ToolProblem("No other agent can be started here.")
    return {"agent": agent, "answer": await context.start_child(agent, mission)}


def _memory(context: ToolContext) -> MemoryOfUsers:
    if context.memory is None:
        raise ToolProblem("There is no memory to search.")
    return context.memory


SHIPPED: Final[Mapping[str, tuple[Callable[..., Any], float | None]]] = MappingProxyType(
    {
        "search_memory": (search_memory, None),
        "remember": (remember, None),
        "list_artifacts": (list_artifacts, None),
        "read_artifact": (read_artifact, None),
        "write_artifact": (write_artifact, None),
        "start_agent": (start_agent, CHILD_TIMEOUT),
    }
)
"""The functions by name, each with its own timeout in seconds where it needs one."""
