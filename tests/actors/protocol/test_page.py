"""docs/protocol.md names every command and event that there is, and how each connection is closed."""

from __future__ import annotations

from pathlib import Path

from actors.protocol.codes import CLOSES
from actors.protocol.commands import BODIES
from actors.protocol.event_types import DURABLE, EventType

PAGE = (Path(__file__).parents[3] / "docs" / "protocol.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("|")]
NOT_YET = {EventType.MESSAGE, EventType.TYPING, EventType.PRESENCE}


def named_in(rows: list[list[str]]) -> set[str]:
    return {name.strip("` ") for row in rows for name in row[0].split(",") if name.strip().startswith("`")}


def test_it_names_every_command_and_every_event() -> None:
    assert named_in(ROWS) == {*BODIES, *EventType}


def test_it_says_which_events_are_durable() -> None:
    durable = named_in([row for row in ROWS if row[1] == "D"])
    assert durable == {*DURABLE} - NOT_YET


def test_it_says_what_follows_each_close() -> None:
    told = {int(row[0]): row[1:] for row in ROWS if row[0].isdigit()}
    assert told == {row.code: [row.why, row.reconnect.value, "yes" if row.resume else "no"] for row in CLOSES.values()}
