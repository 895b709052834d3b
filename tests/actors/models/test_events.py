from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.models.events import EventReader, EventTooLarge, ServerSentEvent


def read(stream: bytes, cuts: list[int] | None = None, limit: int = 1000) -> list[ServerSentEvent]:
    reader = EventReader(limit)
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts or []), len(stream)]
    return [event for a, b in pairwise(edges) for event in reader.feed(stream[a:b])]


def data_of(stream: bytes) -> list[str]:
    return [event.data for event in read(stream)]


def test_reads_data_and_name():
    assert read(b"event: error\ndata: {}\n\n") == [ServerSentEvent("error", "{}")]
    assert read(b"data: a\n\ndata: b\n\n") == [ServerSentEvent("", "a"), ServerSentEvent("", "b")]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_takes_every_line_end(end: bytes):
    assert data_of(end.join([b"data: a", b"data: b", b"", b"data: c", b"", b""])) == ["a\nb", "c"]


def test_strips_one_space_only():
    assert data_of(b"data:a\n\ndata:  b\n\ndata\n\n") == ["a", " b", ""]


def test_comments_unknown_fields_and_empty_blocks_are_no_events():
    assert data_of(b": keep-alive\n\nid: 7\nretry: 3\n\n\n\nevent: ping\n\ndata: a\n\n") == ["a"]


def test_the_name_does_not_outlive_its_event():
    assert read(b"event: x\n\ndata: a\n\n") == [ServerSentEvent("", "a")]


def test_byte_order_mark_is_dropped_once():
    assert data_of(b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n") == ["a"]


def test_a_line_end_cut_in_two_is_one_line_end():
    stream = b"data: a\r\ndata: b\r\n\r\n"
    assert [event.data for event in read(stream, list(range(len(stream))))] == ["a\nb"]


def test_bad_utf8_breaks_after_the_events_before_it():
    events = EventReader(100).feed(b"data: a\n\ndata: \xff\n\n")
    assert next(events).data == "a"
    with pytest.raises(UnicodeDecodeError):
        next(events)


def test_what_the_end_cut_off_is_no_event():
    assert data_of(b"data: a\n\ndata: b\n") == ["a"]


PIECES = st.lists(st.integers(0, 10_000), max_size=12)


@given(st.lists(st.text(max_size=20), max_size=6), st.sampled_from([b"\n", b"\r", b"\r\n"]), PIECES)
def test_events_do_not_depend_on_where_the_bytes_were_cut(texts: list[str], end: bytes, cuts: list[int]):
    # As JSON with its characters kept, so that cuts fall into characters of several bytes.
    datas = [json.dumps(text, ensure_ascii=False) for text in texts]
    stream = b"".join(b": x" + end + b"data: " + data.encode("utf-8", "replace") + end + end for data in datas)
    whole = [event.data for event in read(stream)]
    assert whole == [data.encode("utf-8", "replace").decode() for data in datas]
    assert [event.data for event in read(stream, cuts)] == whole


def outcome(stream: bytes, cuts: list[int]) -> tuple[list[ServerSentEvent], str]:
    reader, events = EventReader(30), []
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    try:
        for a, b in pairwise(edges):
            for event in reader.feed(stream[a:b]):
                events.append(event)  # noqa: PERF402  what came before the break is wanted too
    except (EventTooLarge, UnicodeDecodeError) as exc:
        return events, type(exc).__name__
    return events, ""


ALPHABET = st.sampled_from([b"data:", b" ", b"\r", b"\n", b"\n\n", b"abcdefgh", b"\xff", b"\xc3\xa4", b":", b"event:e"])


@given(st.lists(ALPHABET, max_size=30), PIECES)
def test_garbage_breaks_in_the_same_place_however_it_was_cut(parts: list[bytes], cuts: list[int]):
    stream = b"".join(parts)
    assert outcome(stream, cuts) == outcome(stream, [])
    assert outcome(stream, list(range(len(stream)))) == outcome(stream, [])


def test_a_line_without_end_is_refused_at_the_limit():
    reader = EventReader(100)
    assert not list(reader.feed(b"data: " + b"x" * 94))
    with pytest.raises(EventTooLarge):
        list(reader.feed(b"x"))


def test_an_event_of_many_lines_is_refused_at_the_limit():
    assert read(b"data: aaaa\n" * 20 + b"\n", limit=100)
    with pytest.raises(EventTooLarge):
        read(b"data: aaaa\n" * 21 + b"\n", limit=100)


@pytest.mark.parametrize("line", [b"data: ", b": ", b"unknown"])
def test_a_long_line_is_refused_also_when_it_comes_at_once(line: bytes):
    with pytest.raises(EventTooLarge):
        read(line + b"x" * 100 + b"\n\n", limit=100)


def test_comments_count_for_nothing_however_many():
    assert [event.data for event in read(b": keep-alive\n" * 1000 + b"data: a\n\n", limit=100)] == ["a"]
