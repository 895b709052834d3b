"""Programs whose steps come all at once, so that no model can say what happens; some things must be so all the same."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import Any

import attrs
import trio

from runtime import ActorError, ChildRestart, GaveUp, InvalidSpec
from runtime._passive import PassiveTarget
from runtime.testing import assert_conserved
from tests.proofs.world import NAMES, Do, Stage


@attrs.define(eq=False)
class Storm:
    """Carries out steps on the world of a stage, without waiting for what they bring about.

    Attributes:
        told: the numbers of the messages that a `tell` has put in, by receiver, in order.
        requested: the numbers of the requests, all made by one actor, by receiver, in order.
        waiting: the numbers of those that somebody waits for.
        peaceful: nobody ends but to come back at the next message.
        happened: how often each order met its receiver in each state, and how often it came out in each way.
    """

    stage: Stage
    peaceful: bool
    number: int = 0
    told: dict[str, list[int]] = attrs.field(factory=lambda: {name: [] for name in NAMES})
    requested: dict[str, list[int]] = attrs.field(factory=lambda: {name: [] for name in NAMES})
    waiting: list[int] = attrs.field(factory=list)
    happened: Counter[str] = attrs.field(factory=Counter)

    async def play(self, step: tuple[Any, ...]) -> None:
        what, *more = step
        if self.peaceful and what in {"stop", "kill", "spawn", "script"}:
            return
        if what == "advance":
            await trio.sleep(more[0])
        elif what == "checkpoint":
            await trio.lowlevel.checkpoint()
        elif what == "flood":
            for _ in range(5):
                self.offer(more[0], more[1], "work", more[2])
        else:
            getattr(self, what)(*more)

    def offer(self, how: str, name: str, kind: str, within: float) -> None:
        if self.peaceful:
            kind = {"boom": "note", "leave": "idle"}.get(kind, kind)
        self.number += 1
        number, ref = self.number, self.stage.refs[name]
        message = Do(number, kind)
        self.stage.world.due[number] = trio.current_time() + within
        self.meet(how, name)
        if how == "tell":
            if ref.tell(message):
                self.told[name].append(number)
            return
        self.waiting.append(number)
        if how == "request":
            self.requested[name].append(number)
            self.stage.onlooker.tell(lambda onlooker: onlooker.request(ref, message, within, tag=number))
        else:
            self.stage.nursery.start_soon(self.stage.wait, getattr(ref, how), message, within)

    def meet(self, what: str, name: str) -> None:
        """Note in which state an order finds its receiver."""
        target = self.stage.refs[name].target
        cell = target.watchable()
        state = cell.state if cell is not None else "passive" if isinstance(target, PassiveTarget) else "gone"
        self.happened[f"{what} meets one that is {state}"] += 1

    def stop(self, name: str) -> None:
        def stop(top: Any) -> None:
            self.meet("stop", name)
            refused(top.stop_child, name)

        self.stage.top.tell(stop)

    def spawn(self, name: str) -> None:
        def spawn(top: Any) -> None:
            self.meet("start", name)
            refused(top.start_child, self.stage.specs[name])

        self.stage.top.tell(spawn)

    def kill(self, name: str) -> None:
        cell = self.stage.refs[name].target.watchable()
        if cell is not None and cell.running:
            self.meet("kill", name)
            cell.kill("by the program")

    def suspend(self, name: str) -> None:
        self.stage.kit.system.suspend(f"/top/{name}")

    def resume(self, name: str) -> None:
        self.stage.kit.system.resume(f"/top/{name}")

    def script(self, name: str, how: str) -> None:
        self.stage.world.starts[name].append(how)

    def say(self, what: str) -> None:
        self.stage.nursery.start_soon(say, self.stage.speaker, what)

    def check(self) -> None:
        """What must be so when the storm is over."""
        world = self.stage.world
        assert world.wrong == [], "; ".join(world.wrong)
        assert_conserved(self.stage.kit.system)
        for number in self.waiting:
            assert len(world.outcomes.get(number, [])) == 1, f"number {number} came out as {world.outcomes.get(number)}"
        for name, heard in world.heard.items():
            assert len(heard) == len(set(heard)), f"{name} has heard something twice: {heard}"
            for sent in (self.requested[name], self.told[name]):
                in_order = [number for number in heard if number in sent]
                assert in_order == sorted(in_order), f"{name} has heard {in_order}, which is out of order"
            if self.peaceful:
                assert in_order == self.told[name], f"{name} was told {self.told[name]} and heard {in_order}"

    def summary(self) -> Counter[str]:
        """Everything that has happened."""
        counts = Counter(self.happened)
        kinds = {ChildRestart: "a child is restarted", GaveUp: "the supervisor gives up"}
        counts.update(kinds[type(report)] for report in self.stage.kit.reports if type(report) in kinds)
        counts.update(f"a wait comes out as {self.stage.world.outcomes[number][0]}" for number in self.waiting)
        return counts


def refused(function: Any, argument: object) -> None:
    """A child that is already there, or that is not, is no failure of the supervisor's."""
    with suppress(InvalidSpec):
        function(argument)


async def say(speaker: Any, what: str) -> None:
    with suppress(ActorError):
        await speaker.ask(what, within=0.2)
