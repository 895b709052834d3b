"""Media types, as the framework wants them."""

from __future__ import annotations


def without_charset(media_type: str) -> str:
    """The media type without its charset: the framework adds one to every text."""
    return media_type.partition("; charset=")[0]
