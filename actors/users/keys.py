"""Where a user's things are kept in the key-value state, and the names derived from a user's id. Pure."""

from __future__ import annotations

import hashlib
import re
from typing import Final
from urllib.parse import quote

RUNS: Final = "run"
"""Space of runs: USER/RUN -> what `get_run` shows and a restart needs."""
OPEN: Final = "open_run"
"""Space of runs that have not ended: USER/RUN -> the session's id."""

SESSIONS: Final = "session"
"""Space of sessions: USER/SESSION -> how it stands; one of which nothing was changed has none."""

_PLAIN: Final = re.compile(r"[A-Za-z0-9_.~-]+")
"""What needs no quoting: most ids, and looking is cheaper than quoting them."""


def actor_name(user: str) -> str:
    """The name of a user's context under the users' supervisor: no "/", whatever the user's id holds."""
    return _quoted(user)


def run_key(user: str, run_id: str) -> str:
    return f"{_quoted(user)}/{run_id}"


def runs_of(user: str) -> str:
    """The prefix of the keys of a user's runs."""
    return f"{_quoted(user)}/"


def session_key(user: str, session_id: str) -> str:
    return f"{_quoted(user)}/{_quoted(session_id)}"


def default_session(user: str) -> str:
    """The id of the session that every user has. Nobody else's has the same."""
    return f"default-{hashlib.sha256(user.encode()).hexdigest()[:32]}"


def _quoted(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else quote(text, safe="")
