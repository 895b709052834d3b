"""The message of the Python subjects that let a message be any object."""

from __future__ import annotations

import attrs


@attrs.frozen
class Note:
    """As small as messages are in practice: a number and a text."""

    number: int
    text: str
