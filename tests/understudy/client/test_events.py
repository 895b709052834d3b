from __future__ import annotations

import json

import pytest

from actors.protocol.event_types import EventType
from tests.support.grammar_log import Log, whole_run
from understudy.client import Event, RunView, apply, events
from understudy.client.envelope import decode_frame
from understudy.client.events import EVENT_CLASSES, typed


def test_every_type_that_an_application_is_handed_has_a_class() -> None:
    assert set(EVENT_CLASSES) == {kind.value for kind in EventType} - {"welcome", "reply", "heartbeat"}


def test_a_whole_run_as_the_daemon_makes_it_is_typed_and_loses_nothing() -> None:
    log = Log()
    whole_run(log)
    before, after = RunView(run_id="r1"), RunView(run_id="r1")
    for frame in log.frames:
        event = decode_frame(json.dumps(frame))
        if event.type in ("reply", "heartbeat"):
            continue
        one = typed(event)
        assert type(one) is EVENT_CLASSES[event.type]
        assert (one.id, one.seq, one.content, one.metadata) == (event.id, event.seq, event.content, event.metadata)
        before, after = apply(before, event), apply(after, one)
    assert before == after


def test_the_fields_of_a_type() -> None:
    response = typed(
        Event(
            type="agent_response",
            content="Hello",
            metadata={"step": "one", "message_id": "m", "usage": {"completion_tokens": 3}, "seq": 99, "model": None},
        )
    )
    assert isinstance(response, events.AgentResponse)
    assert (response.step, response.attempt, response.model, response.seq) == ("one", 1, None, None)
    assert response.usage == events.Usage(completion_tokens=3)
    trouble = typed(Event(type="error", metadata={"code": "conflict", "fields": {"a": "b"}}))
    assert isinstance(trouble, events.Trouble)
    assert (trouble.code, trouble.fields, trouble.reply_to) == ("conflict", {"a": "b"}, None)


@pytest.mark.parametrize(
    "event",
    [
        Event(type="hologram", metadata={"step": "one"}),
        Event(type="agent_delta", metadata={"step": "one", "message_id": "m"}),
        Event(type="agent_delta", metadata={"step": "one", "message_id": "m", "offset": "4"}),
    ],
)
def test_what_is_unknown_or_not_as_it_should_be_stays_a_plain_event(event: Event) -> None:
    assert typed(event) is event
