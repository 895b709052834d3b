import json
import uuid
from random import Random
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.protocol import agent_events, connection_events, run_events
from actors.protocol.agent_events import Attempt, Usage
from actors.protocol.codes import ErrorCode, ErrorType
from actors.protocol.connection_events import Limits
from actors.protocol.event_types import (
    DURABLE,
    ONE_CONNECTION,
    AgentStatus,
    EventType,
    GapReason,
    NoticeLevel,
    RunStatus,
    ToolStatus,
)
from actors.protocol.events import Event, Stamp, caused_by, encode, join_deltas, new_id, new_stamp, with_seq
from actors.protocol.timestamp import TIMESTAMP_PATTERN, format_timestamp

STAMP = Stamp("e1", "2026-11-20T08:30:00.000Z")
ATTEMPT = Attempt(agent_name="Analyst", session_id="s1", run_id="r1", step="analyse")
PLACE = {"step": "analyse", "attempt": 1}
LIMITS = Limits(
    frame_bytes=1,
    outbound_bytes=2,
    commands_per_minute=3,
    in_flight=4,
    connections=5,
    sessions=6,
    runs=7,
    log_events=8,
    log_seconds=9,
)


def sent(event: Event) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(encode(event))
    return fields


def test_the_envelope_of_an_ephemeral_event() -> None:
    assert sent(Event(type="draining", id="e1", timestamp="t")) == {
        "id": "e1",
        "type": "draining",
        "timestamp": "t",
        "agent_name": "System",
        "content": "",
        "metadata": {},
    }


def test_the_envelope_of_a_durable_event() -> None:
    event = Event(type="message", id="e1", timestamp="t", session_id="s", run_id="r", content="x", metadata={"a": 1})
    assert event.durable
    assert sent(event) == {
        "id": "e1",
        "type": "message",
        "timestamp": "t",
        "session_id": "s",
        "run_id": "r",
        "agent_name": "System",
        "content": "x",
        "metadata": {"a": 1},
        "requires_ack": True,
    }


def test_seq_is_put_in_front_of_the_stored_bytes() -> None:
    body = encode(Event(type="message", id="e1", timestamp="t"))
    assert with_seq(body, 12) == b'{"seq":12,' + body[1:]
    assert json.loads(with_seq(body, 12)) == {"seq": 12, **json.loads(body)}


def test_a_lone_surrogate_goes_out_as_one_replacement_character() -> None:
    event = agent_events.agent_delta(STAMP, ATTEMPT, message_id="m", offset=0, text="a\ud800b")
    assert sent(event)["content"] == "a\ufffdb"
    nested = Event(type="reply", id="e1", timestamp="t", metadata={"k\udfff": ["\ud800", 1], "t": ("x",)})
    assert sent(nested)["metadata"] == {"k\ufffd": ["\ufffd", 1], "t": ["x"]}


def test_every_type_is_durable_or_ephemeral_and_no_answer_is_durable() -> None:
    assert set(EventType) >= DURABLE
    assert not DURABLE & ONE_CONNECTION
    assert len(EventType) == 24
    assert len(DURABLE) == 11


def test_ids_are_uuids_that_rise_with_time() -> None:
    random = Random(1)
    ids = [new_id(random, 1_700_000_000 + n / 1000) for n in range(100)]
    assert ids == sorted(ids)
    assert len(set(ids)) == 100
    assert {(uuid.UUID(text).version, uuid.UUID(text).variant) for text in ids} == {(7, uuid.RFC_4122)}
    assert new_id(Random(5), 1.0) == new_id(Random(5), 1.0)
    assert new_stamp(Random(5), 1.0) == Stamp(new_id(Random(5), 1.0), "1970-01-01T00:00:01.000Z")


@pytest.mark.parametrize(
    ("wall", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1_795_163_400.0, "2026-11-20T08:30:00.000Z"),
        (1.001, "1970-01-01T00:00:01.001Z"),
        (1.9996, "1970-01-01T00:00:02.000Z"),
        (253_402_300_799.0, "9999-12-31T23:59:59.000Z"),
    ],
)
def test_timestamps(wall: float, text: str) -> None:
    assert format_timestamp(wall) == text
    assert TIMESTAMP_PATTERN.fullmatch(text)


@pytest.mark.parametrize("wall", [-1.0, 253_402_300_800.0])
def test_times_that_cannot_be_written(wall: float) -> None:
    with pytest.raises(ValueError, match="not a time"):
        format_timestamp(wall)


def test_welcome() -> None:
    event = connection_events.welcome(
        STAMP,
        reply_to="c1",
        connection_id="k",
        client_id="c",
        user_id="u",
        role="user",
        tier="free",
        epoch="e",
        seq=4,
        resumed=True,
        replayed=2,
        heartbeat_interval=30,
        limits=LIMITS,
        server_time=0.0,
        features={"new": True, "off": None},
        subscribed=("agent_status",),
    )
    assert sent(event)["metadata"] == {
        "reply_to": "c1",
        "connection_id": "k",
        "client_id": "c",
        "user_id": "u",
        "role": "user",
        "tier": "free",
        "epoch": "e",
        "seq": 4,
        "resumed": True,
        "replayed": 2,
        "heartbeat_interval": 30,
        "limits": attrs.asdict(LIMITS),
        "features": {"new": True},
        "subscribed": ["agent_status"],
        "server_time": "1970-01-01T00:00:00.000Z",
        "protocol": 1,
    }


def test_reply_leaves_nulls_out_and_writes_large_integers_as_text() -> None:
    rows = {
        "runs": [{"a": None, "b": 2**53, "c": -(2**53), "d": 2**53 - 1}],
        "next_cursor": None,
        "ratio": float("nan"),
    }
    event = connection_events.reply(STAMP, reply_to="c1", metadata=rows)
    assert sent(event)["metadata"] == {
        "runs": [{"b": "9007199254740992", "c": "-9007199254740992", "d": 2**53 - 1}],
        "reply_to": "c1",
    }


def test_reply_may_hold_values_of_our_own() -> None:
    event = connection_events.reply(
        STAMP, reply_to="c1", metadata={"usage": Usage(prompt_tokens=1, completion_tokens=2), "rows": (1, None)}
    )
    assert sent(event)["metadata"] == {
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "estimated": False},
        "rows": [1, None],
        "reply_to": "c1",
    }


def test_error() -> None:
    plain = sent(connection_events.error(STAMP, ErrorCode.UNKNOWN_TYPE))
    assert plain["metadata"] == {"code": "unknown_type", "retryable": False}
    assert plain["content"].endswith(".")
    full = connection_events.error(
        STAMP,
        ErrorCode.ALREADY_RUNNING,
        content="Wait.",
        reply_to="c1",
        retry_after=1.5,
        fields={"a": "A."},
        details={"run_id": "r", "x": None},
    )
    assert sent(full)["content"] == "Wait."
    assert sent(full)["metadata"] == {
        "run_id": "r",
        "reply_to": "c1",
        "code": "already_running",
        "retryable": False,
        "retry_after": 1.5,
        "fields": {"a": "A."},
    }


def test_heartbeat_gap_and_draining() -> None:
    assert sent(connection_events.heartbeat(STAMP, reply_to="c", server_time=1.0))["metadata"] == {
        "reply_to": "c",
        "server_time": "1970-01-01T00:00:01.000Z",
    }
    gap = connection_events.gap(STAMP, GapReason.TRIMMED, content="Older events are gone.", from_seq=2, to_seq=5)
    assert sent(gap)["metadata"] == {"reason": "trimmed", "from_seq": 2, "to_seq": 5}
    assert sent(connection_events.gap(STAMP, GapReason.EPOCH, content="x"))["metadata"] == {"reason": "epoch"}
    assert sent(connection_events.draining(STAMP, retry_after=2.5))["metadata"] == {"retry_after": 2.5}


@pytest.mark.parametrize(
    ("reason", "bounds"),
    [(GapReason.TRIMMED, {}), (GapReason.TRIMMED, {"from_seq": 1}), (GapReason.AHEAD, {"from_seq": 1, "to_seq": 2})],
)
def test_a_gap_names_what_was_trimmed_and_only_then(reason: GapReason, bounds: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="trimmed"):
        connection_events.gap(STAMP, reason, content="x", **bounds)


def test_agent_status() -> None:
    event = agent_events.agent_status(
        STAMP, ATTEMPT, AgentStatus.ERROR, sentence="It failed.", error_type=ErrorType.TIMEOUT, retry_after=2
    )
    assert (event.agent_name, event.session_id, event.run_id, event.content) == ("Analyst", "s1", "r1", "It failed.")
    assert sent(event)["metadata"] == {"status": "error", "error_type": "timeout", "retry_after": 2, **PLACE}
    child = attrs.evolve(ATTEMPT, parent="outer", attempt=3)
    started = agent_events.agent_status(
        STAMP, child, AgentStatus.STARTED, sentence="", role="r", task="t", model="m", progress=50.0
    )
    assert sent(started)["metadata"] == {
        "status": "started",
        "role": "r",
        "task": "t",
        "model": "m",
        "progress": 50.0,
        "step": "analyse",
        "attempt": 3,
        "parent": "outer",
    }


def test_agent_pieces_and_answer() -> None:
    progress = agent_events.agent_progress(STAMP, ATTEMPT, sentence="Reading", elapsed_ms=10)
    assert sent(progress)["metadata"] == {"elapsed_ms": 10, **PLACE}
    delta = agent_events.agent_delta(STAMP, ATTEMPT, message_id="m", offset=3, text="abc")
    assert not delta.durable
    assert sent(delta)["metadata"] == {"message_id": "m", "offset": 3, **PLACE}
    answer = agent_events.agent_response(
        STAMP,
        ATTEMPT,
        message_id="m",
        text="whole",
        model="gpt",
        duration_ms=5,
        usage=Usage(prompt_tokens=1, completion_tokens=2),
    )
    assert sent(answer)["metadata"] == {
        "message_id": "m",
        "model": "gpt",
        "degraded": False,
        "partial": False,
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "estimated": False},
        "duration_ms": 5,
        **PLACE,
    }


def test_tools() -> None:
    executing = agent_events.tool_executing(
        STAMP, ATTEMPT, tool_call_id="t", tool_name="search", tool_input={"q": "x", "none": None}, truncated=True
    )
    assert sent(executing)["metadata"] == {
        "tool_call_id": "t",
        "tool_name": "search",
        "tool_input": {"q": "x"},
        "truncated": True,
        **PLACE,
    }
    completed = agent_events.tool_completed(
        STAMP,
        ATTEMPT,
        tool_call_id="t",
        tool_name="search",
        status=ToolStatus.TIMEOUT,
        duration_ms=9,
        error="Too slow.",
    )
    assert sent(completed)["metadata"] == {
        "tool_call_id": "t",
        "tool_name": "search",
        "status": "timeout",
        "duration_ms": 9,
        "error": "Too slow.",
        **PLACE,
    }


def test_run_status_computes_its_progress() -> None:
    place = {"session_id": "s", "run_id": "r", "workflow": "w"}
    event = run_events.run_status(STAMP, RunStatus.RUNNING, steps=["a", "b", "c"], done=1, **place)
    assert sent(event)["metadata"] == {
        "status": "running",
        "workflow": "w",
        "steps": ["a", "b", "c"],
        "done": 1,
        "progress": 33,
    }
    empty = run_events.run_status(STAMP, RunStatus.QUEUED, steps=[], done=0, **place)
    assert sent(empty)["metadata"]["progress"] == 0
    for done in (-1, 2):
        with pytest.raises(ValueError, match="cannot have ended"):
            run_events.run_status(STAMP, RunStatus.RUNNING, steps=["a"], done=done, **place)


def test_message_system_and_cause() -> None:
    said = run_events.message(STAMP, session_id="s", message_id="m", author="ann", text="Hello")
    assert (said.content, said.metadata, said.durable) == ("Hello", {"message_id": "m", "author": "ann"}, True)
    assert caused_by(said, "c9").metadata == {"message_id": "m", "author": "ann", "cause": "c9"}
    notice = run_events.system(STAMP, "notice", NoticeLevel.INFO, notice="Hi", expires_at=0.0, details={"x": None})
    assert sent(notice)["metadata"] == {"event": "notice", "level": "info", "expires_at": "1970-01-01T00:00:00.000Z"}
    lasting = run_events.system(STAMP, "notice", NoticeLevel.ERROR, notice="Hi")
    assert lasting.metadata == {"event": "notice", "level": "error"}


def delta(offset: int, text: str, message_id: str = "m", run_id: str = "r1") -> Event:
    return agent_events.agent_delta(
        Stamp(f"{offset}-{text}", "t"),
        attrs.evolve(ATTEMPT, run_id=run_id),
        message_id=message_id,
        offset=offset,
        text=text,
    )


def pieces(events: list[Event]) -> list[tuple[int, str]]:
    return [(event.metadata["offset"], event.content) for event in events]


@pytest.mark.parametrize(
    ("given", "joined"),
    [
        ([(0, "ab"), (2, "cd")], [(0, "abcd")]),
        ([(0, "ab"), (1, "X")], [(0, "aX")]),
        ([(3, "ab"), (0, "new")], [(0, "new")]),
        ([(3, "ab"), (3, "")], [(3, "")]),
        ([(0, "ab"), (3, "late")], [(0, "ab"), (3, "late")]),
        ([(5, "ab"), (4, "x"), (5, "y")], [(4, "xy")]),
        ([], []),
    ],
)
def test_joining_follows_the_offsets(given: list[tuple[int, str]], joined: list[tuple[int, str]]) -> None:
    assert pieces(join_deltas([delta(*piece) for piece in given])) == joined


def test_only_neighbours_of_one_message_are_joined() -> None:
    status = agent_events.agent_status(STAMP, ATTEMPT, AgentStatus.THINKING, sentence="")
    for between in (status, delta(0, "x", message_id="other"), delta(0, "x", run_id="r2")):
        events = [delta(0, "ab"), between, delta(2, "cd")]
        assert join_deltas(events) == events


def test_a_joined_delta_is_its_last_piece_and_no_longer_than_allowed() -> None:
    events = [delta(0, "ab"), delta(2, "cd"), delta(4, "ef")]
    first, last = join_deltas(events, longest=4)
    assert pieces([first, last]) == [(0, "abcd"), (4, "ef")]
    assert first.id == events[1].id


def apply(text: str, events: list[Event]) -> str:
    for offset, piece in pieces(events):
        if len(text) >= offset:
            text = text[:offset] + piece
    return text


@given(
    st.text("xyz", max_size=6), st.lists(st.tuples(st.integers(0, 8), st.text("ab\U0001f600", max_size=4)), max_size=8)
)
def test_joined_deltas_make_the_same_text_from_any_text(start: str, given: list[tuple[int, str]]) -> None:
    events = [delta(*piece) for piece in given]
    assert apply(start, join_deltas(events)) == apply(start, events)
    assert apply(start, join_deltas(events, longest=5)) == apply(start, events)
