"""Reading the parameters of an execution: what is wrong is told by its place, in a sentence. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


class Fields:
    """Reads one object's members and gathers what is wrong with them in `problems`.

    Args:
        values: the object.
        known: the members that there may be.
        problems: where to put what is wrong.
        place: in front of a member's name.
    """

    def __init__(
        self, values: Mapping[str, Any], known: Collection[str], problems: dict[str, str], place: str = "parameters."
    ) -> None:
        self._values = values
        self._problems = problems
        self._place = place
        for name in values:
            if name not in known:
                self.wrong(str(name)[:64], f"There is no such parameter here. Allowed: {', '.join(known) or 'none'}.")

    def wrong(self, name: str, sentence: str) -> None:
        self._problems.setdefault(f"{self._place}{name}", sentence)

    def text(self, name: str, default: str = "", *, longest: int, needed: bool = False) -> str:
        value = self._values.get(name)
        if value is None:
            value = default
        if not isinstance(value, str) or len(value) > longest or (needed and not value.strip()) or not _stored(value):
            least = 1 if needed else 0
            self.wrong(name, f"This must be a text of {least} to {longest:,} characters.")
            return default
        return value

    def one_of(self, name: str, allowed: Collection[str], default: str | None) -> str | None:
        value = self._values.get(name)
        if value is None:
            return default
        if value not in allowed:
            self.wrong(name, f"This must be one of: {', '.join(allowed)}.")
            return default
        return str(value)

    def whole(self, name: str, default: int, *, low: int, high: int) -> int:
        value = self._values.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.wrong(name, f"This must be a whole number from {low} to {high:,}.")
            return default
        return value

    def seconds(self, name: str, default: float, *, high: float) -> float:
        value = self._values.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= high:
            self.wrong(name, f"This must be a number of seconds above 0, at most {high:g}.")
            return default
        return float(value)

    def boolean(self, name: str) -> bool | None:
        value = self._values.get(name)
        if value is not None and not isinstance(value, bool):
            self.wrong(name, "This must be true or false.")
            return None
        return value

    def texts(self, name: str, *, most: int, longest: int) -> tuple[str, ...]:
        """A list of texts, none of them empty."""
        value = self._values.get(name)
        if value is None:
            return ()
        right = isinstance(value, list | tuple) and len(value) <= most
        if not right or not all(isinstance(each, str) and 0 < len(each) <= longest and _stored(each) for each in value):
            self.wrong(name, f"This must be a list of at most {most} texts of 1 to {longest:,} characters.")
            return ()
        return tuple(value)


def _stored(text: str) -> bool:
    """Whether the text can be written down: half a code point cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
