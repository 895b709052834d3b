"""Files that go with the records of what wrote them: runs and tasks alike are USER/ID."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actors.artifacts.store import Artifacts


def remove_artifacts(artifacts: Artifacts, keys: Iterable[str]) -> dict[str, OSError]:
    """Remove the files of these records, by the keys that they are kept under. Blocks.

    Gives those whose files the disk did not let go, and why: they hold up no other.
    """
    left: dict[str, OSError] = {}
    for key in keys:
        user, _, record_id = key.partition("/")
        try:
            artifacts.remove(unquote(user), record_id)
        except OSError as error:
            left[key] = error.with_traceback(None)
    return left
