"""`python -m bench agents`: measure, and print a table or one JSON object."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from bench.agents.metrics import LARGE, SCENARIOS
from bench.agents.subjects import NAMES, subject
from bench.delivery.comparing import Comparison

if TYPE_CHECKING:
    from collections.abc import Sequence

COMPARISON: Final = Comparison("agents", sys.modules[__name__].__doc__, SCENARIOS, LARGE, NAMES, subject)


def main(arguments: Sequence[str]) -> int:
    """Run it; gives the exit code."""
    return COMPARISON.main(arguments)
