"""A run whose actor, agent, context, journal or supervisor crashes, at every point: the log stays whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
import pytest
import trio
from hypothesis import HealthCheck, given, settings

from actors.workflows.definitions import StepDefinition
from supervisors import Intensity
from tests.support.examples import examples
from tests.support.runs_system import RunsSystem, runs_system, workflow
from tests.support.users_system import virtual

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.repeats

TWO = workflow(StepDefinition("analysis", "analyst"), StepDefinition("test", "tester"))
VICTIMS = ("run", "agent", "context", "journal", "runs", "users")


def crash(here: RunsSystem, victim: str) -> None:
    alive = [node.path for node in here.base.system.tree().walk() if node.state != "ended"]
    run = next((path for path in alive if path.startswith("/runs/")), "/runs/none")
    agents = [path for path in alive if path.startswith(f"{run}/")]
    paths = {"run": run, "context": "/users/ada", "journal": "/storage", "runs": "/runs", "users": "/users"}
    for path in agents if victim == "agent" else [paths[victim]]:
        here.base.crash(path)


async def play(monkeypatch: Any, at: Callable[[RunsSystem, str], None], *, takes: float) -> tuple[str, int]:
    """A whole run, with `at` called at every point of the journal's work. Its end, and how many points there were."""
    async with runs_system(monkeypatch, TWO) as here:
        here.plan.takes = takes
        follower = await here.base.follow()
        run_id = await here.start()
        first = len(here.plan.heard)
        here.plan.at = lambda point: at(here, point)
        status = await here.ended(run_id)
        here.plan.at = str
        story = here.story()
        assert sum(line.split()[0] in {"completed", "failed", "cancelled"} for line in story) == 1
        assert story[-1].split()[0] in {"completed", "failed", "cancelled"}
        assert follower.closed in {None, 1011}
        return status, len(here.plan.heard) - first


@pytest.mark.parametrize("takes", [0.0, 0.06])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("victim", VICTIMS)
def test_a_crash_at_every_point(victim: str, when: str, takes: float, monkeypatch: Any) -> None:
    async def main() -> None:
        points: list[str] = []
        _, count = await play(monkeypatch, lambda _, point: points.append(point), takes=takes)
        assert count > 5
        for chosen in [point for point in points if point.startswith(when)]:

            def at(here: RunsSystem, point: str, chosen: str = chosen) -> None:
                if point == chosen:
                    crash(here, victim)

            status, _ = await play(monkeypatch, at, takes=takes)
            assert status == "completed", chosen

    virtual(main)


@pytest.mark.parametrize("victim", ["run", "agent", "context", "runs"])
def test_a_crash_at_every_tenth_of_a_second_of_a_slow_journal(victim: str, monkeypatch: Any) -> None:
    async def main() -> None:
        for moment in range(1, 60):
            async with runs_system(monkeypatch, TWO) as here:
                await here.base.follow()
                here.plan.takes = 0.07
                run_id = await here.start()
                await trio.sleep(moment / 20)
                crash(here, victim)
                assert await here.ended(run_id) == "completed"
                begun = [line for line in here.story() if line.endswith("started")]
                assert len(begun) <= 3

    virtual(main)


@settings(max_examples=examples(0.6), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [*VICTIMS, "cancel", "cancel test", "pause", "pause test", "resume", "resume test", "trouble"]
            ),
            st.floats(0.01, 1.5),
        ),
        max_size=8,
    ),
    st.sampled_from([0.0, 0.05]),
)
def test_many_crashes_and_orders(events: list[tuple[str, float]], takes: float) -> None:
    async def main() -> None:
        with pytest.MonkeyPatch.context() as monkeypatch:
            plenty = Intensity(1000, 1.0)
            async with runs_system(monkeypatch, TWO, run_budget=plenty) as here:
                await here.base.follow()
                here.plan.takes = takes
                run_id = await here.start()
                async with trio.open_nursery() as nursery:
                    for number, (event, pause) in enumerate(events):
                        await trio.sleep(pause)
                        order, _, agent = event.partition(" ")
                        if order in {"cancel", "pause", "resume"}:
                            more = {"agent_name": "Tester"} if agent else {}
                            nursery.start_soon(steer, here, run_id, order, f"x{number}", more)
                        elif event == "trouble":
                            here.plan.trouble = not here.plan.trouble
                        else:
                            crash(here, event)
                    here.plan.trouble = False
                await steer(here, run_id, "resume", "last", {})
                status = await here.ended(run_id)
                if ("cancel",) in {(event,) for event, _ in events}:
                    assert status in {"cancelled", "completed", "failed"}
                else:
                    assert status in {"completed", "failed"}

    virtual(main)


async def steer(here: RunsSystem, run_id: str, order: str, command_id: str, more: dict[str, str]) -> None:
    """As a client does: the same command again, until there is an answer."""
    while True:
        try:
            await here.steer(order, run_id, command_id=command_id, **more)
        except Exception:
            await trio.sleep(0.5)
        else:
            return


def test_what_the_agents_of_a_dead_incarnation_said_is_ignored(monkeypatch: Any) -> None:
    async def main() -> None:
        from actors.workflows.messages import Thinking, Wrote

        async with runs_system(monkeypatch, TWO, plays={("analysis", 1): ["think", "hang"]}) as here:
            await here.base.follow()
            run_id = await here.start()
            await trio.sleep(1)
            run = here.base.system.ref(here.path(run_id))
            here.base.crash(here.path(run_id))
            for attempt in (1, 2):
                run.tell(Thinking("analysis", attempt))
                run.tell(Wrote("analysis", attempt, 0, "from the dead"))
            assert await here.ended(run_id) == "completed"
            assert here.base.crashes("Run") == 1
            assert not any("from the dead" in frame["content"] for frame in here.base.followers[0].frames)

    virtual(main)
