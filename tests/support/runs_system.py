"""Real runs on real contexts, in virtual time, with agents that do what a script says."""

from __future__ import annotations

import json
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
import trio

from actors.agents.definitions import AgentDefinition
from actors.agents.step import AgentServices
from actors.models.model_call import CallLimits
from actors.protocol.codes import ErrorType
from actors.protocol.event_types import RUN_ENDS, ToolStatus
from actors.protocol.events import Stamp, encode
from actors.protocol.stamps import Stamps
from actors.tools.toolbox import ToolBox
from actors.users.keys import OPEN, run_key
from actors.workflows import run as run_module
from actors.workflows.attempts import AttemptLimits
from actors.workflows.definitions import StepDefinition, WorkflowDefinition
from actors.workflows.keeping import ReadKept
from actors.workflows.messages import (
    Answered,
    ChildAnswered,
    FellBack,
    GaveNoAnswer,
    GoOn,
    Held,
    Hold,
    Retrying,
    StartChildAgent,
    StartOver,
    Thinking,
    UsedTool,
    UsingTool,
    Working,
    Wrote,
)
from actors.workflows.run import RunServices
from actors.workflows.runs import Runs
from runtime import Actor, Refused, TimedOut
from tests.support.grammar import check
from tests.support.grammar_log import welcomed
from tests.support.users_system import OFTEN, START, UsersSystem, users_system

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    import pytest

    from actors.agents.prompts import EarlierStep
    from actors.workflows.messages import Situation
    from actors.workflows.record import RunRecord
    from runtime import Reason, System
    from supervisors import Intensity
    from tests.support.memory_journal import Plan

AGENTS = {
    name: AgentDefinition(name, name.capitalize(), f"You are the {name}.") for name in ("analyst", "tester", "writer")
}
STAMP = Stamp("welcome", "2026-11-20T08:30:00.000Z")
BRIEF = "A shop that sells tea by weight"


def workflow(*steps: StepDefinition) -> WorkflowDefinition:
    return WorkflowDefinition("delivery", "Delivery", steps)


THREE = workflow(
    StepDefinition("analysis", "analyst", mission="Analyse it."),
    StepDefinition("test", "tester"),
    StepDefinition("text", "writer"),
)

TWO_CALLS = {("test", 1): ["think", "write", "wait 1", "think", "write", "answer"]}
"""The tester calls its model twice."""


def answer(step: str, attempt: int) -> str:
    return f"The answer of {step}, attempt {attempt}."


@attrs.define(eq=False)
class Script:
    """What agents do, by step and attempt; who is not named thinks, writes in pieces and answers.

    A script is a sequence of: think, write, write TEXT, answer, answer TEXT, degraded, partial, retry, fall back,
    work, give up, crash, hang, wait SECONDS, leave, tool, tool done, child AGENT [SECONDS]. An agent that is told to
    hold rests before it thinks, which it may do again and again: `think` stands for a call to the model. `child` is a
    call of a tool that starts an agent, and takes no longer than SECONDS.
    """

    plays: dict[tuple[str, int], list[str]] = attrs.field(factory=dict)
    situations: list[Situation] = attrs.field(factory=list)
    calls: list[tuple[str, int]] = attrs.field(factory=list)
    """Of the model, by step and attempt."""
    earlier: list[tuple[EarlierStep, ...]] = attrs.field(factory=list)
    started_over: list[str] = attrs.field(factory=list)
    children: list[tuple[str, str | None, str]] = attrs.field(factory=list)
    """What came of each `child`: whose it was, its text, and the sentence."""
    pace: float = 0.1
    lingers: float = 0.0
    """Seconds that an agent takes to end."""

    def of(self, situation: Situation) -> list[str]:
        own = self.plays.get((situation.step, situation.attempt))
        return ["think", "write", "write", "answer"] if own is None else own


class Player(Actor):
    """An agent that plays its part."""

    def __init__(
        self, situation: Situation, definition: AgentDefinition, earlier: Sequence[EarlierStep], services: Any
    ) -> None:
        self.situation = situation
        self.script: Script = services.script
        self.script.situations.append(situation)
        self.script.earlier.append(tuple(earlier))
        self.offset = 0
        self.number = 0
        self.hold: int | None = 0 if situation.held else None
        self.rests = False
        self.released = trio.Event()

    async def started(self) -> None:
        self.start(self.play)

    async def receive(self, message: Any) -> object:
        if isinstance(message, StartOver):
            self.script.started_over.append(self.situation.step)
        match message:
            case Hold(number):
                self.hold = number
                if self.rests:
                    self.situation.run.tell(Held(self.situation.step, self.situation.attempt, number))
            case GoOn():
                self.hold = None
                self.released.set()
        error = getattr(message, "error", None)
        if error is not None:
            raise error
        return None

    async def stopped(self, reason: Reason) -> None:
        await trio.sleep(self.script.lingers)

    async def play(self) -> None:
        step, attempt, run = self.situation.step, self.situation.attempt, self.situation.run
        for line in self.script.of(self.situation):
            await trio.sleep(self.script.pace)
            verb, _, rest = line.partition(" ")
            match verb:
                case "think":
                    while self.hold is not None:
                        self.rests, self.released = True, trio.Event()
                        run.tell(Held(step, attempt, self.hold))
                        await self.released.wait()
                    self.rests = False
                    self.script.calls.append((step, attempt))
                    run.tell(Thinking(step, attempt))
                case "tool" if rest == "done":
                    call, self.call = self.call, ""
                    run.tell(UsedTool(step, attempt, call, "search", ToolStatus.SUCCESS, 5, "found"))
                case "tool":
                    self.call = f"{step}.{attempt}.{self.offset}"
                    run.tell(UsingTool(step, attempt, self.call, "search", {"words": "tea"}))
                case "child":
                    await self.child(*rest.split())
                case "write":
                    text = rest or answer(step, attempt)[self.offset : self.offset + 7]
                    run.tell(Wrote(step, attempt, self.offset, text))
                    self.offset += len(text)
                case "work":
                    run.tell(Working(step, attempt, 2000, 3))
                case "retry":
                    run.tell(Retrying(step, attempt, ErrorType(rest or "rate_limit"), 1.5))
                case "fall":
                    run.tell(FellBack(step, attempt, "other", ErrorType.TIMEOUT))
                    run.tell(FellBack(step, attempt, None, ErrorType.TIMEOUT))
                case "answer" | "degraded" | "partial":
                    whole = rest or answer(step, attempt)
                    if whole[self.offset :]:
                        run.tell(Wrote(step, attempt, self.offset, whole[self.offset :]))
                    await self.give(whole, verb)
                    self.stop("done")
                case "give":
                    await run.ask(GaveNoAnswer(step, attempt, ErrorType.CONTENT_POLICY), 30)
                    self.stop("done")
                case "crash":
                    raise RuntimeError("planned")
                case "hang":
                    await trio.sleep_forever()
                case "wait":
                    await trio.sleep(float(rest))
                case "leave":
                    self.stop("for no reason")

    async def child(self, agent: str, within: str = "600") -> None:
        step, attempt, run = self.situation.step, self.situation.attempt, self.situation.run
        self.number += 1
        call = f"{step}.{attempt}.call{self.number}"
        run.tell(UsingTool(step, attempt, call, "start_agent", {"agent": agent}))
        try:
            answered = await run.ask(StartChildAgent(step, attempt, call, agent, f"For {step}."), float(within))
        except (Refused, TimedOut) as error:
            answered = ChildAnswered(None, str(getattr(error, "reason", "overdue")))
        self.script.children.append((step, answered.text, answered.sentence))
        run.tell(UsedTool(step, attempt, call, "start_agent", ToolStatus.SUCCESS, 5, answered.text))

    async def give(self, text: str, verb: str) -> None:
        step, attempt, run = self.situation.step, self.situation.attempt, self.situation.run
        degraded = verb == "degraded"
        model = None if degraded else "gpt"
        await run.ask(Answered(step, attempt, text, model, degraded, verb == "partial", None, 12), 60)


@attrs.frozen
class ScriptedServices(AgentServices):
    script: Script = attrs.field(kw_only=True)


@attrs.define(eq=False)
class RunsSystem:
    """What a test holds on to."""

    base: UsersSystem
    script: Script

    @property
    def plan(self) -> Plan:
        return self.base.plan

    async def start(self, command_id: str = "c1") -> str:
        reply = await self.base.handle({"id": command_id, "type": "start_run", "content": BRIEF})
        run_id: str = reply["run_id"]
        return run_id

    async def cancel(self, run_id: str, *, command_id: str = "x1", **more: Any) -> Any:
        return await self.steer("cancel", run_id, command_id=command_id, **more)

    async def pause(self, run_id: str, *, command_id: str = "p1", **more: Any) -> Any:
        return await self.steer("pause", run_id, command_id=command_id, **more)

    async def resume(self, run_id: str, *, command_id: str = "r1", **more: Any) -> Any:
        return await self.steer("resume", run_id, command_id=command_id, **more)

    async def steer(self, order: str, run_id: str, *, command_id: str, **more: Any) -> Any:
        fields = {"id": command_id, "type": f"{order}_run", "metadata": {"run_id": run_id, **more}}
        return await self.base.handle(fields)

    def path(self, run_id: str) -> str:
        return f"/runs/{run_id}"

    def alive(self, path: str) -> bool:
        """Whether an actor is there, running or about to."""
        node = self.base.system.tree().find(path)
        return node is not None and node.state != "ended"

    def record(self, run_id: str) -> RunRecord:
        kept = ReadKept(run_key("ada", run_id)).run(self.plan.storage)  # type: ignore[arg-type]
        assert kept is not None
        return kept.record()

    def log(self) -> list[dict[str, Any]]:
        """Ada's log, as its events would be sent."""
        events = self.plan.storage.log_of("ada").events
        return [{"seq": seq, **json.loads(events[seq].body)} for seq in sorted(events)]

    def story(self) -> list[str]:
        """Ada's log in short: `running 1`, `analysis.1 started`, `analysis.1 =text`."""
        return [short(frame) for frame in self.log()]

    async def ended(self, run_id: str, *, within: float = 3600.0) -> str:
        """Wait for the run's end, verify everything, and give its status."""
        with trio.fail_after(within):
            while (status := self.record(run_id).status) not in RUN_ENDS:
                await trio.sleep(0.05)
        await trio.sleep(20)
        self.verify(run_id)
        return str(status)

    async def until_status(self, run_id: str, status: str) -> None:
        with trio.fail_after(600):
            while self.record(run_id).status != status:
                await trio.sleep(0.01)

    async def until_called(self, step: str) -> None:
        """Wait until the first attempt at this step has asked its model."""
        with trio.fail_after(600):
            while (step, 1) not in self.script.calls:
                await trio.sleep(0.01)

    async def paused_while(self, step: str) -> str:
        """A run that was told to pause while this step's model was asked, and has come to rest."""
        run_id = await self.start()
        await self.until_called(step)
        await self.pause(run_id)
        await self.until_status(run_id, "paused")
        return run_id

    def causes(self) -> dict[str, str]:
        """The event that each command is named in, in short."""
        named = zip(self.log(), self.story(), strict=True)
        return {frame["metadata"]["cause"]: line for frame, line in named if "cause" in frame["metadata"]}

    def verify(self, run_id: str, *, over: bool = True) -> None:
        """Log and record agree, the grammar holds, nothing is left."""
        log = self.log()
        assert check(log, connection=False, ends_midrun=not over) == []
        record = self.record(run_id)
        statuses = [frame for frame in log if frame["type"] == "run_status" and frame["run_id"] == run_id]
        assert statuses[-1]["metadata"]["status"] == record.status
        assert statuses[-1]["metadata"]["done"] <= record.done
        for step in record.steps:
            own = [frame for frame in log if frame["metadata"].get("step") == step.name and frame["run_id"] == run_id]
            begun = [frame for frame in own if frame["metadata"].get("status") == "started"]
            assert len(begun) == step.attempt
            texts = [frame["content"] for frame in own if frame["type"] == "agent_response"]
            assert texts == ([] if step.text is None else [step.text])
            if step.ended:
                assert own[-1]["metadata"]["status"] == step.status
        if over:
            assert (OPEN, run_key("ada", run_id)) not in self.plan.storage.state
            assert not any(step.open for step in record.steps)
            assert not self.alive(self.path(run_id))
        for follower in self.base.followers:
            if follower.closed is None:
                frames = [hello(follower), *follower.frames]
                lossy = bool(self.base.crashes("UserContext"))
                violations = check(frames, ends_midrun=not over, lossy=lossy)
                assert not violations, violations
                assert [frame for frame in follower.frames if "seq" in frame] == log[after_of(follower) :]


def after_of(follower: Any) -> int:
    """The seq behind which the follower began."""
    after: int = follower.began.seq if follower._after is None else follower._after
    return after


def hello(follower: Any) -> dict[str, Any]:
    """The `welcome` that this follower's client would have got."""
    began = follower.began
    replayed = began.seq - after_of(follower)
    event = welcomed(STAMP, user_id="ada", epoch=began.epoch, seq=began.seq, resumed=True, replayed=replayed)
    frame: dict[str, Any] = json.loads(encode(event))
    return frame


def short(frame: dict[str, Any]) -> str:
    metadata = frame["metadata"]
    where = f"{metadata.get('step')}.{metadata.get('attempt')}"
    match frame["type"]:
        case "run_status":
            return f"{metadata['status']} {metadata['done']}"
        case "agent_status":
            why = f" {metadata['error_type']}" if "error_type" in metadata else ""
            return f"{where} {metadata['status']}{why}"
        case "agent_response":
            return f"{where} ={frame['content']}"
        case "tool_executing" | "tool_completed":
            return f"{where} {frame['type']} {metadata.get('status', '')}".rstrip()
    return str(frame["type"])


@asynccontextmanager
async def runs_system(
    monkeypatch: pytest.MonkeyPatch,
    definition: WorkflowDefinition = THREE,
    *,
    plays: dict[tuple[str, int], list[str]] | None = None,
    daemon: str = "d1",
    plan: Plan | None = None,
    budget: Intensity = OFTEN,
    run_budget: Intensity | None = None,
    limits: AttemptLimits | None = None,
    keep: float = 604_800.0,
    coordinator: bool = False,
    artifacts: Any = None,
) -> AsyncIterator[RunsSystem]:
    """Runs of this workflow, for ada."""
    monkeypatch.setattr(run_module, "AgentStep", Player)
    script = Script(plays or {})
    holder: list[System] = []
    limits = limits or AttemptLimits()
    stamps = Stamps(random.Random(5), lambda: START + trio.current_time())
    agents = ScriptedServices(
        AGENTS,
        lambda _: holder[0].ref("/"),
        CallLimits(),
        4000,
        random.Random(1),
        box=ToolBox(artifacts=artifacts),
        script=script,
    )

    def make() -> Runs:
        (system,) = holder
        services = RunServices(system.ref("/users"), system.ref("/storage"), stamps, agents, daemon, limits)
        if coordinator:
            services = attrs.evolve(services, coordinator=system.ref("/coordinator"))
        runs = Runs(services, keep)
        if run_budget is not None:
            runs.budget = run_budget
        return runs

    async with users_system(runs=make, plan=plan, budget=budget, workflow=definition, holder=holder) as base:
        yield RunsSystem(base, script)
