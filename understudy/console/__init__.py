"""The page at `/`: what is here, and how to reach it. Static, without a script; nothing of it comes from elsewhere."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

import attrs

#: For every answer of the console: nothing but its own style sheet may be loaded, and nobody may frame it.
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@attrs.frozen
class Asset:
    """A file of the console: where it is served, with which media type."""

    path: str
    media_type: str
    content: bytes


def assets() -> tuple[Asset, ...]:
    """Every file of the console, read from the installed package."""
    here = files(__name__)
    return (
        Asset("/", "text/html; charset=utf-8", here.joinpath("index.html").read_bytes()),
        Asset("/console.css", "text/css; charset=utf-8", here.joinpath("console.css").read_bytes()),
    )
