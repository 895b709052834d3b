"""Specs are refused whole, before anything starts, by key, value and what is allowed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import Actor, InvalidSpec
from supervisors import Backoff, ChildSpec, Elsewhere, FallbackSpec, Intensity, Policy, Restart, Strategy, supervise

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("make", "key", "value"),
    [
        (lambda: Intensity(limit=-1), "intensity.limit", -1),
        (lambda: Intensity(limit=1.5), "intensity.limit", 1.5),  # type: ignore[arg-type]
        (lambda: Intensity(period=0), "intensity.period", 0),
        (lambda: Intensity(period=math.inf), "intensity.period", math.inf),
        (lambda: Backoff(base=-0.1), "backoff.base", -0.1),
        (lambda: Backoff(cap=math.inf), "backoff.cap", math.inf),
        (lambda: Backoff(quiet=-1), "backoff.quiet", -1),
        (lambda: ChildSpec("a", Actor, restart="always"), "a.restart", "always"),  # type: ignore[arg-type]
        (lambda: ChildSpec("a", Actor, budget=3), "a.budget", 3),  # type: ignore[arg-type]
        (lambda: ChildSpec("a", Actor, backoff=1.0), "a.backoff", 1.0),  # type: ignore[arg-type]
        (lambda: ChildSpec("a/b", Actor), "name", "a/b"),
        (lambda: Policy(failures=0), "policy.failures", 0),
        (lambda: Policy(failures=2.0), "policy.failures", 2.0),  # type: ignore[arg-type]
        (lambda: Policy(open_first=0), "policy.open_first", 0),
        (lambda: Policy(open_cap=math.inf), "policy.open_cap", math.inf),
        (lambda: Policy(probe_within=-1), "policy.probe_within", -1),
        (lambda: FallbackSpec(()), "fallback.targets", ()),
        (lambda: FallbackSpec((ChildSpec("a", Actor), ChildSpec("a", Actor))), "fallback.targets", "a"),
        (lambda: FallbackSpec((ChildSpec("a", Actor),), counted=[str]), "fallback.counted", [str]),  # type: ignore[arg-type]
        (lambda: FallbackSpec((ChildSpec("a", Actor),), counted=("no class",)), "fallback.counted", ("no class",)),  # type: ignore[arg-type]
        (lambda: supervise("s", [], strategy="one_for_one"), "s.strategy", "one_for_one"),  # type: ignore[arg-type]
        (lambda: supervise("s", [], intensity=3), "s.intensity", 3),  # type: ignore[arg-type]
        (lambda: supervise("s", ["a"]), "children", "str"),  # type: ignore[list-item]
        (lambda: supervise("s", [ChildSpec("a", Actor), ChildSpec("a", Actor)]), "children", "a"),
    ],
)
def test_what_cannot_work_is_named(make: Callable[[], Any], key: str, value: object) -> None:
    with pytest.raises(InvalidSpec) as refused:
        make()
    assert (refused.value.key, refused.value.value) == (key, value)
    assert refused.value.allowed


def test_defaults_let_three_failures_happen_before_the_budget_is_spent() -> None:
    assert Intensity().limit == Policy().failures == 3


def test_a_supervisor_has_as_long_to_stop_as_its_tree_unless_told_otherwise() -> None:
    assert supervise("s", []).shutdown == math.inf
    assert supervise("s", [], shutdown=2.0, restart=Restart.TRANSIENT).shutdown == 2.0
    assert supervise("s", [], strategy=Strategy.ONE_FOR_ALL).restart is Restart.PERMANENT


def test_a_target_elsewhere_needs_no_child_spec() -> None:
    elsewhere = Elsewhere("b", None, None)  # type: ignore[arg-type]
    assert FallbackSpec((ChildSpec("a", Actor), elsewhere)).targets[1] is elsewhere


@pytest.mark.parametrize(
    ("streak", "portion", "seconds"),
    [(0, 0.9, 0.0), (1, 0.9, 0.0), (2, 0.0, 0.05), (3, 0.0, 0.1), (4, 0.0, 0.2), (4, 0.5, 0.3), (40, 0.0, 15.0)],
)
def test_the_first_restart_of_a_row_has_no_delay_and_the_next_ones_double(
    streak: int, portion: float, seconds: float
) -> None:
    assert Backoff().delay(streak, portion) == pytest.approx(seconds)


def test_without_a_base_there_is_no_delay() -> None:
    assert Backoff(base=0).delay(9, 0.5) == 0


@given(
    base=st.floats(0.001, 10),
    cap=st.floats(0.001, 100),
    streak=st.integers(2, 10_000),
    portion=st.floats(0, 1, exclude_max=True),
)
def test_jitter_stays_between_half_of_the_delay_and_all_of_it_under_the_cap(
    base: float, cap: float, streak: int, portion: float
) -> None:
    backoff = Backoff(base=base, cap=cap)
    whole = min(cap, base * 2.0 ** min(streak - 2, 60))
    assert whole / 2 <= backoff.delay(streak, portion) <= whole <= cap
    assert backoff.delay(streak, portion) <= backoff.delay(streak + 1, portion)
