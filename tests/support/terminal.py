"""`understudy run` at a terminal that a test reads."""

from __future__ import annotations

import io
import random
import re
from typing import Any

import trio

from understudy.terminal import run_brief

BRIEF = "A shop that sells tea by weight"


class Run:
    """One call of `run_brief`, with what it printed."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.out = io.StringIO()
        self.err = io.StringIO()

    async def __call__(self, **options: Any) -> int:
        options = {"tty": False, "user_id": "ada"} | options
        with trio.fail_after(20):
            return await run_brief(self.url, BRIEF, out=self.out, err=self.err, rng=random.Random(4), **options)


def visible(output: str) -> str:
    """What is left of a terminal's output without its escape sequences."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", output)
