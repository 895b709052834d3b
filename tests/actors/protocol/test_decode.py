import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from actors.protocol.commands import (
    BODIES,
    KNOWN,
    Ack,
    CancelRun,
    Client,
    GetRun,
    Heartbeat,
    Hello,
    ListRuns,
    PauseRun,
    Reconnected,
    Resume,
    ResumeRun,
    StartRun,
)
from actors.protocol.decode import Command, Rejected, _wanted, decode, digest
from actors.protocol.nesting import deeper_than

BRIEF = "Build a small shop"


def frame(kind: str, metadata: Any = None, **envelope: Any) -> str:
    return json.dumps({"id": "c1", "type": kind, "metadata": metadata or {}, **envelope})


def rejected(text: str) -> Rejected:
    with pytest.raises(Rejected) as caught:
        decode(text)
    return caught.value


def outcome(text: str) -> str:
    """The command's type, or the code of the rejection."""
    try:
        return decode(text).type
    except Rejected as rejection:
        return rejection.code


def test_a_hello_with_everything() -> None:
    metadata = {
        "token": "t",
        "user_id": "ann",
        "client_id": "tab-1",
        "client": {"platform": "web", "version": "1", "capabilities": ["a"]},
        "resume": {"epoch": "e", "seq": 0},
        "subscribe": ["agent_status"],
        "reconnect": {"attempts": 2, "down_ms": 12.5, "last_code": 1006},
        "unheard_of": {"ignored": True},
    }
    assert decode(frame("hello", metadata)).body == Hello(
        token="t",
        user_id="ann",
        client_id="tab-1",
        client=Client(platform="web", version="1", capabilities=("a",)),
        resume=Resume(epoch="e", seq=0),
        subscribe=("agent_status",),
        reconnect=Reconnected(attempts=2, down_ms=12.5, last_code=1006),
    )


@pytest.mark.parametrize(
    ("kind", "metadata", "body"),
    [
        ("hello", {}, Hello()),
        ("heartbeat", {}, Heartbeat()),
        ("ack", {"seq": 2**53 - 1}, Ack(2**53 - 1)),
        ("cancel_run", {"run_id": "r"}, CancelRun("r")),
        ("cancel_run", {"run_id": "r", "agent_name": "Tester"}, CancelRun("r", "Tester")),
        ("pause_run", {"run_id": "r"}, PauseRun("r")),
        ("pause_run", {"run_id": "r", "agent_name": "Tester"}, PauseRun("r", "Tester")),
        ("resume_run", {"run_id": "r"}, ResumeRun("r")),
        ("get_run", {"run_id": "r"}, GetRun("r")),
        ("list_runs", {}, ListRuns()),
        ("list_runs", {"active": False, "cursor": "x", "limit": 1}, ListRuns(active=False, cursor="x", limit=1)),
    ],
)
def test_typed_metadata(kind: str, metadata: dict[str, Any], body: object) -> None:
    assert decode(frame(kind, metadata)).body == body


def test_what_a_command_carries() -> None:
    text = (
        '{"id":"c1","type":"start_run","content":"  Build a small shop\\n","session_id":"s1","timestamp":5,'
        '"metadata": {"workflow":"delivery"},"seq":"ignored"}'
    )
    assert decode(text) == Command(
        id="c1",
        type="start_run",
        content="Build a small shop",
        session_id="s1",
        body=StartRun(workflow="delivery"),
        raw_metadata=b'{"workflow":"delivery"}',
    )


def test_metadata_may_be_left_out() -> None:
    command = decode('{"id":"c1","type":"heartbeat"}')
    assert (command.body, command.raw_metadata, command.session_id, command.content) == (Heartbeat(), b"{}", None, "")


def test_null_reads_as_left_out_everywhere() -> None:
    command = decode(
        '{"id":"c1","type":"hello","content":null,"session_id":null,"timestamp":null,"metadata":'
        '{"token":null,"client":{"platform":null,"version":"2"},"resume":null,"subscribe":null}}'
    )
    assert command.body == Hello(client=Client(version="2"))
    assert decode('{"id":"c1","type":"heartbeat","metadata":null}').raw_metadata == b"{}"
    assert decode(frame("list_runs", {"limit": None})).body == ListRuns()
    options = {"a": None, "b": [None]}
    assert decode(frame("start_run", {"options": options}, content=BRIEF)).body == StartRun(options={"b": [None]})
    assert rejected(frame("ack", {"seq": None})).fields == {"seq": "Please give seq: a whole number, 0 or more."}
    assert rejected('{"id":null,"type":"ack"}').code == "bad_request"


def test_the_word_null_in_a_text_is_a_text() -> None:
    assert decode(frame("get_run", {"run_id": "null"})).body == GetRun("null")


@pytest.mark.parametrize("kind", sorted(KNOWN - set(BODIES)))
def test_every_other_command_is_known_by_name(kind: str) -> None:
    command = decode(frame(kind, {"anything": [1]}))
    assert (command.type, command.body) == (kind, None)


def test_all_commands_of_the_protocol_are_known() -> None:
    assert len(KNOWN) == 42  # 41 in the table, and hello


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "nonsense",
        '{"id":"c1","type":"ack","metadata":{"seq":01}}',
        '{"id":"c1","type":"ack","metadata":{"seq":NaN}}',
        '{"id":"\ud800","type":"ack"}',
        "[]",
        '"text"',
        "null",
        '{"type":"ack"}',
        '{"id":5,"type":"ack"}',
        '{"id":"","type":"ack"}',
        json.dumps({"id": "x" * 65, "type": "ack"}),
        json.dumps({"id": "x" * 65, "type": "ack", "content": 5}),
    ],
)
def test_what_is_not_json_or_not_an_envelope_counts_as_a_bad_frame(text: str) -> None:
    rejection = rejected(text)
    assert (rejection.code, rejection.reply_to, rejection.fields) == ("bad_request", None, {})
    assert rejection.counts
    assert rejection.message.endswith(".")


def test_a_message_without_a_type_is_answered_by_its_id() -> None:
    assert (rejected('{"id":"c1"}').code, rejected('{"id":"c1"}').reply_to) == ("bad_request", "c1")
    assert rejected('{"id":"c1","type":7}').reply_to == "c1"


def test_an_unknown_type_is_named_so_whatever_else_is_wrong() -> None:
    rejection = rejected('{"id":"c1","type":"make_tea","content":5,"metadata":[]}')
    assert (rejection.code, rejection.reply_to, rejection.counts) == ("unknown_type", "c1", True)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        (frame("ack"), {"seq"}),
        (frame("ack", {"seq": "1"}), {"seq"}),
        (frame("ack", {"seq": -1}), {"seq"}),
        (frame("ack", {"seq": 1.5}), {"seq"}),
        (frame("ack", {"seq": True}), {"seq"}),
        (frame("ack", {"seq": 2**53}), {"seq"}),
        ('{"id":"c1","type":"ack","metadata":{"seq":1e999}}', {"seq"}),
        ('{"id":"c1","type":"ack","metadata":[]}', {"metadata"}),
        ('{"id":"c1","type":"typing","metadata":"x"}', {"metadata"}),
        (frame("get_run", {"run_id": ""}), {"run_id"}),
        (frame("get_run", {"run_id": "x" * 65}), {"run_id"}),
        (frame("list_runs", {"limit": 0, "active": "yes", "cursor": ""}), {"limit", "active", "cursor"}),
        (frame("list_runs", {"limit": 101}), {"limit"}),
        (frame("hello", {"resume": {"epoch": "e"}}), {"resume"}),
        (frame("hello", {"resume": {"epoch": "e", "seq": None}, "client": 3}), {"resume", "client"}),
        (frame("hello", {"client": {"capabilities": [None]}}), {"client"}),
        (frame("hello", {"subscribe": "agent_status", "reconnect": {"attempts": -1}}), {"subscribe", "reconnect"}),
        (frame("hello", {"token": "", "user_id": "", "client_id": 4}), {"token", "user_id", "client_id"}),
        (frame("start_run", {"workflow": 5, "options": []}), {"content", "workflow", "options"}),
        (frame("start_run", content=5), {"content"}),
        (frame("heartbeat", content=["x"], session_id=5), {"content", "session_id"}),
        (frame("heartbeat", session_id=""), {"session_id"}),
        (frame("typing", content=5), {"content"}),
    ],
)
def test_each_wrong_field_gets_a_sentence(text: str, fields: set[str]) -> None:
    rejection = rejected(text)
    assert (rejection.code, rejection.reply_to, set(rejection.fields)) == ("invalid_fields", "c1", fields)
    assert not rejection.counts
    for name, sentence in rejection.fields.items():
        assert sentence.endswith(".")
        assert name in sentence or name == "content"
        assert "`" not in sentence
        assert "$" not in sentence


@pytest.mark.parametrize(
    ("content", "fits"),
    [
        ("x" * 9, False),
        ("x" * 10, True),
        (f"  {'x' * 9}\n", False),
        (f"\t{'x' * 10}  ", True),
        ("x" * 10_000, True),
        (f" {'x' * 10_000} ", True),
        ("x" * 10_001, False),
        ("\U0001f600" * 10_000, True),  # code points, neither bytes nor UTF-16 units
        ("\U0001f600" * 5, False),
        ("", False),
    ],
)
def test_the_brief_is_measured_in_code_points_after_trimming(content: str, fits: bool) -> None:
    text = json.dumps({"id": "c1", "type": "start_run", "content": content})
    if fits:
        assert decode(text).content == content.strip()
    else:
        assert rejected(text).fields == {"content": "The brief needs 10 to 10,000 characters."}


def test_every_field_of_every_body_says_what_it_wants() -> None:
    import attrs

    for body in BODIES.values():
        for field in attrs.fields(body):
            assert _wanted(field.type)
    with pytest.raises(TypeError):
        _wanted(int)


def nested(levels: int) -> str:
    """A whole message of so many levels, the envelope and its metadata included."""
    inner = "[" * (levels - 2) + "]" * (levels - 2)
    return f'{{"id":"c1","type":"heartbeat","metadata":{{"x":{inner}}}}}'


def test_sixty_four_levels_are_read_and_one_more_is_not() -> None:
    assert decode(nested(64)).body == Heartbeat()
    assert (rejected(nested(65)).code, rejected(nested(65)).counts) == ("bad_request", True)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 500_000,
        "[" * 500_000 + "]" * 500_000,
        '{"a":' * 200_000,
        '{"id":"c1","type":"ack","metadata":{"seq":1},"x":' + "[" * 100_000 + "]" * 100_000 + "}",
        '["' + "[" * 100 + '",' * 3 + "[" * 100_000,
        "[" * 65 + '"' + '\\"' * 1_000_000,  # a string without an end, searched from each quote, would take hours
        '"\\',
    ],
)
def test_no_frame_raises_recursion_error(text: str) -> None:
    assert rejected(text).code == "bad_request"


def test_brackets_in_texts_are_no_nesting() -> None:
    assert decode(frame("start_run", content='[[{{"\\' * 1000)).content == '[[{{"\\' * 1000
    assert decode(frame("start_run", {"options": {str(n): [{}] for n in range(500)}}, content=BRIEF)).body is not None


@pytest.mark.parametrize("broken", ["[1,]", '{"a":1,}', '{"a" 1}', "{1:2}"])
@pytest.mark.parametrize(
    "text",
    [
        '{"id":"a","type":"start_run","content":%s}',
        '{"id":%s,"type":"get_run"}',
        '{"id":"a","type":5,"x":%s}',
        '{"id":"a","type":"get_run","session_id":5,"metadata":%s}',
    ],
)
def test_broken_behind_a_field_of_the_wrong_kind(text: str, broken: str) -> None:
    """The quick way stops at the wrong kind, before it comes to what is no JSON at all."""
    refused = rejected(text % broken)
    assert (refused.code, refused.message) == ("bad_request", "This message is not valid JSON.")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (r"cut \ud83d", "cut \ufffd"),
        (r"\uDE00\ud83d\ud83d\ude00 here", "\ufffd\ufffd\U0001f600 here"),
        (r"a path \\ud83d \ud83d\\", "a path \\ud83d \ufffd\\"),
        (r"\ud83d\n\ude00", "\ufffd\n\ufffd"),
    ],
)
def test_half_of_a_character_is_one_that_cannot_be_read(written: str, read: str) -> None:
    """Whoever cuts a text by UTF-16 units may cut an emoji in two; browsers write such a half as an escape."""
    text = '{"id":"c1","type":"submit_task","content":"x%s","metadata":{"parameters":{"a":"%s"},"zz":"%s"}}'
    command = decode(text % (written, written, written))
    assert command.content == "x" + read
    assert json.loads(command.raw_metadata)["parameters"] == {"a": read}


def test_half_a_character_makes_no_json_of_what_is_none() -> None:
    assert rejected(r'{"id":"c1","type":"ack","zz":"\ud83d",}').code == "bad_request"
    assert rejected(r'{"id":"c1","type":"ack","zz":"\ud8"}').code == "bad_request"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='a"\\[]{}\n\u20ac', max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(alphabet='k"[}', max_size=3), inner, max_size=4)
    ),
)


def depth(value: Any) -> int:
    if isinstance(value, dict | list):
        items = value.values() if isinstance(value, dict) else value
        return 1 + max((depth(item) for item in items), default=0)
    return 0


@given(JSON, st.integers(0, 8), st.booleans())
def test_depth_is_exact(value: Any, deepest: int, spaced: bool) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=1 if spaced else None)
    assert deeper_than(text, deepest) == (depth(value) > deepest)


def test_depth_is_counted_across_slices() -> None:
    text = "[" + "[]," * 100_000 + "[" * 62 + "]" * 62 + "]"
    assert not deeper_than(text)
    assert not deeper_than(text, 63)
    assert deeper_than(text, 62)


VALID = [
    '{"id":"a","type":"start_run","content":"A brief","metadata":{"workflow":"w","options":{"a":[1,null]}}}',
    '{"id":"a","type":"submit_task","content":"x","session_id":"s","metadata":{"parameters":{"a":-1.5e3}}}',
    '{"id":"a","type":"get_run","metadata":{"run_id":null,"zz":["\\ud83d\\ude00",true]},"zz":{}}',
]


@given(st.sampled_from(VALID), st.integers(0, 200), st.integers(0, 4), st.text('{}[]:,"\\0-5.etnud8 ', max_size=4))
def test_a_frame_with_a_piece_changed_is_a_command_or_rejected(text: str, at: int, cut: int, put: str) -> None:
    changed = text[:at] + put + text[at + cut :]
    assert outcome(changed) in {*KNOWN, "bad_request", "unknown_type", "invalid_fields"}


@given(st.text() | st.binary().map(lambda data: data.decode("utf-8", "surrogateescape")))
def test_anything_is_either_a_command_or_rejected(text: str) -> None:
    assert outcome(text) in {*KNOWN, "bad_request", "unknown_type", "invalid_fields"}


@given(
    st.dictionaries(st.sampled_from(["id", "type", "content", "session_id", "metadata"]), JSON),
    st.sampled_from(sorted(BODIES)),
)
def test_any_object_is_either_a_command_or_rejected(members: dict[str, Any], kind: str) -> None:
    for message in (members, {"id": "c1", "type": kind, **members}, {**members, "id": "c1", "type": kind}):
        assert outcome(json.dumps(message)) in {*KNOWN, "bad_request", "unknown_type", "invalid_fields"}


def test_the_depth_check_needs_no_stack() -> None:
    def at_the_bottom(levels: int) -> bool:
        return deeper_than("[" * 100_000) if levels == 0 else at_the_bottom(levels - 1)

    assert at_the_bottom(sys.getrecursionlimit() // 2)


def test_a_repeat_has_the_same_digest_however_it_is_written() -> None:
    first = decode(
        '{"id":"c1","type":"start_run","content":"Build a small shop","metadata":{"workflow":"w","options":{"a":1}}}'
    )
    again = decode(
        '{"metadata": {"options": {"b": null, "a": 1}, "workflow": "w"},'
        ' "content": "Build a small shop", "type": "start_run", "id": "c1"}'
    )
    assert digest(first) == digest(again)


@pytest.mark.parametrize(
    "other",
    [
        frame("start_run", {"workflow": "w"}, content=BRIEF + "!"),
        frame("start_run", {"workflow": "v"}, content=BRIEF),
        frame("start_run", {"workflow": "w"}, content=BRIEF, session_id="s"),
        frame("submit_task", {"workflow": "w"}, content=BRIEF),
    ],
)
def test_another_command_has_another_digest(other: str) -> None:
    assert digest(decode(frame("start_run", {"workflow": "w"}, content=BRIEF))) != digest(decode(other))


def test_a_digest_of_metadata_that_cannot_be_read_whole() -> None:
    command = decode('{"id":"c1","type":"heartbeat","metadata":{"unread":1e999}}')
    assert len(digest(command)) == 32


def test_absent_is_unset() -> None:
    body = decode(frame("hello")).body
    assert isinstance(body, Hello)
    assert body.token is UNSET
    assert body.subscribe == ()
