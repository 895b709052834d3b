"""`/api/websockets/stats`: for whom it is, and without anybody connected; with clients: end_to_end/test_resume.py."""

from __future__ import annotations

from typing import Any

from understudy.http.callers import Caller


async def test_a_daemon_that_has_done_nothing_says_so(site: Any) -> None:
    found = (await site.get("/api/websockets/stats")).json()
    assert found == {
        "connections": {"open": 0, "opened": 0, "closed": {}, "refused": {}},
        "events": {
            "attempted": 0,
            "committed": 0,
            "sent": 0,
            "acknowledged": 0,
            "queued_bytes": 0,
            "due": 0,
            "due_acknowledged": 0,
            "silent_failures": {"unacknowledged": 0, "uncommitted": 0},
        },
        "active_users": 0,
        "users": [],
    }


async def test_it_is_for_operators(site: Any) -> None:
    site.serve(identify=lambda _: Caller("ada", "user"))
    assert (await site.get("/api/websockets/stats")).status_code == 403


async def test_a_limit_out_of_bounds_is_refused(site: Any) -> None:
    assert (await site.get("/api/websockets/stats?limit=0")).status_code == 422


async def test_what_counts_shows(site: Any) -> None:
    counters = site.sources.counters
    counters.events_due_acknowledged, counters.silent_failures["unacknowledged"] = 3, 1
    counters.connections_opened, counters.connections_closed[4409] = 2, 1
    found = (await site.get("/api/websockets/stats")).json()
    assert found["events"]["success_rate"] == 0.75
    assert found["connections"] == {"open": 1, "opened": 2, "closed": {"4409": 1}, "refused": {}}
