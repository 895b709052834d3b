"""Tests that are coroutines run in virtual time here."""

from __future__ import annotations

from inspect import iscoroutinefunction
from pathlib import Path

import pytest

from runtime.testing.plugin import in_virtual_time

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents and iscoroutinefunction(getattr(item, "obj", None)):
            item.add_marker(pytest.mark.trio(run=in_virtual_time), append=False)
