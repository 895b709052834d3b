"""Where a user's things are kept in the key-value state, and the names derived from a user's id. Pure."""

from __future__ import annotations

import hashlib
from typing import Final
from urllib.parse import quote

RUNS: Final = "run"
"""Space of runs: USER/RUN -> what `get_run` shows and a restart needs."""
OPEN: Final = "open_run"
"""Space of runs that have not ended: USER/RUN -> the session's id."""

SESSIONS: Final = "session"
"""Space of sessions: USER/SESSION -> how it stands; one of which nothing was changed has none."""


def actor_name(user: str) -> str:
    """The name of a user's context under the users' supervisor: no "/", whatever the user's id holds."""
    return quote(user, safe="")


def run_key(user: str, run_id: str) -> str:
    return f"{quote(user, safe='')}/{run_id}"


def runs_of(user: str) -> str:
    """The prefix of the keys of a user's runs."""
    return f"{quote(user, safe='')}/"


def session_key(user: str, session_id: str) -> str:
    return f"{quote(user, safe='')}/{quote(session_id, safe='')}"


def default_session(user: str) -> str:
    """The id of the session that every user has. Nobody else's has the same."""
    return f"default-{hashlib.sha256(user.encode()).hexdigest()[:32]}"
