"""What of a tool's input and output may be shown: in events, in the log, in metrics. Pure.

The tool itself gets the exact arguments and the model the exact result; this is for everybody else. Values whose key
smells of a secret are replaced whole, at any depth, also in text that is JSON itself; in other text, what looks like
`password=…` or an authorization header is. Strings are cut, and so is all of it together, so that an event stays small
whatever a tool returns.

Rejected: a list of the keys that may be shown. It would be safer, and nobody would keep it: others write tools.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import attrs

from actors.protocol.wire_values import wire_value, without_surrogates

REDACTED: Final = "[redacted]"
INPUT_CHARACTERS: Final = 200
"""Of one string of an input."""
OUTPUT_CHARACTERS: Final = 10_000
"""Of one string of an output; and of all that is shown of an input or an output together."""
DEEPEST: Final = 32
"""Levels; the wire protocol takes 64 in a frame."""
LONGEST_KEY: Final = 200

_SMELLS: Final = (
    *("secret", "password", "passwd", "passphrase", "pwd", "apikey", "accesskey", "privatekey", "signingkey"),
    *("encryptionkey", "authorization", "credential", "cookie", "bearer", "token", "sessionkey", "connectionstring"),
)
_EXACT: Final = frozenset({"auth", "key", "pin", "otp", "dsn", "sas", "jwt"})
_IN_TEXT: Final = re.compile(
    r"((?:secret|password|passwd|passphrase|pwd|api[_-]?key|access[_-]?key|private[_-]?key|authorization|credential"
    r"|cookie|token)[\w-]{0,32}\\?[\"']?\s{0,8}[:=]\s{0,8})(?:(?:bearer|basic)\s{1,8})?"
    r"(?:\\?\"[^\"]*\"?|'[^']*'?|[^\s,;&}\])]+)",
    re.IGNORECASE,
)
_BEARER: Final = re.compile(r"\b(bearer|basic)\s{1,8}[\w.~+/=-]{8,}", re.IGNORECASE)
_PROVIDER_KEY: Final = re.compile(r"\bsk-[\w-]{8,}")


@attrs.frozen
class Shown:
    """A value as it may be shown: plain JSON. `truncated`: some of it was cut away."""

    value: Any
    truncated: bool


def smells(key: str) -> bool:
    """Whether what stands under this key is probably a secret."""
    letters = "".join(character for character in key.casefold() if character.isalnum())
    return letters in _EXACT or any(word in letters for word in _SMELLS)


def shown_input(arguments: Mapping[str, Any]) -> Shown:
    """The arguments of a call."""
    return _shown(arguments, INPUT_CHARACTERS)


def shown_output(result: Any) -> Shown:
    """The result of a call: any value that JSON has a word for, or text."""
    return _shown(result, OUTPUT_CHARACTERS)


def shown_text(text: str, longest: int) -> str:
    """A text without what looks like a secret in it, at most `longest` characters of it."""
    return _Cutter(longest).text(text)


def _shown(value: Any, longest: int) -> Shown:
    cutter = _Cutter(longest)
    # Cut before anything else walks it: what comes from a model or a tool may be deeper than Python can go.
    return Shown(cutter.value(value, 0), cutter.truncated)


class _Cutter:
    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._left = OUTPUT_CHARACTERS
        self.truncated = False

    def value(self, value: Any, depth: int) -> Any:
        if isinstance(value, Mapping | list):
            if depth >= DEEPEST:
                self.truncated = True
                return self._spend("…")
            return self._object(value, depth) if isinstance(value, Mapping) else self._array(value, depth)
        value = wire_value(value)
        if isinstance(value, str):
            return self._spend(self.text(value, depth))
        if value is None or isinstance(value, bool | int | float):
            self._left -= 8
            return value
        return self._spend(self.text(str(value), depth))

    def _object(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key, item in value.items():
            name = without_surrogates(str(key))
            item = wire_value(item) if isinstance(item, float) else item
            if item is None:
                continue
            if self._left <= 0 or len(name) > LONGEST_KEY:
                self.truncated = True
                continue
            self._left -= len(name) + 4
            # A count of tokens is no token.
            counted = isinstance(item, int | float) and not isinstance(item, bool) and "tokens" in name.casefold()
            made[name] = self._spend(REDACTED) if smells(name) and not counted else self.value(item, depth + 1)
        return made

    def _array(self, value: list[Any], depth: int) -> list[Any]:
        made: list[Any] = []
        for item in value:
            if self._left <= 0:
                self.truncated = True
                break
            self._left -= 2
            made.append(self.value(item, depth + 1))
        return made

    def text(self, text: str, depth: int = 0) -> str:
        if text.lstrip()[:1] in {"{", "["} and len(text) <= 16 * OUTPUT_CHARACTERS and depth < DEEPEST:
            text = _json_text(text, depth)
        kept = text[: self._longest]
        kept = _IN_TEXT.sub(rf"\g<1>{REDACTED}", kept)
        kept = _PROVIDER_KEY.sub(REDACTED, _BEARER.sub(rf"\g<1> {REDACTED}", kept))[: self._longest]
        self.truncated |= len(text) > self._longest
        cleaned: str = without_surrogates(kept)
        return cleaned

    def _spend(self, text: str) -> str:
        if len(text) > self._left:
            self.truncated = True
            text = text[: max(0, self._left)]
        self._left -= len(text) + 2
        return text


def _json_text(text: str, depth: int) -> str:
    """The text; where it is JSON, with what smells of a secret replaced."""
    try:
        inner = json.loads(text)  # takes NaN and Infinity, which others write
        redacted = _redacted(inner, depth)
    except (ValueError, RecursionError):
        return text
    return text if redacted == inner else json.dumps(redacted, ensure_ascii=False)


def _redacted(value: Any, depth: int) -> Any:
    if depth >= DEEPEST:
        return "…"
    if isinstance(value, dict):
        return {
            key: REDACTED if smells(key) and isinstance(item, str | dict | list) else _redacted(item, depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, str) and value.lstrip()[:1] in {"{", "["}:
        return _json_text(value, depth + 1)
    return [_redacted(item, depth + 1) for item in value] if isinstance(value, list) else value
