"""Plain JSON values, and what the wire asks of them: no nulls, no integers of 2**53 or more, no broken text."""

from collections.abc import Mapping
from math import isfinite
from typing import Any, Final

INTEGER_LIMIT: Final = 2**53
"""Integers on the wire stay below this; larger ones travel as strings."""


def without_nulls(value: Any) -> Any:
    """`value` with every null member of an object left out: null reads as absent.

    A null that is an item of an array stays, since leaving it out would move those behind it.
    """
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


def wire_value(value: Any) -> Any:
    """`value` as it may travel: null members and numbers that JSON has no word for are left out, integers at or above
    2**53 (either sign) become strings.

    For what comes from elsewhere (a tool's output, a reply's rows); fields that this package words itself need no such
    pass. RecursionError for a value that contains itself.
    """
    match value:
        case bool() | str() | None:
            return value
        case int():
            return value if -INTEGER_LIMIT < value < INTEGER_LIMIT else str(value)
        case float():
            return value if isfinite(value) else None
        case Mapping():
            items = ((key, wire_value(item)) for key, item in value.items())
            return {key: item for key, item in items if item is not None}
        case list() | tuple():
            return [wire_value(item) for item in value]
        case _:
            return value


def without_surrogates(value: Any) -> Any:
    """`value` with every lone surrogate in a text replaced by U+FFFD: one code point for one, so that offsets hold."""
    if isinstance(value, str):
        return "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in value)
    if isinstance(value, Mapping):
        return {without_surrogates(key): without_surrogates(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_surrogates(item) for item in value]
    return value
