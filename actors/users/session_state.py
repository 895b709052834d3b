"""What is kept of a session so far: who answers in it. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import attrs
import msgspec


class Mode(StrEnum):
    """Who answers in a session."""

    AUTOPILOT = "autopilot"
    HITL = "hitl"
    OFF = "off"


HOLDING: Final = frozenset({Mode.HITL, Mode.OFF})
"""Modes in which no agent's answer counts before a person has released it; in `off`, that of a run under way."""


@attrs.frozen
class SessionState:
    """One session; `revision` rises by 1 with each change."""

    mode: Mode = Mode.AUTOPILOT
    revision: int = 0


def encode_session(state: SessionState) -> bytes:
    return msgspec.json.encode(state)


def decode_session(stored: bytes | None) -> SessionState:
    """None: of a session of which nothing was ever changed."""
    return SessionState() if stored is None else msgspec.json.decode(stored, type=SessionState)
