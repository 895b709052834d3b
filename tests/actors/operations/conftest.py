from __future__ import annotations

from collections.abc import AsyncIterator
from io import StringIO

import attrs
import pytest

from actors.operations.counters import DaemonCounters
from actors.operations.metrics import Metrics, open_metrics
from actors.operations.reports import ReportLog
from runtime import System, open_system
from tests.support.small_daemon import root, samples, settled
from understudy.logs import open_log


@attrs.define
class Daemon:
    """A small tree with everything that an operator has of it."""

    system: System
    counters: DaemonCounters
    metrics: Metrics
    out: StringIO

    def scrape(self) -> dict[str, float]:
        return samples(self.metrics.render())


@pytest.fixture
async def daemon() -> AsyncIterator[Daemon]:
    counters, out = DaemonCounters(), StringIO()
    report = ReportLog(open_log(out, style="json"), counters)
    async with open_system(root(), report=report) as system:
        with open_metrics(system, counters) as metrics:
            await settled()
            yield Daemon(system, counters, metrics, out)


second_daemon = daemon
