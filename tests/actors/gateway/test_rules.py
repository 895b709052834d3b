"""What one connection may do: resuming, windows, and the rate of commands."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from actors.gateway.rules import (
    FREE_SIGNS_A_SECOND,
    REFUSALS_A_MINUTE,
    Admitted,
    CommandRate,
    Plan,
    TooFast,
    Window,
    plan_resume,
)
from actors.protocol.commands import Resume
from actors.protocol.event_types import GapReason
from actors.users.messages import Attached

LOG = Attached("epoch", 5, 9, ())


class TestResume:
    def test_who_names_no_position_begins_at_the_top(self) -> None:
        assert plan_resume(None, LOG) == Plan(resumed=False, after=9, replayed=0)

    @pytest.mark.parametrize(("seq", "replayed"), [(4, 5), (5, 4), (8, 1), (9, 0)])
    def test_all_behind_the_position_is_replayed(self, seq: int, replayed: int) -> None:
        assert plan_resume(Resume("epoch", seq), LOG) == Plan(resumed=True, after=seq, replayed=replayed)

    @pytest.mark.parametrize(
        ("resume", "gap"),
        [
            (Resume("another", 9), GapReason.EPOCH),
            (Resume("another", 99), GapReason.EPOCH),
            (Resume("epoch", 10), GapReason.AHEAD),
            (Resume("epoch", 3), GapReason.TRIMMED),
            (Resume("epoch", 0), GapReason.TRIMMED),
        ],
    )
    def test_or_nothing_and_a_gap(self, resume: Resume, gap: GapReason) -> None:
        assert plan_resume(resume, LOG) == Plan(resumed=False, after=9, replayed=0, gap=gap)

    def test_from_the_beginning_of_a_log_that_was_never_cut(self) -> None:
        assert plan_resume(Resume("epoch", 0), Attached("epoch", 1, 3, ())).replayed == 3
        assert plan_resume(Resume("epoch", 0), Attached("epoch", 1, 0, ())) == Plan(resumed=True, after=0, replayed=0)

    def test_a_log_that_holds_nothing_any_more(self) -> None:
        cut = Attached("epoch", 10, 9, ())
        assert plan_resume(Resume("epoch", 9), cut) == Plan(resumed=True, after=9, replayed=0)
        assert plan_resume(Resume("epoch", 8), cut).gap is GapReason.TRIMMED

    @given(st.integers(0, 20), st.integers(1, 12), st.integers(0, 10))
    def test_never_a_part_of_it(self, seq: int, first: int, top: int) -> None:
        plan = plan_resume(Resume("epoch", seq), Attached("epoch", min(first, top + 1), top, ()))
        assert plan.after + plan.replayed == top
        assert plan.resumed == (plan.gap is None)
        assert not plan.resumed or plan.after + 1 >= min(first, top + 1)


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
