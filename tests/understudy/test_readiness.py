"""How the parts are found to be where some of them hang."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import attrs
import trio
from trio.testing import MockClock

from runtime import TimedOut
from understudy.http.probes import ANSWER_WITHIN, overall
from understudy.readiness import REQUIRED, Readiness

WORKS = SimpleNamespace(state="closed", last_failure=None, simulated=False)


@attrs.frozen
class Part:
    """What stands at a path: it answers at once, or never."""

    path: str
    hangs: bool

    async def ask(self, question: object, within: float) -> Any:
        if self.hangs:
            await trio.sleep(within)
            ref: Any = self
            raise TimedOut(ref, question, state="suspended", handling=None, age=0.0, depth=1)
        await trio.lowlevel.checkpoint()
        return None if self.path == "/storage" else WORKS


def readiness(models: list[str], hanging: set[str]) -> Readiness:
    endpoints = [SimpleNamespace(name=name) for name in models]
    plan: Any = SimpleNamespace(endpoints=endpoints, gate_path=lambda name: f"/models/{name}")
    system: Any = SimpleNamespace(ref=lambda path: Part(path, path in hanging))
    return Readiness(system, plan)


async def test_gates_that_hang_make_nobody_wait_too_long_and_refuse_nothing(autojump_clock: MockClock) -> None:
    models = [f"m{number}" for number in range(6)]
    began = trio.current_time()
    checks = await readiness(models, {f"/models/{name}" for name in models[:-1]}).checks()
    assert trio.current_time() - began < ANSWER_WITHIN
    assert [checks[f"model {name}"].status for name in models] == ["degraded"] * 5 + ["ok"]
    assert overall(checks, REQUIRED) == "degraded"


async def test_a_coordinator_that_hangs_later_makes_the_daemon_degraded_not_unready(autojump_clock: MockClock) -> None:
    hanging: set[str] = {"/engines/coordinator"}
    parts = readiness(["one"], hanging)
    assert overall(await parts.checks(), REQUIRED) == "unavailable"
    hanging.clear()
    assert overall(await parts.checks(), REQUIRED) == "ok"
    hanging.add("/engines/coordinator")
    checks = await parts.checks()
    assert checks["agents"].status == "degraded"
    assert overall(checks, REQUIRED) == "degraded"


async def test_without_storage_the_agents_are_not_asked_for(autojump_clock: MockClock) -> None:
    checks = await readiness(["one"], {"/storage", "/engines/coordinator"}).checks()
    assert trio.current_time() < ANSWER_WITHIN
    assert {name: check.status for name, check in checks.items()} == {
        "storage": "unavailable",
        "agents": "unavailable",
        "model one": "ok",
    }
