"""The simulated model as one who validates: it approves, unless a line in the request tells it otherwise.

    play-verdict: reject - the tests are missing

Whatever stands behind the colon becomes the verdict, so nonsense can be played too.
"""

from __future__ import annotations

import re
from typing import Final

_ASKED: Final = re.compile(r"^VERDICT: approve$", re.MULTILINE)
_DIRECTIVE: Final = re.compile(r"^\s*play-verdict:[ \t]*(\S.*)$", re.MULTILINE)
_FOUND: Final = "Each deliverable is there and answers its task."


def verdict(instructions: str, said: str) -> str | None:
    """The answer of one whose instructions ask for a verdict, without the notice at its end; else None."""
    if _ASKED.search(instructions) is None:
        return None
    told = _DIRECTIVE.search(said)
    return f"VERDICT: approve\n\n{_FOUND}\n" if told is None else f"VERDICT: {told[1].rstrip()}\n"
