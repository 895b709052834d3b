"""Applies mutations to a copy of the code, one at a time, and runs the tests that must turn red."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final

import attrs

from tests.mutations.catalogue import PLACES, ROOT, Mutation, locate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

COPIED: Final = ("runtime", "supervisors", "pyproject.toml", "tests/support", *PLACES)
PLUGINS: Final = ("pytest_trio.plugin", "pytest_timeout", "_hypothesis_pytestplugin", "runtime.testing.plugin")
"""All that the tests need. To load whatever else is installed would take longer than most tests do."""
TIME_FOR_A_TEST: Final = 30
TIME_FOR_A_RUN: Final = 180
"""Seconds. A mutation may well make a loop of the kernel endless; that counts as red."""
TIME_FOR_ALL: Final = 900
"""Seconds for all named tests on the code as it is."""


@attrs.frozen
class Verdict:
    """What became of a mutation.

    Attributes:
        mutation: which.
        green: the tests that must have turned red and did not.
        broken: why it was no fair trial (the tests could not even be collected), or nothing.
    """

    mutation: Mutation
    green: tuple[str, ...] = ()
    broken: str = ""

    @property
    def killed(self) -> bool:
        return not self.green and not self.broken


@contextmanager
def copy_of_the_code() -> Iterator[Path]:
    """A directory with the packages and tests that mutations are tried on."""
    with tempfile.TemporaryDirectory(prefix="mutations-") as name:
        directory = Path(name)
        for part in COPIED:
            source = ROOT / part
            if source.is_dir():
                shutil.copytree(source, directory / part, ignore=shutil.ignore_patterns("__pycache__"))
            elif source.exists():
                shutil.copy(source, directory / part)
        yield directory


def run_tests(directory: Path, tests: Sequence[str], within: float = TIME_FOR_A_RUN) -> tuple[int, str]:
    """Run tests in a copy of the code: pytest's exit code, and its output. An endless run counts as failed."""
    command = [
        *(sys.executable, "-B", "-m", "pytest", "-q", "--tb=line", "-rfE", "-p", "no:cacheprovider"),
        *(part for plugin in PLUGINS for part in ("-p", plugin)),
        *("--hypothesis-seed=0", f"--timeout={TIME_FOR_A_TEST}", *tests),
    ]
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    try:
        done = subprocess.run(
            command, cwd=directory, env=environment, capture_output=True, text=True, timeout=within, check=False
        )
    except subprocess.TimeoutExpired:
        return 1, "".join(f"FAILED {test}\n" for test in tests)
    return done.returncode, done.stdout + done.stderr


def failed_in(output: str) -> set[str]:
    """The ids of the tests that failed, without parameters."""
    return set(re.findall(r"^(?:FAILED|ERROR) ([^\s\[]+)", output, re.MULTILINE))


def try_mutation(directory: Path, mutation: Mutation) -> Verdict:
    """Apply a mutation to a copy of the code, run its tests, and put the old text back."""
    path = directory / mutation.file
    before = path.read_text()
    tests = [locate(test) for test in mutation.tests]
    path.write_text(mutation.applied(before))
    try:
        code, output = run_tests(directory, tests)
    finally:
        path.write_text(before)
    if code not in {0, 1} and "Timeout" not in output:
        return Verdict(mutation, broken=f"pytest ended with {code}:\n{output[-2000:]}")
    red = set(tests) if code not in {0, 1} else failed_in(output)
    return Verdict(mutation, tuple(test for test in tests if test not in red))


def check_unmutated(mutations: Sequence[Mutation]) -> str:
    """Run all named tests on the code as it is. What they said if one is red, or nothing."""
    tests = sorted({locate(test) for mutation in mutations for test in mutation.tests})
    with copy_of_the_code() as directory:
        code, output = run_tests(directory, tests, TIME_FOR_ALL)
    return output if code else ""


def try_all(mutations: Sequence[Mutation], *, processes: int, done: Callable[[Verdict], None]) -> list[Verdict]:
    """Try mutations, `processes` at a time, each in a copy of its own; `done` hears of each as it comes."""
    with ThreadPoolExecutor(processes) as pool:
        copies = [copy_of_the_code() for _ in range(processes)]
        free: SimpleQueue[Path] = SimpleQueue()
        try:
            for copy in copies:
                free.put(copy.__enter__())

            def attempt(mutation: Mutation) -> Verdict:
                directory = free.get()
                try:
                    verdict = try_mutation(directory, mutation)
                finally:
                    free.put(directory)
                done(verdict)
                return verdict

            return list(pool.map(attempt, mutations))
        finally:
            for copy in copies:
                copy.__exit__(None, None, None)
