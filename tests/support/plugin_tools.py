"""Tools as another package would have them: named in a configuration as `tests.support.plugin_tools:NAME`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import msgspec
import trio

from actors.tools.context import ToolContext, ToolProblem


def forecast(city: str, days: Annotated[int, msgspec.Meta(ge=1, le=7)] = 1) -> dict[str, Any]:
    """The weather of a city."""
    return {"city": city, "days": days, "api_key": "sk-of-the-weather", "text": "x" * 20_000}


async def think(seconds: float) -> str:
    """Wait, and say so."""
    await trio.sleep(seconds)
    return "thought"


def block(seconds: float) -> str:
    """Block a thread."""
    time.sleep(seconds)
    return "blocked"


def wait_for(path: str) -> str:
    """Block a thread until there is such a file."""
    while not Path(path).exists():
        time.sleep(0.005)
    return "it is there"


def fail(how: str, context: ToolContext) -> str:
    """Fail, with the caller's name in it."""
    if how == "problem":
        raise ToolProblem(f"There is no such thing for {context.user}.")
    raise RuntimeError("password=hunter2 of /srv/secret.py")


def odd() -> object:
    """Give what no JSON has a word for."""
    return object()


def unannotated(city) -> str:  # type: ignore[no-untyped-def]  # noqa: ANN001 - it is what is tested
    """Has no annotation."""
    return str(city)


def undocumented(city: str) -> str:
    return city
