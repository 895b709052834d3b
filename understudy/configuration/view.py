"""The configuration as text: for people, for programs, and as a file again. Secrets are masked in all of them."""

from __future__ import annotations

import json
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import attrs

from understudy.configuration.errors import plain
from understudy.configuration.kinds import masked
from understudy.configuration.sources import DEFAULT, Path, Source, dotted, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from understudy.configuration.settings import Settings

WIDTH = 56
"""Characters of a value in the text for people; longer ones are cut there, with their length told."""


@attrs.frozen
class Line:
    """One value in force.

    `value` is the text shown, on one line and not cut; `content` is the value itself (number, text, list, None where it
    is unset). In both, secrets are masked.
    """

    key: str
    value: str
    source: Source
    path: tuple[str, ...]
    content: Any


def lines(settings: Settings, origins: Mapping[Path, Source]) -> list[Line]:
    return [_line(path, value, origins) for path, value in _leaves(settings, ())]


def as_text(lines: Iterable[Line]) -> str:
    """A table for a terminal: key, value and source in columns, a blank line between tables."""
    rows = [(line, _short(line.value)) for line in lines]
    keys = max((len(line.key) for line, _ in rows), default=0)
    values = max((len(value) for _, value in rows), default=0)
    text: list[str] = []
    table: tuple[str, ...] | None = None
    for line, value in rows:
        if table is not None and line.path[:-1] != table:
            text.append("")
        table = line.path[:-1]
        text.append(f"{line.key:<{keys}}  {value:<{values}}  {plain(str(line.source))}")
    return "\n".join(text)


def as_json(lines: Iterable[Line]) -> str:
    """One object a key: `{"server.port": {"value": 12000, "source": "default"}, …}`."""
    return json.dumps({line.key: {"value": line.content, "source": str(line.source)} for line in lines}, indent=2)


def as_toml(lines: Iterable[Line]) -> str:
    """A file that says the same, each source as a comment. What is unset is left out; masked keys must be put back."""
    text: list[str] = []
    table: tuple[str, ...] | None = None
    for line in lines:
        if line.path[:-1] != table:
            table = line.path[:-1]
            text.extend(["", f"[{'.'.join(table)}]"] if text else [f"[{'.'.join(table)}]"])
        if line.content is not None:
            text.append(f"# {plain(str(line.source))}\n{line.path[-1]} = {_toml(line.content)}")
    return "\n".join(text) + "\n"


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The values below; those of named tables without their `name`, which is in the path, and what no file can say."""
    if path[:1] == ("workflows",) and path[-1] == "steps":
        yield path, [_step(step) for step in value]
    elif attrs.has(type(value)):
        for field in attrs.fields(type(value)):
            if field.name not in {"name", "definition"}:
                yield from _leaves(getattr(value, field.name), (*path, field.name))
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, (*path, name))
    else:
        yield path, value


def _step(step: Any) -> dict[str, Any]:
    values = attrs.asdict(step)
    policy = values.pop("approval")
    values |= {"approval": policy["always"], "approval_timeout": policy["within"]}
    values["approval_on_timeout"] = policy["on_timeout"]
    return {key: value for key, value in values.items() if value is not None and value != ""}


def _line(path: tuple[str, ...], value: Any, origins: Mapping[Path, Source]) -> Line:
    content = masked(path, value)
    if isinstance(content, PurePath):
        content = str(content)
    elif isinstance(content, tuple):
        content = list(content)
    elif isinstance(content, list):
        content = [
            {key: list(item) if isinstance(item, tuple) else item for key, item in step.items()} for step in content
        ]
    return Line(dotted(path), _value(path, content), nearest(origins, path, DEFAULT), path, content)


def _value(path: tuple[str, ...], content: Any) -> str:
    if content is None:
        return "(unset: the simulated model)" if path[-1] == "base_url" else "(unset)"
    if path[-1] == "steps":
        return ", ".join(_told(step) for step in content)
    if isinstance(content, list):
        return ", ".join(map(str, content)) or "(none)"
    return plain(" ".join(content.split())) if isinstance(content, str) else str(content)


def _told(step: dict[str, Any]) -> str:
    after = f" after {' and '.join(step['depends_on'])}" if step["depends_on"] else ""
    return f"{step['name']}{after}"


def _short(value: str) -> str:
    if len(value) <= WIDTH:
        return value
    tail = f"… ({len(value)} characters)"
    return value[: WIDTH - len(tail)] + tail


def _toml(value: Any) -> str:
    if isinstance(value, str):
        return _toml_text(value)
    if isinstance(value, list):
        lined = bool(value) and isinstance(value[0], dict)
        inner = [_toml(item) for item in value]
        return "[\n" + "".join(f"    {item},\n" for item in inner) + "]" if lined else f"[{', '.join(inner)}]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value)


def _toml_text(value: str) -> str:
    """A basic string; over several lines where the text has several, as a prompt is read by people."""
    # What JSON escapes, TOML reads alike; DEL, which JSON leaves, TOML forbids.
    escaped = json.dumps(value, ensure_ascii=False)[1:-1].replace("\x7f", "\\u007f")
    if "\n" not in value:
        return f'"{escaped}"'
    return '"""\n' + escaped.replace("\\\\", "\0").replace("\\n", "\n").replace("\0", "\\\\") + '"""'
