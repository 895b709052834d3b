"""The command line of a benchmark, and the words that it says while it runs."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def parser(
    bench: str, description: str | None, usual_runs: int, *, choices: Sequence[str], of: str, subjects: Sequence[str]
) -> argparse.ArgumentParser:
    """The options that every benchmark with peers has.

    Args:
        bench: its name.
        description: what it does.
        usual_runs: of each figure.
        choices: what `--only` takes, each `of` this kind, in capitals.
        subjects: who is compared.
    """
    found = argparse.ArgumentParser(prog=f"python -m bench {bench}", description=description)
    found.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    found.add_argument("--quick", action="store_true", help="show that all of it works: small loads, one run")
    found.add_argument("--runs", type=positive, metavar="N", help=f"runs of each figure, {usual_runs} if not given")
    found.add_argument("--only", nargs="+", choices=choices, metavar=of, help=f"of {', '.join(choices)}")
    found.add_argument("--subjects", nargs="+", choices=subjects, metavar="NAME", help=f"of {', '.join(subjects)}")
    return found


def positive(text: str) -> int:
    """A number of runs."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not 1 or more")
    return number


def say(line: str) -> None:
    """What is being done at the moment."""
    print(line, file=sys.stderr, flush=True)
