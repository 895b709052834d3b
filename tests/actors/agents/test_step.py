"""One attempt at a step: what its agent asks, and what it tells the run."""

from __future__ import annotations

import os
import random
import stat
import threading
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import attrs
import hypothesis.strategies as st
import pytest
import trio
from hypothesis import HealthCheck, given, settings

from actors.agents import step as step_module
from actors.agents.definitions import AgentDefinition
from actors.agents.prompts import EarlierStep
from actors.agents.step import SIGN_EVERY, AgentServices, AgentStep, noted
from actors.agents.text import COALESCE
from actors.artifacts import store as store_module
from actors.artifacts.names import folder_of
from actors.artifacts.store import Artifacts
from actors.models.chat import Usage
from actors.models.failure import FailureFacts
from actors.models.model_call import CallFailed, CallLimits, CallResult
from actors.protocol.catalogue import Failure
from actors.protocol.codes import ErrorType
from actors.protocol.task_events import Priority
from actors.tools.toolbox import ToolBox
from actors.workflows.definitions import StepDefinition, WorkflowDefinition
from actors.workflows.messages import (
    Answered,
    FellBack,
    GaveNoAnswer,
    GoOn,
    Held,
    Hold,
    Retrying,
    Situation,
    StartOver,
    Thinking,
    Working,
    Wrote,
)
from actors.workflows.record import StepRecord, new_record
from runtime import Actor, ChildStarted, Crash, Crashed, Host, Mailbox, Reason, Refused, Restarted, Spec, open_system
from tests.support.examples import examples
from tests.support.users_system import settle, virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from actors.models.model_call import ModelCall
    from runtime import Ref, Report, System

AGENT = AgentDefinition("analyst", "Analyst", "You analyse.", ("lead", "other"), temperature=0.5, max_tokens=100)
RATE = FailureFacts("rate_limit", ErrorType.RATE_LIMIT, counts=True, retryable=True, detail="")


def result(text: str | None = "Tea", **more: Any) -> CallResult:
    values: dict[str, Any] = {
        "text": text,
        "degraded": text is None,
        "partial": False,
        "truncated": False,
        "target": "lead",
        "model": "gpt",
        "usage": Usage(10, 5, estimated=True),
        "tool_calls": (),
        "duration": 1.0,
        "attempts": (),
    }
    return CallResult(**{**values, **more})


@attrs.define(eq=False)
class Model:
    """What the model call does: a coroutine function that is given the observer."""

    play: Callable[[Any], Awaitable[CallResult]]
    calls: list[ModelCall] = attrs.field(factory=list)
    chains: list[Any] = attrs.field(factory=list)
    cancelled: bool = False

    async def complete(self, chain: Any, holder: Any, call: ModelCall, *, observer: Any, **_: Any) -> CallResult:
        self.calls.append(call)
        self.chains.append(chain)
        try:
            return await self.play(observer)
        except trio.Cancelled:
            self.cancelled = True
            raise


class Crew(Host):
    """Stands for the run: hears everything; refuses the first `refusals` results; slow where told so."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    async def started(self) -> None:
        stage = self.stage
        brief = "A shop that sells tea"
        situation = Situation(
            self.ref, "r1", "ada", "analysis", 1, "Analyse it.", brief, held=stage.held, priority=Priority.CRITICAL
        )
        services = AgentServices({"analyst": AGENT}, stage.chain, CallLimits(), 4000, random.Random(1), box=stage.box)
        earlier = (EarlierStep("before", "Scout", "Nothing there."),)
        self.start_child(Spec("agent", lambda: AgentStep(situation, AGENT, earlier, services)))

    async def receive(self, message: Any) -> object:
        stage = self.stage
        if isinstance(message, ChildStarted):
            return None
        stage.heard.append((trio.current_time(), message))
        if stage.holds is not None and isinstance(message, Thinking):
            await stage.holds.wait()
        if isinstance(message, Answered | GaveNoAnswer) and stage.refusals:
            stage.refusals -= 1
            return stage.no
        return True

    def child_ended(self, cell: Any, reason: Reason) -> object:
        self.stage.ended = reason
        return super().child_ended(cell, reason) and None


@attrs.define(eq=False)
class Stage:
    """What a test holds on to."""

    model: Model
    heard: list[tuple[float, Any]] = attrs.field(factory=list)
    refusals: int = 0
    no: Any = None
    holds: trio.Event | None = None
    held: bool = False
    box: ToolBox = attrs.field(factory=ToolBox)
    ended: Reason | None = None
    reports: list[Report] = attrs.field(factory=list)
    system: Any = None
    chains_asked: list[tuple[str, ...]] = attrs.field(factory=list)

    def chain(self, models: tuple[str, ...]) -> Ref[Any]:
        self.chains_asked.append(models)
        ref: Ref[Any] = self.system.ref("/chain")
        return ref

    def told(self, kind: Any) -> list[Any]:
        return [message for _, message in self.heard if isinstance(message, kind)]

    @property
    def text(self) -> str:
        """What a client would have by the pieces."""
        text = ""
        for piece in self.told(Wrote):
            assert piece.offset <= len(text)
            text = text[: piece.offset] + piece.text
        return text

    @property
    def agent(self) -> Any:
        return self.system.ref("/agent").target.actor


@asynccontextmanager
async def stage_for(
    play: Callable[[Any], Awaitable[CallResult]], monkeypatch: pytest.MonkeyPatch, *, mailbox: int = 1000, **more: Any
) -> AsyncIterator[Stage]:
    stage = Stage(Model(play), **more)
    monkeypatch.setattr(step_module, "complete", stage.model.complete)
    started: list[System] = []

    class First(Crew):
        async def started(self) -> None:
            stage.system = self.system
            started.append(self.system)
            await super().started()

    spec = Spec("root", lambda: First(stage), mailbox=Mailbox(mailbox))
    async with open_system(spec, report=stage.reports.append):
        await settle()
        yield stage


async def writes(observer: Any, *pieces: str, pause: float = 0.0) -> CallResult:
    for piece in pieces:
        observer.text(piece)
        observer.caught_up()
        if pause:
            await trio.sleep(pause)
    return result("".join(pieces))


def test_a_whole_attempt(monkeypatch: Any) -> None:
    async def play(observer: Any) -> CallResult:
        observer.model("gpt")
        observer.retrying(RATE, 1.25)
        observer.fell_over("lead", "other", RATE)
        observer.fell_over("other", None, None)
        return await writes(observer, "Tea ", "is ", "", "🍵.", pause=0.01)

    async def main() -> None:
        async with stage_for(play, monkeypatch) as stage:
            await trio.sleep(5)
            assert isinstance(stage.heard[0][1], Thinking)
            assert stage.told(Retrying) == [Retrying("analysis", 1, ErrorType.RATE_LIMIT, 1.25)]
            assert stage.told(FellBack) == [
                FellBack("analysis", 1, "other", ErrorType.RATE_LIMIT),
                FellBack("analysis", 1, None, ErrorType.UNREACHABLE),
            ]
            assert stage.text == "Tea is 🍵."
            (answer,) = stage.told(Answered)
            assert (answer.text, answer.model, answer.degraded, answer.partial) == ("Tea is 🍵.", "gpt", False, False)
            assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.estimated) == (10, 5, True)
            assert answer.duration_ms == pytest.approx(40, abs=5)
            assert stage.heard[-1][1] is answer
            assert str(stage.ended) == "the step is done"
            (call,) = stage.model.calls
            assert call.priority is Priority.CRITICAL
            assert (call.models, call.user, call.run_id) == (("lead", "other"), "ada", "r1")
            assert call.parameters == {"temperature": 0.5, "max_tokens": 100}
            assert stage.chains_asked == [("lead", "other")]
            prompt = "\n".join(message.content for message in call.messages)
            assert "Nothing there." in prompt
            assert "Analyse it." in prompt

    virtual(main)


def test_the_first_piece_goes_at_once_and_the_next_ones_together(monkeypatch: Any) -> None:
    async def main() -> None:
        async with stage_for(lambda o: writes(o, *(f"{n:03}" for n in range(100)), pause=0.001), monkeypatch) as stage:
            await trio.sleep(5)
            pieces = [(at, message) for at, message in stage.heard if isinstance(message, Wrote)]
            assert pieces[0][1].text == "000"
            assert pieces[0][0] == pytest.approx(0.0, abs=0.001)
            assert 3 <= len(pieces) <= 6
            assert stage.text == "".join(f"{n:03}" for n in range(100))
            gaps = [later[0] - earlier[0] for earlier, later in pairwise(pieces[1:-1])]
            assert all(gap >= COALESCE - 0.001 for gap in gaps)

    virtual(main)


@settings(max_examples=examples(0.6), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(st.text(max_size=4), st.sampled_from([0.0, 0.0, 0.005, 0.05])), min_size=1, max_size=30),
    st.integers(1, 3),
    st.booleans(),
)
def test_no_text_is_lost_where_the_run_takes_nothing_for_a_while(
    pieces: list[tuple[str, float]], mailbox: int, slow: bool
) -> None:
    async def play(observer: Any) -> CallResult:
        for text, pause in pieces:
            observer.text(text)
            observer.caught_up()
            if pause:
                await trio.sleep(pause)
        return result("".join(text for text, _ in pieces))

    async def main() -> None:
        with pytest.MonkeyPatch.context() as monkeypatch:
            holds = trio.Event()
            async with stage_for(play, monkeypatch, mailbox=mailbox, holds=holds if slow else None) as stage:
                await trio.sleep(0.04)
                holds.set()
                await trio.sleep(30)
                (answer,) = stage.told(Answered)
                assert answer.text == "".join(text for text, _ in pieces)
                assert answer.text.startswith(stage.text)
                before = [m for _, m in stage.heard[: stage.heard.index(stage.heard[-1])] if isinstance(m, Wrote)]
                assert all(piece.text for piece in before)

    virtual(main)


def test_all_of_it_is_told_again_where_it_may_not_have_arrived(monkeypatch: Any) -> None:
    async def main() -> None:
        async with stage_for(lambda o: writes(o, "Tea ", "is ", "good", pause=1.0), monkeypatch) as stage:
            await trio.sleep(1.5)
            stage.heard.clear()
            stage.system.ref("/agent").tell(StartOver())
            await trio.sleep(0.1)
            (piece,) = stage.told(Wrote)
            assert (piece.offset, piece.text) == (0, "Tea is ")
            await trio.sleep(5)
            assert stage.text == "Tea is good"

    virtual(main)


def test_starting_over_before_anything_is_written(monkeypatch: Any) -> None:
    async def play(observer: Any) -> CallResult:
        await trio.sleep(1)
        return await writes(observer, "Tea")

    async def main() -> None:
        async with stage_for(play, monkeypatch) as stage:
            stage.system.ref("/agent").tell(StartOver())
            await trio.sleep(5)
            assert [piece.text for piece in stage.told(Wrote)] == ["Tea"]

    virtual(main)


def test_signs_of_work_while_nothing_comes(monkeypatch: Any) -> None:
    async def play(observer: Any) -> CallResult:
        observer.text("x" * 40)
        await trio.sleep(7)
        return result("x" * 40)

    async def main() -> None:
        async with stage_for(play, monkeypatch) as stage:
            await trio.sleep(3)
            assert stage.agent.inspect() == {"written": 40}
            await trio.sleep(30)
            assert [sign.elapsed_ms for sign in stage.told(Working)] == [1500, 3000, 4500, 6000]
            assert {sign.tokens for sign in stage.told(Working)} == {10}

    virtual(main)


class TestResting:
    def test_one_that_is_held_from_the_beginning_asks_nobody_until_it_may(self, monkeypatch: Any) -> None:
        async def main() -> None:
            async with stage_for(lambda o: writes(o, "Tea"), monkeypatch, held=True) as stage:
                await trio.sleep(3600)
                assert stage.model.calls == []
                assert stage.heard[0][1] == Held("analysis", 1, 0)
                assert stage.told(Working) == []  # who rests is not at work
                assert stage.told(Thinking) == []
                stage.system.ref("/agent").tell(Hold(7))
                await settle()
                assert stage.told(Held)[-1] == Held("analysis", 1, 7)
                stage.system.ref("/agent").tell(GoOn())
                await trio.sleep(5)
                assert stage.told(Answered)[0].text == "Tea"
                assert len(stage.model.calls) == 1

        virtual(main)

    def test_a_call_under_way_goes_on_to_its_end(self, monkeypatch: Any) -> None:
        async def main() -> None:
            async with stage_for(lambda o: writes(o, "Tea ", "is", pause=1.0), monkeypatch) as stage:
                await trio.sleep(0.5)
                stage.system.ref("/agent").tell(Hold(1))
                await trio.sleep(5)
                assert stage.told(Answered)[0].text == "Tea is"
                assert stage.told(Held) == []

        virtual(main)

    def test_one_that_only_waits_for_its_call_rests_at_once(self, monkeypatch: Any) -> None:
        async def play(observer: Any) -> CallResult:
            with trio.CancelScope() as waiting:
                observer.interrupts(waiting)
                await trio.sleep_forever()
            observer.interrupts(None)
            await observer.resumed()
            return await writes(observer, "Tea")

        async def main() -> None:
            async with stage_for(play, monkeypatch) as stage:
                await trio.sleep(0.5)
                stage.system.ref("/agent").tell(Hold(1))
                await settle()
                assert stage.heard[-1] == (trio.current_time(), Held("analysis", 1, 1))
                stage.system.ref("/agent").tell(GoOn())
                await trio.sleep(5)
                assert len(stage.told(Thinking)) == 2
                assert stage.told(Answered)[0].text == "Tea"

        virtual(main)

    def test_one_that_is_let_go_and_held_again_at_once_says_so_anew(self, monkeypatch: Any) -> None:
        async def main() -> None:
            async with stage_for(lambda o: writes(o, "Tea"), monkeypatch, held=True) as stage:
                await settle()
                for order in (GoOn(), Hold(2)):
                    stage.system.ref("/agent").tell(order)
                await trio.sleep(60)
                assert stage.model.calls == []
                assert stage.told(Held)[-1] == Held("analysis", 1, 2)
                stage.system.root.actor.stop_child("agent", within=5.0)
                await settle()
                assert stage.ended is not None

        virtual(main)


def test_a_sign_of_work_comes_at_least_every_two_seconds() -> None:
    assert SIGN_EVERY < 2


def test_a_degraded_answer_is_the_agents_own(monkeypatch: Any) -> None:
    async def play(_: Any) -> CallResult:
        return result(None, model=None, usage=None)

    async def main() -> None:
        async with stage_for(play, monkeypatch) as stage:
            await trio.sleep(5)
            (answer,) = stage.told(Answered)
            assert (answer.text, answer.model, answer.degraded) == (AGENT.degraded, None, True)
            assert answer.usage is None

    virtual(main)


def test_a_partial_answer_says_so(monkeypatch: Any) -> None:
    async def play(observer: Any) -> CallResult:
        return attrs.evolve(await writes(observer, "Half"), partial=True)

    async def main() -> None:
        async with stage_for(play, monkeypatch) as stage:
            await trio.sleep(5)
            assert stage.told(Answered)[0].partial

    virtual(main)


def test_a_call_that_cannot_be_answered_gives_no_answer(monkeypatch: Any) -> None:
    async def play(observer: Any) -> CallResult:
        raise CallFailed(attrs.evolve(RATE, kind="content_policy", error_type=ErrorType.CONTENT_POLICY), ())

    async def main() -> None:
        async with stage_for(play, monkeypatch) as stage:
            await trio.sleep(5)
            assert stage.told(GaveNoAnswer) == [
                GaveNoAnswer("analysis", 1, ErrorType.CONTENT_POLICY, Failure.CONTENT_POLICY)
            ]
            assert stage.told(Answered) == []
            assert str(stage.ended) == "the step is done"

    virtual(main)


def test_a_defect_ends_the_attempt_as_a_crash(monkeypatch: Any) -> None:
    async def play(observer: Any) -> CallResult:
        raise ZeroDivisionError

    async def main() -> None:
        async with stage_for(play, monkeypatch) as stage:
            await trio.sleep(5)
            assert isinstance(stage.ended, Crashed)
            assert [report.kind for report in stage.reports if isinstance(report, Crash)] == ["AgentStep"]

    virtual(main)


def test_the_result_is_told_until_it_is_taken(monkeypatch: Any) -> None:
    async def main() -> None:
        async with stage_for(lambda o: writes(o, "Tea"), monkeypatch, refusals=3, no=Refused("not now")) as stage:
            await trio.sleep(0.1)
            assert stage.ended is None
            await trio.sleep(30)
            assert len(stage.told(Answered)) == 4
            assert str(stage.ended) == "the step is done"

    virtual(main)


def test_stopping_the_agent_cancels_the_call(monkeypatch: Any) -> None:
    async def play(observer: Any) -> CallResult:
        observer.text("Tea")
        await trio.sleep_forever()
        raise AssertionError

    async def main() -> None:
        async with stage_for(play, monkeypatch) as stage:
            await trio.sleep(1)
            stage.system.root.actor.stop_child("agent", within=5.0)
            await settle()
            assert stage.model.cancelled
            assert not stage.told(Answered)

    virtual(main)


def test_leases_hear_of_gates_that_restart(monkeypatch: Any) -> None:
    async def main() -> None:
        heard: list[Any] = []

        class Holder:
            def __init__(self, actor: Actor) -> None:
                pass

            def heard(self, message: Any) -> bool:
                heard.append(message)
                return True

        monkeypatch.setattr(step_module, "Leaseholder", Holder)
        async with stage_for(lambda o: writes(o, "Tea", pause=5.0), monkeypatch) as stage:
            restarted = Restarted(stage.system.ref("/gate"), 1, Crashed(RuntimeError()))
            stage.system.ref("/agent").tell(restarted)
            await settle()
            assert heard == [restarted]

    virtual(main)


def test_what_a_step_is_told_of_earlier_ones() -> None:
    steps = (
        StepDefinition("a", "analyst", depends_on=()),
        StepDefinition("b", "analyst", depends_on=()),
        StepDefinition("c", "analyst", depends_on=("a",)),
        StepDefinition("d", "analyst", depends_on=("c", "a")),
    )
    record = new_record("ada", "r", "s", WorkflowDefinition("w", "W", steps), "brief", "now")
    record = record.put(attrs.evolve(record.step("a"), role="Analyst", text="A"))
    record = record.put(attrs.evolve(record.step("c"), missing="it was cancelled"))
    services = AgentServices({}, lambda _: None, CallLimits(), 1, random.Random(1))  # type: ignore[arg-type,return-value]
    assert services.earlier(record, record.step("d")) == (
        EarlierStep("a", "Analyst", "A"),
        EarlierStep("c", "analyst", None, "it was cancelled"),
    )
    assert services.earlier(record, record.step("b")) == ()


def test_what_counts_as_an_answer_for_others() -> None:
    step = StepRecord("a", "analyst", text="Tea")
    assert noted(step) == "Tea"
    assert noted(attrs.evolve(step, text=None)) is None
    assert noted(attrs.evolve(step, degraded=True)) is None
    assert noted(attrs.evolve(step, partial=True)) == "Tea\n\n(This answer broke off here.)"


async def test_an_answer_that_the_disk_takes_too_late_is_not_put_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step is over, and the next attempt may have written the file."""
    begun, goes_on, flush = threading.Event(), threading.Event(), os.fsync

    def hangs(handle: int) -> None:
        if stat.S_ISREG(os.fstat(handle).st_mode):
            begun.set()
            goes_on.wait(20)
        flush(handle)

    async def play(observer: Any) -> CallResult:
        return await writes(observer, "Tea.")

    monkeypatch.setattr(store_module.os, "fsync", hangs)
    monkeypatch.setattr(step_module, "KEEP_WITHIN", 0.05)
    store = Artifacts(tmp_path)
    folder = folder_of(store.root, "ada", "r1", "analysis")
    with trio.fail_after(20):
        async with stage_for(play, monkeypatch, box=ToolBox(artifacts=store)) as stage:
            while not (begun.is_set() and stage.told(Answered)):
                await trio.sleep(0.01)
            [answered] = stage.told(Answered)
            assert answered.artifact is None
            [unfinished] = folder.iterdir()
            goes_on.set()
            while unfinished.exists():
                await trio.sleep(0.01)
    assert list(folder.iterdir()) == []
