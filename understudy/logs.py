"""Logs: a line that a person can read on a terminal, JSON everywhere else.

Each daemon opens a log of its own. Nothing of structlog's global configuration is used or changed, so two daemons in
one process share no level, no format and no file. Tracebacks appear here and nowhere else, without the values of
variables.

Secrets are taken out by name (whatever stands under `api_key` or `Authorization`) and by look (bearer tokens, keys of
the known providers, JWTs, passwords in URLs, and the very secrets that the daemon was configured with), in every text
of a line, tracebacks and libraries' records included. This happens before a line is rendered: afterwards a secret could
no longer be told from the line's own punctuation.

A line is made in two stages. What it says is fixed where it is logged: the time, the traceback, a copy of whatever can
still change. Text is made of that later, in the thread of a `LogWriter`; without one, at once.
"""

from __future__ import annotations

import json
import logging
import re
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

import attrs
import structlog

from understudy.log_writer import Line, LogWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import TextIO

    from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

    from understudy.log_writer import Fields, Render

Style: TypeAlias = Literal["auto", "terminal", "json"]
LEVELS: Final = ("debug", "info", "warning", "error", "critical")
_NUMBERS: Final = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)
SCRUBBED: Final = "[secret]"
#: What libraries log under. Below WARNING they tell of every request and every frame.
LIBRARIES: Final = ("hypercorn", "openai", "httpx", "httpx2", "httpcore", "httpcore2", "litestar", "trio-websocket")

_SECRET_WORDS: Final = frozenset(
    {"token", "secret", "password", "passwd", "passphrase", "pwd", "authorization", "cookie", "credential"}
    | {"credentials", "apikey", "bearer", "jwt"}
)
_SECRET_PAIRS: Final = frozenset({("api", "key"), ("private", "key"), ("access", "key"), ("signing", "key")})
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_LOOKS_SECRET: Final = re.compile(
    r"""
      (?P<bearer> \b bearer \s+ ) [A-Za-z0-9._~+/=-]{6,}
    | (?P<basic>  \b authorization ["']? \s* [:=] \s* ["']? \w+ \s+ ) [A-Za-z0-9._~+/=-]{6,}
    | (?P<named>  \b (?: api[_-]?key | access[_-]?token | token | secret | passw(?:or)?d ) ["']? \s* [=:] \s* ["']? )
      [^\s"'&,;\\}\[]{4,}
    | (?P<url>    :// [^\s/:@"]* : ) [^\s/@"]+ (?=@)
    | \b (?: sk | gsk | ghp | gho | xai | xox[abprs] | hf | pplx | r8 ) [-_] [A-Za-z0-9_-]{8,}
    | \b AIza [A-Za-z0-9_-]{20,}
    | \b eyJ [A-Za-z0-9_-]{8,} \. [A-Za-z0-9_-]{4,} \. [A-Za-z0-9_-]*
    """,
    re.VERBOSE | re.IGNORECASE,
)
#: A configured secret shorter than this is a placeholder, and replacing it everywhere would garble the log.
_SHORTEST_SECRET: Final = 8
_DEEPEST: Final = 8
#: Names of which is remembered whether they smell of secret.
_NAMES_KEPT: Final = 1000
#: Values that nobody can change.
_FIXED: Final = frozenset({str, int, float, bool, type(None)})
#: Printed as they are, line for line; everywhere else a line break would let a value pass for a line of the log.
_MULTILINE: Final = "exception"


def smells_of_secret(name: str) -> bool:
    """Whether what stands under this name is to be hidden: `api_key`, `refreshToken`, but not `prompt_tokens`."""
    words = [word.lower() for word in _WORD.findall(name)]
    return not _SECRET_WORDS.isdisjoint(words) or not _SECRET_PAIRS.isdisjoint(pairwise(words))


def scrub_text(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` without the given `secrets` and without what looks like one."""
    for secret in secrets:
        text = text.replace(secret, SCRUBBED)
    return _LOOKS_SECRET.sub(_scrubbed, text)


def _scrubbed(match: re.Match[str]) -> str:
    return next((kept for kept in match.groupdict().values() if kept), "") + SCRUBBED


@attrs.frozen
class _Scrubber:
    """Takes secrets out of a line. `smells` is `smells_of_secret`, perhaps with a memory: the same names come again."""

    secrets: tuple[str, ...]
    smells: Callable[[str], bool] = smells_of_secret

    def fields(self, fields: Fields) -> dict[str, Any]:
        """As `plain`, for all that a line says."""
        return cast("dict[str, Any]", self.plain(dict(fields)))

    def plain(self, value: object, depth: int = 0) -> object:
        """A copy of `value` as plain JSON, without secrets. What JSON has no form for becomes its text."""
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, str):
            return scrub_text(value, self.secrets)
        if depth > _DEEPEST:
            return "..."
        if isinstance(value, dict):
            return {
                str(name): SCRUBBED if self.smells(str(name)) and not _is_count(inner) else self.plain(inner, depth + 1)
                for name, inner in value.items()
            }
        if isinstance(value, list | tuple | set | frozenset):
            return [self.plain(inner, depth + 1) for inner in value]
        return scrub_text(str(value), self.secrets)


def _is_count(value: object) -> bool:
    """A number or nothing at all under a secret's name tells how many, or that there is none."""
    return value is None or isinstance(value, bool | int | float)


class _Pen:
    """Where structlog's processors end: hands a line to the writer, or writes it.

    A log that cannot be written is no reason for an actor to fail. The writer counts what is lost.
    """

    def __init__(self, out: TextIO | LogWriter, render: Render) -> None:
        self._out = out
        self._render = render

    def msg(self, at: float, fields: Fields) -> None:
        if isinstance(self._out, LogWriter):
            self._out.put(Line(self._render, at, fields))
            return
        with suppress(OSError, ValueError):
            # One write a line, so that lines of worker threads do not mix.
            self._out.write(f"{self._render(at, fields)}\n")
            self._out.flush()

    debug = info = warning = error = critical = fatal = exception = log = msg


def open_log(
    out: TextIO | LogWriter,
    *,
    level: str = "info",
    style: Style = "auto",
    colours: bool | None = None,
    secrets: Iterable[str] = (),
    now: Callable[[], float] = time.time,
) -> FilteringBoundLogger:
    """A log that writes to `out` what is at `level` (one of `LEVELS`) or above. Bind what belongs to every line.

    `style` auto is terminal where `out` is one, else json; `colours` None likewise. `secrets` are replaced wherever
    they stand. `now` gives seconds since 1970. Raises ValueError for a level that is none. Logging itself never raises
    because `out` is full, closed or gone.
    """
    if level not in LEVELS:
        raise ValueError(f"log level {level!r}: has to be one of {', '.join(LEVELS)}")
    on_terminal = out.isatty()
    readable = style == "terminal" or (style == "auto" and on_terminal)
    hidden = sorted({secret for secret in secrets if len(secret) >= _SHORTEST_SECRET}, key=len, reverse=True)
    scrubber = _Scrubber(tuple(hidden), lru_cache(_NAMES_KEPT)(smells_of_secret))

    def fix(_logger: WrappedLogger, _method: str, fields: EventDict) -> Any:
        """What the line says from now on, whatever becomes of the values."""
        fixed = {
            name: value if value.__class__ in _FIXED else scrubber.fields({name: value})[name]
            for name, value in fields.items()
        }
        return (now(), fixed), {}

    processors: list[Processor] = [structlog.processors.add_log_level, structlog.processors.format_exc_info, fix]
    render = _readable(scrubber, on_terminal if colours is None else colours) if readable else _json(scrubber)
    wrapper: Any = structlog.make_filtering_bound_logger(getattr(logging, level.upper()))
    return cast("FilteringBoundLogger", wrapper(_Pen(out, render), processors, {}))


def _readable(scrubber: _Scrubber, colours: bool) -> Render:
    renderer = structlog.dev.ConsoleRenderer(
        colors=colours, exception_formatter=structlog.dev.plain_traceback, pad_event_to=0, pad_level=True
    )

    def render(at: float, fields: Fields) -> str:
        shown = _without_controls(scrubber.fields(fields))
        shown["timestamp"] = datetime.fromtimestamp(at).astimezone().strftime("%H:%M:%S.%f")[:-3]
        return str(renderer(None, shown["level"], shown))

    return render


def _json(scrubber: _Scrubber) -> Render:
    encode = json.JSONEncoder().encode

    def render(at: float, fields: Fields) -> str:
        plain = scrubber.fields(fields)
        moment = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return encode({"timestamp": moment, "level": plain.pop("level"), "event": plain.pop("event", ""), **plain})

    return render


def _without_controls(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Shows line breaks and escape sequences instead of obeying them."""
    return {name: _shown(value) if isinstance(value, str) else value for name, value in fields.items()} | (
        {_MULTILINE: _shown(fields[_MULTILINE], keep="\n")} if isinstance(fields.get(_MULTILINE), str) else {}
    )


def _shown(text: str, keep: str = "") -> str:
    return "".join(mark if mark.isprintable() or mark in keep else repr(mark)[1:-1] for mark in text)


class _ToLog(logging.Handler):
    """Hands a record of the standard library's logging on to a log of ours."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            message = str(record.msg)  # a library's format and arguments that do not fit each other
        fields: dict[str, Any] = {"library": record.name}
        if record.exc_info and record.exc_info[0] is not None:
            fields["exc_info"] = record.exc_info
        # structlog knows the five levels only, a library may have made up others.
        known = [level for level in _NUMBERS if level <= record.levelno]
        self._log.log(max(known, default=logging.DEBUG), message, **fields)


def library_logger(log: FilteringBoundLogger, name: str, *, level: int = logging.WARNING) -> logging.Logger:
    """A logger for a library that can be handed one (Hypercorn's `errorlog`), routed into `log`.

    It stands outside the standard library's tree of loggers, so two daemons do not meet in it.
    """
    logger = logging.Logger(name, level)  # noqa: LOG001 - `getLogger` would put it into the process-wide tree
    logger.addHandler(_ToLog(log))
    return logger


@contextmanager
def library_logs(
    log: FilteringBoundLogger, *, names: Iterable[str] = LIBRARIES, level: int = logging.WARNING
) -> Iterator[None]:
    """Routes what libraries log by their own names into `log` while the block lasts, from `level` on.

    The standard library's loggers belong to the process, so this is for the program, once, and not for a daemon in it.
    Everything is as before afterwards.
    """
    handler = _ToLog(log)
    before: Mapping[logging.Logger, tuple[int, bool]] = {
        logger: (logger.level, logger.propagate) for logger in map(logging.getLogger, names)
    }
    for logger in before:
        logger.addHandler(handler)
        logger.setLevel(level)
        logger.propagate = False
    try:
        yield
    finally:
        for logger, (was_level, was_propagating) in before.items():
            logger.removeHandler(handler)
            logger.setLevel(was_level)
            logger.propagate = was_propagating
