"""Make the environments of the peers: `python -m bench.peers [NAME…]`, all of them by default.

Each line says what became of one. A peer that cannot be had is no error: the benchmarks name it as missing.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from typing import TYPE_CHECKING

from bench.peers.environments import ENVIRONMENTS, HOME, Environment, find_python

if TYPE_CHECKING:
    from collections.abc import Sequence


def make(environment: Environment) -> str:
    """Make or bring up to date one environment; a line that says how that went."""
    if not environment.python.exists():
        python = find_python(environment.oldest)
        if python is None:
            major, minor = environment.oldest
            return f"not made: it needs Python {major}.{minor} or later, and none is here"
        problem = run([python, "-m", "venv", "--clear", str(HOME / environment.name)])
        if problem is not None:
            return f"not made: {problem}"
    problem = run([str(environment.python), "-m", "pip", "install", "--quiet", "--upgrade", *environment.requirements])
    return "ready" if problem is None else f"not installed: {problem}"


def run(command: Sequence[str]) -> str | None:
    """The last line of what a command complains of; None if it went well."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return lines[-1].strip() if lines else f"exit code {done.returncode}"


def main(arguments: Sequence[str]) -> int:
    names = [environment.name for environment in ENVIRONMENTS]
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}")
    chosen = parser.parse_args(arguments).names or names
    unknown = [name for name in chosen if name not in names]
    if unknown:
        parser.error(f"no peer is called {unknown[0]}; there are {', '.join(names)}")
    for environment in ENVIRONMENTS:
        if environment.name in chosen:
            print(f"{environment.name}: {make(environment)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
