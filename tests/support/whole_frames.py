"""What texts look like on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.gateway.frames import text_header

if TYPE_CHECKING:
    from collections.abc import Sequence


def text_frames(bodies: Sequence[bytes]) -> bytes:
    """A server's frame for each body, all in one piece."""
    return b"".join(piece for body in bodies for piece in (text_header(len(body)), body))
