"""Which facts are alerts, how often they are told, and when they are over."""

from __future__ import annotations

import random
from io import StringIO
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from actors.operations import alarms
from actors.operations.alarms import Alarms
from actors.operations.alerts import MOST, QUIET, Alerts
from actors.operations.counters import DaemonCounters
from actors.operations.reports import ReportLog
from actors.protocol.channel_events import AlertView
from actors.protocol.stamps import Stamps
from actors.storage.journal import StorageTrouble
from actors.users.silence import SilentFailure
from runtime import ChildRestart, GaveUp, Stuck, Switched
from understudy.logs import open_log

FULL = StorageTrouble("unavailable", "/srv/data/understudy.db: disk is full")


@attrs.define
class Desk:
    """Whoever listens to `system_alerts`, and what the daemon tells it by."""

    told: list[AlertView] = attrs.field(factory=list)
    counters: DaemonCounters = attrs.field(factory=DaemonCounters)
    out: StringIO = attrs.field(factory=StringIO)
    alerts: Any = None
    alarms: Any = None
    log: Any = None

    def __attrs_post_init__(self) -> None:
        stamps = Stamps(random.Random(1), lambda: 1_800_000_000.0 + trio.current_time())
        self.alerts = Alerts(stamps, self.told.append)
        self.alarms = Alarms(self.alerts, self.counters)
        self.log = ReportLog(open_log(self.out, style="json"), self.counters, self.alarms)

    @property
    def short(self) -> list[tuple[str, str, bool]]:
        return [(each.name, each.severity, each.resolved_at is not None) for each in self.told]


@pytest.fixture
async def desk() -> Desk:
    return Desk()


async def test_what_lasts_is_told_when_it_begins_and_when_it_is_over(desk: Desk, autojump_clock: MockClock) -> None:
    for _ in range(5):  # the journal says so each time that it tries
        desk.log.storage(FULL)
        await trio.sleep(1)
    desk.log.storage(None)
    desk.log.storage(None)
    assert desk.short == [(alarms.STORAGE, "critical", False), (alarms.STORAGE, "critical", True)]
    raised, resolved = desk.told
    assert resolved == attrs.evolve(raised, resolved_at=resolved.resolved_at)
    assert resolved.resolved_at > raised.raised_at
    assert "/srv" not in raised.message
    desk.log.storage(FULL)
    assert desk.told[-1].alert_id != raised.alert_id
    assert desk.out.getvalue().count("storage unavailable") == 2
    assert desk.out.getvalue().count("storage works again") == 1
    assert "disk is full" in desk.out.getvalue()


async def test_the_log_says_when_storage_is_in_another_trouble(desk: Desk) -> None:
    desk.log.storage(None)
    desk.log.storage(FULL)
    desk.log.storage(StorageTrouble("unavailable", "locked"))
    assert desk.out.getvalue().count("storage unavailable") == 2
    assert "works again" not in desk.out.getvalue()
    assert desk.short == [(alarms.STORAGE, "critical", False)]


async def test_an_understudy_that_stands_in(desk: Desk) -> None:
    chain = "/models/chain-lead+spare"
    desk.log(Switched(chain, "spare", "lead", "lead is open"))
    desk.log(Switched(chain, None, "spare", "spare is open"))
    desk.log(Switched(chain, "spare", None, "spare is closed"))
    desk.log(Switched("/engines/creative", "drafts", "engine", "engine is open"))
    desk.log(Switched(chain, "lead", "spare", "lead is closed"))
    assert [(each.severity, each.message) for each in desk.told if "chain" in each.message] == [
        ("warning", "chain-lead+spare: spare stands in for lead."),
        (
            "critical",
            "chain-lead+spare: nobody is left. What needs it gets the answer of last resort until one is back.",
        ),
        ("warning", "chain-lead+spare: spare stands in for lead."),
        ("warning", "chain-lead+spare: spare stands in for lead."),
    ]
    assert len({each.alert_id for each in desk.told}) == 2
    assert desk.told[-1].resolved_at is not None
    assert desk.alerts.open_of(alarms.STAND_IN) == ["/engines/creative"]


@pytest.mark.parametrize("path", ["/engines/creative", "/engines"])
async def test_a_fallback_that_is_started_again_begins_with_its_lead(desk: Desk, path: str) -> None:
    desk.log(Switched("/engines/creative", "drafts", "engine", "engine is open"))
    desk.log(ChildRestart("/engines/creat", "LookupError: x", 1, 3, 0.0))
    assert len(desk.alerts.open) == 1
    desk.log(ChildRestart(path, "LookupError: x", 1, 3, 0.0))
    assert desk.short[-1] == (alarms.STAND_IN, "warning", True)
    assert len(desk.alerts.open) == 0
    desk.log(Switched("/engines/creative", "drafts", "engine", "engine is open"))
    desk.log(Switched("/engines/creative", "engine", "drafts", "engine is closed"))
    assert len(desk.alerts.open) == 0


async def test_a_chain_that_is_started_again_while_its_lead_is_away_still_knows_its_lead(desk: Desk) -> None:
    desk.log(Switched("/models/chain", "spare", "lead", "lead is open"))
    desk.log(ChildRestart("/models/chain", "LookupError: x", 1, 3, 0.0))
    desk.log(Switched("/models/chain", "lead", "spare", "lead is closed"))  # its ledgers outlive it
    assert desk.alerts.open == []
    assert len(desk.told) == 2


async def test_what_has_happened_is_told_once_in_a_while_with_how_often(desk: Desk, autojump_clock: MockClock) -> None:
    failure = SilentFailure("ada", "unacknowledged", 3, 60.0, ("laptop",))
    for _ in range(3):
        desk.counters.silent_failures["unacknowledged"] += 3
        desk.log.silent_failure(failure)
    await trio.sleep(QUIET)
    desk.counters.silent_failures["unacknowledged"] += 3
    desk.log.silent_failure(failure)
    assert [(each.name, each.severity, each.value, each.threshold) for each in desk.told] == [
        (alarms.SILENT, "critical", 3.0, 0.0),
        (alarms.SILENT, "critical", 12.0, 0.0),
    ]
    assert not any("ada" in each.message for each in desk.told)


async def test_the_others(desk: Desk) -> None:
    desk.log(GaveUp("/users/ada", "LookupError: x", 10, 60.0, escalated=False))
    desk.log(GaveUp("/engines", "LookupError: x", 3, 5.0, escalated=True))
    desk.log(Stuck("/runs/r/step-1", "AgentStep", "running", "Hold", 12.0, 3))
    desk.counters.isolation_violations += 1
    desk.alarms.isolation()
    desk.alarms.draining()
    desk.alarms.draining()
    assert desk.short == [
        (alarms.RESTART_LIMIT, "warning", False),
        (alarms.RESTART_LIMIT, "critical", False),
        (alarms.STUCK, "warning", False),
        (alarms.ISOLATION, "critical", False),
        (alarms.DRAINING, "warning", False),
    ]
    assert not any("ada" in each.message or "LookupError" in each.message for each in desk.told)


async def test_there_are_so_many_and_no_more(desk: Desk) -> None:
    for number in range(2 * MOST):
        desk.alerts.begins("name", "info", "It lasts.", subject=str(number))
        desk.alerts.happened("name", "info", f"It has happened to {number}.", times=1)
    assert len(desk.alerts.open) == MOST
    assert len(desk.told) == 2 * MOST
    for number in range(2 * MOST):
        desk.alerts.over("name", subject=str(number))
    assert len(desk.told) == 3 * MOST
