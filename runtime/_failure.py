"""Errors without their frames.

A stored exception keeps its traceback, the traceback its frames, and the frames the actor, its mailbox and often the
exception itself: a cycle for each crash. So an error is reported with its traceback, once, and then loses it.
"""

from __future__ import annotations

import traceback


def text_of(error: BaseException) -> str:
    """The traceback as text, for an operator."""
    return "".join(traceback.format_exception(error))


def strip(error: BaseException | None) -> None:
    """Take the traceback off an error and off everything that it was raised from."""
    pending = [error]
    seen = 0
    while pending and seen < 1000:  # a chain of causes may be a cycle
        current = pending.pop()
        seen += 1
        if current is None or (current.__traceback__ is None and seen > 1):
            continue
        current.__traceback__ = None
        pending += (current.__cause__, current.__context__)
        if isinstance(current, BaseExceptionGroup):
            pending += current.exceptions
