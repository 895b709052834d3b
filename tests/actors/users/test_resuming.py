"""Where a client goes on: everything it has not had, or nothing and a gap."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from actors.protocol.commands import Resume
from actors.protocol.event_types import GapReason
from actors.storage.interface import Position
from actors.users.resuming import Plan, plan_resume

LOG = Position("epoch", 5, 9)


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
        lost = (resume.seq + 1, 4) if gap is GapReason.TRIMMED else None
        assert plan_resume(resume, LOG) == Plan(resumed=False, after=9, replayed=0, gap=gap, lost=lost)

    def test_from_the_beginning_of_a_log_that_was_never_cut(self) -> None:
        assert plan_resume(Resume("epoch", 0), Position("epoch", 1, 3)).replayed == 3
        assert plan_resume(Resume("epoch", 0), Position("epoch", 1, 0)) == Plan(resumed=True, after=0, replayed=0)

    def test_a_log_that_holds_nothing_any_more(self) -> None:
        cut = Position("epoch", 10, 9)
        assert plan_resume(Resume("epoch", 9), cut) == Plan(resumed=True, after=9, replayed=0)
        assert plan_resume(Resume("epoch", 8), cut).gap is GapReason.TRIMMED

    @given(st.integers(0, 20), st.integers(1, 12), st.integers(0, 10))
    def test_never_a_part_of_it(self, seq: int, first: int, top: int) -> None:
        plan = plan_resume(Resume("epoch", seq), Position("epoch", min(first, top + 1), top))
        assert plan.after + plan.replayed == top
        assert plan.resumed == (plan.gap is None)
        assert not plan.resumed or plan.after + 1 >= min(first, top + 1)
