"""Where a story is printed: a terminal, token by token above a status line; or whole plain lines, anywhere else."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol, assert_never

from rich.bar import Bar
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from understudy.terminal.story import Closing, Heading, Item, Note, Piece, Tone
from understudy.terminal.timeline import TIMELINE_HEADER, drawn, timeline_rows
from understudy.terminal.words import SUMMARY_HEADER, last_line, printable, summary_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from types import TracebackType
    from typing import Self, TextIO

    from understudy.client.view import RunView
    from understudy.terminal.timeline import Timeline

#: Seconds between two drawings of the status line. A fast model sends hundreds of pieces a second.
_FRAME: Final = 0.04
#: Characters of a whole run in a chart of plain lines.
_BAR: Final = 40
_STYLES: Final[dict[Tone, str]] = {
    "info": "dim",
    "warning": "yellow",
    "error": "bold red",
    "loud": "bold black on yellow",
}


class Screen(Protocol):
    """`tick` is how often (seconds) the status line wants to be told anew."""

    tick: float

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def tell(self, items: Iterable[Item]) -> None: ...
    def status(self, line: str, now: float) -> None: ...
    def aside(self) -> AbstractContextManager[None]:
        """For the block somebody else reads and writes at this place."""

    def summary(self, view: RunView, timeline: Timeline, elapsed: float) -> None: ...


def heading_words(heading: Heading) -> str:
    place = f"[{heading.number}/{heading.total}] " if heading.number else ""
    agent = f" ({heading.agent_name})" if heading.agent_name and heading.agent_name != heading.step else ""
    return f"{place}{heading.step}{agent}"


class PlainScreen:
    """Whole lines, for files, pipes and logs: nothing is overwritten, nothing coloured."""

    tick = float("inf")

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._line = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._finish_line()

    def tell(self, items: Iterable[Item]) -> None:
        for item in items:
            match item:
                case Heading():
                    self._print(f"\n== {heading_words(item)} ==")
                case Piece(text):
                    *lines, self._line = (self._line + printable(text)).split("\n")
                    for line in lines:
                        self._print(line)
                case Closing(sentence):
                    self._finish_line()
                    self._print(f"-- {sentence}")
                case Note(sentence, "loud"):
                    self._print(f"*** {sentence} ***")
                case Note(sentence):
                    self._print(f"({sentence})")
                case _:
                    assert_never(item)

    def status(self, line: str, now: float) -> None:
        """Nothing to overwrite, so nothing to show."""

    @contextmanager
    def aside(self) -> Iterator[None]:
        self._finish_line()
        yield

    def summary(self, view: RunView, timeline: Timeline, elapsed: float) -> None:
        self._table([SUMMARY_HEADER, *summary_rows(view)])
        if timeline.spans:
            bars = [(*cells, drawn(lane, timeline.length, _BAR)) for cells, lane in timeline_rows(timeline)]
            self._table([(*TIMELINE_HEADER, ""), *bars])
        self._print(f"\n{last_line(view, elapsed)}")

    def _table(self, rows: Sequence[tuple[str, ...]]) -> None:
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        self._print("")
        for row in rows:
            self._print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())

    def _finish_line(self) -> None:
        if self._line:
            line, self._line = self._line, ""
            self._print(line)

    def _print(self, line: str) -> None:
        self._out.write(f"{line}\n")
        self._out.flush()


class TerminalScreen:
    """Text grows above a status line. What is complete scrolls up for good; only the unfinished row is drawn again."""

    tick = 0.1

    def __init__(self, out: TextIO, *, colour: bool, width: int | None = None) -> None:
        self._row = ""
        self._status = ""
        self._drawn = float("-inf")
        self._console = Console(
            file=out, force_terminal=True, no_color=not colour, highlight=False, markup=False, emoji=False, width=width
        )
        # Asked for anew at every drawing, since each line printed above draws it once more.
        self._live = Live(console=self._console, auto_refresh=False, transient=True, get_renderable=self._bottom)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._finish_row()
        self._status = ""
        self._live.stop()

    def tell(self, items: Iterable[Item]) -> None:
        for item in items:
            match item:
                case Heading():
                    self._console.print()
                    self._console.print(Rule(Text(heading_words(item), style="bold"), align="left", style="cyan"))
                case Piece(text):
                    self._grow(printable(text))
                case Closing(sentence, well):
                    self._finish_row()
                    self._console.print(Text(f"{'✓' if well else '✗'} {sentence}", style="green" if well else "yellow"))
                case Note(sentence, tone):
                    self._console.print(Text(sentence, style=_STYLES[tone]))
                case _:
                    assert_never(item)

    def status(self, line: str, now: float) -> None:
        self._status = line
        if now - self._drawn >= _FRAME:
            self._drawn = now
            self._live.refresh()

    def summary(self, view: RunView, timeline: Timeline, elapsed: float) -> None:
        table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
        for column in SUMMARY_HEADER:
            table.add_column(column, justify="right" if column in ("time", "tokens") else "left")
        for row in summary_rows(view):
            table.add_row(*(Text(cell) for cell in row))
        self._console.print()
        self._console.print(table)
        if timeline.spans:
            self._console.print(_chart(timeline))
        self._console.print(Text(last_line(view, elapsed), style="bold"))

    @contextmanager
    def aside(self) -> Iterator[None]:
        self._finish_row()
        self._live.stop()
        try:
            yield
        finally:
            self._live.start()

    def _bottom(self) -> RenderableType:
        status = Text(self._status, style="dim", no_wrap=True, overflow="ellipsis")
        return Group(Text(self._row, no_wrap=True), status) if self._row else status

    def _grow(self, text: str) -> None:
        *lines, row = (self._row + text.expandtabs(4)).split("\n")
        self._row = ""
        for line in lines:
            self._console.print(Text(line))
        if len(row) * 2 > self._console.width:  # a character may be two cells wide
            *full, rest = Text(row).wrap(self._console, self._console.width)
            for complete in full:
                self._console.print(complete)
            # Wrapping drops the blank at a row's end, which may be the one before the next piece.
            row = rest.plain.rstrip(" ") + row[len(row.rstrip(" ")) :]
        self._row = row

    def _finish_row(self) -> None:
        if self._row:
            row, self._row = self._row, ""
            self._console.print(Text(row))


def _chart(timeline: Timeline) -> Table:
    """The steps as bars above one another, as wide as the terminal is."""
    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False, expand=True)
    for column in TIMELINE_HEADER:
        table.add_column(column, justify="left" if column == "step" else "right", no_wrap=True)
    table.add_column("", ratio=1)
    for cells, lane in timeline_rows(timeline):
        chart = Bar(timeline.length, lane.begin, lane.end, color="cyan") if lane and timeline.length else Text()
        table.add_row(*map(Text, cells), chart)
    return table
