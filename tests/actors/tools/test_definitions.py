"""A function as a tool: its schema, its arguments, and what cannot be one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import pytest

from actors.models.tools import ToolCall
from actors.tools.context import ToolContext
from actors.tools.definitions import BadArguments, BadTool, tool_from
from actors.tools.shipped import SHIPPED

CONTEXT = ToolContext("ada", "r1", "analysis", 1, "c1")


class Point(msgspec.Struct):
    x: int
    y: int = 0


def plot(
    points: list[Point], title: Annotated[str, msgspec.Meta(max_length=5)], context: ToolContext, n: int = 3
) -> Any:
    """Plot points.

    As many as there are.
    """
    return [points, title, context.user, n]


async def wait(seconds: float) -> float:
    """Wait."""
    return seconds


def read(function: Callable[..., Any], arguments: str) -> Any:
    return tool_from(function).read(ToolCall("c", "plot", arguments))


def test_the_schema_comes_from_the_annotations_and_leaves_the_context_out() -> None:
    tool = tool_from(plot, timeout=5)
    assert (tool.name, tool.is_async, tool.timeout) == ("plot", False, 5)
    assert tool.description == "Plot points.\n\nAs many as there are."
    assert set(tool.schema["properties"]) == {"points", "title", "n"}
    assert tool.schema["required"] == ["points", "title"]
    assert tool.schema["additionalProperties"] is False
    assert tool.schema["$defs"]["Point"]["properties"]["x"] == {"type": "integer"}
    assert tool.offered.parameters == tool.schema
    assert tool_from(wait).is_async


def test_the_function_gets_exactly_what_the_model_gave() -> None:
    tool = tool_from(plot)
    values = tool.read(ToolCall("c", "plot", '{"points": [{"x": 1}, {"x": 2, "y": 3}], "title": "ü"}'))
    assert tool.call(values, CONTEXT) == [[Point(1), Point(2, 3)], "ü", "ada", 3]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("{", "not a JSON object"),
        ("[1]", "not a JSON object"),
        ("{}", "points"),
        ('{"points": [], "title": 3}', "title"),
        ('{"points": [], "title": "longer"}', "length <= 5"),
        ('{"points": [{"x": "1"}], "title": ""}', "points[0].x"),
        ('{"points": [], "title": "", "n": "3"}', "$.n"),
        ('{"points": [], "title": "", "more": 1}', "more"),
        ('{"points": [], "title": "", "context": {"user": "eve"}}', "context"),
        ("[" * 100_000, "JSON"),
    ],
)
def test_arguments_that_do_not_fit_are_told_in_words(arguments: str, says: str) -> None:
    with pytest.raises(BadArguments) as refused:
        read(plot, arguments)
    assert says in str(refused.value)


def defaults(tags: list[str] = []) -> list[str]:  # noqa: B006 - it is what is tested
    """Give the tags."""
    tags.append("more")
    return tags


def test_a_default_that_can_change_is_not_shared() -> None:
    tool = tool_from(defaults)
    for _ in range(2):
        assert tool.call(tool.read(ToolCall("c", "defaults", "")), CONTEXT) == ["more"]


def bare(city) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 - it is what is tested
    """No annotation."""


def many(*cities: str) -> None:
    """More than one."""


def any_of(**cities: str) -> None:
    """More than one."""


def unnamed(city: str, /) -> None:
    """By position."""


def mute(city: str) -> None: ...


def unknown(city: Nowhere) -> None:  # type: ignore[name-defined]  # noqa: F821
    """Names no type."""


def no_json(city: Callable[[], None]) -> None:
    """Not for JSON."""


def yields(city: str) -> Any:
    """Give some."""
    yield city


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (bare, 'no annotation for "city"'),
        (many, "cannot be given by one keyword"),
        (any_of, "cannot be given by one keyword"),
        (unnamed, "cannot be given by one keyword"),
        (mute, "no docstring"),
        (unknown, "cannot be read"),
        (no_json, "no schema"),
        (yields, "generator"),
    ],
)
def test_what_cannot_be_a_tool_says_why(function: Callable[..., Any], says: str) -> None:
    with pytest.raises(BadTool, match=says):
        tool_from(function)


def test_a_description_stands_for_a_docstring_and_names_have_bounds() -> None:
    assert tool_from(mute, description="Say nothing.").description == "Say nothing."
    for name in ("", "a b", "x" * 65, "ä"):
        with pytest.raises(BadTool, match="allowed: 1 to 64"):
            tool_from(wait, name=name)


@pytest.mark.parametrize("name", SHIPPED)
def test_those_that_ship_are_tools_and_take_no_user_from_the_model(name: str) -> None:
    tool = tool_from(SHIPPED[name][0], name=name)
    assert tool.description
    assert not {"user", "run_id", "context"} & set(tool.schema["properties"])
