"""The soak in its short form. The long one is `python -m tests.proofs.soak`."""

from __future__ import annotations

import gc

import pytest
import trio

from tests.proofs import soak
from tests.proofs.soak import BOUND, Victim


def test_a_thousand_lives_leave_nothing():
    found = soak.soak(1000, 300)
    assert found.crashes == 1400
    assert found.growth <= BOUND
    assert [cycles for cycles, _ in found.samples] == [each * 100 for each in range(11)]
    assert gc.isenabled()


def test_a_cycle_would_be_found(monkeypatch: pytest.MonkeyPatch):
    class Tangled(Victim):
        async def started(self) -> None:
            await super().started()
            self.own = self  # and through it its cell

    monkeypatch.setattr(soak, "Victim", Tangled)
    with pytest.raises(AssertionError, match="reference cycles"):
        soak.soak(10, 10)


def test_growth_would_be_found(monkeypatch: pytest.MonkeyPatch):
    kept: list[bytes] = []
    monkeypatch.setattr(soak, "resident", lambda: sum(map(len, kept)))
    live = soak.cycle

    async def hoarding(*args: object) -> None:
        kept.append(bytes(100_000))
        await live(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(soak, "cycle", hoarding)
    assert soak.soak(50, 10).growth > BOUND


def test_the_resident_set_is_measured():
    assert soak.resident() > 5_000_000
    assert trio.__version__
