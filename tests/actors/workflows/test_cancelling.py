"""A run, or one of its agents, is cancelled: at any moment, twice, with what it had under way."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from actors.protocol.codes import ErrorCode
from actors.users.messages import Handle
from actors.workflows.definitions import StepDefinition
from actors.workflows.messages import Answered, Steer, Wrote
from actors.workflows.orders import Order
from runtime import Refused
from tests.support.runs_system import RunsSystem, runs_system, workflow
from tests.support.users_system import command, settle, virtual


def cancelled(here: RunsSystem) -> list[dict[str, Any]]:
    return [frame for frame in here.log() if frame["metadata"].get("status") == "cancelled"]


def cancelling(run_id: str) -> dict[str, Any]:
    return {"id": "x1", "type": "cancel_run", "metadata": {"run_id": run_id}}


class TestCancelling:
    @pytest.mark.parametrize("moment", [0.0, 0.01, 0.05, 0.15, 0.25, 0.35, 0.41, 0.55, 0.95, 1.15, 1.3])
    @pytest.mark.parametrize("takes", [0.0, 0.03])
    def test_a_run_at_any_moment(self, moment: float, takes: float, monkeypatch: Any) -> None:
        async def main() -> None:
            async with runs_system(monkeypatch) as here:
                here.plan.takes = takes
                run_id = await here.start()
                await trio.sleep(moment)
                reply = await here.cancel(run_id)
                status = await here.ended(run_id)
                if status == "cancelled":
                    assert reply["status"] in {"queued", "running"}
                    first, *rest = cancelled(here)
                    assert first["metadata"]["cause"] == "x1"
                    assert not any("cause" in frame["metadata"] for frame in rest)
                else:
                    assert moment >= 1.1
                    assert status == "completed"
                assert await here.cancel(run_id) == reply or status == "completed"

        virtual(main)

    def test_the_reply_leaves_before_what_the_order_causes(self, monkeypatch: Any) -> None:
        """Also where nothing runs that would have to be stopped first."""

        async def main() -> None:
            async with runs_system(monkeypatch, plays={("analysis", 1): ["think", "hang"]}) as here:
                follower = await here.base.follow()
                run_id = await here.start()
                await trio.sleep(1)
                follower.ref.tell(Handle(command(cancelling(run_id))))
                assert await here.ended(run_id) == "cancelled"
                ((before, answer),) = follower.answers
                assert answer == {"run_id": run_id, "status": "running"}
                assert not any(f["metadata"].get("status") == "cancelled" for f in follower.frames[:before])

        virtual(main)

    def test_nor_is_it_overtaken_where_nothing_has_to_be_stopped_first(self, monkeypatch: Any) -> None:
        async def main() -> None:
            async with runs_system(monkeypatch) as here:
                follower = await here.base.follow()
                here.plan.takes = 0.2
                run_id = await here.start()
                follower.ref.tell(Handle(command(cancelling(run_id))))
                assert await here.ended(run_id) == "cancelled"
                ((before, _),) = follower.answers
                assert len(cancelled(here)) == 1
                assert not any(f["metadata"].get("status") == "cancelled" for f in follower.frames[:before])

        virtual(main)

    def test_of_two_orders_each_is_answered_when_it_is_on_the_disk_itself(self, monkeypatch: Any) -> None:
        """Both come while something else is on its way there: they go one after the other."""

        async def main() -> None:
            plays = {("analysis", 1): ["think", "wait 1", "think", "hang"]}
            async with runs_system(monkeypatch, plays=plays) as here:
                run_id = await here.start()
                await trio.sleep(0.5)
                here.plan.close_gate()
                await trio.sleep(2)
                run = here.base.system.ref(here.path(run_id))
                kept: list[tuple[bool, bool]] = []

                async def give(order: Order) -> None:
                    await run.ask(Steer(order), 60)
                    kept.append((here.record(run_id).paused, here.record(run_id).cancelled))

                async with trio.open_nursery() as nursery:
                    for order in (Order.PAUSE, Order.CANCEL):
                        nursery.start_soon(give, order)
                        await settle()
                    here.plan.takes = 0.1
                    here.plan.gate.set()
                assert kept == [(True, False), (True, True)]
                assert await here.ended(run_id) == "cancelled"

        virtual(main)

    def test_before_the_record_was_read(self, monkeypatch: Any) -> None:
        async def main() -> None:
            async with runs_system(monkeypatch) as here:
                here.plan.takes = 0.5
                run_id = await here.start()
                run = here.base.system.ref(here.path(run_id))
                while run.target.watchable() is None:
                    await trio.sleep(0.001)
                answers: list[object] = []

                async def ask(agent: str | None) -> None:
                    try:
                        answers.append(await run.ask(Steer(Order.CANCEL, agent), 60))
                    except Refused as error:
                        answers.append(error.reason.code)

                async with trio.open_nursery() as nursery:
                    for agent in ("nobody", "analyst", None, "tester"):
                        nursery.start_soon(ask, agent)
                assert sorted(map(str, answers)) == ["not_found", "running", "running", "running"]
                assert await here.ended(run_id) == "cancelled"
                assert not any("started" in line for line in here.story())

        virtual(main)

    @pytest.mark.parametrize("name", ["Tester", "tester", "test"])
    @pytest.mark.parametrize("moment", [0.05, 0.15, 0.55, 0.75])
    def test_one_agent_at_any_moment(self, name: str, moment: float, monkeypatch: Any) -> None:
        async def main() -> None:
            plays = {("test", 1): ["think", "write", "wait 3", "answer"]}
            async with runs_system(monkeypatch, plays=plays) as here:
                run_id = await here.start()
                await trio.sleep(moment)
                await here.cancel(run_id, agent_name=name)
                assert await here.ended(run_id) == "completed"
                assert [line for line in here.story() if line.startswith("test.1")][-1] == "test.1 cancelled"
                assert here.script.earlier[-1][1].missing_reason == "it was cancelled"
                (frame,) = cancelled(here)
                assert frame["metadata"]["cause"] == "x1"
                assert frame["content"] == "Tester was cancelled."

        virtual(main)

    def test_an_agent_that_has_ended_or_is_none(self, monkeypatch: Any) -> None:
        async def main() -> None:
            plays = {("test", 1): ["think", "hang"]}
            async with runs_system(monkeypatch, plays=plays) as here:
                run_id = await here.start()
                await trio.sleep(1)
                await here.cancel(run_id, agent_name="Analyst")
                with pytest.raises(Refused) as caught:
                    await here.cancel(run_id, command_id="x2", agent_name="Nobody")
                assert caught.value.reason.code is ErrorCode.NOT_FOUND
                await trio.sleep(5)
                assert cancelled(here) == []
                await here.cancel(run_id, command_id="x3")
                assert await here.ended(run_id) == "cancelled"
                assert cancelled(here)[0]["metadata"]["cause"] == "x3"

        virtual(main)

    def test_an_order_survives_a_crash_of_the_run(self, monkeypatch: Any) -> None:
        """Cancelled at once after it was answered, and before the agent could be stopped."""

        async def main() -> None:
            for agent in (None, "Analyst", "Tester"):
                async with runs_system(monkeypatch, plays={("analysis", 1): ["think", "wait 3", "answer"]}) as here:
                    here.script.lingers = 1.0
                    run_id = await here.start()
                    await trio.sleep(0.5)
                    await here.cancel(run_id, **({} if agent is None else {"agent_name": agent}))
                    here.base.crash(here.path(run_id))
                    status = await here.ended(run_id)
                    own = [line for line in here.story() if line.startswith(("analysis", "test")) and "=" not in line]
                    if agent == "Tester":
                        assert status == "completed"
                        assert "analysis.2 completed" in own
                        assert own[-2:] == ["test.1 started", "test.1 cancelled"]
                    elif agent == "Analyst":
                        assert status == "completed"
                        assert own[:3] == ["analysis.1 started", "analysis.1 thinking", "analysis.1 cancelled"]
                        assert own[3] == "test.1 started"
                    else:
                        assert status == "cancelled"
                        assert own == ["analysis.1 started", "analysis.1 thinking", "analysis.1 cancelled"]

        virtual(main)

    def test_what_an_agent_still_says_while_it_is_being_stopped_comes_too_late(self, monkeypatch: Any) -> None:
        async def main() -> None:
            async with runs_system(monkeypatch, plays={("analysis", 1): ["think", "hang"]}) as here:
                here.script.lingers = 1.0
                run_id = await here.start()
                await trio.sleep(0.5)
                await here.cancel(run_id)
                run = here.base.system.ref(here.path(run_id))
                run.tell(Wrote("analysis", 1, 0, "Too late"))
                await run.ask(Answered("analysis", 1, "Too late", "gpt", False, False, None, 1), 5)
                assert await here.ended(run_id) == "cancelled"
                assert "analysis.1 cancelled" in here.story()

        virtual(main)

    def test_a_step_that_is_both_overdue_and_cancelled_ends_once(self, monkeypatch: Any) -> None:
        async def main() -> None:
            definition = workflow(StepDefinition("analysis", "analyst", timeout=2.0))
            async with runs_system(monkeypatch, definition, plays={("analysis", 1): ["think", "hang"]}) as here:
                run_id = await here.start()
                await trio.sleep_until(1.999)
                await here.cancel(run_id)
                assert await here.ended(run_id) == "cancelled"

        virtual(main)
