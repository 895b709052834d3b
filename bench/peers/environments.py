"""Where the peers' environments are, and which Python each of them can have."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT: Final = Path(__file__).resolve().parents[2]
HOME: Final = ROOT / ".bench"
OLDEST: Final = (3, 11)
NEWEST: Final = (3, 14)
"""No peer is known to run on a later one."""
ASK_VERSION: Final = "import sys; print(*sys.version_info[:2])"
PATIENCE: Final = 20
"""Seconds for a Python to say its version."""


class Missing(Exception):
    """A peer is not there. The text says what would bring it."""


@attrs.frozen
class Environment:
    """The virtual environment of one peer.

    Attributes:
        name: the package's name, and the directory's.
        requirements: what pip installs.
        oldest: the oldest Python that the package takes.
    """

    name: str
    requirements: tuple[str, ...]
    oldest: tuple[int, int] = OLDEST

    @property
    def python(self) -> Path:
        return HOME / self.name / "bin" / "python"


# attrs is there for the message, which is the same class in every Python subject that takes any object.
ENVIRONMENTS: Final = (
    Environment("pykka", ("pykka>=4.5", "attrs")),
    Environment("tapio-py", ("tapio-py>=0.18",)),
    Environment("everything-is-an-actor", ("everything-is-an-actor>=0.1.6", "attrs"), oldest=(3, 12)),
    Environment("autogen-core", ("autogen-core>=0.7.5",)),
    # Of `python -m bench delivery`. trio-websocket, of which understudy makes use itself, needs none.
    Environment("aiohttp", ("aiohttp>=3.14",)),
    Environment("starlette", ("starlette>=1.0", "uvicorn>=0.40", "websockets>=15")),
    Environment("python-socketio", ("python-socketio>=5.16", "uvicorn>=0.40", "websockets>=15")),
)


def wanted(own: tuple[int, int], oldest: tuple[int, int]) -> list[tuple[int, int]]:
    """Versions of Python to look for, best first: our own if it will do, for only like compares with like; else the
    nearest one that does.
    """
    minors = [(3, minor) for minor in range(OLDEST[1], NEWEST[1] + 1)]
    fitting = [version for version in minors if version >= oldest]
    return sorted(fitting, key=lambda version: (abs(version[1] - own[1]), version))


def candidates(version: tuple[int, int]) -> Iterator[str]:
    """Commands that may be a Python of that version: this one, one on the path, those of pyenv."""
    if version == sys.version_info[:2]:
        yield sys.executable
    name = f"python{version[0]}.{version[1]}"
    found = shutil.which(name)
    if found is not None:
        yield found
    pyenv = shutil.which("pyenv")
    if pyenv is not None:
        root = output([pyenv, "root"])
        if root is not None:
            yield from map(str, sorted(Path(root, "versions").glob(f"*/bin/{name}"), reverse=True))


def output(command: Sequence[str]) -> str | None:
    """What a command prints; None if it cannot be run or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def find_python(oldest: tuple[int, int]) -> str | None:
    """A Python for a package that needs at least `oldest`."""
    for version in wanted(sys.version_info[:2], oldest):
        for command in candidates(version):
            # Asked, not trusted: a shim on the path may stand for a version that is not installed.
            if output([command, "-c", ASK_VERSION]) == f"{version[0]} {version[1]}":
                return command
    return None
