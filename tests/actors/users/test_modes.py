"""Who answers, session by session: the mode of one says nothing of another, over a crash and a restart too."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import trio

from actors.protocol.codes import ErrorCode
from actors.users.keys import SESSIONS, session_key
from actors.users.messages import CommandError
from actors.users.session_state import Mode, SessionState, decode_session, encode_session
from runtime import Refused
from tests.support.memory_journal import Plan
from tests.support.runs_system import BRIEF, RunsSystem, runs_system
from tests.support.users_system import virtual

SESSION = "a shop / of tea"


def with_session(*sessions: str) -> Plan:
    """Ada has these sessions, besides the one that everybody has; eve has one too."""
    plan = Plan()
    for session in sessions:
        plan.storage.state[SESSIONS, session_key("ada", session)] = encode_session(SessionState())
    plan.storage.state[SESSIONS, session_key("eve", "eve's")] = encode_session(SessionState())
    return plan


async def mode(here: RunsSystem, name: str, session: str | None = SESSION, command_id: str = "m1") -> Any:
    command = {"id": command_id, "type": "set_mode", "metadata": {"mode": name}}
    return await here.base.handle(command if session is None else {**command, "session_id": session})


async def start(here: RunsSystem, session: str | None = SESSION, command_id: str = "c1") -> str:
    command = {"id": command_id, "type": "start_run", "content": BRIEF}
    reply = await here.base.handle(command if session is None else {**command, "session_id": session})
    return str(reply["run_id"])


async def why_not(awaitable: Any) -> CommandError:
    with pytest.raises(Refused) as refused:
        await awaitable
    why: CommandError = refused.value.reason
    return why


def stored(here: RunsSystem, session: str) -> SessionState:
    return decode_session(here.plan.storage.state.get((SESSIONS, session_key("ada", session))))


def test_each_session_has_its_own_and_answers_are_held_in_that_one_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with runs_system(monkeypatch, plan=with_session(SESSION)) as here:
            reply = await mode(here, "hitl")
            assert reply == {"session_id": SESSION, "mode": "hitl", "revision": 1}
            updated = here.log()[-1]
            assert (updated["type"], updated["session_id"]) == ("session_updated", SESSION)
            held, free = await start(here), await start(here, None, "c2")
            with trio.fail_after(3600):
                while here.record(free).status != "completed" or here.record(held).status != "waiting_for_approval":
                    await trio.sleep(0.1)
            assert [f["run_id"] for f in here.log() if f["type"] == "approval_request"] == [held]
            await here.cancel(held)
            assert await here.ended(held) == "cancelled"

    virtual(main)


def test_off_in_one_leaves_the_others_over_a_crash_and_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with runs_system(monkeypatch, plan=with_session(SESSION, "another")) as here:
            await mode(here, "off")
            assert (await mode(here, "hitl", None, "m2"))["revision"] == 1
            assert (await why_not(start(here))).code is ErrorCode.FORBIDDEN
            here.base.crash("/users/ada")
            await trio.sleep(5)
            assert (await why_not(start(here, command_id="c2"))).code is ErrorCode.FORBIDDEN
            assert stored(here, "another") == SessionState()
            storage = copy.deepcopy(here.plan.storage)
        async with runs_system(monkeypatch, plan=Plan(storage=storage), daemon="d2") as again:
            assert (await why_not(start(again, command_id="c3"))).code is ErrorCode.FORBIDDEN
            run_id = await start(again, "another", "c4")
            assert await again.ended(run_id) == "completed"
            assert (await mode(again, "autopilot", command_id="m3"))["revision"] == 2
            assert await again.ended(await start(again, command_id="c5")) == "completed"

    virtual(main)


def test_what_is_not_there_or_not_theirs_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with runs_system(monkeypatch, plan=with_session(SESSION)) as here:
            for number, session in enumerate(("other", "eve's", " ")):
                why = await why_not(mode(here, "off", session, f"m{number}"))
                assert why.code is ErrorCode.NOT_FOUND, session
                why = await why_not(start(here, session, f"c{number}"))
                assert why.code is ErrorCode.NOT_FOUND, session
            assert stored(here, SESSION).mode is Mode.AUTOPILOT

    virtual(main)


def test_two_changes_of_one_session_do_not_overtake_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second of one session has to come again; that of another one has not."""

    async def main() -> None:
        plan = with_session(SESSION)
        async with runs_system(monkeypatch, plan=plan) as here:
            await mode(here, "autopilot", None, "m0")
            outcomes: dict[str, Any] = {}

            async def change(name: str, session: str | None, command_id: str) -> None:
                try:
                    outcomes[command_id] = (await mode(here, name, session, command_id))["revision"]
                except Refused as refused:
                    outcomes[command_id] = refused.reason.code

            plan.takes = 1.0
            async with trio.open_nursery() as nursery:
                nursery.start_soon(change, "hitl", SESSION, "m1")
                await trio.sleep(0.1)
                nursery.start_soon(change, "off", SESSION, "m2")
                nursery.start_soon(change, "hitl", None, "m3")
            plan.takes = 0.0
            assert outcomes == {"m1": 1, "m2": ErrorCode.UNAVAILABLE, "m3": 2}
            assert stored(here, SESSION).mode is Mode.HITL

    virtual(main)


def test_while_the_state_cannot_be_read_nothing_is_said_of_a_session(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        plan = with_session(SESSION)
        async with runs_system(monkeypatch, plan=plan) as here:
            plan.trouble = True
            assert (await why_not(mode(here, "off"))).code is ErrorCode.UNAVAILABLE
            assert (await why_not(start(here))).code is ErrorCode.UNAVAILABLE
            plan.trouble = False
            assert (await mode(here, "hitl", command_id="m2"))["revision"] == 1

    virtual(main)
