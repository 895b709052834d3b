"""What one connection may do: windows, and the rate of commands."""

from __future__ import annotations

from typing import Any

import pytest

from actors.gateway.rules import (
    FREE_SIGNS_A_SECOND,
    REFUSALS_A_MINUTE,
    Admitted,
    CommandRate,
    Early,
    TooFast,
    Window,
)
from actors.protocol.codes import ErrorCode
from actors.protocol.decode import Rejected


class TestWindow:
    def test_counts_what_was_within_the_last_seconds(self) -> None:
        window = Window(10.0)
        assert [window.add(at) for at in (0.0, 1.0, 9.9)] == [1, 2, 3]
        assert window.count(9.99) == 3
        assert window.add(10.0) == 3
        assert window.count(11.0) == 2
        assert window.count(100.0) == 0

    def test_tells_when_the_oldest_is_forgotten(self) -> None:
        window = Window(10.0)
        assert window.free_in(5.0) == 0.0
        window.add(1.0)
        assert window.free_in(5.0) == pytest.approx(6.0)
        assert window.free_in(11.0) == 0.0


class TestCommandRate:
    def test_so_many_a_minute(self) -> None:
        rate = CommandRate(3, 99)
        for _ in range(3):
            assert rate.admit(0.0, 0, sign_of_life=False) == Admitted()
        assert rate.admit(20.0, 0, sign_of_life=False) == TooFast(40.0, close=False)
        assert rate.admit(59.99, 0, sign_of_life=False) == TooFast(0.1, close=False)
        assert rate.admit(60.0, 0, sign_of_life=False) == Admitted()

    def test_so_many_at_once(self) -> None:
        rate = CommandRate(99, 2)
        assert rate.admit(0.0, 1, sign_of_life=False) == Admitted()
        assert rate.admit(0.0, 2, sign_of_life=False) == TooFast(1.0, close=False)

    def test_the_fiftieth_refusal_within_a_minute_closes(self) -> None:
        rate = CommandRate(1, 1)
        rate.admit(0.0, 0, sign_of_life=False)
        verdicts = [rate.admit(1.0, 0, sign_of_life=False) for _ in range(REFUSALS_A_MINUTE)]
        closes = [verdict.close for verdict in verdicts if isinstance(verdict, TooFast)]
        assert closes == [False] * 49 + [True]

    def test_old_refusals_are_forgotten(self) -> None:
        rate = CommandRate(0, 1)
        for _ in range(REFUSALS_A_MINUTE - 1):
            rate.admit(0.0, 0, sign_of_life=False)
        assert rate.admit(60.0, 0, sign_of_life=False) == TooFast(0.1, close=False)

    def test_signs_of_life_count_only_above_ten_a_second(self) -> None:
        rate = CommandRate(2, 0)
        for second in (0.0, 1.0, 2.0):
            for _ in range(FREE_SIGNS_A_SECOND):
                assert rate.admit(second, 99, sign_of_life=True) == Admitted()
        assert isinstance(rate.admit(2.5, 99, sign_of_life=True), TooFast)
        rate = CommandRate(2, 1)
        answers = [rate.admit(0.0, 0, sign_of_life=True) for _ in range(FREE_SIGNS_A_SECOND + 3)]
        assert [isinstance(answer, Admitted) for answer in answers] == [True] * 12 + [False]


class TestEarly:
    def heard(self, name: str) -> Any:
        return Rejected(ErrorCode.BAD_REQUEST, name)

    def test_so_many_may_wait_and_are_taken_in_their_order(self) -> None:
        early, heard = Early(3, 1000), [self.heard(name) for name in "abcd"]
        assert [early.add(each, 10) for each in heard] == [True, True, True, False]
        assert early.take() == heard[:3]
        assert early.take() == []

    def test_so_much_may_wait(self) -> None:
        early = Early(1000, 100)
        assert [early.add(self.heard("a"), 40) for _ in range(3)] == [True, True, False]
