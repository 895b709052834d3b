"""Which programs that tests start are measured for coverage.

Measuring makes a program start three times as slowly, and most that tests start run what other tests have measured in
their own process. What only a program of its own runs, the command line, is measured where it is tested.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

SETTING: Final = "COVERAGE_PROCESS_CONFIG"
"""With it in its environment, a Python program measures itself."""
MEASURED: Final = {"test_starting.py", "test_commands.py"}
TAKEN_AWAY = pytest.StashKey[str | None]()


def pytest_configure(config: pytest.Config) -> None:
    spreads = config.getoption("numprocesses", None) and not hasattr(config, "workerinput")
    # Whoever spreads the tests over workers starts them, and they are to be measured.
    config.stash[TAKEN_AWAY] = None if spreads else os.environ.pop(SETTING, None)


@pytest.fixture(autouse=True)
def _programs_are_measured(request: pytest.FixtureRequest) -> Iterator[None]:
    taken = request.config.stash[TAKEN_AWAY]
    if taken is None or request.path.name not in MEASURED:
        yield
        return
    os.environ[SETTING] = taken
    yield
    del os.environ[SETTING]
