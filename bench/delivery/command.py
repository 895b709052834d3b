"""`python -m bench delivery`: measure, and print a table or one JSON object."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from bench.delivery.comparing import Comparison
from bench.delivery.metrics import LARGE, SCENARIOS
from bench.delivery.subjects import NAMES, subject

if TYPE_CHECKING:
    from collections.abc import Sequence

COMPARISON: Final = Comparison("delivery", sys.modules[__name__].__doc__, SCENARIOS, LARGE, NAMES, subject)


def main(arguments: Sequence[str]) -> int:
    """Run it; gives the exit code."""
    return COMPARISON.main(arguments)
