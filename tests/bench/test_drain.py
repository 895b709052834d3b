"""The drain's figures: what is counted, and that a client that is not sent away as it should be fails it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from bench.delivery import drain as drain_module
from bench.delivery.drain import drain, most_within
from bench.delivery.leaving import LeavingSwarm
from bench.delivery.processes import Cores
from bench.delivery.servers import Site
from bench.delivery.swarm import NotServed
from bench.program import Load

if TYPE_CHECKING:
    from pathlib import Path

LOAD = Load("drain_10k", 0.0, 20, 20, 0.0)


@pytest.mark.parametrize(
    ("times", "most"),
    [([], 0), ([1.0], 1), ([1.0, 1.05, 1.1, 1.2], 3), ([1.0, 2.0, 3.0], 1), ([1.0, 1.0, 5.0, 5.0, 5.0], 3)],
)
def test_the_most_in_a_window(times: list[float], most: int) -> None:
    assert most_within(times, 0.1 + 1e-9) == most


def site(directory: Path) -> Site:
    return Site(directory, Cores.of(os.sched_getaffinity(0)))


def test_all_are_sent_away_and_the_daemon_ends(tmp_path: Path) -> None:
    found = drain(LOAD, site(tmp_path))
    assert set(found) == {"drain_10k_whole", "drain_10k_peak", "drain_10k_pause", "drain_10k_exit"}
    assert 0 < found["drain_10k_whole"] <= found["drain_10k_exit"]
    assert 1 <= found["drain_10k_peak"] <= LOAD.actors
    assert found["drain_10k_pause"] > 0
    log = [json.loads(line) for line in (tmp_path / "daemon.log").read_text().splitlines()]
    closed = [line for line in log if line["event"] == "connection closed"]
    assert {line["code"] for line in closed} == {1012}
    assert len(closed) == LOAD.actors + drain_module.PROBES  # the last lines too: they are written before it ends


def test_a_client_that_was_not_told_fails_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Deaf(LeavingSwarm):
        def take(self, client: Any, payload: bytes) -> None:
            if client is not self.clients[0]:
                super().take(client, payload)

    monkeypatch.setattr(drain_module, "LeavingSwarm", Deaf)
    with pytest.raises(NotServed, match="19 of 20 were sent away"):
        drain(LOAD, site(tmp_path))
