"""The grammar over what a client hands out is itself checked, connection by connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.grammar_handed import check_handed, frame_of
from tests.support.grammar_log import Log, whole_run
from understudy.client.envelope import read_event

if TYPE_CHECKING:
    from tests.support.grammar_tables import Frame

ANSWERS = {"reply", "heartbeat"}
NEXT_PIECE, LAST_PIECE, ANSWER = 5, 9, 10
"""Places in `handed`: the second and the third delta, and the answer."""


def handed() -> list[Frame]:
    """A whole run as a client hands it out: everything but what answers its commands."""
    log = Log()
    whole_run(log)
    return [frame_of(read_event(frame)) for frame in log.frames if frame["type"] not in ANSWERS]


def rules(*sources: list[Frame]) -> set[str]:
    return {violation.rule for violation in check_handed(sources)}


def whole_text(frames: list[Frame], place: int) -> Frame:
    """What a client that comes in the middle of an answer is told first."""
    so_far = "".join(frame["content"] for frame in frames[:place] if frame["type"] == "agent_delta")
    found: Frame = {**frames[NEXT_PIECE], "id": "whole", "content": so_far}
    return {**found, "metadata": {**found["metadata"], "offset": 0}}


def test_the_frames_are_as_they_were() -> None:
    frames = handed()
    assert [frame["content"] for frame in (frames[NEXT_PIECE], frames[LAST_PIECE])] == ["llo", "!"]
    assert frames[ANSWER]["type"] == "agent_response"
    assert rules(frames) == set()
    assert rules([], frames, []) == set()


@pytest.mark.parametrize("place", range(20))
def test_over_two_connections_the_text_begins_afresh_on_the_second(place: int) -> None:
    frames = handed()
    in_the_middle = NEXT_PIECE <= place <= ANSWER
    first, second = frames[:place], frames[place:]
    assert rules(first, [whole_text(frames, place), *second] if in_the_middle else second) == set()


def test_a_piece_that_goes_on_where_another_connection_ended_is_found() -> None:
    frames = handed()
    assert rules(frames[:NEXT_PIECE], frames[NEXT_PIECE:]) == {"delta_gap"}
    # Of the last pieces nothing need come: the answer had been given by then.
    assert rules(frames[:LAST_PIECE], frames[LAST_PIECE + 1 :]) == set()


def test_a_piece_that_is_missing_on_one_connection_is_found() -> None:
    frames = handed()
    assert rules([*frames[:NEXT_PIECE], *frames[NEXT_PIECE + 1 :]]) == {"delta_gap"}
    assert rules([*frames[:LAST_PIECE], *frames[LAST_PIECE + 1 :]]) == {"response_text"}


def test_a_wrong_text_so_far_is_found() -> None:
    frames = handed()
    wrong = {**whole_text(frames, LAST_PIECE), "content": "Hallo"}
    assert rules(frames[:LAST_PIECE], [wrong, *frames[LAST_PIECE:]]) == {"response_text"}


@pytest.mark.parametrize(("place", "rule"), [(1, "not_started"), (ANSWER, "delta_late"), (12, "attempt_after_end")])
def test_a_piece_in_the_wrong_place_is_found(place: int, rule: str) -> None:
    frames = handed()
    frames.insert(place, frames.pop(LAST_PIECE))
    assert rule in rules(frames)


def test_an_ephemeral_event_over_a_change_of_connection_is_judged_too() -> None:
    frames = handed()
    assert rules(frames[:12], [frames[LAST_PIECE - 1], *frames[12:]]) >= {"attempt_after_end"}


def test_what_a_client_keeps_to_itself_is_not_handed_out() -> None:
    log = Log()
    log.welcome()
    log.reply("c1")
    assert rules(log.frames) == {"ephemeral_in_log"}


def test_a_run_that_stops_in_the_middle_is_found() -> None:
    assert rules(handed()[:-2]) == {"run_unfinished"}
