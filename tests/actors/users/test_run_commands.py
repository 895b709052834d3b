"""start_run, cancel_run, get_run and list_runs, as a context carries them out."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio

from actors.durable.supervisor import TakeUp
from actors.protocol.codes import ErrorCode
from actors.protocol.event_types import RunStatus
from actors.protocol.events import caused_by
from actors.storage.interface import KeepReply, KeptReply, PutState
from actors.users.context import ContextSettings
from actors.users.keys import OPEN, RUNS, default_session, run_key
from actors.users.messages import CommandError, Emit, Handle, Item, Locate, OutcomeUnknown
from actors.workflows.events import RunEvents
from actors.workflows.messages import Steer
from actors.workflows.orders import Order
from actors.workflows.record import decode_record, encode_record, new_record
from runtime import Actor, HandlerFailed, Refused
from tests.support.memory_journal import Fault, Plan
from tests.support.users_system import WORKFLOW, UsersSystem, command, settle, users_system, virtual

if TYPE_CHECKING:
    from collections.abc import Callable

BRIEF = "A shop that sells tea by weight"
OWN = default_session("ada")


def start(command_id: str = "c1", *, brief: str = BRIEF, **more: Any) -> dict[str, Any]:
    return {"id": command_id, "type": "start_run", "content": brief, **more}


def cancel(run_id: str, command_id: str = "c2", **more: Any) -> dict[str, Any]:
    return {"id": command_id, "type": "cancel_run", "metadata": {"run_id": run_id, **more}}


async def refused(here: UsersSystem, fields: dict[str, Any], **more: Any) -> Any:
    with pytest.raises(Refused) as caught:
        await here.handle(fields, **more)
    return caught.value.reason


def orders(here: UsersSystem) -> list[str]:
    return [order.record_id for order in here.orders if isinstance(order, TakeUp)]


class Crews(Actor):
    """Stands for the runs: every run has this one actor, which does with a cancel_run what the test says."""

    def __init__(self, heard: list[Any], on_cancel: Callable[[Crews, Steer], object]) -> None:
        self.heard = heard
        self.on_cancel = on_cancel

    async def receive(self, message: Any) -> object:
        self.heard.append(message)
        return self.ref if isinstance(message, TakeUp) else self.on_cancel(self, message)


class TestStartRun:
    def test_it_is_accepted_committed_answered_and_started(self) -> None:
        async def main() -> None:
            async with users_system() as here:
                follower = await here.follow()
                answer = await here.handle(start(metadata={"options": {"depth": 2}}))
                run_id = answer["run_id"]
                assert answer == {"run_id": run_id, "session_id": OWN}
                await settle()
                assert orders(here) == [run_id]
                (event,) = follower.frames
                assert event["type"] == "run_status"
                assert event["metadata"]["status"] == "queued"
                assert event["metadata"]["cause"] == "c1"
                assert (event["run_id"], event["session_id"]) == (run_id, OWN)
                record = decode_record(here.plan.storage.state[RUNS, run_key("ada", run_id)])
                assert (record.brief, record.status, record.user) == (BRIEF, "queued", "ada")
                assert (record.options, record.on_restart) == ({"depth": 2}, "resume")
                assert here.plan.storage.state[OPEN, run_key("ada", run_id)] == OWN.encode()
                assert here.counters.events_emitted == here.counters.events_committed == 1

        virtual(main)

    def test_the_reply_leaves_before_the_event(self) -> None:
        """On one connection: both go to the same mailbox, the answer in the system lane."""

        async def main() -> None:
            async with users_system() as here:
                follower = await here.follow()
                follower.ref.tell(Handle(command(start())))
                await settle()
                ((before, answer),) = follower.answers
                assert before == 0
                assert list(answer) == ["run_id", "session_id"]
                assert len(follower.frames) == 1

        virtual(main)

    def test_a_repeat_gets_the_first_reply_and_nothing_is_done_again(self) -> None:
        async def main() -> None:
            async with users_system() as here:
                first = await here.handle(start())
                assert await here.handle(start()) == first
                here.crash("/users/ada")
                await settle()
                assert await here.handle(start()) == first
                reason = await refused(here, start(brief=BRIEF + ", and coffee"))
                assert reason.code is ErrorCode.CONFLICT
                assert set(orders(here)) == {first["run_id"]}
                assert len(here.contents()) == 1

        virtual(main)

    def test_repeats_that_come_while_the_first_is_under_way_wait_for_it(self) -> None:
        async def main() -> None:
            async with users_system() as here:
                here.plan.takes = 0.5
                answers: list[Any] = []

                async def ask(fields: dict[str, Any]) -> None:
                    try:
                        answers.append(await here.handle(fields))
                    except Refused as error:
                        answers.append(error.reason.code)

                async with trio.open_nursery() as nursery:
                    for fields in (start(), start(), start(brief=BRIEF + ", no"), start()):
                        nursery.start_soon(ask, fields)
                        await settle()
                runs = [answer for answer in answers if isinstance(answer, dict)]
                assert len(runs) == 3
                assert runs[0] == runs[1] == runs[2]
                assert ErrorCode.CONFLICT in answers
                assert len(here.contents()) == 1

        virtual(main)

    def test_one_run_at_a_time_in_a_session(self) -> None:
        async def main() -> None:
            async with users_system() as here:
                first = await here.handle(start())
                reason = await refused(here, start("c2"))
                assert reason == CommandError(ErrorCode.ALREADY_RUNNING, details={"run_id": first["run_id"]})
                here.crash("/users/ada")
                await settle()
                assert (await refused(here, start("c3"))).code is ErrorCode.ALREADY_RUNNING
                assert (await here.handle(start(), user="bob"))["session_id"] == default_session("bob")

        virtual(main)

    def test_another_may_be_started_when_the_first_has_ended(self) -> None:
        async def main() -> None:
            async with users_system() as here:
                first = await here.handle(start())
                await say_status(here, first["run_id"], RunStatus.RUNNING)
                assert (await refused(here, start("c2"))).code is ErrorCode.ALREADY_RUNNING
                await say_status(here, first["run_id"], RunStatus.COMPLETED)
                second = await here.handle(start("c2"))
                assert second["run_id"] != first["run_id"]

        virtual(main)

    def test_what_cannot_be_started(self) -> None:
        async def main() -> None:
            async with users_system() as here:
                reason = await refused(here, start(metadata={"workflow": "nothing"}))
                assert reason.code is ErrorCode.INVALID_FIELDS
                assert reason.details == {
                    "fields": {"workflow": "There is no workflow of this name. There are: delivery."}
                }
                assert (await refused(here, start("c2", session_id="another"))).code is ErrorCode.NOT_FOUND
                assert (await here.handle(start("c3", session_id=OWN)))["session_id"] == OWN
                assert here.contents() == ["Your brief has been accepted."]

        virtual(main)

    def test_errors_are_not_kept(self) -> None:
        async def main() -> None:
            async with users_system() as here:
                assert (await refused(here, start(session_id="another"))).code is ErrorCode.NOT_FOUND
                assert "run_id" in await here.handle(start())

        virtual(main)

    def test_while_it_is_not_known_what_runs_nothing_is_started(self) -> None:
        async def main() -> None:
            plan = Plan()
            async with users_system(plan=plan) as here:
                lists = plan.storage.list_state
                plan.storage.list_state = None  # type: ignore[assignment,method-assign]
                here.crash("/users/ada")
                await settle()
                assert (await refused(here, start())).code is ErrorCode.UNAVAILABLE
                assert (await refused(here, cancel("r1"))).code is ErrorCode.UNAVAILABLE
                plan.storage.list_state = lists  # type: ignore[method-assign]
                await trio.sleep(5)
                assert "run_id" in await here.handle(start("c3"))

        virtual(main)

    @pytest.mark.parametrize("fault", ["unknown", "unknown but done", "crash", "crash but done"])
    def test_where_the_outcome_is_unknown_the_repeat_settles_it(self, fault: Fault) -> None:
        async def main() -> None:
            async with users_system() as here:
                follower = await here.follow()
                here.plan.faults.append(fault)
                assert await refused(here, start()) == OutcomeUnknown()
                answer = await here.handle(start())  # comes before it is offered again, and waits
                await trio.sleep(5)
                assert orders(here) == [answer["run_id"]]
                assert [frame["run_id"] for frame in follower.frames] == [answer["run_id"]]
                assert await here.handle(start()) == answer
                assert len(here.contents()) == 1

        virtual(main)

    def test_after_an_unknown_outcome_a_clean_failure_does_not_make_it_undone(self) -> None:
        """It may have been committed by the first offer."""

        async def main() -> None:
            async with users_system() as here:
                follower = await here.follow()
                here.plan.faults.extend(["unknown but done", "clean", "clean"])
                assert await refused(here, start()) == OutcomeUnknown()
                answer = await here.handle(start())
                await trio.sleep(5)
                assert orders(here) == [answer["run_id"]]
                assert follower.seqs == [1]

        virtual(main)

    def test_what_storage_did_not_take_was_not_done(self) -> None:
        async def main() -> None:
            async with users_system() as here:
                here.plan.faults.append("clean")
                assert await refused(here, start()) == CommandError(ErrorCode.UNAVAILABLE, retry_after=1.0)
                assert here.contents() == []
                answer = await here.handle(start())
                await trio.sleep(5)
                assert orders(here) == [answer["run_id"]]
                assert len(here.contents()) == 1

        virtual(main)

    def test_while_storage_is_in_trouble_it_is_unavailable(self) -> None:
        async def main() -> None:
            async with users_system() as here:
                await here.follow()
                here.plan.trouble = True
                for fields in (start(), cancel("r1"), get("r1"), {"id": "l", "type": "list_runs"}):
                    assert (await refused(here, fields)).code is ErrorCode.UNAVAILABLE

        virtual(main)

    def test_a_run_that_was_committed_before_a_crash_is_started_after_it(self) -> None:
        async def main() -> None:
            async with users_system() as here:
                here.plan.takes = 1.0
                async with trio.open_nursery() as nursery:

                    async def ask() -> None:
                        with pytest.raises(HandlerFailed):
                            await here.handle(start())

                    nursery.start_soon(ask)
                    await trio.sleep(1.5)  # the reply was looked for; the commit is under way
                    here.crash("/users/ada")
                await trio.sleep(30)
                assert len(here.contents()) == 1
                (run_id,) = set(orders(here))
                assert (await here.handle(start()))["run_id"] == run_id

        virtual(main)

    def test_an_order_that_nobody_takes_is_given_again_at_intervals(self) -> None:
        async def main() -> None:
            heard: list[Any] = []

            class Busy(Actor):
                async def receive(self, message: Any) -> object:
                    heard.append(trio.current_time())
                    return self.ref if len(heard) > 3 else Refused("full")

            async with users_system(runs=Busy) as here:
                await here.handle(start())
                await trio.sleep(10)
                assert [later - earlier for earlier, later in pairwise(heard)] == pytest.approx(
                    [0.2, 0.2, 0.2], abs=0.01
                )

        virtual(main)

    def test_a_dead_supervisor_of_runs_does_not_make_the_context_spin(self) -> None:
        async def main() -> None:
            async with users_system() as here:
                here.system.root.actor.stop_child("runs")  # type: ignore[union-attr]
                await settle()
                await here.handle(start())
                await trio.sleep(2)
                assert here.system.dead_letters.counts["dead"] < 20

        virtual(main)


async def say_status(here: UsersSystem, run_id: str, status: RunStatus) -> None:
    """A run says how it stands, as its actor would."""
    state = here.plan.storage.state
    record = decode_record(state[RUNS, run_key("ada", run_id)])
    record = attrs.evolve(record, status=status.value)
    event = RunEvents(here.services.stamps).status(record)
    effects = (PutState(RUNS, run_key("ada", run_id), encode_record(record)),)
    await here.context.ask(Emit((Item(event, effects),)), 60)


class TestCancelRun:
    def test_the_order_goes_to_the_run_with_what_is_to_be_committed(self) -> None:
        async def main() -> None:
            heard: list[Any] = []

            def commit(crew: Crews, order: Steer) -> object:
                here.plan.storage.replies["ada", "c2"] = kept(order, "queued")
                return "queued"

            async with users_system(runs=lambda: Crews(heard, commit)) as here:
                run_id = (await here.handle(start()))["run_id"]
                answer = await here.handle(cancel(run_id, agent_name="Analyst"))
                assert answer == {"run_id": run_id, "status": "queued"}
                (order,) = [message for message in heard if isinstance(message, Steer)]
                assert (order.agent_name, order.cause) == ("Analyst", "c2")
                assert order.order is Order.CANCEL
                assert order.keep is not None
                assert order.keep.user == "ada"
                await say_status(here, run_id, RunStatus.RUNNING)
                assert await here.handle(cancel(run_id, agent_name="Analyst")) == answer
                assert (await refused(here, cancel(run_id))).code is ErrorCode.CONFLICT
                assert sum(isinstance(message, Steer) for message in heard) == 1

        virtual(main)

    def test_a_run_that_is_over_is_answered_as_it_ended(self) -> None:
        async def main() -> None:
            async with users_system() as here:
                run_id = (await here.handle(start()))["run_id"]
                await say_status(here, run_id, RunStatus.FAILED)
                assert await here.handle(cancel(run_id)) == {"run_id": run_id, "status": "failed"}
                assert (await refused(here, cancel("nothing", "c9"))).code is ErrorCode.NOT_FOUND

        virtual(main)

    def test_nobody_cancels_the_run_of_another(self) -> None:
        async def main() -> None:
            heard: list[Any] = []
            async with users_system(runs=lambda: Crews(heard, lambda *_: "running")) as here:
                run_id = (await here.handle(start()))["run_id"]
                assert (await refused(here, cancel(run_id), user="bob")).code is ErrorCode.NOT_FOUND
                assert (await refused(here, get(run_id), user="bob")).code is ErrorCode.NOT_FOUND
                assert not any(isinstance(message, Steer) for message in heard)

        virtual(main)

    def test_the_run_may_say_no(self) -> None:
        async def main() -> None:
            no = Refused(CommandError(ErrorCode.NOT_FOUND))
            async with users_system(runs=lambda: Crews([], lambda *_: no)) as here:
                run_id = (await here.handle(start()))["run_id"]
                assert (await refused(here, cancel(run_id, agent_name="nobody"))).code is ErrorCode.NOT_FOUND

        virtual(main)

    def test_a_crash_of_the_run_is_waited_out(self) -> None:
        async def main() -> None:
            tries: list[int] = []

            def crash_twice(crew: Crews, order: Steer) -> object:
                tries.append(1)
                if len(tries) < 3:
                    raise RuntimeError("planned")
                return "running"

            async with users_system(runs=lambda: Crews([], crash_twice)) as here:
                run_id = (await here.handle(start()))["run_id"]
                assert (await here.handle(cancel(run_id)))["status"] == "running"
                assert len(tries) == 3

        virtual(main)

    def test_where_no_run_answers_nothing_is_said_of_the_outcome(self) -> None:
        async def main() -> None:
            def crash(crew: Crews, order: Steer) -> object:
                raise RuntimeError("planned")

            async with users_system(runs=lambda: Crews([], crash)) as here:
                run_id = (await here.handle(start()))["run_id"]
                assert await refused(here, cancel(run_id)) == OutcomeUnknown()

        virtual(main)


class TestSteering:
    @pytest.mark.parametrize(("kind", "order"), [("pause_run", Order.PAUSE), ("resume_run", Order.RESUME)])
    def test_pause_and_resume_go_the_same_way(self, kind: str, order: Order) -> None:
        async def main() -> None:
            heard: list[Any] = []
            async with users_system(runs=lambda: Crews(heard, lambda *_: "paused")) as here:
                run_id = (await here.handle(start()))["run_id"]
                fields = {"id": "c2", "type": kind, "metadata": {"run_id": run_id}}
                assert await here.handle(fields) == {"run_id": run_id, "status": "paused"}
                (steer,) = [message for message in heard if isinstance(message, Steer)]
                assert (steer.order, steer.agent_name, steer.cause) == (order, None, "c2")
                await say_status(here, run_id, RunStatus.COMPLETED)
                answer = await here.handle({**fields, "id": "c3"})
                assert answer == {"run_id": run_id, "status": "completed"}

        virtual(main)

    def test_an_order_that_was_recorded_before_the_run_crashed_is_not_given_again(self) -> None:
        async def main() -> None:
            heard: list[Any] = []

            def record_and_crash(crew: Crews, order: Steer) -> object:
                here.plan.storage.replies["ada", "c2"] = kept(order, "running")
                raise RuntimeError("planned")

            async with users_system(runs=lambda: Crews(heard, record_and_crash)) as here:
                run_id = (await here.handle(start()))["run_id"]
                assert await here.handle(cancel(run_id)) == {"run_id": run_id, "status": "running"}
                assert sum(isinstance(message, Steer) for message in heard) == 1
                assert await here.handle(cancel(run_id)) == {"run_id": run_id, "status": "running"}

        virtual(main)

    def test_the_reply_comes_before_what_the_order_caused_though_the_run_crashes_between(self) -> None:
        async def main() -> None:
            heard: list[Any] = []

            def commit_and_crash(crew: Crews, order: Steer) -> object:
                """The run crashes before it has heard that the order is on the disk; it goes on with what that says."""
                reply = json.dumps({"run_id": run_id, "status": "running"}).encode()
                assert order.keep is not None
                keep = Item(None, (attrs.evolve(order.keep, reply=reply),), change="change")
                record = new_record("ada", run_id, OWN, WORKFLOW, BRIEF, "2026-11-20T00:00:00.000Z")
                record = attrs.evolve(record, status="cancelled")
                event = caused_by(RunEvents(here.services.stamps).status(record), "c2")
                here.context.tell(Emit((keep, Item(event))))
                raise RuntimeError("planned")

            async with users_system(runs=lambda: Crews(heard, commit_and_crash)) as here:
                run_id = (await here.handle(start()))["run_id"]
                follower = await here.follow()
                follower.ref.tell(Handle(command(cancel(run_id)), follower.client_id, follower.hello_at, "user"))
                await trio.sleep(5)
                (frame,) = follower.frames
                assert frame["metadata"]["cause"] == "c2"
                assert follower.answers == [(0, {"run_id": run_id, "status": "running"})]
                assert sum(isinstance(message, Steer) for message in heard) == 1

        virtual(main)

    def test_the_reply_to_another_users_command_of_the_same_id_is_none(self) -> None:
        """What a worker says of somebody's task is kept in one commit with the task, in the log of whose it is."""

        async def main() -> None:
            async with users_system() as here:
                context = await here.users.ask(Locate("ada"), 5)
                await settle()
                here.plan.close_gate()
                answers: list[Any] = []

                async def ask() -> None:
                    answers.append(await here.handle(start("c1")))

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(ask)
                    await settle()
                    foreign = KeepReply("bob", "c1", b"digest", b'{"status":"completed"}', 0.0)
                    context.tell(Emit((Item(None, (foreign,), change="change"),)))
                    await settle()
                    here.plan.gate.set()
                assert set(answers[0]) == {"run_id", "session_id"}

        virtual(main)


def kept(order: Steer, status: str) -> Any:
    """What the run keeps of the order's command."""
    assert order.keep is not None
    reply = json.dumps({**json.loads(order.keep.reply), "status": status}).encode()
    return KeptReply(order.keep.digest, reply, order.keep.at)


def get(run_id: str) -> dict[str, Any]:
    return {"id": "g", "type": "get_run", "metadata": {"run_id": run_id}}


class TestReading:
    def test_get_run_tells_what_the_log_holds(self) -> None:
        async def main() -> None:
            async with users_system() as here:
                run_id = (await here.handle(start()))["run_id"]
                answer = await here.handle(get(run_id))
                assert answer["run"]["status"] == "queued"
                assert (answer["steps"], answer["approvals"]) == ([], [])
                assert (answer["epoch"], answer["seq"]) == ("epoch-ada", 1)
                assert (await refused(here, get("nothing"))).code is ErrorCode.NOT_FOUND

        virtual(main)

    def test_runs_are_listed_page_by_page(self) -> None:
        async def main() -> None:
            async with users_system() as here:
                for user in ("ada", "adam", "bob"):
                    for number in range(5):
                        put_run(here, f"{user}-r{number}", user=user, status="running" if number % 2 else "completed")
                seen, cursor = [], None
                while True:
                    page = await list_runs(here, limit=2, **({"cursor": cursor} if cursor else {}))
                    seen += [run["run_id"] for run in page["runs"]]
                    assert (page["epoch"], page["seq"]) == ("epoch-ada", 0)
                    cursor = page.get("next_cursor")
                    if cursor is None:
                        break
                assert seen == [f"ada-r{number}" for number in range(5)]

        virtual(main)

    def test_active_runs_and_others(self) -> None:
        async def main() -> None:
            async with users_system() as here:
                for number in range(6):
                    put_run(here, f"r{number}", user="ada", status="running" if number % 2 else "completed")
                active = await list_runs(here, active=True, limit=2)
                assert [run["run_id"] for run in active["runs"]] == ["r1", "r3"]
                rest = await list_runs(here, active=True, limit=2, cursor=active["next_cursor"])
                assert [run["run_id"] for run in rest["runs"]] == ["r5"]
                assert "next_cursor" not in rest
                over = await list_runs(here, active=False)
                assert [run["run_id"] for run in over["runs"]] == ["r0", "r2", "r4"]

        virtual(main)

    def test_no_cursor_leads_to_the_runs_of_another(self) -> None:
        async def main() -> None:
            async with users_system() as here:
                put_run(here, "r1", user="bob", status="running")
                for cursor in ("..", "/", "../bob", "a", "\U0010ffff"):
                    assert (await list_runs(here, cursor=cursor))["runs"] == []

        virtual(main)

    def test_what_the_context_does_not_know_is_unavailable(self) -> None:
        async def main() -> None:
            async with users_system() as here:
                assert (await refused(here, {"id": "x", "type": "mark_read"})).code is ErrorCode.UNAVAILABLE

        virtual(main)


async def list_runs(here: UsersSystem, **metadata: Any) -> Any:
    return await here.handle({"id": "l", "type": "list_runs", "metadata": metadata})


def put_run(here: UsersSystem, run_id: str, *, user: str, status: str) -> None:
    record = attrs.evolve(new_record(user, run_id, "s", WORKFLOW, BRIEF, "2026-11-20T08:30:00.000Z"), status=status)
    here.plan.storage.state[RUNS, run_key(user, run_id)] = encode_record(record)
    if status == "running":
        here.plan.storage.state[OPEN, run_key(user, run_id)] = b"s"


def test_a_run_that_ends_lets_its_context_leave() -> None:
    async def main() -> None:
        async with users_system(settings=ContextSettings(10.0, 100, 100.0)) as here:
            run_id = (await here.handle(start()))["run_id"]
            await trio.sleep(50)
            assert here.system.ref("/users/ada").target.watchable() is not None
            await say_status(here, run_id, RunStatus.COMPLETED)
            await trio.sleep(30)
            assert here.system.ref("/users/ada").target.watchable() is None

    virtual(main)
