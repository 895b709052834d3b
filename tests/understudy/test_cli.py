"""The command line: what it says of itself, of its arguments, and to an output that takes nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from understudy.cli import app, run

COMMANDS = [name for name in app if not name.startswith("-")]


def understudy(
    *arguments: str, stdout: int | None = subprocess.PIPE, **environment: str
) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI", "UNDERSTUDY"))}
    return subprocess.run(
        [sys.executable, "-c", "from understudy.cli import main; main()", *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
        env=environ | environment,
    )


def said(result: subprocess.CompletedProcess[str]) -> str:
    """Standard error on one line, without the frame that is drawn around it."""
    return " ".join(re.sub(r"[╭╮╰╯─│]", " ", result.stderr).split())


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_each_parameter_means(command: str) -> None:
    arguments = app[command].assemble_argument_collection(parse_docstring=True)
    assert [argument.name for argument in arguments if not argument.parameter.help] == []


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--port", "99999"), 'Invalid value "99999" for --port. allowed: from 0 to 65,535.'),
        (("--port", "-1"), 'Invalid value "-1" for --port. allowed: from 0 to 65,535.'),
        (("--tokens-per-second", "nan"), "for --tokens-per-second. allowed: from 0.1 to 1,000,000."),
        (("--first-token", "-1"), "for --first-token. allowed: from 0 to 3,600."),
        (("--longest", "0"), "for --longest. allowed: from 1 to 1,000,000."),
    ],
)
def test_the_simulated_model_starts_with_nothing_that_it_cannot_do(arguments: tuple[str, ...], line: str) -> None:
    result = understudy("simulate", *arguments)
    assert result.returncode == 2
    assert line in said(result)


def test_no_directory_is_not_the_current_one() -> None:
    result = understudy("serve", "--data", "", "--port", "0")
    assert result.returncode == 2
    assert said(result) == 'understudy: flag --data: server.data is ""; allowed: the path of a directory'


def test_who_reads_the_output_may_go_before_its_end() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        result = understudy("config", stdout=writing)
    finally:
        os.close(writing)
    assert (result.returncode, result.stderr) == (1, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is full takes Linux")
@pytest.mark.parametrize("arguments", [("config",), ("--help",), ("--version",)])
def test_an_output_that_is_full_is_one_line(arguments: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        result = understudy(*arguments, stdout=full.fileno())
    assert (result.returncode, said(result)) == (
        1,
        "understudy: The output cannot be written: No space left on device.",
    )


def test_an_output_without_all_letters_gets_those_that_it_has() -> None:
    result = understudy("config", PYTHONIOENCODING="ascii")
    assert (result.returncode, result.stderr) == (0, "")
    assert "You are the Analyst" in result.stdout


@pytest.mark.parametrize(("no_color", "colour"), [(None, True), ("", True), ("1", False)])
def test_whoever_wants_no_colours_gets_none(
    no_color: str | None, colour: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run_brief(_url: str, _brief: str, **options: Any) -> int:
        return int(options["colour"])

    monkeypatch.setattr("understudy.terminal.run_brief", run_brief)
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color is not None:
        monkeypatch.setenv("NO_COLOR", no_color)
    assert run("A shop that sells tea by weight") == colour
