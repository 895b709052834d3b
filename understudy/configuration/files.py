"""Reading a TOML file, with the line of every key in it.

tomllib says nothing of lines once a file is read. They are found by cutting the text into statements and parsing each
alone: a statement is complete at the first line at which it parses, since TOML ends one at a newline and an open
string, list or table does not parse. No second grammar has to be kept in step with the first.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

from understudy.configuration.errors import ConfigurationError, plain
from understudy.configuration.sources import Source, nearest

if TYPE_CHECKING:
    import pathlib

    from understudy.configuration.sources import Path

_CLOSING = ('"""', "'''", "]", "}")


def read(path: pathlib.Path, *, required: bool) -> str | None:
    """The text of the file at `path`, or None where it is absent and not `required`.

    Raises ConfigurationError where it is required and absent, cannot be read, or is not UTF-8.
    """
    name = plain(str(path))
    try:
        # A byte order mark is what some editors leave; tomllib would call it an invalid statement.
        return path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except FileNotFoundError:
        if not required:
            return None
        raise ConfigurationError([f"{name}: there is no such file; name an existing one or leave it out"]) from None
    except IsADirectoryError:
        raise ConfigurationError([f"{name}: this is a directory; a TOML file is needed"]) from None
    except OSError as error:
        raise ConfigurationError([f"{name}: cannot be read: {error.strerror or 'unknown error'}"]) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigurationError([f"{name}, line {line}: not valid UTF-8; save the file as UTF-8"]) from None
    except ValueError:
        raise ConfigurationError([f"{name}: this is not the path of a file"]) from None


def parse(text: str, name: str) -> dict[str, Any]:
    """The tables of a TOML text. Raises ConfigurationError that names `name`, line and column."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        lines = text.split("\n")
        end = f"at line {len(lines)}, column {len(lines[-1]) + 1}, the end of the file"
        reason = str(error).replace("at end of document", end)
        raise ConfigurationError([f"{plain(name)}: not valid TOML: {plain(reason)}"]) from None
    except RecursionError:
        raise ConfigurationError([f"{plain(name)}: not valid TOML: nested too deeply"]) from None
    except ValueError as error:  # a number of more digits than Python reads
        raise ConfigurationError([f"{plain(name)}: not valid TOML: {plain(str(error))}"]) from None


class FileSource:
    """Gives each path in a parsed file its source, with the line."""

    def __init__(self, name: str, text: str) -> None:
        self._name = name
        self._lines = lines(text)

    def __call__(self, path: Path) -> Source:
        return Source("file", self._name, nearest(self._lines, path, None))


def lines(text: str) -> dict[Path, int]:
    """For a text that is valid TOML: the line, from 1, on which each table or key is first written."""
    found: dict[Path, int] = {}
    table: Path = ()
    counts: dict[Path, int] = {}
    statement, start = "", 0
    for number, line in enumerate(text.split("\n"), start=1):
        if not statement:
            start = number
        elif not any(mark in line for mark in _CLOSING):
            # Only these end a statement of several lines; parsing at each line of a long prompt would be quadratic.
            statement += line + "\n"
            continue
        statement += line + "\n"
        try:
            content = tomllib.loads(statement)
        except ValueError:
            continue
        if statement.lstrip().startswith("["):
            table = _header(content, counts)
            for length in range(1, len(table) + 1):
                found.setdefault(table[:length], start)
        else:
            for path in _keys(content, table):
                found.setdefault(path, start)
        statement = ""
    return found


def _header(content: dict[str, Any], counts: dict[Path, int]) -> Path:
    """The path that the header `[a.b]` or `[[a.b]]` opens; `counts` keeps the elements of lists of tables so far."""
    path: Path = ()
    inner: Any = content
    while inner:
        if isinstance(inner, list):
            counts[path] = counts.get(path, -1) + 1
            return (*path, counts[path])
        key = next(iter(inner))
        inner = inner[key]
        if path in counts:  # a table below the latest element of a list: [[steps]] … [steps.more]
            path = (*path, counts[path])
        path = (*path, key)
    return path


def _keys(content: dict[str, Any], at: Path) -> list[Path]:
    paths: list[Path] = []
    for key, value in content.items():
        paths.append((*at, key))
        if isinstance(value, dict):
            paths.extend(_keys(value, (*at, key)))
    return paths
