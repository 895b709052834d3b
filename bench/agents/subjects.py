"""Who is compared: understudy, and the least that a relay on trio can be."""

from __future__ import annotations

import sys
from typing import Final

from bench.figures import OWN
from bench.measure import Subject

TRIO_WEBSOCKET: Final = "trio-websocket"
PROGRAM: Final = (sys.executable, "-m", "bench.agents.program")
RELAY: Final = (sys.executable, "-m", "bench.peers.relay")
NAMES: Final = (OWN, TRIO_WEBSOCKET)


def subject(name: str) -> Subject:
    """How to measure one: our own program, told what runs the peer's."""
    return Subject(name, (*PROGRAM, name, *(() if name == OWN else RELAY), "--"))
