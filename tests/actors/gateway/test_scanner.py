from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.gateway.scanner import FrameScanner
from tests.support.raw_websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    MASK,
    PING,
    PONG,
    TEXT,
    close_payload,
    encode_frame,
)

LIMIT = 70_000

GOOD_FRAMES = [
    encode_frame(TEXT, b""),
    encode_frame(TEXT, b"hello"),
    encode_frame(TEXT, b"x" * 126),
    encode_frame(TEXT, b"x" * LIMIT),
    encode_frame(TEXT, b"x" * 40_000, final=False) + encode_frame(CONTINUATION, b"y" * 30_000),
    encode_frame(TEXT, b"a", final=False) + encode_frame(PING, b"p") + encode_frame(CONTINUATION, b""),
    encode_frame(PING, b"x" * 125),
    encode_frame(PONG),
]
BREACHES = {
    "unmasked": (encode_frame(TEXT, b"hello", masked=False), 1002),
    "reserved bit": (encode_frame(TEXT, b"hello", reserved=0x40), 1002),
    "reserved data opcode": (encode_frame(0x3, b"hello"), 1002),
    "reserved control opcode": (encode_frame(0xB, b"hello"), 1002),
    "long control frame": (encode_frame(PING, b"x" * 126), 1002),
    "fragmented control frame": (encode_frame(PING, b"x", final=False), 1002),
    "binary": (encode_frame(BINARY, b"hello"), 1003),
    "continuation of nothing": (encode_frame(CONTINUATION, b"hello"), 1002),
    "a message within a message": (encode_frame(TEXT, b"a", final=False) + encode_frame(TEXT, b"b"), 1002),
    "too large": (encode_frame(TEXT, b"x" * (LIMIT + 1)), 1009),
    "too large together": (
        encode_frame(TEXT, b"x" * LIMIT, final=False) + encode_frame(CONTINUATION, b"y"),
        1009,
    ),
    "a length in two bytes too many": (bytes([0x81, 0x80 | 126, 0, 5]) + MASK + b"hello", 1002),
    "a length in eight bytes too many": (bytes([0x81, 0x80 | 127]) + (5).to_bytes(8, "big") + MASK + b"hello", 1002),
    "a negative length": (bytes([0x81, 0x80 | 127]) + b"\xff" * 8 + MASK + b"hello", 1002),
}


def _feed(scanner: FrameScanner, data: bytes, cuts: list[int]) -> bytes:
    """Everything that the scanner lets through when `data` comes in pieces."""
    served = b""
    edges = [0, *sorted(cuts), len(data)]
    for start, end in pairwise(edges):
        piece = data[start:end]
        served += piece[: scanner.feed(piece)]
    return served


_cuts = st.lists(st.integers(0, 200_000), max_size=8)


@given(frames=st.lists(st.sampled_from(GOOD_FRAMES), max_size=6), cuts=_cuts)
def test_what_is_right_passes_whole(frames: list[bytes], cuts: list[int]) -> None:
    data = b"".join(frames)
    scanner = FrameScanner(LIMIT)
    assert _feed(scanner, data, [min(cut, len(data)) for cut in cuts]) == data
    assert not scanner.over


@pytest.mark.parametrize("name", BREACHES)
@given(before=st.lists(st.sampled_from(GOOD_FRAMES[:3]), max_size=3), cuts=_cuts)
def test_a_breach_is_found_wherever_the_pieces_are_cut(name: str, before: list[bytes], cuts: list[int]) -> None:
    breach, code = BREACHES[name]
    data = b"".join(before) + breach + encode_frame(CLOSE)
    scanner = FrameScanner(LIMIT)
    served = _feed(scanner, data, [min(cut, len(data)) for cut in cuts])
    assert scanner.breach is not None
    assert scanner.breach.code == code
    assert served.startswith(b"".join(before))
    if name != "a negative length":  # after that one, nobody knows where the next frame begins
        assert scanner.close_seen


def test_a_breach_is_never_shown() -> None:
    for breach, _ in BREACHES.values():
        first = encode_frame(TEXT, b"good")
        scanner = FrameScanner(LIMIT)
        served = first + breach
        assert not (first + breach)[: scanner.feed(served)].endswith(breach[-5:])


def test_ten_megabytes_are_refused_as_soon_as_they_are_declared() -> None:
    scanner = FrameScanner(LIMIT)
    assert scanner.feed(encode_frame(TEXT, declared=10_000_000)) == 0
    assert scanner.breach is not None
    assert scanner.breach.code == 1009


def test_a_higher_limit_counts_for_the_message_under_way() -> None:
    scanner = FrameScanner(10)
    scanner.feed(encode_frame(TEXT, b"x" * 10, final=False))
    scanner.limit_bytes = 20
    scanner.feed(encode_frame(CONTINUATION, b"x" * 10))
    assert scanner.breach is None


@pytest.mark.parametrize("payload", [b"", close_payload(1000, "bye")])
def test_nothing_passes_after_a_close(payload: bytes) -> None:
    close = encode_frame(CLOSE, payload)
    scanner = FrameScanner(LIMIT)
    assert scanner.feed(close + encode_frame(TEXT, b"late")) == len(close)
    assert scanner.close_seen
    assert scanner.feed(encode_frame(PING)) == 0
