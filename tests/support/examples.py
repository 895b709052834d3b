"""How many examples hypothesis makes up: few in the suite, and fifty times as many with `--hypothesis-profile=long`."""

from __future__ import annotations

from hypothesis import settings


def examples(portion: float) -> int:
    """So many as this portion of what the profile says: of a hundred, or of the five thousand of the long one."""
    return max(1, int(settings().max_examples * portion))
