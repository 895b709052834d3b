"""Answers that wait for a person: approve, reject, modify, too late, twice, over crashes; the modes of a session."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio

from actors.protocol.codes import ErrorCode
from actors.protocol.event_types import RunStatus
from actors.storage.journal import Append
from actors.users.messages import CommandError, Locate
from actors.users.run_commands import ActiveRun
from actors.workflows.approvals import digest_of
from actors.workflows.definitions import ApprovalPolicy, StepDefinition, WorkflowDefinition
from runtime import Refused
from tests.support.memory_journal import MemoryStorage, Plan
from tests.support.runs_system import RunsSystem, answer, runs_system, workflow
from tests.support.users_system import settle, virtual

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ASKS = ApprovalPolicy(always=True, within=600.0)


def asking(policy: ApprovalPolicy = ASKS, **more: Any) -> WorkflowDefinition:
    return workflow(StepDefinition("analysis", "analyst", approval=policy, **more), StepDefinition("test", "tester"))


async def until(holds: Callable[[], Any]) -> Any:
    with trio.fail_after(3600):
        while not (found := holds()):
            await trio.sleep(0.01)
    return found


async def asked(here: RunsSystem, run_id: str, number: int = 1) -> dict[str, Any]:
    """The approval, as `get_run` shows it, when that many were asked for and the run waits."""
    await until(lambda: len(here.record(run_id).approvals) >= number)
    await until(lambda: here.record(run_id).status == "waiting_for_approval")
    found: dict[str, Any] = (await run(here, run_id))["approvals"][number - 1]
    return found


async def run(here: RunsSystem, run_id: str) -> dict[str, Any]:
    answer: dict[str, Any] = await here.base.handle({"id": "g", "type": "get_run", "metadata": {"run_id": run_id}})
    return answer


async def decide(
    here: RunsSystem, approval_id: str, decision: str, feedback: str = "", *, command_id: str = "d1", **more: Any
) -> Any:
    metadata = {"approval_id": approval_id, "decision": decision, **more}
    return await here.base.handle({"id": command_id, "type": "decide", "content": feedback, "metadata": metadata})


async def refusal(here: RunsSystem, approval_id: str, decision: str, feedback: str = "", **more: Any) -> CommandError:
    return await why_not(decide(here, approval_id, decision, feedback, command_id="refused", **more))


async def why_not(command: Awaitable[Any]) -> CommandError:
    with pytest.raises(Refused) as caught:
        await command
    assert isinstance(caught.value.reason, CommandError)
    return caught.value.reason


def decisions(here: RunsSystem) -> list[tuple[str, str]]:
    return [
        (frame["metadata"]["decision"], frame["metadata"]["by"])
        for frame in here.log()
        if frame["type"] == "approval_result"
    ]


def test_approved_the_answer_counts(monkeypatch: Any) -> None:
    async def main() -> None:
        async with runs_system(monkeypatch, asking()) as here:
            await here.base.follow()
            run_id = await here.start()
            approval = await asked(here, run_id)
            text = answer("analysis", 1)
            assert approval["answer"] == text
            assert approval["digest"] == digest_of(text)
            assert approval["status"] == "open"
            before = here.story()
            assert before[-3:] == ["analysis.1 waiting_for_approval", "approval_request", "waiting_for_approval 0"]
            await trio.sleep(500)
            assert here.story() == before
            reply = await decide(here, approval["approval_id"], "approve", digest=approval["digest"])
            assert reply == {"approval_id": approval["approval_id"], "status": "approved"}
            assert await here.ended(run_id) == "completed"
            assert here.story()[len(before) : len(before) + 4] == [
                "approval_result",
                f"analysis.1 ={text}",
                "analysis.1 completed",
                "running 1",
            ]
            causes = [frame["type"] for frame in here.log() if frame["metadata"].get("cause") == "d1"]
            assert causes == ["approval_result"]
            assert decisions(here) == [("approve", "ada")]
            (shown,) = (await run(here, run_id))["approvals"]
            assert (shown["status"], shown["by"], "answer" in shown) == ("approved", "ada", False)
            (earlier,) = here.script.earlier[1]
            assert earlier.text == text

    virtual(main)


@pytest.mark.parametrize("on_failure", ["continue", "stop"])
def test_rejected_the_step_has_failed(on_failure: Any, monkeypatch: Any) -> None:
    async def main() -> None:
        async with runs_system(monkeypatch, asking(on_failure=on_failure)) as here:
            run_id = await here.start()
            approval = await asked(here, run_id)
            assert (await decide(here, approval["approval_id"], "reject"))["status"] == "rejected"
            assert await here.ended(run_id) == ("completed" if on_failure == "continue" else "failed")
            assert "analysis.1 error" in here.story()
            assert not any(line.startswith("analysis.1 =") for line in here.story())
            if on_failure == "continue":
                assert here.script.earlier[1][0].text is None
                assert "did not release" in here.script.earlier[1][0].missing_reason

    virtual(main)


def test_modified_a_new_attempt_is_told_what_to_change(monkeypatch: Any) -> None:
    async def main() -> None:
        async with runs_system(monkeypatch, asking()) as here:
            run_id = await here.start()
            first = await asked(here, run_id)
            await decide(here, first["approval_id"], "modify", "Make it shorter.")
            second = await asked(here, run_id, 2)
            assert second["approval_id"] != first["approval_id"]
            assert (second["attempt"], second["answer"]) == (2, answer("analysis", 2))
            again = here.script.situations[1]
            assert (again.step, again.attempt) == ("analysis", 2)
            assert "what is to be different" in again.mission
            texts = [step.text for step in here.script.earlier[1]]
            assert texts == [answer("analysis", 1), "Make it shorter."]
            await decide(here, second["approval_id"], "approve", command_id="d2")
            assert await here.ended(run_id) == "completed"
            assert decisions(here) == [("modify", "ada"), ("approve", "ada")]
            assert "analysis.1 cancelled" in here.story()
            assert [each.step for each in here.script.earlier[2]] == ["analysis"]

    virtual(main)


def test_the_first_decision_counts(monkeypatch: Any) -> None:
    async def main() -> None:
        async with runs_system(monkeypatch, asking()) as here:
            run_id = await here.start()
            approval_id = (await asked(here, run_id))["approval_id"]
            wrong = await refusal(here, approval_id, "approve", digest="0" * 64)
            assert wrong.code is ErrorCode.CONFLICT
            assert (await refusal(here, approval_id, "modify")).code is ErrorCode.INVALID_FIELDS
            first = await decide(here, approval_id, "modify", "Shorter.")
            second = (await asked(here, run_id, 2))["approval_id"]
            # The same again, from another device: the same reply. Another one: what was decided.
            assert await decide(here, approval_id, "modify", "Shorter.", command_id="d2") == first
            assert await decide(here, approval_id, "modify", "Shorter.") == first
            other = await refusal(here, approval_id, "approve")
            assert (other.code, other.details) == (ErrorCode.CONFLICT, {"decision": "modify"})
            await decide(here, second, "approve", command_id="d3")
            await here.ended(run_id)
            assert await decide(here, second, "approve", command_id="d4") == {
                "approval_id": second,
                "status": "approved",
            }
            other = await refusal(here, second, "reject")
            assert (other.code, other.details) == (ErrorCode.CONFLICT, {"decision": "approve"})
            for unknown in ("nothing", f"{run_id}.9.9.ask"):
                assert (await refusal(here, unknown, "approve")).code is ErrorCode.NOT_FOUND
            assert decisions(here) == [("modify", "ada"), ("approve", "ada")]

    virtual(main)


def test_somebody_else_finds_nothing_to_decide(monkeypatch: Any) -> None:
    async def main() -> None:
        async with runs_system(monkeypatch, asking()) as here:
            run_id = await here.start()
            approval_id = (await asked(here, run_id))["approval_id"]
            metadata = {"approval_id": approval_id, "decision": "approve"}
            command = {"id": "d1", "type": "decide", "metadata": metadata}
            assert (await why_not(here.base.handle(command, user="bob"))).code is ErrorCode.NOT_FOUND
            assert here.record(run_id).status == "waiting_for_approval"

    virtual(main)


@pytest.mark.parametrize("kind", ["decide", "cancel_run", "pause_run", "resume_run"])
def test_whom_a_context_lets_through_the_runs_supervisor_does_not(kind: str, monkeypatch: Any) -> None:
    """The second line of defence: the context of another takes the run for its own user's."""

    async def main() -> None:
        async with runs_system(monkeypatch, asking()) as here:
            run_id = await here.start()
            approval_id = (await asked(here, run_id))["approval_id"]
            await here.base.users.ask(Locate("bob"), 5)
            await settle()
            here.base.actor("/users/bob").commands._active[run_id] = ActiveRun("s", RunStatus.RUNNING)
            before, now = copy.deepcopy(here.plan.storage.state), trio.current_time()
            metadata = {"approval_id": approval_id, "decision": "approve"} if kind == "decide" else {"run_id": run_id}
            command = {"id": "b1", "type": kind, "metadata": metadata}
            assert (await why_not(here.base.handle(command, user="bob"))).code is ErrorCode.NOT_FOUND
            assert trio.current_time() == now
            assert here.plan.storage.state == before
            assert ("bob", "b1") not in here.plan.storage.replies
            await decide(here, approval_id, "approve")
            assert await here.ended(run_id) == "completed"
            assert decisions(here) == [("approve", "ada")]

    virtual(main)


@pytest.mark.parametrize(
    ("on_timeout", "decision", "status"), [("reject", "reject", "failed"), ("approve", "approve", "completed")]
)
def test_nobody_decides_in_time(on_timeout: Any, decision: str, status: str, monkeypatch: Any) -> None:
    async def main() -> None:
        policy = attrs.evolve(ASKS, on_timeout=on_timeout)
        async with runs_system(monkeypatch, asking(policy, on_failure="stop")) as here:
            run_id = await here.start()
            approval = await asked(here, run_id)
            assert approval["on_timeout"] == on_timeout
            assert await here.ended(run_id, within=601) == status
            assert decisions(here) == [(decision, "timeout")]
            late = await refusal(here, approval["approval_id"], "approve")
            assert (late.code, late.details) == (ErrorCode.EXPIRED, {"decision": decision})

    virtual(main)


def test_a_decision_made_twice_is_answered_twice_when_it_is_on_the_disk(monkeypatch: Any) -> None:
    async def main() -> None:
        async with runs_system(monkeypatch, asking()) as here:
            run_id = await here.start()
            approval = await asked(here, run_id)
            here.plan.close_gate()
            answers: list[tuple[Any, str | None]] = []

            async def once(command_id: str) -> None:
                answer = await decide(here, approval["approval_id"], "approve", command_id=command_id)
                answers.append((answer["status"], here.record(run_id).approvals[0].decision))

            async with trio.open_nursery() as nursery:
                for command_id in ("d1", "d2"):
                    nursery.start_soon(once, command_id)
                    await trio.sleep(0.2)
                assert answers == []
                here.plan.gate.set()
            assert answers == [("approved", "approve")] * 2
            assert await here.ended(run_id) == "completed"
            assert len(decisions(here)) == 1

    virtual(main)


def test_some_wait_for_ever(monkeypatch: Any) -> None:
    async def main() -> None:
        policy = attrs.evolve(ASKS, on_timeout="wait")
        async with runs_system(monkeypatch, asking(policy)) as here:
            run_id = await here.start()
            approval = await asked(here, run_id)
            assert "expires_at" not in approval
            await trio.sleep(100_000)
            assert here.record(run_id).status == "waiting_for_approval"
            await decide(here, approval["approval_id"], "approve")
            assert await here.ended(run_id) == "completed"

    virtual(main)


def test_the_clock_of_the_step_stands_meanwhile(monkeypatch: Any) -> None:
    async def main() -> None:
        async with runs_system(monkeypatch, asking(timeout=5.0)) as here:
            run_id = await here.start()
            approval = await asked(here, run_id)
            await trio.sleep(500)
            await decide(here, approval["approval_id"], "modify", "Shorter.")
            second = await asked(here, run_id, 2)
            await decide(here, second["approval_id"], "approve", command_id="d2")
            assert await here.ended(run_id) == "completed"

    virtual(main)


@pytest.mark.parametrize("agent", [None, "Analyst"])
def test_cancelled_while_it_waits(agent: str | None, monkeypatch: Any) -> None:
    async def main() -> None:
        async with runs_system(monkeypatch, asking()) as here:
            run_id = await here.start()
            approval = await asked(here, run_id)
            await here.cancel(run_id, **({} if agent is None else {"agent_name": agent}))
            assert await here.ended(run_id) == ("cancelled" if agent is None else "completed")
            assert (await refusal(here, approval["approval_id"], "approve")).code is ErrorCode.EXPIRED
            assert (await run(here, run_id))["approvals"][0]["status"] == "withdrawn"
            assert decisions(here) == []

    virtual(main)


def test_paused_while_it_waits(monkeypatch: Any) -> None:
    async def main() -> None:
        async with runs_system(monkeypatch, asking()) as here:
            run_id = await here.start()
            approval = await asked(here, run_id)
            await here.pause(run_id)
            await until(lambda: here.record(run_id).status == "paused")
            await decide(here, approval["approval_id"], "approve")
            await trio.sleep(100)
            assert here.record(run_id).status == "paused"
            assert here.story()[-1] == "paused 1"
            await here.resume(run_id)
            assert await here.ended(run_id) == "completed"

    virtual(main)


def test_resumed_it_waits_again(monkeypatch: Any) -> None:
    async def main() -> None:
        async with runs_system(monkeypatch, asking()) as here:
            run_id = await here.start()
            approval = await asked(here, run_id)
            await here.pause(run_id)
            await here.resume(run_id)
            await until(lambda: here.record(run_id).status == "waiting_for_approval")
            await decide(here, approval["approval_id"], "approve")
            assert await here.ended(run_id) == "completed"

    virtual(main)


def test_others_go_on_meanwhile(monkeypatch: Any) -> None:
    async def main() -> None:
        definition = workflow(
            StepDefinition("analysis", "analyst", depends_on=(), approval=ASKS),
            StepDefinition("test", "tester", depends_on=()),
            StepDefinition("text", "writer", depends_on=("test",)),
            StepDefinition("last", "writer", depends_on=("analysis", "text")),
        )
        async with runs_system(monkeypatch, definition) as here:
            run_id = await here.start()
            approval = await asked(here, run_id)
            assert here.story()[-1] == "waiting_for_approval 2"
            assert [line for line in here.story() if line.startswith("waiting")] == ["waiting_for_approval 2"]
            await decide(here, approval["approval_id"], "approve")
            assert await here.ended(run_id) == "completed"

    virtual(main)


def test_the_run_crashes_while_it_waits(monkeypatch: Any) -> None:
    async def main() -> None:
        async with runs_system(monkeypatch, asking()) as here:
            run_id = await here.start()
            approval = await asked(here, run_id)
            before = here.story()
            assert here.base.system.fail(here.path(run_id), RuntimeError("planned"))
            await trio.sleep(300)
            assert here.story() == before
            await decide(here, approval["approval_id"], "approve")
            assert await here.ended(run_id) == "completed"
            assert here.script.calls.count(("analysis", 1)) == 1

    virtual(main)


@pytest.mark.parametrize("decision", ["approve", "reject", "modify", "", "cancel"])
@pytest.mark.parametrize("on_restart", ["resume", "fail"])
def test_killed_after_any_commit(decision: str, on_restart: Any, monkeypatch: Any) -> None:
    """The next daemon comes 300 s later and finds the answer held, or the decision, and nothing is asked twice."""

    async def main() -> None:
        definition = attrs.evolve(asking(), on_restart=on_restart)
        taken: list[MemoryStorage] = []
        async with runs_system(monkeypatch, definition) as here:

            def at(point: str) -> None:
                if point.startswith("after") and isinstance(here.plan.heard[-1], Append):
                    taken.append(copy.deepcopy(here.plan.storage))

            run_id = await here.start()
            approval_id = (await asked(here, run_id))["approval_id"]
            here.plan.at = at
            taken.append(copy.deepcopy(here.plan.storage))
            if decision == "cancel":
                await here.cancel(run_id)
            elif decision:
                await decide(here, approval_id, decision, "Shorter." if decision == "modify" else "")
            await trio.sleep(0.15)
            here.plan.at = str
        assert len(taken) > (decision != "")
        for number, storage in enumerate(taken):
            plan = Plan(storage=copy.deepcopy(storage))
            async with runs_system(monkeypatch, definition, plan=plan, daemon=f"d{number}") as again:
                if again.record(run_id).status == "cancelled":
                    continue
                if not decision:
                    await trio.sleep(400)
                    assert again.record(run_id).status == "waiting_for_approval"
                    await decide(again, approval_id, "approve", command_id="late")
                for attempt in range(2, 5):
                    await trio.sleep(30)
                    held = again.record(run_id).step("analysis").proposal
                    if held is not None:
                        await decide(again, held.approval_id, "approve", command_id=f"later{attempt}")
                await again.ended(run_id)
                assert len(decisions(again)) == len(set(decisions(again)))

    virtual(main)


def test_the_time_to_decide_goes_on_while_the_daemon_is_down(monkeypatch: Any) -> None:
    async def main() -> None:
        async with runs_system(monkeypatch, asking()) as here:
            run_id = await here.start()
            await asked(here, run_id)
            storage = copy.deepcopy(here.plan.storage)
        await trio.sleep(1000)
        async with runs_system(monkeypatch, asking(), plan=Plan(storage=storage), daemon="d2") as again:
            assert await again.ended(run_id) == "completed"
            assert decisions(again) == [("reject", "timeout")]

    virtual(main)


async def mode(here: RunsSystem, name: str, command_id: str = "m1") -> Any:
    return await here.base.handle({"id": command_id, "type": "set_mode", "metadata": {"mode": name}})


class TestModes:
    def test_in_hitl_every_answer_waits(self, monkeypatch: Any) -> None:
        async def main() -> None:
            async with runs_system(monkeypatch) as here:
                reply = await mode(here, "hitl")
                assert (reply["mode"], reply["revision"]) == ("hitl", 1)
                assert await mode(here, "hitl") == reply
                run_id = await here.start()
                for number in (1, 2, 3):
                    approval = await asked(here, run_id, number)
                    await decide(here, approval["approval_id"], "approve", command_id=f"d{number}")
                assert await here.ended(run_id) == "completed"
                assert len(decisions(here)) == 3
                assert here.log()[0]["type"] == "session_updated"

        virtual(main)

    def test_the_mode_in_force_when_a_step_answers_counts(self, monkeypatch: Any) -> None:
        async def main() -> None:
            async with runs_system(monkeypatch) as here:
                run_id = await here.start()
                await until(lambda: ("analysis", 1) in here.script.calls)
                await mode(here, "hitl")
                approval = await asked(here, run_id)
                await mode(here, "autopilot", "m2")
                await trio.sleep(100)
                assert here.record(run_id).status == "waiting_for_approval"
                await decide(here, approval["approval_id"], "approve")
                assert await here.ended(run_id) == "completed"
                assert len(decisions(here)) == 1

        virtual(main)

    def test_off_is_for_people_only(self, monkeypatch: Any) -> None:
        async def main() -> None:
            async with runs_system(monkeypatch) as here:
                await mode(here, "off")
                why = await why_not(here.start())
                assert why.code is ErrorCode.FORBIDDEN
                assert "off" in str(why.content)
                storage = copy.deepcopy(here.plan.storage)
            await trio.sleep(10)
            async with runs_system(monkeypatch, plan=Plan(storage=storage), daemon="d2") as again:
                assert (await why_not(again.start())).code is ErrorCode.FORBIDDEN
                await mode(again, "autopilot", "m2")
                run_id = await again.start("c2")
                assert await again.ended(run_id) == "completed"

        virtual(main)

    def test_another_session_is_not_found(self, monkeypatch: Any) -> None:
        async def main() -> None:
            async with runs_system(monkeypatch) as here:
                command = {"id": "m", "type": "set_mode", "session_id": "other", "metadata": {"mode": "off"}}
                assert (await why_not(here.base.handle(command))).code is ErrorCode.NOT_FOUND

        virtual(main)
