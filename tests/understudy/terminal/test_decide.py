"""Deciding at a terminal: what is asked, what is understood, and what is sent."""

from __future__ import annotations

import io
import random
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.support.daemon import house
from understudy.client import CommandRefused
from understudy.terminal import choose_mode, decide_approval, person_at, run_brief
from understudy.terminal.decide import QUESTION, WHAT, meant
from understudy.terminal.troubles import trouble_words

if TYPE_CHECKING:
    from pathlib import Path

ASKS = """
[workflows.asks]
title = "One step that asks"
steps = [{ name = "writing", agent = "writer", approval = true, on_failure = "stop" }]
"""
BRIEF = "A shop that sells tea by weight"


@pytest.mark.parametrize(
    ("line", "decision"),
    [("a", "approve"), ("Approve ", "approve"), ("rej", "reject"), ("m", "modify"), ("", None), ("ax", None)],
)
def test_what_is_understood(line: str, decision: str | None) -> None:
    assert meant(line) == decision


class Typing:
    """Somebody who types these lines, one for each question."""

    def __init__(self, *lines: str) -> None:
        self.lines = list(lines)
        self.asked: list[str] = []

    def __call__(self, prompt: str) -> str:
        self.asked.append(prompt)
        if not self.lines:
            raise EOFError
        return self.lines.pop(0)


async def test_until_it_is_understood() -> None:
    typing = Typing("what?", "m", " ", "Shorter.")
    assert await person_at(typing)() == ("modify", "Shorter.")
    assert typing.asked == [QUESTION, QUESTION, WHAT, WHAT]


async def test_where_nothing_can_be_read_nothing_is_decided(autojump_clock: Any) -> None:
    with trio.move_on_after(100) as scope:
        await person_at(Typing())()
    assert scope.cancelled_caught


@pytest.mark.parametrize("tty", [True, False])
async def test_a_run_asks_whoever_sits_there(tty: bool, tmp_path: Path) -> None:
    async with house(tmp_path, None, more=ASKS) as here:
        out, err = io.StringIO(), io.StringIO()
        typing = Typing("m", "In verse.", "a")
        code = await run_brief(
            f"http://127.0.0.1:{here.port}",
            BRIEF,
            out=out,
            err=err,
            rng=random.Random(1),
            workflow="asks",
            tty=tty,
            person=person_at(typing),
        )
        assert (code, err.getvalue()) == (0, "")
        assert typing.asked == [QUESTION, WHAT, QUESTION]
        assert "completed after" in out.getvalue()
        assert "attempt 2" in out.getvalue()


def test_who_decides_too_late_is_told_what_was_decided() -> None:
    refused = CommandRefused("conflict", "This was changed.", metadata={"decision": "approve"})
    assert trouble_words(refused, "Approval 7") == "Approval 7: This was changed. It was decided already: approve."


async def test_orders_from_a_command_line(tmp_path: Path) -> None:
    async with house(tmp_path, None, more=ASKS) as here:
        url, rng = f"http://127.0.0.1:{here.port}", random.Random(1)
        out, err = io.StringIO(), io.StringIO()
        assert await choose_mode(url, "off", out=out, err=err, rng=rng) == 0
        assert out.getvalue() == "The session is in mode off.\n"
        assert await run_brief(url, BRIEF, out=out, err=err, rng=rng, workflow="asks", tty=False) == 1
        assert "Agents are off in this session." in err.getvalue()
        assert await decide_approval(url, "nothing", "approve", out=out, err=err, rng=rng) == 1
        assert err.getvalue().endswith("\nApproval nothing: This was not found. It may have been removed.\n")
        assert await choose_mode("nowhere at all", "off", out=out, err=err, rng=rng) == 1
