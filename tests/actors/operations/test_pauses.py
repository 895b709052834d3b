from __future__ import annotations

import gc

import pytest

from actors.operations.pauses import BOUNDS, Pauses, watch_pauses


def test_a_pause_is_sorted_into_its_class() -> None:
    times = iter([10.0, 10.004, 20.0, 20.05, 30.0, 37.0])
    pauses = Pauses(lambda: next(times))
    for generation in (0, 2, 2):
        pauses.heard("start", {"generation": generation})
        pauses.heard("stop", {"generation": generation})
    assert pauses.counts[0] == [0, 1, 0, 0, 0, 0, 0, 0]
    assert sum(pauses.counts[1]) == 0
    assert pauses.counts[2][-1] == 1
    assert sum(pauses.counts[2][: BOUNDS.index(0.1) + 1]) == 1
    assert pauses.seconds[2] == pytest.approx(7.05)


def test_it_hears_of_collections_only_while_it_is_open() -> None:
    before = list(gc.callbacks)
    with watch_pauses() as ours:
        with watch_pauses() as theirs:
            gc.collect()
        gc.collect()
        assert len(gc.callbacks) == len(before) + 1
    gc.collect()
    assert gc.callbacks == before
    assert sum(theirs.counts[2]) == 1
    assert sum(ours.counts[2]) == 2
