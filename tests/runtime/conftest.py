"""Every test here runs in virtual time, also those that do not ask for `autojump_clock` by name.

pytest-trio takes the clock from a test's own arguments only; one that was forgotten would sleep for real.
"""

from __future__ import annotations

from inspect import iscoroutinefunction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock

from runtime.testing import kernel_tasks
from tests.support.actors import Bench, Later, running
from tests.support.demand import Books

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

HERE = Path(__file__).parent


def in_virtual_time(main: Any, *, clock: trio.abc.Clock | None, instruments: Any) -> Any:
    return trio.run(main, clock=clock or MockClock(autojump_threshold=0), instruments=instruments)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents and iscoroutinefunction(getattr(item, "obj", None)):
            item.add_marker(pytest.mark.trio(run=in_virtual_time), append=False)


@pytest.fixture
async def bench() -> AsyncGenerator[Bench, None]:
    """A system whose root restarts at once what fails."""
    async with running() as bench:
        yield bench
    assert kernel_tasks() == []


@pytest.fixture
async def later() -> AsyncGenerator[Bench, None]:
    """A system whose root restarts after a second what fails."""
    async with running(Later) as bench:
        yield bench
    assert kernel_tasks() == []


@pytest.fixture
async def books() -> AsyncGenerator[Books, None]:
    """What producers and consumers write down, and what must be true of it at the end."""
    books = Books()
    yield books
    assert books.next <= books.asked
    assert len(set(books.numbers)) == len(books.numbers)  # nothing comes twice
