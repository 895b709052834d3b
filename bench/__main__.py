"""`python -m bench` lists the benchmarks, `python -m bench NAME [OPTION…]` runs one."""

from __future__ import annotations

import sys
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BENCHMARKS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "kernel": "bench.kernel",
        "delivery": "bench.delivery",
        "first_token": "bench.first_token",
        "agents": "bench.agents",
    }
)
"""Name → package. Its docstring says what it is, its module `command` has `main(arguments) -> exit code`."""


def listing() -> str:
    """A line for each benchmark."""
    width = max(map(len, BENCHMARKS))
    lines = [
        f"  {name.ljust(width)}  {(import_module(package).__doc__ or '').splitlines()[0]}"
        for name, package in BENCHMARKS.items()
    ]
    return "\n".join(["python -m bench NAME [--help]", *lines])


def main(arguments: Sequence[str]) -> int:
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(listing())
        return 0
    name, *rest = arguments
    if name not in BENCHMARKS:
        print(f"no benchmark is called {name!r}; there are: {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    code: int = import_module(f"{BENCHMARKS[name]}.command").main(rest)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
