"""What a single value may be, and the strict reading of it.

TOML has types, so nothing is coerced here but a whole number to a fraction: `port = "12000"` is a mistake to be told,
and `port = true` even more. Variables are turned into numbers before they come here (environment.py).
"""

import ipaddress
import math
import re
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from actors.protocol.commands import CAPABILITY_HAS, LONGEST_CAPABILITY
from understudy.configuration.errors import plain

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""What a model, an agent, a workflow or a step may be called."""


class UnfitError(ValueError):
    """A value is not what its key allows.

    `allowed` completes "allowed: …". `says` is what the line says of the value; where it is None, the value is shown.
    """

    def __init__(self, allowed: str, says: str | None = None) -> None:
        super().__init__(allowed)
        self.allowed = allowed
        self.says = says


@attrs.frozen
class Range:
    """Bounds of a number, both inclusive, with the unit it counts."""

    low: float
    high: float
    unit: str = ""

    def describe(self, kind: str) -> str:
        unit = f" ({self.unit})" if self.unit else ""
        return f"{kind} from {_figure(self.low)} to {_figure(self.high)}{unit}"


@attrs.frozen
class Form:
    """A condition on a text, in words and as a function."""

    allowed: str
    fits: Callable[[str], bool]


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise UnfitError("a text")
    try:
        value.encode()
    except UnicodeEncodeError:  # what an environment or a command line holds that is not UTF-8
        raise UnfitError("text in UTF-8") from None
    return value


def text_of_form(value: Any, form: Form) -> str:
    if not isinstance(value, str) or not form.fits(text(value)):
        raise UnfitError(form.allowed)
    return value


def truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise UnfitError("true or false")
    return value


def integer(value: Any, bounds: Range) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not bounds.low <= value <= bounds.high:
        raise UnfitError(bounds.describe("a whole number"))
    return value


def number(value: Any, bounds: Range) -> float:
    unfit = isinstance(value, bool) or not isinstance(value, int | float)
    # Not a number compares false with everything; infinities are outside any bounds.
    if unfit or not bounds.low <= value <= bounds.high:
        raise UnfitError(bounds.describe("a number"))
    return float(value)


def choice(value: Any, choices: tuple[str, ...]) -> str:
    """One of `choices`, in upper or lower case, as people write log levels."""
    if not isinstance(value, str) or value.lower() not in choices:
        raise UnfitError(f"one of {', '.join(choices)}")
    return value.lower()


def directory(value: Any) -> Path:
    """A path, `~` resolved. That it exists and can be written is for the storage to find."""
    if not isinstance(value, str) or not value.strip() or "\0" in text(value):
        raise UnfitError("the path of a directory")
    try:
        return Path(value).expanduser()
    except RuntimeError:
        raise UnfitError("the path of a directory, without ~ where no home is known") from None


def shown(value: Any, limit: int = 60) -> str:
    """A value as an error line shows it: on one line, printable, and not long."""
    if not isinstance(value, str):
        kind = {dict: "a table", list: "a list", bool: str(value).lower()}.get(type(value))
        return kind or plain(str(value))[:limit]
    return f'"{plain(value[:limit])}"' if len(value) <= limit else f'"{plain(value[:limit])}…"'


def masked(path: tuple[str | int, ...], value: Any) -> Any:
    """`value`, unless what stands at `path` is a secret or holds one."""
    if value is None:
        return value
    if "api_key" in path:
        return value if value == PLACEHOLDER_KEY else "********"
    if path and path[-1] == "base_url":
        return masked_url(value) if isinstance(value, str) else "********"
    return value


def masked_url(url: str) -> str:
    """The URL without the password, the user and the query that it may hold."""
    # By hand: a URL that does not parse must not show its password either.
    before, at, after = url.rpartition("@")
    if at:
        scheme, slashes, _ = before.partition("://")
        url = f"{scheme}{slashes}********@{after}" if slashes else f"********@{after}"
    start, question, _ = url.partition("?")
    return f"{start}?********" if question else start


PLACEHOLDER_KEY = "placeholder"
"""Sent to an endpoint that was given without a key: local servers want none, and the client library insists on one."""


def _figure(value: float) -> str:
    return str(int(value)) if math.floor(value) == value else str(value)


def _is_url(value: str) -> bool:
    try:
        url = urllib.parse.urlsplit(value)
        _ = url.port  # raises where it is none
        host = url.hostname
    except ValueError:
        return False
    plain_text = value.isascii() and value.isprintable() and " " not in value
    return plain_text and url.scheme in {"http", "https"} and bool(host) and not url.query and not url.fragment


def _is_origin(value: str) -> bool:
    if not _is_url(value) or value != value.lower():
        return False
    url = urllib.parse.urlsplit(value)
    return not url.path and url.username is None


URL = Form("a URL that begins with http:// or https://, without a query", _is_url)
ORIGIN = Form("an origin like https://app.example.com, in lower case and without a path", _is_origin)
FILLED = Form("a text that is not empty", lambda value: bool(value.strip()))
KEY = Form(
    "printable ASCII without spaces",
    lambda value: bool(value) and value.isascii() and value.isprintable() and " " not in value,
)
TITLE = Form(
    "one line of at most 80 characters, not empty",
    lambda value: bool(value.strip()) and value.isprintable() and len(value) <= 80,
)
CAPABILITY = Form(
    f"a text of 1 to {LONGEST_CAPABILITY} characters",
    lambda value: len(value) <= LONGEST_CAPABILITY and re.search(CAPABILITY_HAS, value) is not None,
)
NAMED = Form("a name of letters, digits, - and _", lambda value: NAME.fullmatch(value) is not None)


def is_loopback(address: str) -> bool:
    """Whether an IP address in text is one that only this machine reaches. Text that is no address is not."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return parsed.is_loopback or (mapped is not None and mapped.is_loopback)
