from __future__ import annotations

from typing import Any, Protocol

import httpx2
import pytest
import trio

from tests.support.small_daemon import Work, samples, settled
from understudy.http import Check, Sources, probes


class Site(Protocol):
    sources: Sources
    checks: dict[str, Check]
    phase: str
    system: Any
    log: list[dict[str, Any]]

    def serve(self, **changes: Any) -> None: ...
    async def get(self, path: str, **headers: str) -> httpx2.Response: ...


OK = Check("ok", "It works.")
SLOW = Check("degraded", "It is slow.")
DOWN = Check("unavailable", "It cannot be reached.")


async def test_health_says_who_is_alive(site: Site) -> None:
    answer = await site.get("/health")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    health = answer.json()
    assert list(health) == ["status", "version", "uptime_seconds", "checks"]
    assert (health["status"], health["version"]) == ("ok", "1.2.3")
    assert health["uptime_seconds"] >= 0
    assert health["checks"] == {"daemon": {"status": "ok", "message": "The daemon is running."}}


@pytest.mark.parametrize(("phase", "word"), [("starting", "starting"), ("draining", "going down")])
async def test_one_that_starts_or_drains_is_alive_but_not_ready(site: Site, phase: str, word: str) -> None:
    site.phase = phase
    health = await site.get("/health")
    assert (health.status_code, health.json()["status"]) == (200, "ok")
    assert word in health.json()["checks"]["daemon"]["message"]
    ready = await site.get("/ready")
    assert (ready.status_code, ready.json()["status"]) == (503, "unavailable")
    assert ready.json()["checks"]["daemon"]["status"] == "unavailable"
    assert ready.json()["checks"]["storage"]["status"] == "ok"


async def test_health_asks_no_part_of_the_daemon(site: Site) -> None:
    async def never() -> dict[str, Check]:
        raise AssertionError

    site.serve(readiness=never)
    assert (await site.get("/health")).status_code == 200


@pytest.mark.parametrize(
    ("checks", "status", "code"),
    [
        ({"storage": OK, "openai": OK}, "ok", 200),
        ({"storage": OK, "openai": DOWN}, "degraded", 200),
        ({"storage": OK, "openai": SLOW}, "degraded", 200),
        ({"storage": SLOW, "openai": OK}, "degraded", 200),
        ({"storage": DOWN, "openai": OK}, "unavailable", 503),
        ({"openai": OK}, "unavailable", 503),
    ],
)
async def test_readiness(site: Site, checks: dict[str, Check], status: str, code: int) -> None:
    site.checks = checks
    answer = await site.get("/ready")
    assert answer.status_code == code
    assert answer.json()["status"] == status
    shown = {name: Check(**check) for name, check in answer.json()["checks"].items()}
    assert shown.pop("daemon") == Check("ok", "The daemon is running.")
    assert shown == checks


async def test_parts_that_do_not_answer_are_not_ready(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "ANSWER_WITHIN", 0.01)
    site.serve(readiness=trio.sleep_forever)
    answer = await site.get("/ready")
    assert answer.status_code == 503
    assert answer.json()["checks"]["storage"] == {
        "status": "unavailable",
        "message": "There was no answer in time.",
    }


async def test_metrics_are_prometheus_text(site: Site) -> None:
    site.system.ref("/clerk").tell(Work())
    await settled()
    answer = await site.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    values = samples(answer.content)
    assert values['understudy_messages_total{kind="Clerk",outcome="handled"}'] == 1
    assert values["understudy_isolation_violations_total"] == 0


async def test_answers_are_counted_by_status(site: Site) -> None:
    for path in ("/health", "/health", "/nothing", "/api/runs"):
        await site.get(path)
    assert site.sources.counters.http_responses == {200: 2, 404: 1, 503: 1}
