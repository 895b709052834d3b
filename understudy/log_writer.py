"""Writes the lines of a log in a thread of its own.

What a line costs is spent in its formatting and in the system call, and a terminal or a collector that takes nothing
for a while would stop the whole daemon. So whoever logs only queues the line's parts; the thread makes text of them and
writes what waits in one piece. It formats a few lines at a time and then lets go of the interpreter for a moment: a
thread that computes without a pause delays every system call of the loop by up to 5 ms.

The queue is bounded. A line for which it has no room, or that the file does not take, is counted, and the log says how
many are missing as soon as it can. `flush` and `close` wait until what was logged before is written.

Rejected: formatting in an actor. Much is logged before the tree starts, behind its end and in other threads, and the
line that tells of a blocked loop must not wait for the loop.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

MOST_WAITING: Final = 20_000
LINES_AT_ONCE: Final = 20
"""Some 0.4 ms of formatting."""
BREATH: Final = 0.001
"""Seconds between them."""
GATHER: Final = 0.01
"""Seconds from the first line after a silence until it is written, with all that have come by then."""
FLUSH_WITHIN: Final = 2.0
LEFT_OUT: Final = "log lines left out"

Fields: TypeAlias = Mapping[str, Any]
Render: TypeAlias = Callable[[float, Fields], str]
"""Makes text of a line: when it was logged, in seconds since 1970, and its fields."""


@attrs.frozen(eq=False)
class Line:
    """What was logged. Nobody changes the fields any more."""

    render: Render
    at: float
    fields: Fields

    def text(self) -> str:
        return f"{self.render(self.at, self.fields)}\n"


class LogWriter:
    """See the module; `log_writer` makes one. Every method may be called in any thread, and raises nothing.

    `lost`: lines that were not written, for want of room or because the file did not take them.
    """

    def __init__(self, out: TextIO, *, most: int = MOST_WAITING) -> None:
        self.lost = 0
        self._told = 0
        self._out = out
        self._most = most
        self._counting = threading.Lock()
        self._lines: SimpleQueue[Line | threading.Event | None] = SimpleQueue()
        self._hurry = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def isatty(self) -> bool:
        """Whether a person reads what is written."""
        return self._out.isatty()

    def put(self, line: Line) -> None:
        """Have a line written soon; at once, behind `close`, where the file has taken all up to then."""
        if self._closed and not self._thread.is_alive():
            self._write([line])
        elif self._closed or self._lines.qsize() >= self._most:
            self._lose(1)
        else:
            self._lines.put(line)

    def flush(self, within: float = FLUSH_WITHIN) -> bool:
        """Wait, at most `within` seconds, until all that was put before is written; whether it is."""
        written = threading.Event()
        self._hurry.set()
        self._lines.put(written)
        return written.wait(within)

    def close(self, within: float = FLUSH_WITHIN) -> bool:
        """As `flush`, and end the thread; whether it has ended. A second call does nothing but say so."""
        if not self._closed:
            written = self.flush(within)
            self._closed = True
            self._lines.put(None)
            if written:
                self._thread.join(within)
        return not self._thread.is_alive()

    def _lose(self, lines: int) -> None:
        with self._counting:
            self.lost += lines

    # --- in the thread

    def _run(self) -> None:
        while (first := self._lines.get()) is not None:
            self._hurry.wait(GATHER)
            self._write_waiting(first)

    def _write_waiting(self, item: Line | threading.Event | None) -> None:
        """Write what waits from `item` on, some lines at a time, until nothing does."""
        while item is not None:
            lines: list[Line] = []
            while isinstance(item, Line) and len(lines) < LINES_AT_ONCE:
                lines.append(item)
                item = self._next()
            self._write(lines)
            if isinstance(item, threading.Event):
                self._hurry.clear()
                item.set()
                item = self._next()
            elif item is not None and not self._hurry.is_set():
                time.sleep(BREATH)

    def _next(self) -> Line | threading.Event | None:
        try:
            item = self._lines.get_nowait()
        except Empty:
            return None
        if item is None:  # the end, which `_run` looks for
            self._lines.put(None)
        return item

    def _write(self, lines: list[Line]) -> None:
        texts = [text for line in lines if (text := self._text(line)) is not None]
        missing = self.lost - self._told
        if missing and lines:
            last = lines[-1]
            note = Line(last.render, last.at, {"event": LEFT_OUT, "level": "warning", "count": missing})
            texts.append(note.text())
        if not texts:
            return
        try:
            # One write, so that the lines do not mix with those of other threads and processes.
            self._out.write("".join(texts))
            self._out.flush()
        except (OSError, ValueError):
            self._lose(len(texts) - bool(missing))
        else:
            self._told += missing

    def _text(self, line: Line) -> str | None:
        """None for one that cannot be put into words; it counts as lost."""
        try:
            return line.text()
        except Exception:  # noqa: BLE001 - of a value that nobody has thought of: no reason to end the log
            self._lose(1)
            return None


@contextmanager
def log_writer(out: TextIO, *, most: int = MOST_WAITING) -> Iterator[LogWriter]:
    """Writes to `out` for the length of the block. At its end, all that `out` takes within two seconds is written.

    Args:
        out: the file. It is not closed.
        most: lines that may wait; about a kilobyte each.
    """
    writer = LogWriter(out, most=most)
    try:
        yield writer
    finally:
        writer.close()
