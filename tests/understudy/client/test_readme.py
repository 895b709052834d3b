"""The example of README.md, run as it stands, against a scripted daemon and the real one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

import understudy.client
from tests.support.daemon import house
from tests.support.scripted_run import ROLES, answer, whole_run
from tests.support.scripted_server import serving

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


def example() -> Callable[[str, str], Awaitable[str]]:
    readme = Path(understudy.client.__file__).with_name("README.md").read_text()
    found = re.search(r"```python\n(.*?)```", readme, re.DOTALL)
    assert found is not None
    names: dict[str, Any] = {}
    exec(compile(found[1], "README.md", "exec"), names)
    work: Callable[[str, str], Awaitable[str]] = names["work"]
    return work


async def test_the_example_gives_the_answers() -> None:
    async with serving(whole_run) as server:
        with trio.fail_after(40):
            answers = await example()(server.url, "A shop that sells tea by weight")
    assert answers == "\n\n".join(answer(role) for role in ROLES)


async def test_the_example_works_with_the_daemon(tmp_path: Path) -> None:
    async with house(tmp_path, None) as here:
        with trio.fail_after(60):
            answers = await example()(f"127.0.0.1:{here.port}", "A shop that sells tea by weight")
    assert answers.count("\n\n") >= 4
