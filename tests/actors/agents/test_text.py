"""The text of an attempt on its way to the run: what goes together, what waits, and that nothing is lost."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import hypothesis.strategies as st
from hypothesis import given, settings

from actors.agents.text import COALESCE, Flush, Text
from tests.support.examples import examples


class Bench:
    """An actor with a clock of its own, and a run that takes what it is told while `takes`."""

    def __init__(self) -> None:
        self.time = 100.0
        self.due: float | None = None
        self.takes = True
        self.told: list[tuple[float, int, str]] = []
        actor: Any = self
        self.text = Text(actor, self.take)

    def now(self) -> float:
        return self.time

    def timer(self, _key: str, seconds: float, message: object) -> None:
        assert isinstance(message, Flush)
        self.due = self.time + seconds

    def take(self, offset: int, text: str) -> bool:
        if self.takes:
            self.told.append((self.time, offset, text))
        return self.takes

    def pass_time(self, seconds: float) -> None:
        end = self.time + seconds
        while self.due is not None and self.due <= end:
            self.time, self.due = self.due, None
            self.text.due()
        self.time = end

    def write(self, *pieces: str) -> None:
        for piece in pieces:
            self.text.add(piece)
        self.text.caught_up()

    @property
    def shown(self) -> str:
        text = ""
        for _, offset, piece in self.told:
            assert offset <= len(text)
            text = text[:offset] + piece
        return text


def test_what_comes_together_is_told_as_one_and_at_once() -> None:
    bench = Bench()
    bench.write("Tea ")
    bench.pass_time(0.05)
    bench.write("is ", "", "good")
    assert bench.told == [(100.0, 0, "Tea "), (100.05, 4, "is good")]
    assert bench.due is None, "no timer where nothing is to wait"


def test_what_follows_closely_waits_and_goes_together() -> None:
    bench = Bench()
    for piece in ("a", "b", "c"):
        bench.write(piece)
        bench.pass_time(0.01)
    bench.pass_time(1.0)
    assert bench.told == [(100.0, 0, "a"), (100.0 + COALESCE, 1, "bc")]


def test_between_two_calls_of_the_model_there_is_a_paragraph() -> None:
    bench = Bench()
    bench.text.new_paragraph()
    bench.write("")
    bench.write("Tea")
    assert bench.shown == "\n\nTea"
    assert (bench.text.length, bench.text.pieces) == (5, ["\n\nTea"])


def test_what_is_not_taken_is_told_again_from_the_same_place() -> None:
    bench = Bench()
    bench.takes = False
    bench.write("Tea ")
    bench.pass_time(1.0)
    bench.write("is good")
    bench.takes = True
    bench.pass_time(COALESCE)
    assert [told[1:] for told in bench.told] == [(0, "Tea is good")]


def test_starting_over() -> None:
    bench = Bench()
    bench.write("Tea ")
    bench.pass_time(1.0)
    bench.write("is good")
    bench.text.start_over()
    assert bench.told[-1][1:] == (0, "Tea is good")
    bench.pass_time(1.0)
    bench.write(", too")
    assert bench.told[-1][1:] == (11, ", too")


STEPS = st.one_of(
    st.lists(st.text(max_size=3), max_size=3), st.sampled_from(["full", "free", "over"]), st.floats(0.001, 0.1)
)


@settings(max_examples=examples(2), deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_whatever_happens_all_of_it_is_told_in_the_end_and_not_too_often(steps: list[Any]) -> None:
    bench = Bench()
    for step in steps:
        if isinstance(step, list):
            bench.write(*step)
        elif isinstance(step, float):
            bench.pass_time(step)
        elif step == "over":
            bench.text.start_over()
        else:
            bench.takes = step == "free"
    bench.takes = True
    bench.pass_time(1.0)
    assert bench.shown == "".join(bench.text.pieces)
    assert bench.text.length == len(bench.shown)
    times = [at for at, offset, _ in bench.told if offset]
    assert all(later - earlier >= COALESCE - 1e-6 for earlier, later in pairwise(times))
