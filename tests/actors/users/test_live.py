"""The text so far of answers in progress."""

from __future__ import annotations

import json
from itertools import count
from typing import Any

import attrs
import hypothesis.strategies as st
from hypothesis import given

from actors.protocol.agent_events import Attempt, agent_delta, agent_response, agent_status
from actors.protocol.event_types import AgentStatus, RunStatus
from actors.protocol.events import Event, Stamp
from actors.protocol.run_events import run_status
from actors.users.live import LiveTexts

OF = Attempt(agent_name="Analyst", session_id="s", run_id="r", step="analysis")
OTHER = attrs.evolve(OF, step="testing", agent_name="Tester")
numbers = count()


def stamp() -> Stamp:
    return Stamp(f"id{next(numbers)}", "2026-11-20T08:30:00.000Z")


def delta(offset: int, text: str, message_id: str = "m", of: Attempt = OF) -> Event:
    return agent_delta(stamp(), of, message_id=message_id, offset=offset, text=text)


def ended(status: AgentStatus, of: Attempt = OF) -> Event:
    return agent_status(stamp(), of, status, sentence="It is over.")


def told(texts: LiveTexts) -> list[dict[str, Any]]:
    return [json.loads(frame) for frame in texts.frames(stamp)]


def contents(texts: LiveTexts) -> list[str]:
    return [frame["content"] for frame in told(texts)]


def test_each_answer_in_progress_is_told_whole_as_an_event_of_its_own() -> None:
    texts = LiveTexts()
    seen = [delta(0, "Tea "), delta(4, "is 🍵"), delta(0, "Test", "m2", OTHER)]
    for event in seen:
        texts.take(event)
    first, second = told(texts)
    assert first["content"] == "Tea is 🍵"
    assert first["metadata"] == {"message_id": "m", "offset": 0, "step": "analysis", "attempt": 1}
    assert first["agent_name"] == "Analyst"
    assert "seq" not in first
    assert second["content"] == "Test"
    assert {first["id"], second["id"]}.isdisjoint(event.id for event in seen)
    assert told(texts)[0]["id"] != first["id"]


def test_an_answer_that_is_whole_is_no_longer_in_progress() -> None:
    texts = LiveTexts()
    texts.take(delta(0, "Tea"))
    texts.take(delta(0, "Test", "m2", OTHER))
    texts.take(agent_response(stamp(), OF, message_id="m", text="Tea", model="m", duration_ms=1))
    assert contents(texts) == ["Test"]
    texts.take(agent_response(stamp(), OF, message_id="m", text="Tea", model="m", duration_ms=1))


def test_a_step_that_ends_without_an_answer_has_none_in_progress() -> None:
    for status in (AgentStatus.ERROR, AgentStatus.CANCELLED, AgentStatus.COMPLETED):
        texts = LiveTexts()
        texts.take(delta(0, "Tea"))
        texts.take(delta(0, "Test", "m2", OTHER))
        texts.take(ended(status))
        assert contents(texts) == ["Test"]
    texts.take(ended(AgentStatus.THINKING, OTHER))
    assert contents(texts) == ["Test"]


def test_a_run_that_ends_leaves_nothing_behind() -> None:
    texts = LiveTexts()
    texts.take(delta(0, "Tea"))
    texts.take(delta(0, "Of another run", "m2", attrs.evolve(OF, run_id="r2")))
    for status in (RunStatus.RUNNING, RunStatus.FAILED):
        texts.take(run_status(stamp(), status, session_id="s", run_id="r", workflow="w", steps=[], done=0))
    assert contents(texts) == ["Of another run"]


def test_what_is_not_known_from_its_beginning_is_not_told() -> None:
    texts = LiveTexts()
    texts.take(delta(4, "is"))
    assert told(texts) == []
    texts.take(delta(0, "Tea"))
    texts.take(delta(7, "a hole before it"))
    assert contents(texts) == ["Tea"]


def test_what_is_replaced_by_something_shorter_makes_the_text_shorter() -> None:
    texts = LiveTexts()
    for offset, piece in ((0, "Coffee"), (3, "x"), (5, "too far")):
        texts.take(delta(offset, piece))
    assert contents(texts) == ["Cofx"]


@given(st.lists(st.tuples(st.integers(0, 12), st.text(max_size=5)), max_size=20))
def test_it_is_what_a_client_would_have(pieces: list[tuple[int, str]]) -> None:
    texts = LiveTexts()
    text: str | None = None
    for offset, piece in pieces:
        texts.take(delta(offset, piece))
        if offset == 0:
            text = piece
        elif text is not None and offset <= len(text):
            text = text[:offset] + piece
    printable = None if text is None else "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)
    assert contents(texts) == ([] if printable is None else [printable])
