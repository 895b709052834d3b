"""Who has a log in a database."""

from __future__ import annotations

from typing import Any


def users_of(database: Any) -> list[str]:
    """Their ids, in order."""
    return [user for (user,) in database._query("SELECT user FROM logs WHERE user > '' ORDER BY user")]
