from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameProtocol

from actors.gateway.frames import PING_FRAME, close_frame
from tests.support.whole_frames import text_frames


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 200_000])
def test_a_text_frame_is_what_wsproto_makes_of_it(size: int) -> None:
    text = "x" * size
    expected = FrameProtocol(client=False, extensions=[]).send_data(text)
    assert text_frames([text.encode()]) == expected


def test_several_are_written_behind_one_another() -> None:
    assert text_frames([b"a", b"", b"bc"]) == b"\x81\x01a\x81\x00\x81\x02bc"
    assert text_frames([]) == b""


def test_ping() -> None:
    assert FrameProtocol(client=False, extensions=[]).ping() == PING_FRAME


@given(code=st.sampled_from([1000, 1001, 1012, 3000, 4400, 4999]), reason=st.text(max_size=200))
def test_a_close_frame_is_what_wsproto_makes_of_it(code: int, reason: str) -> None:
    assert close_frame(code, reason) == FrameProtocol(client=False, extensions=[]).close(code, reason)


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 5000])
def test_codes_that_must_not_be_sent(code: int) -> None:
    with pytest.raises(ValueError, match=str(code)):
        close_frame(code)
