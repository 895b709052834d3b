"""What a client that lags is spared, and what it never is."""

from __future__ import annotations

import json
from typing import Any

import hypothesis.strategies as st
from hypothesis import given

from actors.gateway.conflation import conflate, key_of
from actors.gateway.outbound import PING, Out
from tests.support.said import delta, durable, ephemeral

STARTED = durable("agent_status", 1, status="started", step="m")
RESPONSE = durable("agent_response", 2, message_id="m", step="m")


def told(outs: list[Out]) -> list[Any]:
    frames = [json.loads(out.frame) for out in outs]
    return [
        (f["metadata"]["message_id"], f["metadata"]["offset"], f["content"]) if f["type"] == "agent_delta" else f["id"]
        for f in frames
    ]


class TestDeltas:
    def test_neighbours_are_joined_at_the_offset_of_the_first(self) -> None:
        found = conflate([delta("m", 3, "ab"), delta("m", 5, "c"), delta("m", 6, "dé😀")])
        assert told(found) == [("m", 3, "abcdé😀")]

    def test_each_answer_by_itself(self) -> None:
        found = conflate([delta("m", 0, "a"), delta("n", 0, "x"), delta("m", 1, "b"), delta("n", 1, "y")])
        assert told(found) == [("m", 0, "ab"), ("n", 0, "xy")]

    def test_the_same_message_id_in_another_run_is_another_answer(self) -> None:
        outs = [delta("m", 0, "a"), delta("m", 1, "b", run="other")]
        assert conflate(outs) == outs

    def test_none_overtakes_its_started(self) -> None:
        outs = [delta("m", 0, "old"), STARTED, delta("m", 0, "a"), delta("m", 1, "b")]
        assert told(conflate(outs)) == [("m", 0, "old"), "d1", ("m", 0, "ab")]

    def test_none_follows_its_response(self) -> None:
        outs = [delta("m", 0, "a"), delta("m", 1, "b"), RESPONSE, delta("n", 0, "x"), delta("n", 1, "y")]
        assert told(conflate(outs)) == [("m", 0, "ab"), "d2", ("n", 0, "xy")]

    def test_one_that_starts_over_replaces_what_it_covers(self) -> None:
        assert told(conflate([delta("m", 0, "abc"), delta("m", 0, "x"), delta("m", 1, "y")])) == [("m", 0, "xy")]

    def test_over_a_missing_piece_nothing_is_joined(self) -> None:
        outs = [delta("m", 0, "a"), delta("m", 5, "f")]
        assert conflate(outs) == outs

    def test_the_text_so_far_is_passed_by_nothing(self) -> None:
        """It comes without its event when the context has restarted: what came before it is older."""
        so_far = Out(delta("m", 0, "ab").frame)
        outs = [delta("m", 0, "a"), so_far, delta("m", 2, "c")]
        assert conflate(outs) == outs


class TestTheLatestOfAKey:
    def test_the_newer_takes_the_place_of_the_older(self) -> None:
        outs = [
            ephemeral("agent_progress", "1", id="a1", step="a"),
            ephemeral("agent_progress", "1", id="b1", step="b"),
            ephemeral("agent_progress", "2", id="a2", step="a"),
        ]
        assert [json.loads(out.frame)["id"] for out in conflate(outs)] == ["a2", "b1"]

    def test_keys(self) -> None:
        def key(kind: str, **metadata: Any) -> Any:
            out = ephemeral(kind, **metadata)
            assert out.event is not None
            return key_of(out.event)

        assert key("typing", user_id="u") != key("typing", user_id="v")
        assert key("presence", user_id="u") != key("typing", user_id="u")
        assert key("channel", channel="c", payload={"agent_id": "1"}) != key(
            "channel", channel="c", payload={"agent_id": "2"}
        )
        assert key("channel", channel="c", payload={"agent_id": "1", "load": 1}) == key(
            "channel", channel="c", payload={"agent_id": "1", "load": 2}
        )
        assert key("channel", channel="c", payload={"cpu": 1}) == key("channel", channel="c", payload={"cpu": 2})
        assert key("channel", channel="c") != key("channel", channel="d")
        for kind in ("task_assigned", "reply", "error", "heartbeat", "draining"):
            assert key(kind) is None


def test_what_is_no_event_of_the_user_stays_where_it_is() -> None:
    reply = Out(b"{}")
    outs = [delta("m", 0, "a"), reply, delta("m", 1, "b"), PING, durable("system", 3)]
    assert conflate(outs) == outs


def test_ephemeral_events_of_other_types_are_all_kept() -> None:
    outs = [delta("m", 0, "a"), ephemeral("task_assigned", id="t1"), ephemeral("task_assigned", id="t2")]
    assert conflate(outs) == outs


PIECES = st.lists(
    st.one_of(
        st.tuples(st.just("delta"), st.sampled_from("mn"), st.integers(0, 12), st.text("abé😀", max_size=4)),
        st.tuples(st.just("progress"), st.sampled_from("mn")),
        st.tuples(st.just("durable")),
        st.tuples(st.just("reply")),
    ),
    max_size=30,
)


def apply(texts: dict[str, str], out: Out) -> None:
    frame = json.loads(out.frame)
    if frame["type"] == "agent_delta":
        message, offset = frame["metadata"]["message_id"], frame["metadata"]["offset"]
        if len(texts.get(message, "")) >= offset:
            texts[message] = texts.get(message, "")[:offset] + frame["content"]


@given(PIECES)
def test_a_client_ends_with_the_same_text_at_every_durable_event(pieces: list[Any]) -> None:
    outs: list[Out] = []
    for number, piece in enumerate(pieces, 1):
        match piece:
            case ("delta", message, offset, text):
                outs.append(delta(message, offset, text))
            case ("progress", step):
                outs.append(ephemeral("agent_progress", str(number), id=str(number), step=step))
            case ("durable",):
                outs.append(durable("system", number))
            case _:
                outs.append(Out(b'{"type":"reply","id":"%d"}' % number))
    merged = conflate(outs)
    fixed = [out for out in outs if out.event is None]
    assert [out for out in merged if out.event is None] == fixed
    assert len(merged) <= len(outs)

    def snapshots(events: list[Out]) -> list[dict[str, str]]:
        texts: dict[str, str] = {}
        found = []
        for out in events:
            if out.event is None:
                found.append(dict(texts))
            else:
                apply(texts, out)
        return [*found, texts]

    assert snapshots(merged) == snapshots(outs)
