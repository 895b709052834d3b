"""Server-sent events: bytes in, events out, however the bytes were cut.

Own, because the client's reader buffers an event without a limit, and because reading by the typed path costs three
times as much. Follows the HTML standard, "Server-sent events", less `id` and `retry`, which mean nothing here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


class EventTooLarge(Exception):
    """An event, or a line of one, is longer than the limit."""


@attrs.frozen
class ServerSentEvent:
    """One event. `name` is empty where the stream does not name it."""

    name: str
    data: str


class EventReader:
    """Takes a stream's bytes piece by piece and gives its events.

    What has been given does not depend on where the pieces were cut. An event that the end of the stream cut off is
    not an event. `limit` is in bytes, of one event's data and of any one line, comments included.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._line = bytearray()  # the beginning of a line whose end has not come yet
        self._after_return = False  # the last piece ended in CR: an LF that follows belongs to it
        self._first_line = True
        self._name = ""
        self._data: list[str] = []
        self._data_bytes = 0

    def feed(self, piece: bytes) -> Iterator[ServerSentEvent]:
        """Yields the events that this piece completes; must be iterated to its end before the next piece.

        Raises EventTooLarge, and UnicodeDecodeError for a line that is not UTF-8, in the place where the stream
        breaks: the events before it have been given by then. After that, nothing may be fed any more.
        """
        start = 0
        if piece and self._after_return:
            self._after_return = False
            start = piece.startswith(b"\n")
        if not (start or self._line or self._data or self._name):
            while (whole := self._whole_event(piece, start)) is not None:
                start, event = whole
                self._first_line = False
                yield event
        while end := _LINE_END.search(piece, start):
            yield from self._take_line(self._whole_line(piece[start : end.start()]))
            start = end.end()
        self._after_return = piece.endswith(b"\r") if piece else self._after_return
        self._line += piece[start:]
        if len(self._line) > self._limit:
            raise EventTooLarge(f"a line of more than {self._limit} bytes")

    def _whole_event(self, piece: bytes, start: int) -> tuple[int, ServerSentEvent] | None:
        """The event that begins at `start`, and where it ends, where it is of the form that nearly all have: perhaps a
        name, one line of data, an empty line, and no carriage return. Anything else takes the long way."""
        name, data = "", start
        if piece.startswith(b"event: ", start):
            data = piece.find(b"\n", start) + 1
            if not data:
                return None
            line = piece[start + 7 : data - 1]
            if b"\r" in line:
                return None
            name = line.decode()
        if not piece.startswith(b"data: ", data):
            return None
        end = piece.find(b"\n", data)
        if end < 0 or piece[end + 1 : end + 2] != b"\n" or end - data > self._limit:
            return None
        value = piece[data + 6 : end]
        return None if b"\r" in value else (end + 2, ServerSentEvent(name, value.decode()))

    def _whole_line(self, rest: bytes) -> bytes:
        if self._line:
            self._line += rest
            rest = bytes(self._line)
            self._line.clear()
        if len(rest) > self._limit:
            raise EventTooLarge(f"a line of {len(rest)} bytes, above {self._limit}")
        return rest

    def _take_line(self, line: bytes) -> Iterator[ServerSentEvent]:
        if self._first_line:
            self._first_line = False
            line = line.removeprefix(_BOM)
        if not line:
            if self._data:
                yield ServerSentEvent(self._name, "\n".join(self._data))
            self._name, self._data, self._data_bytes = "", [], 0
            return
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data_bytes += len(value) + 1
            if self._data_bytes > self._limit + 1:
                raise EventTooLarge(f"an event of more than {self._limit} bytes")
            self._data.append(value.decode())
        elif field == b"event":
            self._name = value.decode()
