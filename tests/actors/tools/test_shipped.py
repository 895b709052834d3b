"""The tools that ship, called as the daemon calls them: what they give, and what they say where they cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest

from actors.artifacts.shelf import Shelf
from actors.artifacts.store import Artifacts
from actors.models.tools import ToolCall
from actors.tools.context import ToolContext, ToolProblem
from actors.tools.definitions import BadArguments, tool_from
from actors.tools.shipped import CHILD_TIMEOUT, MOST_READ, SHIPPED

if TYPE_CHECKING:
    from pathlib import Path

BARE = ToolContext("ada", "r1", "second", 3, "c7")


@attrs.define
class Found:
    memories: list[dict[str, Any]]
    degraded: bool = False


@attrs.define(eq=False)
class Memory:
    """A memory that notes what it is asked."""

    asked: list[tuple[Any, ...]] = attrs.field(factory=list)

    async def recall(self, user: str, text: str, limit: int = 5, **_: Any) -> Found:
        self.asked.append((user, text, limit))
        return Found([{"content": "tea"}], degraded=True)

    async def remember(self, user: str, content: str, content_type: str = "", tags: Any = (), *, key: str = "") -> str:
        self.asked.append((user, content, content_type, list(tags), key))
        return "m1"


def context(folder: Path, **limits: int) -> ToolContext:
    """Of the step `second`, which may read what `first` has written; there is a `third`, too."""
    store = Artifacts(folder, **limits)
    for step in ("first", "third"):
        store.write("ada", "r1", step, "note.md", f"of {step}".encode())
    return attrs.evolve(BARE, artifacts=Shelf(store, "ada", "r1", "second", ("first",)))


def call(tool: str, given: ToolContext, arguments: str = "{}") -> Any:
    """As a model would have it called: through the schema."""
    function, timeout = SHIPPED[tool]
    definition = tool_from(function) if timeout is None else tool_from(function, timeout=timeout)
    return definition.call(definition.read(ToolCall("c7", tool, arguments)), given)


def why_not(tool: str, given: ToolContext, arguments: str = "{}") -> str:
    with pytest.raises(ToolProblem) as problem:
        call(tool, given, arguments)
    return str(problem.value)


def test_a_step_sees_its_own_files_and_its_parents(tmp_path: Path) -> None:
    given = context(tmp_path)
    assert call("write_artifact", given, '{"name": "own.md", "content": "mine"}') == {"name": "own.md", "size": 4}
    assert call("list_artifacts", given) == [
        {"name": "note.md", "step": "first", "size": 8},
        {"name": "own.md", "step": "second", "size": 4},
    ]
    assert call("read_artifact", given, '{"name": "own.md"}') == {"name": "own.md", "content": "mine"}
    assert call("read_artifact", given, '{"name": "note.md"}')["content"] == "of first"
    assert "no such file" in why_not("read_artifact", given, '{"name": "note.md", "step": "third"}')
    assert "no such file" in why_not("read_artifact", given, '{"name": "other.md"}')
    call("write_artifact", given, '{"name": "note.md", "content": "mine too"}')
    assert call("read_artifact", given, '{"name": "note.md"}')["content"] == "mine too", "its own comes first"
    assert call("read_artifact", given, '{"name": "note.md", "step": "first"}')["content"] == "of first"


def test_a_long_file_comes_in_parts(tmp_path: Path) -> None:
    given = context(tmp_path)
    text = "ä" * (MOST_READ + 5)
    call("write_artifact", given, f'{{"name": "long.md", "content": "{text}"}}')
    first = call("read_artifact", given, '{"name": "long.md"}')
    assert (len(first["content"]), first["next_offset"]) == (MOST_READ, MOST_READ)
    rest = call("read_artifact", given, f'{{"name": "long.md", "offset": {MOST_READ}}}')
    assert (rest["content"], "next_offset" in rest) == ("äääää", False)
    assert call("read_artifact", given, '{"name": "long.md", "offset": 9999999}')["content"] == ""


@pytest.mark.parametrize("name", ["../up", ".hidden", "a/b", "a b", "x" * 129])
def test_a_name_that_leaves_the_folder_is_refused_with_what_is_allowed(name: str, tmp_path: Path) -> None:
    given = context(tmp_path)
    for tool in ("write_artifact", "read_artifact"):
        content = ', "content": "x"' if tool == "write_artifact" else ""
        assert "letters" in why_not(tool, given, f'{{"name": "{name}"{content}}}')


def test_what_cannot_be_kept_or_read_is_said(tmp_path: Path) -> None:
    given = context(tmp_path, most_bytes=10, most_of_a_step=1)
    assert "at most 10" in why_not("write_artifact", given, '{"name": "a.md", "content": "more than ten"}')
    call("write_artifact", given, '{"name": "a.md", "content": "x"}')
    assert "may have no more" in why_not("write_artifact", given, '{"name": "b.md", "content": "x"}')
    with pytest.raises(BadArguments):
        call("write_artifact", given, r'{"name": "a.md", "content": "\ud800"}')
    assert given.artifacts is not None
    given.artifacts.write("a.md", b"\xff\xfe")
    assert "not text" in why_not("read_artifact", given, '{"name": "a.md"}')


async def test_memories_are_those_of_the_user_for_whom_the_agent_works() -> None:
    memory = Memory()
    given = attrs.evolve(BARE, memory=memory)
    found = await call("search_memory", given, '{"query": "tea", "limit": 2}')
    assert found == {"memories": [{"content": "tea"}], "degraded": True}
    kept = await call("remember", given, '{"content": "80 degrees", "content_type": "code", "tags": ["tea"]}')
    assert kept == {"memory_id": "m1"}
    assert await call("remember", given, '{"content": "again"}') == {"memory_id": "m1"}
    assert memory.asked == [
        ("ada", "tea", 2),
        ("ada", "80 degrees", "code", ["tea"], "r1/second/3/c7"),
        ("ada", "again", "solution", [], "r1/second/3/c7"),
    ], "the same call stores the same once, whatever cuts it off"


async def test_a_child_gives_its_answer_to_the_model() -> None:
    async def start(agent: str, mission: str) -> str:
        return f"{agent}: {mission}"

    given = attrs.evolve(BARE, start_child=start)
    arguments = '{"agent": "critic", "mission": "Look."}'
    assert await call("start_agent", given, arguments) == {"agent": "critic", "answer": "critic: Look."}
    assert SHIPPED["start_agent"][1] == CHILD_TIMEOUT


async def test_where_there_is_nothing_to_reach_it_is_said() -> None:
    for tool in ("list_artifacts", "read_artifact", "write_artifact"):
        assert "keeps no artifacts" in why_not(tool, BARE, ARGUMENTS.get(tool, "{}"))
    for tool, words in (("search_memory", "no memory"), ("remember", "no memory"), ("start_agent", "No other agent")):
        with pytest.raises(ToolProblem, match=words):
            await call(tool, BARE, ARGUMENTS[tool])


ARGUMENTS = {
    "read_artifact": '{"name": "a.md"}',
    "write_artifact": '{"name": "a.md", "content": "x"}',
    "search_memory": '{"query": "tea"}',
    "remember": '{"content": "tea"}',
    "start_agent": '{"agent": "critic", "mission": "Look."}',
}


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("search_memory", '{"query": ""}'),
        ("search_memory", '{"query": "tea", "limit": 21}'),
        ("search_memory", '{"query": "tea", "user": "eve"}'),
        ("remember", '{"content": "tea", "content_type": "secret"}'),
        ("remember", '{"content": "tea", "tags": [1]}'),
        ("read_artifact", '{"name": "a.md", "offset": -1}'),
        ("read_artifact", '{"name": "a.md", "run_id": "r2"}'),
        ("start_agent", '{"agent": "critic", "mission": ""}'),
        ("start_agent", '{"agent": "critic", "mission": "Look.", "user": "eve"}'),
    ],
)
def test_arguments_are_read_strictly_and_nobody_may_be_named(tool: str, arguments: str) -> None:
    with pytest.raises(BadArguments):
        call(tool, BARE, arguments)
