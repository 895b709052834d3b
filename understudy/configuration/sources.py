"""Where each value came from, and the laying of one source over another."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import attrs

from understudy.configuration.errors import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_BARE = re.compile(r"[A-Za-z0-9_-]+")

Path: TypeAlias = tuple[str | int, ...]
"""The way to a value: table names and keys, and for elements of a list their index from 0."""


@attrs.frozen
class Source:
    """Where a value came from.

    `name` is the file's path, the variable, the flag with its dashes or, for a derived value, the reason. `line` counts
    from 1 and is known only for files.
    """

    kind: Literal["default", "file", "environment", "flag", "derived"]
    name: str = ""
    line: int | None = None

    def __str__(self) -> str:
        match self.kind:
            case "default":
                return "default"
            case "file":
                return f"file {self.place}"
            case "environment":
                return f"environment variable {self.name}"
            case "flag":
                return f"flag {self.name}"
            case "derived":
                return f"derived: {self.name}"

    @property
    def place(self) -> str:
        """The source as the beginning of an error line."""
        match self.kind:
            case "default" | "derived":
                return "configuration"
            case "file":
                return plain(self.name) if self.line is None else f"{plain(self.name)}, line {self.line}"
            case _:
                return str(self)


DEFAULT = Source("default")


def dotted(path: Path) -> str:
    """The path as a person writes it; elements of a list are counted from 1: `workflows.w.steps#2.agent`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"#{part + 1}"
        else:
            key = part if _BARE.fullmatch(part) else f'"{plain(part)}"'
            text += f".{key}" if text else key
    return text


@attrs.define
class Layers:
    """The tables merged so far, and the source of every value in them. Made and used up within one `load`."""

    tables: dict[str, Any] = attrs.Factory(dict)
    origins: dict[Path, Source] = attrs.Factory(dict)

    def lay(self, table: Mapping[str, Any], source: Callable[[Path], Source]) -> None:
        """Lay `table` over what is here. Tables are merged key by key, lists and workflows are replaced whole."""
        self._merge(self.tables, table, (), source)

    def put(self, path: tuple[str, ...], value: Any, source: Source) -> None:
        """Set one value."""
        table: Any = value
        for part in reversed(path):
            table = {part: table}
        self.lay(table, lambda _: source)

    def origin(self, path: Path) -> Source:
        """The source of what stands at `path`, or of the nearest table around it."""
        source: Source = nearest(self.origins, path, DEFAULT)
        return source

    def _merge(
        self, into: dict[str, Any], table: Mapping[str, Any], at: Path, source: Callable[[Path], Source]
    ) -> None:
        for key, value in table.items():
            path = (*at, key)
            present = into.get(key)
            # A workflow is a graph: half of one laid over half of another would be a third that nobody wrote.
            if isinstance(value, dict) and isinstance(present, dict) and not _whole(path):
                self._merge(present, value, path, source)
                continue
            if key in into:
                for stale in [known for known in self.origins if known[: len(path)] == path]:
                    del self.origins[stale]
            into[key] = _copy(value)
            for inner in _paths(value, path):
                self.origins[inner] = source(inner)


def nearest(known: Mapping[Path, Any], path: Path, otherwise: Any) -> Any:
    """What `known` holds for `path`, or for the longest beginning of it."""
    for length in range(len(path), 0, -1):
        if path[:length] in known:
            return known[path[:length]]
    return otherwise


def _whole(path: Path) -> bool:
    return len(path) == 2 and path[0] == "workflows"


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(inner) for key, inner in value.items()}
    return value


def _paths(value: Any, at: Path) -> Iterator[Path]:
    yield at
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _paths(inner, (*at, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _paths(inner, (*at, index))
