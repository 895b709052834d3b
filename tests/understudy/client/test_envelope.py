from __future__ import annotations

import json
from typing import Any

import pytest

from understudy.client import Position, websocket_address
from understudy.client.envelope import Command, MalformedFrame, decode_frame, encode


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("127.0.0.1:12000", "ws://127.0.0.1:12000/ws"),
        ("localhost", "ws://localhost:80/ws"),
        ("http://host:12000/", "ws://host:12000/ws"),
        ("https://host", "wss://host:443/ws"),
        ("wss://host/behind/ws?x=1", "wss://host:443/behind/ws?x=1"),
        ("ws://[::1]:12000", "ws://[::1]:12000/ws"),
    ],
)
def test_addresses_as_a_person_types_them(typed: str, url: str) -> None:
    assert websocket_address(typed).url == url


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("ftp://host", "has to begin with"),
        ("ws://", "names no host"),
        ("host:none", "1 to 65535"),
        ("h:99999", "65535"),
    ],
)
def test_what_is_no_address_says_why(typed: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        websocket_address(typed)


def test_null_reads_as_left_out_and_unknown_fields_are_ignored() -> None:
    event = decode_frame('{"type": "system", "id": null, "seq": null, "metadata": null, "shade": 3}')
    assert (event.type, event.id, event.seq, event.metadata) == ("system", "", None, {})


@pytest.mark.parametrize(
    "frame", ["", "3", '{"type": null}', '{"type": "x", "seq": "1"}', "[" * 100_000, '{"type":"x","metadata":[]}']
)
def test_what_is_no_envelope(frame: str) -> None:
    with pytest.raises(MalformedFrame):
        decode_frame(frame)


def test_what_is_left_out_stays_off_the_wire() -> None:
    assert json.loads(encode(Command(id="1", type="list_runs"))) == {"id": "1", "type": "list_runs"}
    command: dict[str, Any] = json.loads(
        encode(Command(id="1", type="x", content="c", session_id="s", metadata={"a": 0}))
    )
    assert command == {"id": "1", "type": "x", "content": "c", "session_id": "s", "metadata": {"a": 0}}
    assert Position("e", 1) == Position("e", 1)
