"""The flags of the command line, the highest source."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from understudy.configuration.environment import kind_of, read
from understudy.configuration.errors import plain, suggestion
from understudy.configuration.sources import Layers, Source

if TYPE_CHECKING:
    from collections.abc import Mapping

FLAGS: dict[str, tuple[str, ...]] = {
    "host": ("server", "host"),
    "port": ("server", "port"),
    "data": ("server", "data"),
    "log_level": ("server", "log_level"),
    "shutdown_deadline": ("server", "shutdown_deadline"),
    "model": ("models", "default", "model"),
}
"""Each flag without its dashes, and the key that it sets."""


def lay_flags(flags: Mapping[str, object], layers: Layers) -> list[str]:
    """Lay the flags over what is there; a flag that is None was not given. Returns a line for each unknown one."""
    problems: list[str] = []
    for name, value in flags.items():
        key = name.lstrip("-").replace("-", "_")
        flag = f"--{key.replace('_', '-')}"
        if key not in FLAGS:
            problems.append(f"flag {plain(flag)} is not known; {suggestion(key, FLAGS)}")
        elif value is not None:
            layers.put(FLAGS[key], _as_toml(value, FLAGS[key]), Source("flag", flag))
    return problems


def _as_toml(value: object, path: tuple[str, ...]) -> Any:
    if isinstance(value, PurePath):
        return str(value)
    return read(value, kind_of(path)) if isinstance(value, str) else value
