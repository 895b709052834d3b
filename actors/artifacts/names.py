"""What an artifact may be called, and where it lies. Pure.

A name is one component of a path, made of few characters, so that no name that anybody sends, a model included, can
leave the folder of its step, hide, or mean two files on a file system that folds case or normalises Unicode.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Final
from urllib.parse import quote

LONGEST: Final = 128
ALLOWED: Final = f"1 to {LONGEST} letters (a-z, A-Z), digits, dots, hyphens or underscores, the first no dot or hyphen"
LONGEST_COMPONENT: Final = 240
"""What every file system takes; longer texts are named by their digest."""
_NAME: Final = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9._-]{{0,{LONGEST - 1}}}")


class BadName(ValueError):
    """A name that no artifact may have. `str()` of it is a sentence for a person or a model."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name[:LONGEST]!r} is no name for an artifact. Allowed are {ALLOWED}.")
        self.name = name


def checked(name: str) -> str:
    """`name` itself.

    Raises:
        BadName: it is not allowed.
    """
    if _NAME.fullmatch(name) is None:
        raise BadName(name)
    return name


def answer_name(step: str) -> str:
    """What the answer of a step is kept as; no tool of the step writes a file of this name."""
    return f"{step}.md"


def folder_of(root: Path, user: str, run_id: str, step: str) -> Path:
    """The folder that one step writes to. Users and steps are quoted: their names are free text."""
    return folder_of_run(root, user, run_id) / _component(step)


def folder_of_run(root: Path, user: str, run_id: str) -> Path:
    """The folder of all steps of a run."""
    return root / _component(user) / _component(run_id)


def _component(text: str) -> str:
    """Free text as one component of a path: never empty, `.` or `..`, never with a slash in it, never too long."""
    quoted = "=" + quote(text, safe="")
    if len(quoted) <= LONGEST_COMPONENT:
        return quoted
    return f"+{hashlib.sha256(text.encode()).hexdigest()}"
