"""What is said on one WebSocket: hello, resuming, commands, acknowledgements, and events that are nobody else's."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from actors.gateway.answers import UNREACHABLE
from actors.gateway.entrance import RUSH
from actors.gateway.outbound import Out
from actors.protocol.codes import BAD_FRAMES, CONNECTION_FAILED, NO_HELLO, RATE_IGNORED
from actors.storage.attending import Arrive
from runtime import Crash
from supervisors import Intensity
from tests.support.gateway_system import GatewaySystem, gateway_system
from tests.support.memory_journal import MemoryStorage, Plan
from tests.support.said import delivery

BRIEF = "A shop that sells tea by weight"


async def said(here: GatewaySystem, *names: str) -> None:
    """Say these, and wait until the durable ones are in the log."""
    here.say(*names)
    log = here.plan.storage.log_of("ada")
    await here.holds(lambda: log.top == len(here.said) and len(here.said) > 0)


class TestHello:
    async def test_welcome_tells_how_things_stand(self) -> None:
        async with gateway_system() as here:
            await said(here, "d1", "d2")
            client = await here.connect()
            welcome = await client.hello(client_id="tab", client={"platform": "test"})
            metadata = welcome["metadata"]
            assert metadata["user_id"] == "ada"
            assert metadata["client_id"] == "tab"
            assert (metadata["seq"], metadata["resumed"], metadata["replayed"]) == (2, False, 0)
            assert metadata["epoch"] == "epoch-ada"
            assert (metadata["protocol"], metadata["role"], metadata["heartbeat_interval"]) == (1, "operator", 30.0)
            assert metadata["limits"]["frame_bytes"] == 100_000
            assert (await client.ask("heartbeat"))["type"] == "heartbeat"
            client.verify()

    async def test_without_a_name_one_is_given(self) -> None:
        async with gateway_system() as here:
            first, second = await here.connect(), await here.connect()
            for client in (first, second):
                await client.send("hello")
            welcomes = [await client.next() for client in (first, second)]
            assert {welcome["metadata"]["user_id"] for welcome in welcomes if welcome} == {"dev"}
            assert len({welcome["metadata"]["client_id"] for welcome in welcomes if welcome}) == 2

    @pytest.mark.parametrize(
        ("text", "code"),
        [
            ("no JSON", "bad_request"),
            ('{"id": "1", "type": "heartbeat"}', "bad_request"),
            ('{"id": "1", "type": "whatever"}', "unknown_type"),
            ('{"id": "1", "type": "hello", "metadata": {"user_id": 7}}', "invalid_fields"),
            ("[" * 100, "bad_request"),
        ],
    )
    async def test_anything_else_first_is_explained_and_closes(self, text: str, code: str) -> None:
        async with gateway_system() as here:
            client = await here.connect()
            await client.text(text)
            assert await client.ended() == BAD_FRAMES
            assert client.errors() == [code]
            await here.gone()
            assert here.counters.connections_closed == {BAD_FRAMES: 1}

    async def test_no_hello_in_time(self) -> None:
        async with gateway_system(hello_within=0.05) as here:
            client = await here.connect()
            assert await client.ended() == NO_HELLO
            assert client.frames == []

    async def test_who_has_said_hello_in_time_is_not_blamed_for_a_slow_daemon(self) -> None:
        plan = Plan()
        async with gateway_system(plan=plan, hello_within=1.0) as here:
            plan.close_gate()
            client = await here.connect()
            await client.send("hello", user_id="bob")
            await here.alive("/users/bob")
            await trio.sleep(1.1)  # beyond the deadline of the hello
            plan.gate.set()
            welcome = await client.next()
            assert welcome is not None
            assert welcome["type"] == "welcome"

    async def test_a_second_hello_is_a_bad_request(self) -> None:
        async with gateway_system() as here:
            client = await here.welcomed()
            answer = await client.ask("hello", user_id="bob")
            assert answer["metadata"]["code"] == "bad_request"
            assert (await client.ask("heartbeat"))["type"] == "heartbeat"


class TestBeforeWelcome:
    async def test_commands_wait_and_so_do_errors(self) -> None:
        plan = Plan()
        async with gateway_system(plan=plan) as here:
            plan.close_gate()
            client = await here.connect()
            await client.send("hello", user_id="ada")
            ids = [await client.send("heartbeat"), await client.send("mark_read")]
            await client.text("no JSON")
            await client.send("hello")
            ids.append(await client.send("list_runs"))
            await here.holds(lambda: len(early(here)) == 5)
            plan.gate.set()
            for _ in range(6):
                await client.next()
            kinds = [frame["type"] for frame in client.frames]
            assert kinds == ["welcome", "heartbeat", "error", "error", "error", "reply"]
            assert client.errors() == ["unavailable", "bad_request", "bad_request"]
            assert [
                f["metadata"].get("reply_to") for f in (client.frames[1], client.frames[2], client.frames[5])
            ] == ids

    async def test_a_flood_before_welcome_is_cut_off(self) -> None:
        plan = Plan()
        async with gateway_system(plan=plan, limits={"commands_per_minute": 5}) as here:
            plan.close_gate()
            client = await here.connect()
            await client.send("hello", user_id="ada")
            for _ in range(56):
                await client.send("heartbeat")
            assert await client.ended() == RATE_IGNORED
            assert client.frames == []

    async def test_nor_may_few_that_are_large_wait_for_it(self) -> None:
        plan = Plan()
        async with gateway_system(plan=plan, limits={"frame_bytes": 100_000}) as here:
            plan.close_gate()
            client = await here.connect()
            await client.send("hello", user_id="ada")
            await client.send("decide", "x" * 60_000)
            await here.holds(lambda: len(early(here)) == 1)
            await client.send("decide", "x" * 60_000)
            assert await client.ended() == RATE_IGNORED
            assert client.frames == []

    async def test_storage_in_trouble_is_said_at_once(self) -> None:
        plan = Plan(trouble=True)
        async with gateway_system(plan=plan) as here:
            client = await here.connect()
            command_id = await client.send("hello", user_id="ada")
            assert await client.ended() == CONNECTION_FAILED
            (error,) = client.frames
            assert error["metadata"]["code"] == "unavailable"
            assert error["metadata"]["reply_to"] == command_id
            assert 1.0 <= error["metadata"]["retry_after"] <= 3.0
            assert error["content"] == UNREACHABLE
            client.verify()

    async def test_a_crash_of_the_context_is_waited_out(self) -> None:
        plan = Plan()
        async with gateway_system(plan=plan) as here:
            for times in (1, 2):
                plan.close_gate()
                client = await here.connect()
                await client.send("hello", user_id="bob")
                await here.alive("/users/bob")
                for _ in range(times):
                    here.crash("/users/bob")
                    await trio.testing.wait_all_tasks_blocked(0.01)
                plan.gate.set()
                welcome = await client.next()
                assert welcome is not None
                assert welcome["type"] == "welcome"

    async def test_a_context_that_is_given_up_is_asked_for_again(self) -> None:
        plan = Plan()
        async with gateway_system(plan=plan, context_budget=Intensity(0, 1.0)) as here:
            plan.close_gate()
            client = await here.connect()
            await client.send("hello", user_id="bob")
            await here.alive("/users/bob")
            here.crash("/users/bob")
            await here.holds(lambda: any(getattr(report, "path", "") == "/users/bob" for report in here.reports))
            plan.gate.set()
            welcome = await client.next()
            assert welcome is not None
            assert welcome["type"] == "welcome"

    async def test_but_not_for_ever(self, monkeypatch: Any) -> None:
        from actors.gateway import conversation

        monkeypatch.setattr(conversation, "ATTACH_WITHIN", 0.3)
        plan = Plan()
        async with gateway_system(plan=plan) as here:
            plan.close_gate()
            client = await here.connect()
            await client.send("hello", user_id="bob")
            assert await client.ended() == CONNECTION_FAILED
            assert client.errors() == ["unavailable"]
            assert client.frames[0]["content"] == RUSH
            assert 1.0 <= client.frames[0]["metadata"]["retry_after"] <= 3.0
            plan.gate.set()

    async def test_a_crash_of_the_journal_is_waited_out(self) -> None:
        plan = Plan()

        def crash_once(point: str) -> None:
            if point.startswith("before") and isinstance(plan.heard[-1], Arrive):
                plan.at = str
                raise RuntimeError("planned")

        plan.at = crash_once
        async with gateway_system(plan=plan) as here:
            client = await here.welcomed("bob")
            assert [frame["type"] for frame in client.frames] == ["welcome"]
            assert [report.kind for report in here.reports if isinstance(report, Crash)] == ["MemoryJournal"]


def connection_of(here: GatewaySystem) -> Any:
    (path,) = here.connections()
    return here.system.ref(path).target.actor


def early(here: GatewaySystem) -> list[Any]:
    found = [here.system.ref(path).target.actor for path in here.connections()]
    return [heard for actor in found if actor is not None for heard in actor._conversation._early._heard]


class TestResume:
    async def test_exactly_what_follows_the_position_as_first_sent(self) -> None:
        async with gateway_system() as here:
            first = await here.welcomed()
            here.say(*(f"d{n}" for n in range(1, 8)))
            await first.until("system")
            while first.seqs[-1:] != [7]:
                await first.next()
            second = await here.welcomed(resume={"epoch": "epoch-ada", "seq": 3})
            welcome = second.frames[0]["metadata"]
            assert (welcome["resumed"], welcome["replayed"], welcome["seq"]) == (True, 4, 7)
            for _ in range(4):
                await second.next()
            assert second.frames[1:] == first.frames[4:8]
            assert (await second.ask("heartbeat"))["type"] == "heartbeat"
            second.verify()

    @pytest.mark.parametrize(
        ("resume", "reason"),
        [({"epoch": "another", "seq": 1}, "epoch"), ({"epoch": "epoch-ada", "seq": 9}, "ahead")],
    )
    async def test_or_a_gap(self, resume: dict[str, Any], reason: str) -> None:
        async with gateway_system() as here:
            await said(here, "d1", "d2")
            client = await here.welcomed(resume=resume)
            gap = await client.next()
            assert gap is not None
            assert (gap["type"], gap["metadata"]) == ("gap", {"reason": reason})
            here.say("d3")
            assert (await client.until("system"))["seq"] == 3
            client.verify()

    async def test_a_gap_tells_what_was_trimmed(self) -> None:
        async with gateway_system() as here:
            await said(here, *(f"d{n}" for n in range(1, 8)))
            for seq in range(1, 5):
                del here.plan.storage.log_of("ada").events[seq]
            client = await here.welcomed(resume={"epoch": "epoch-ada", "seq": 1})
            gap = await client.next()
            assert gap is not None
            assert gap["metadata"] == {"reason": "trimmed", "from_seq": 2, "to_seq": 4}
            client.verify()

    async def test_a_long_log_comes_in_pages_and_live_events_behind_it(self) -> None:
        async with gateway_system() as here:
            await said(here, *(f"d{n}" for n in range(1, 450)), "w0")
            client = await here.welcomed(resume={"epoch": "epoch-ada", "seq": 0})
            here.say("w1", "d450", "w2")
            while client.contents[-1:] != ["w2"]:
                await client.next()
            assert client.seqs == list(range(1, 451))
            assert client.contents[-4:] in (
                ["w0", "w1", "d450", "w2"],
                ["w0w1", "d450", "w2"],
                ["d449", "w0w1", "d450", "w2"],
            )
            await here.holds(lambda: here.counters.events_sent == 450)
            client.verify()

    async def test_a_page_that_cannot_be_read_is_read_later(self) -> None:
        async with gateway_system() as here:
            await said(here, "d1", "d2", "d3")
            read = here.plan.storage.read
            fails = [True, True]

            def reads(*arguments: Any) -> Any:
                if fails and fails.pop():
                    raise RuntimeError("planned")
                return read(*arguments)

            here.plan.storage.read = reads  # type: ignore[method-assign]
            client = await here.welcomed(resume={"epoch": "epoch-ada", "seq": 0})
            here.say("d4")
            while client.seqs[-1:] != [4]:
                await client.next()
            assert client.seqs == [1, 2, 3, 4]
            client.verify()

    async def test_a_log_that_is_cut_meanwhile_closes(self) -> None:
        async with gateway_system() as here:
            await said(here, "d1", "d2", "d3")
            here.plan.storage.read = lambda *_: []  # type: ignore[method-assign]
            client = await here.welcomed(resume={"epoch": "epoch-ada", "seq": 0})
            assert await client.ended() == CONNECTION_FAILED
            assert client.seqs == []


class TestContextRestarts:
    async def test_the_client_sees_nothing_of_it(self) -> None:
        async with gateway_system() as here:
            client = await here.welcomed()
            for number in range(1, 8):
                here.say(f"d{number}", f"e{number}")
                here.crash("/users/ada")
                if number % 2:
                    await client.until("system")
            while client.seqs[-1:] != [7]:
                await client.next()
            assert client.seqs == list(range(1, 8))
            client.verify()

    async def test_also_in_the_middle_of_a_replay(self) -> None:
        async with gateway_system() as here:
            await said(here, *(f"d{n}" for n in range(1, 450)))
            client = await here.welcomed(resume={"epoch": "epoch-ada", "seq": 0})
            here.crash("/users/ada")
            here.say("d450")
            while client.seqs[-1:] != [450]:
                await client.next()
            assert client.seqs == list(range(1, 451))
            client.verify()

    async def test_also_while_storage_is_in_trouble(self) -> None:
        async with gateway_system() as here:
            client = await here.welcomed()
            await said(here, "d1")
            here.plan.trouble = True
            here.crash("/users/ada")
            here.say("d2")
            assert (await client.ask("heartbeat"))["type"] == "heartbeat"
            assert (await client.ask("list_runs"))["metadata"]["code"] == "unavailable"
            asked = len(here.plan.heard)
            await here.holds(lambda: sum(isinstance(message, Arrive) for message in here.plan.heard[asked:]) >= 3)
            here.plan.trouble = False
            while client.seqs[-1:] != [2]:
                await client.next()
            assert client.seqs == [1, 2]
            client.verify()

    async def test_also_several_times_before_anybody_could_answer(self) -> None:
        async with gateway_system() as here:
            client = await here.welcomed()
            await said(here, "d1")
            here.plan.close_gate()
            for _ in range(3):
                here.crash("/users/ada")
                await trio.testing.wait_all_tasks_blocked(0.01)
            here.say("d2")
            here.plan.gate.set()
            while client.seqs[-1:] != [2]:
                await client.next()
            assert client.seqs == [1, 2]
            client.verify()

    async def test_a_context_that_is_given_up_closes_its_connections(self) -> None:
        async with gateway_system(context_budget=Intensity(0, 1.0)) as here:
            ada, bob = await here.welcomed(), await here.welcomed("bob")
            here.crash("/users/ada")
            assert await ada.ended() == CONNECTION_FAILED
            assert (await bob.ask("heartbeat"))["type"] == "heartbeat"

    async def test_another_log_closes_and_the_client_loads_afresh(self) -> None:
        async with gateway_system() as here:
            client = await here.welcomed()
            await said(here, "d1")
            here.plan.storage = MemoryStorage()
            here.plan.storage.log_of("ada").epoch = "another"
            here.crash("/users/ada")
            assert await client.ended() == CONNECTION_FAILED


class TestCommands:
    async def test_what_is_known_but_not_built_is_unavailable(self) -> None:
        async with gateway_system() as here:
            client = await here.welcomed()
            assert (await client.ask("save_context"))["metadata"]["code"] == "unavailable"
            assert (await client.ask("no_such"))["metadata"]["code"] == "unknown_type"
            assert here.counters.command_errors == {"unavailable": 1, "unknown_type": 1}
            assert here.counters.commands == {"save_context": 1}

    async def test_an_error_carries_what_belongs_to_it(self) -> None:
        async with gateway_system() as here:
            client = await here.welcomed()
            bad = await client.ask("start_run", BRIEF, workflow="nothing")
            assert bad["metadata"]["code"] == "invalid_fields"
            assert list(bad["metadata"]["fields"]) == ["workflow"]
            run_id = (await client.ask("start_run", BRIEF))["metadata"]["run_id"]
            busy = await client.ask("start_run", BRIEF)
            assert (busy["metadata"]["code"], busy["metadata"]["run_id"]) == ("already_running", run_id)
            client.verify()

    async def test_a_reply_comes_before_the_events_that_it_causes(self) -> None:
        async with gateway_system() as here:
            clients = [await here.welcomed(), await here.welcomed()]
            for client in clients:
                await client.send("start_run", BRIEF, id="the same")
            for client in clients:
                await client.until("run_status")
                assert [frame["type"] for frame in client.frames] == ["welcome", "reply", "run_status"]
                assert client.frames[2]["metadata"]["cause"] == "the same"
                client.verify()

    async def test_too_many_at_once(self) -> None:
        plan = Plan()
        async with gateway_system(plan=plan, limits={"in_flight": 3}) as here:
            client = await here.welcomed()
            plan.close_gate()
            ids = [await client.send("list_runs") for _ in range(5)]
            refused = [await client.next() for _ in range(2)]
            assert [f["metadata"]["reply_to"] for f in refused if f] == ids[3:]
            assert {f["metadata"]["code"] for f in refused if f} == {"rate_limited"}
            assert (await client.ask("heartbeat"))["type"] == "heartbeat"
            plan.gate.set()
            replies = [await client.next() for _ in range(3)]
            assert {f["metadata"]["reply_to"] for f in replies if f} == set(ids[:3])
            assert (await client.ask("list_runs"))["type"] == "reply"

    async def test_too_many_a_minute_and_then_far_too_many(self) -> None:
        async with gateway_system(limits={"commands_per_minute": 4}) as here:
            client = await here.welcomed()
            for _ in range(54):
                await client.send("mark_read")
            assert await client.ended() == RATE_IGNORED
            assert client.errors() == ["unavailable"] * 4 + ["rate_limited"] * 50
            assert all(frame["metadata"]["retry_after"] > 0 for frame in client.frames[5:])
            assert here.counters.commands["mark_read"] == 4

    async def test_the_tenth_bad_frame_within_a_minute_closes(self) -> None:
        async with gateway_system() as here:
            client = await here.welcomed()
            for number in range(9):
                await client.text("no JSON" if number % 2 else '{"id": "x", "type": "what"}')
            for _ in range(5):
                assert (await client.ask("start_run", "too short"))["metadata"]["code"] == "invalid_fields"
            await client.send("hello")
            assert await client.ended() == BAD_FRAMES
            assert len(client.errors()) == 15
            assert client.frames[-1]["metadata"]["code"] == "bad_request"

    async def test_behind_a_close_nothing_is_carried_out(self) -> None:
        async with gateway_system() as here:
            client = await here.welcomed()
            for _ in range(10):
                await client.text("no JSON")
            await client.send("start_run", BRIEF)
            assert await client.ended() == BAD_FRAMES
            await here.gone()
            assert here.plan.storage.log_of("ada").top == 0

    @pytest.mark.parametrize("fault", ["unknown", "crash", "crash but done", "unknown but done"])
    async def test_of_an_unknown_outcome_nothing_is_said(self, fault: Any) -> None:
        async with gateway_system() as here:
            client = await here.welcomed()
            here.plan.faults.append(fault)
            await client.send("start_run", BRIEF, id="once")
            assert await client.ended() == CONNECTION_FAILED
            assert [frame["type"] for frame in client.frames] == ["welcome"]
            again = await here.welcomed(resume={"epoch": "epoch-ada", "seq": 0})
            answer = await again.ask("start_run", BRIEF, id="once")
            assert answer["type"] == "reply"
            while again.seqs != [1]:
                await again.next()
            again.verify()

    @pytest.mark.parametrize("kind", ["start_run", "list_runs"])
    async def test_what_a_crashed_context_leaves_behind(self, kind: str) -> None:
        """Nobody knows of a start_run; a reading may be repeated by whoever wants to."""
        plan = Plan()
        async with gateway_system(plan=plan) as here:
            client = await here.welcomed()
            plan.close_gate()
            await client.send(kind, BRIEF if kind == "start_run" else "")
            await here.holds(lambda: connection_of(here)._conversation._in_flight == 1)
            await trio.testing.wait_all_tasks_blocked(0.01)
            here.crash("/users/ada")
            if kind == "start_run":
                assert await client.ended() == CONNECTION_FAILED
            else:
                assert (await client.until("error"))["metadata"]["code"] == "unavailable"
            plan.gate.set()

    async def test_what_was_not_taken_was_not_done(self) -> None:
        async with gateway_system() as here:
            client = await here.welcomed()
            connection_of(here)._conversation._context = here.system.ref("/nobody")
            answer = await client.ask("start_run", BRIEF)
            assert (answer["type"], answer["metadata"]["code"]) == ("error", "unavailable")


class TestAcknowledging:
    async def test_an_ack_counts_what_was_delivered(self) -> None:
        async with gateway_system() as here:
            client, other = await here.welcomed(), await here.welcomed()
            here.say("d1", "d2", "d3")
            while client.seqs[-1:] != [3]:
                await client.next()
            await client.send("ack", seq=2)
            await client.send("ack", seq=1)
            await here.holds(lambda: here.counters.events_delivered == 2)
            while other.seqs[-1:] != [3]:
                await other.next()
            await other.send("ack", seq=3)
            await here.holds(lambda: here.counters.events_delivered == 3)
            await here.holds(lambda: here.counters.events_sent == 6)
            assert here.counters.events_committed == 3
            assert client.errors() == []

    async def test_a_resume_counts_as_one(self) -> None:
        async with gateway_system() as here:
            await here.welcomed("ada")
            await said(here, "d1", "d2", "d3")
            await here.welcomed(resume={"epoch": "epoch-ada", "seq": 2})
            await here.holds(lambda: here.counters.events_delivered == 2)

    async def test_above_what_was_sent_it_is_a_bad_request(self) -> None:
        async with gateway_system() as here:
            client = await here.welcomed()
            assert (await client.ask("ack", seq=1))["metadata"]["code"] == "bad_request"
            here.say("d1")
            await client.until("system")
            await client.send("ack", seq=1)
            assert (await client.ask("ack", seq=2))["metadata"]["code"] == "bad_request"


class TestIsolation:
    async def test_an_event_of_another_user_is_refused_counted_and_logged(self) -> None:
        async with gateway_system() as here:
            client = await here.welcomed()
            here.connection(client).tell(delivery("bob", Out(b'{"type": "system", "content": "secret"}', 1)))
            delta = Out(b'{"type": "agent_delta", "content": "secret"}')
            here.connection(client).tell(delivery("bob", delta, delta))
            here.say("d1")
            await client.until("system")
            assert client.contents == ["d1"]
            assert here.counters.isolation_violations == 3
            planted = [line for line in here.logs if "isolation violation" in str(line["event"])]
            assert [(line["user"], line["owner"]) for line in planted] == [("ada", "bob")] * 2

    async def test_before_anybody_has_said_who_they_are_too(self) -> None:
        async with gateway_system() as here:
            client = await here.connect()
            await here.holds(here.connections)
            (path,) = here.connections()
            here.system.ref(path).tell(delivery("bob", Out(b"secret")))
            await here.holds(lambda: here.counters.isolation_violations == 1)
            assert (await client.hello())["type"] == "welcome"

    async def test_two_users_and_two_devices(self) -> None:
        async with gateway_system() as here:
            first, second, bob = await here.welcomed(), await here.welcomed(), await here.welcomed("bob")
            here.say("d1", "w2", "d3")
            for client in (first, second):
                while client.seqs[-1:] != [2]:
                    await client.next()
                assert client.contents == ["d1", "w2", "d3"]
                client.verify()
            assert (await bob.ask("heartbeat"))["type"] == "heartbeat"
            assert bob.contents == []
            assert here.counters.isolation_violations == 0
