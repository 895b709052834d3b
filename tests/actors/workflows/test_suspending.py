"""An operator pauses all runs, and lets go on what only the operator had paused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from actors.users.messages import Locate
from actors.workflows.messages import SteerAll
from actors.workflows.orders import Order
from tests.support.runs_system import TWO_CALLS, runs_system
from tests.support.users_system import settle, virtual

if TYPE_CHECKING:
    from tests.support.runs_system import RunsSystem

SLOW = {("analysis", 1): ["think", "wait 5", "answer"]}


async def all_runs(here: RunsSystem, order: Order, within: float = 40.0) -> int:
    found: int = await here.base.system.ref("/runs").ask(SteerAll(order), within)
    return found


def test_every_run_is_paused_and_goes_on(monkeypatch: Any) -> None:
    async def main() -> None:
        async with runs_system(monkeypatch, plays=SLOW) as here:
            assert await all_runs(here, Order.SUSPEND) == 0
            first = await here.start()
            await here.base.users.ask(Locate("bob"), 5)
            await settle()
            fields = {"id": "c2", "type": "start_run", "content": "Another shop, for bob"}
            await here.base.handle(fields, user="bob")
            await trio.sleep(1)
            assert await all_runs(here, Order.SUSPEND) == 2
            await trio.sleep(600)
            assert here.story()[-1] == "paused 1"
            assert here.log()[-1]["content"] == "Work is paused by the operator."
            assert "test.1 started" not in here.story()
            assert {step for step, _ in here.script.calls} == {"analysis"}
            assert await all_runs(here, Order.RELEASE) == 2
            assert await here.ended(first) == "completed"

    virtual(main)


@pytest.mark.parametrize("moment", [0.0, 0.05, 0.15, 0.25, 0.45, 0.55, 0.95])
def test_at_any_moment(moment: float, monkeypatch: Any) -> None:
    async def main() -> None:
        async with runs_system(monkeypatch, plays=TWO_CALLS) as here:
            await here.base.follow()
            run_id = await here.start()
            await trio.sleep(moment)
            assert await all_runs(here, Order.SUSPEND) == 1
            calls = list(here.script.calls)
            await here.until_status(run_id, "paused")
            await trio.sleep(3600)
            assert here.script.calls == calls
            assert await all_runs(here, Order.RELEASE) == 1
            assert await here.ended(run_id) == "completed"
            assert set(here.causes()) == {"c1"}

    virtual(main)


def test_what_its_owner_has_paused_no_operator_resumes(monkeypatch: Any) -> None:
    async def main() -> None:
        async with runs_system(monkeypatch, plays=TWO_CALLS) as here:
            run_id = await here.paused_while("test")
            before = here.story()
            assert await all_runs(here, Order.RELEASE) == 0
            assert await all_runs(here, Order.SUSPEND) == 1
            assert await all_runs(here, Order.RELEASE) == 1
            await trio.sleep(3600)
            assert here.story() == before
            await here.resume(run_id)
            assert await here.ended(run_id) == "completed"
            assert here.causes() == {"c1": "queued 0", "p1": "test.1 paused", "r1": "running 1"}

    virtual(main)


def test_nor_the_agent_that_its_owner_has_paused(monkeypatch: Any) -> None:
    async def main() -> None:
        async with runs_system(monkeypatch, plays=SLOW) as here:
            run_id = await here.start()
            await here.pause(run_id, agent_name="Tester")
            await all_runs(here, Order.SUSPEND)
            await here.until_status(run_id, "paused")
            assert "test.1 started" not in here.story()
            await all_runs(here, Order.RELEASE)
            await trio.sleep(600)
            assert here.story()[-2:] == ["test.1 paused", "paused 1"]
            await here.resume(run_id, agent_name="Tester")
            assert await here.ended(run_id) == "completed"

    virtual(main)


def test_an_agent_that_its_owner_has_let_go_on_is_paused_too(monkeypatch: Any) -> None:
    async def main() -> None:
        async with runs_system(monkeypatch, plays=TWO_CALLS) as here:
            run_id = await here.start()
            await here.pause(run_id)
            await here.resume(run_id, agent_name="Tester")
            await all_runs(here, Order.SUSPEND)
            calls = list(here.script.calls)
            await trio.sleep(3600)
            assert here.script.calls == calls
            await all_runs(here, Order.RELEASE)
            await here.resume(run_id, command_id="r2")
            assert await here.ended(run_id) == "completed"

    virtual(main)


def test_what_its_owner_orders_meanwhile_holds_afterwards(monkeypatch: Any) -> None:
    async def main() -> None:
        async with runs_system(monkeypatch, plays=TWO_CALLS) as here:
            run_id = await here.paused_while("test")
            await all_runs(here, Order.SUSPEND)
            assert (await here.resume(run_id))["status"] == "paused"
            calls = list(here.script.calls)
            await trio.sleep(3600)
            assert here.script.calls == calls
            await all_runs(here, Order.RELEASE)
            assert await here.ended(run_id) == "completed"

    virtual(main)


def test_it_may_be_cancelled_meanwhile(monkeypatch: Any) -> None:
    async def main() -> None:
        async with runs_system(monkeypatch, plays=TWO_CALLS) as here:
            run_id = await here.start()
            await here.until_called("test")
            await all_runs(here, Order.SUSPEND)
            await here.until_status(run_id, "paused")
            await here.cancel(run_id)
            assert await here.ended(run_id) == "cancelled"

    virtual(main)


@pytest.mark.parametrize("moment", [0.0, 0.1, 3.0])
def test_over_a_crash_of_the_run_it_stays_paused(moment: float, monkeypatch: Any) -> None:
    async def main() -> None:
        async with runs_system(monkeypatch, plays=SLOW) as here:
            run_id = await here.start()
            await trio.sleep(1)
            await all_runs(here, Order.SUSPEND)
            await trio.sleep(moment)
            here.base.crash(here.path(run_id))
            await here.until_status(run_id, "paused")
            calls = list(here.script.calls)
            await trio.sleep(3600)
            assert here.script.calls == calls
            await all_runs(here, Order.RELEASE)
            assert await here.ended(run_id) == "completed"

    virtual(main)


def test_no_run_slips_through_because_its_actor_crashes(monkeypatch: Any) -> None:
    async def main() -> None:
        async with runs_system(monkeypatch, plays=SLOW) as here:
            run_id = await here.start()
            await trio.sleep(1)
            here.plan.takes = 0.5  # so that the order is on its way
            async with trio.open_nursery() as nursery:
                nursery.start_soon(all_runs, here, Order.SUSPEND)
                for _ in range(2):
                    await trio.sleep(0.1)
                    here.base.crash(here.path(run_id))
            here.plan.takes = 0.0
            assert here.record(run_id).suspended
            await here.until_status(run_id, "paused")

    virtual(main)


def test_two_orders_at_once_are_both_answered_though_the_run_crashes(monkeypatch: Any) -> None:
    async def main() -> None:
        async with runs_system(monkeypatch, plays=SLOW) as here:
            run_id = await here.start()
            await trio.sleep(1)
            here.plan.takes = 0.5
            found: list[int] = []

            async def suspend() -> None:
                found.append(await all_runs(here, Order.SUSPEND))

            async with trio.open_nursery() as nursery:
                for _ in range(2):
                    nursery.start_soon(suspend)
                await trio.sleep(0.1)
                here.base.crash(here.path(run_id))
            assert found == [1, 1]

    virtual(main)
