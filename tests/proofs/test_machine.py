"""Programs that hypothesis makes up, carried out on a supervisor and on a model of it, which must agree at every step.

Why a list of steps and not a `RuleBasedStateMachine`: a rule there is a plain function, and between two of them nothing
runs. A system of actors lives inside `trio.run`, so each rule would have to hand its step to a guest loop in another
greenlet or thread and wait for it; then the schedule is no longer a function of the example, and what fails cannot be
shrunk. A list of steps inside one `trio.run` shrinks like any list, together with trio's own choices, which hypothesis
draws as well. Steps that make no sense at their place do nothing, so any part of a program is a program.

The same programs are also played as a storm, step upon step without a pause: then no model can say what happens, but
much must be so all the same (`Storm.check`).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import trio
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from runtime.testing import open_test_system, run_in_virtual_time, settle
from supervisors import Restart, Strategy
from tests.proofs.storm import Storm
from tests.proofs.world import DEADLINES, LONG_ENOUGH, NAMES, Flat, Stage

names = st.sampled_from(NAMES)
STEPS = st.one_of(
    st.tuples(
        st.just("offer"),
        st.sampled_from(["tell", "ask", "request", "send"]),
        names,
        st.sampled_from(["note", "work", "boom", "leave", "idle"]),
        st.sampled_from(DEADLINES),
    ),
    st.tuples(st.just("offer"), st.just("tell"), names, st.just("boom"), st.just(DEADLINES[0])),
    st.tuples(st.just("flood"), st.sampled_from(["ask", "send"]), names, st.sampled_from(DEADLINES)),
    st.tuples(st.sampled_from(["stop", "kill", "spawn", "suspend", "resume"]), names),
    st.tuples(st.just("script"), names, st.sampled_from(["slow", "fail"])),
    st.tuples(st.just("advance"), st.sampled_from([0.25, 0.75, 2.0, 6.0])),
    st.tuples(st.just("say"), st.sampled_from(["boom", "hello"])),
)


def programs(steps: st.SearchStrategy[Any]) -> st.SearchStrategy[list[tuple[Any, ...]]]:
    """In parts, because hypothesis makes lists of five as a rule; and one that fails still shrinks to a step or two."""
    parts = st.tuples(*[st.lists(steps, max_size=12)] * 6)
    return parts.map(lambda parts: [step for part in parts for step in part])


WITHOUT_EXPLANATION = (Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink)
"""Explaining which part of a program matters runs every line of it under a tracer: minutes."""


async def carry_out(strategy: Strategy, restarts: tuple[Restart, ...], program: list[tuple[Any, ...]]) -> None:
    async with open_test_system(rng=Flat()) as kit, trio.open_nursery() as nursery:
        stage = await Stage.open(kit, nursery, strategy, restarts)
        await stage.compare()
        for step in program:
            await stage.play(step)
        for name in NAMES:
            await stage.play(("resume", name))
        await stage.play(("advance", LONG_ENOUGH))
        assert all(offer.outcome is not None for offer in stage.offers), "by its deadline every ask is resolved"
        await settle()
    assert stage.world.living == {}
    assert not any(stage.world.tasks.values())


@settings(max_examples=200, deadline=None, phases=WITHOUT_EXPLANATION)
@given(
    strategy=st.sampled_from(Strategy),
    restarts=st.tuples(*[st.sampled_from(Restart)] * len(NAMES)),
    program=programs(STEPS),
)
def test_a_supervisor_does_what_the_model_does(
    strategy: Strategy, restarts: tuple[Restart, ...], program: list[tuple[Any, ...]]
):
    run_in_virtual_time(carry_out, strategy, restarts, program)


async def weather(
    strategy: Strategy, restarts: tuple[Restart, ...], program: list[tuple[Any, ...]], *, peaceful: bool
) -> None:
    async with open_test_system(rng=Flat()) as kit, trio.open_nursery() as nursery:
        stage = await Stage.open(kit, nursery, strategy, restarts)
        storm = Storm(stage, peaceful)
        for step in program:
            await storm.play(step)
        for _ in range(2):
            for name in NAMES:
                storm.resume(name)
            await trio.sleep(LONG_ENOUGH)
        storm.check()
    assert stage.world.living == {}
    assert not any(stage.world.tasks.values())


@settings(max_examples=300, deadline=None, phases=WITHOUT_EXPLANATION)
@given(
    strategy=st.sampled_from(Strategy),
    restarts=st.tuples(*[st.sampled_from(Restart)] * len(NAMES)),
    program=programs(st.one_of(STEPS, st.just(("checkpoint",)))),
    peaceful=st.booleans(),
)
def test_what_holds_in_any_storm(
    strategy: Strategy, restarts: tuple[Restart, ...], program: list[tuple[Any, ...]], peaceful: bool
):
    run_in_virtual_time(partial(weather, peaceful=peaceful), strategy, restarts, program)
