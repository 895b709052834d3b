"""Who is compared: understudy, and bare WebSocket servers that do nothing but echo and push."""

from __future__ import annotations

import sys
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from bench.figures import OWN
from bench.measure import Subject
from bench.peers.environments import ENVIRONMENTS, Missing

if TYPE_CHECKING:
    from collections.abc import Mapping

TRIO_WEBSOCKET: Final = "trio-websocket"
PROGRAM: Final = (sys.executable, "-m", "bench.delivery.program")
MODULES: Final[Mapping[str, str]] = MappingProxyType(
    {
        TRIO_WEBSOCKET: "bench.peers.trio_websocket",
        "aiohttp": "bench.peers.aiohttp",
        "starlette": "bench.peers.starlette",
        "python-socketio": "bench.peers.python_socketio",
    }
)
NAMES: Final = (OWN, *MODULES)


def subject(name: str) -> Subject:
    """How to measure one: our own program, told what runs the server.

    Raises:
        Missing: it is not installed.
    """
    if name == OWN:
        return Subject(name, (*PROGRAM, name, "--"))
    if name == TRIO_WEBSOCKET:
        python = sys.executable
    else:
        found = next(environment.python for environment in ENVIRONMENTS if environment.name == name)
        if not found.exists():
            raise Missing("not installed; `make bench-peers` does it")
        python = str(found)
    return Subject(name, (*PROGRAM, name, python, "-m", MODULES[name], "--"))
