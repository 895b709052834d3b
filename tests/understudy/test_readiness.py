"""How the parts are found to be where some of them hang."""

from __future__ import annotations

from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import trio

from actors.operations.survey import AskAll, Survey
from runtime import Actor, open_system
from supervisors import ChildSpec, supervise
from understudy.http.probes import ANSWER_WITHIN, overall
from understudy.readiness import REQUIRED, WITHIN, Readiness

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock

STATUS = SimpleNamespace(
    endpoint="m",
    state="closed",
    last_failure=None,
    simulated=False,
    waiting=0,
    waiting_users=0,
    waiting_limit=9,
    limiter=SimpleNamespace(
        requests=0,
        tokens=0,
        in_flight=0,
        parked_for=0.0,
        source="none",
        requests_limit=None,
        tokens_limit=None,
        in_flight_limit=4,
    ),
    traffic=SimpleNamespace(granted=0, turned_away=0, throttled=0, wait_mean=0.0, wait_p95=0.0, wait_longest=0.0),
)


class Part(Actor):
    """Answers after a while: at once, late, or never."""

    def __init__(self, name: str, delays: dict[str, float]) -> None:
        self._name = name
        self._delays = delays

    async def receive(self, message: Any) -> object:
        await trio.sleep(self._delays.get(self._name, 0.0))
        if self._name in {"storage", "coordinator"}:
            return None
        return SimpleNamespace(**{**vars(STATUS), "endpoint": self._name})


@asynccontextmanager
async def daemon(models: list[str], delays: dict[str, float]) -> AsyncIterator[Readiness]:
    """The parts of a daemon that are asked, each of which answers after its delay."""

    def part(name: str) -> ChildSpec:
        return ChildSpec(name, lambda: Part(name, delays), shutdown=0.0)

    root = supervise(
        "root",
        [
            part("storage"),
            supervise("engines", [part("coordinator")]),
            supervise("models", [part(name) for name in models]),
            supervise("operations", [ChildSpec("survey", Survey)]),
        ],
    )
    plan: Any = SimpleNamespace(
        endpoints=[SimpleNamespace(name=name) for name in models], gate_path=lambda name: f"/models/{name}"
    )
    async with open_system(root) as system:
        yield Readiness(system, plan, "/operations/survey")


MODELS = [f"m{number}" for number in range(6)]
NEVER = 1e6


async def test_gates_that_hang_make_nobody_wait_too_long_and_refuse_nothing(autojump_clock: MockClock) -> None:
    async with daemon(MODELS, dict.fromkeys(MODELS[:-1], NEVER)) as parts:
        began = trio.current_time()
        checks = await parts.checks()
        assert trio.current_time() - began < ANSWER_WITHIN
        assert [checks[f"model {name}"].status for name in MODELS] == ["degraded"] * 5 + ["ok"]
        assert overall(checks, REQUIRED) == "degraded"


async def test_all_gates_have_the_same_time_whoever_else_hangs(autojump_clock: MockClock) -> None:
    slow = {"m0": NEVER, "m1": 1.5, "m2": NEVER, "m3": 1.9}
    async with daemon(MODELS, slow) as parts:
        began = trio.current_time()
        found = await parts.rate_limits()
        assert trio.current_time() - began == pytest.approx(WITHIN, abs=0.1)
        assert [limits.model for limits in found] == ["m1", "m3", "m4", "m5"]
        assert found[0].in_flight_limit == 4


async def test_without_models_there_is_nothing_to_wait_for(autojump_clock: MockClock) -> None:
    async with daemon([], {}) as parts:
        began = trio.current_time()
        assert await parts.rate_limits() == []
        assert trio.current_time() - began < 0.1


async def test_where_nobody_asks_the_gates_the_models_are_degraded(autojump_clock: MockClock) -> None:
    async with daemon(MODELS[:2], {}) as parts:
        lost: Any = Readiness(parts._system, parts._plan, "/operations/nobody")
        checks = await lost.checks()
        assert [checks[f"model {name}"].status for name in MODELS[:2]] == ["degraded"] * 2
        assert overall(checks, REQUIRED) == "degraded"
        assert await lost.rate_limits() == []


async def test_a_coordinator_that_hangs_later_makes_the_daemon_degraded_not_unready(autojump_clock: MockClock) -> None:
    delays = {"coordinator": 3.0}
    async with daemon(["one"], delays) as parts:
        assert overall(await parts.checks(), REQUIRED) == "unavailable"
        delays.clear()
        await trio.sleep(3)
        assert overall(await parts.checks(), REQUIRED) == "ok"
        delays["coordinator"] = NEVER
        checks = await parts.checks()
        assert checks["agents"].status == "degraded"
        assert overall(checks, REQUIRED) == "degraded"


async def test_without_storage_the_agents_are_not_asked_for(autojump_clock: MockClock) -> None:
    async with daemon(["one"], {"storage": NEVER, "coordinator": NEVER}) as parts:
        began = trio.current_time()
        checks = await parts.checks()
        assert trio.current_time() - began < ANSWER_WITHIN
        assert {name: check.status for name, check in checks.items()} == {
            "storage": "unavailable",
            "agents": "unavailable",
            "model one": "ok",
        }


async def test_a_survey_gives_each_answer_its_place(autojump_clock: MockClock) -> None:
    async with daemon(MODELS, {"m0": 1.0, "m1": NEVER}) as parts:
        system = parts._system
        refs = tuple(system.ref(f"/models/{name}") for name in ("m0", "m1", "m2", "nobody"))
        answers = await system.ref("/operations/survey").ask(AskAll(refs, "how are you", 2.0), 3.0)
        assert [None if answer is None else answer.endpoint for answer in answers] == ["m0", None, "m2", None]
