"""How urgent a call is."""

from __future__ import annotations

from enum import IntEnum


class Priority(IntEnum):
    """The wire protocol's words for it; the most urgent is the smallest."""

    CRITICAL = 0
    HIGH = 1
    MEDIUM = 2
    LOW = 3
