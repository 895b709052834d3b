"""Errors without their frames.

A stored exception keeps its traceback, the traceback its frames, and the frames the actor, its mailbox and often the
exception itself: a cycle for each crash. So an error is reported with its traceback, once, and then loses it.
"""

from __future__ import annotations

import traceback


def text_of(error: BaseException) -> str:
    """The traceback as text, for an operator."""
    return "".join(traceback.format_exception(error))


def describe(error: BaseException) -> str:
    """An error in one line. An error whose own text cannot be made must not do more harm than any other."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception as broken:  # noqa: BLE001 - `__str__` is as foreign as the code that raised
        return f"{type(error).__name__} (its text failed with {type(broken).__name__})"


def strip(error: BaseException | None) -> None:
    """Take the traceback off an error and off everything that it was raised from."""
    pending = [error]
    seen: set[int] = set()  # a chain of causes may be a cycle
    while pending:
        current = pending.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        current.__traceback__ = None
        pending += (current.__cause__, current.__context__)
        if isinstance(current, BaseExceptionGroup):
            pending += current.exceptions
