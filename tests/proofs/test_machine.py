"""Programs that hypothesis makes up, carried out on a supervisor and on a model of it, which must agree at every step.

Why a list of steps and not a `RuleBasedStateMachine`: a rule there is a plain function, and between two of them nothing
runs. A system of actors lives inside `trio.run`, so each rule would have to hand its step to a guest loop in another
greenlet or thread and wait for it; then the schedule is no longer a function of the example, and what fails cannot be
shrunk. A list of steps inside one `trio.run` shrinks like any list, and so does the seed of the schedule, which is
drawn with it. Steps that make no sense at their place do nothing, so any part of a program is a program.

The same programs are also played as a storm, step upon step without a pause: then no model can say what happens, but
much must be so all the same (`Storm.check`). What fails is printed with one line that has it again (see `replay`).

A rule that no program ever needs is not tested. So everything that has a rule is counted, and each test ends with a
look at what has never happened in it.
"""

from __future__ import annotations

from collections import Counter
from itertools import chain, cycle, product
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from supervisors import Restart, Strategy
from tests.proofs.replay import Play, Step, steps_of
from tests.proofs.world import DEADLINES, NAMES
from tests.support.examples import examples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

names = st.sampled_from(NAMES)
ways = st.sampled_from(["tell", "ask", "request", "send"])
deadlines = st.sampled_from(DEADLINES)
SOON = DEADLINES[0]
Scene: TypeAlias = list[Step]


def scene(*parts: Any) -> st.SearchStrategy[Scene]:
    """A scene of one step. A part that is no strategy is the same each time."""
    drawn = (part if isinstance(part, st.SearchStrategy) else st.just(part) for part in parts)
    return st.tuples(*drawn).map(lambda step: [step])


KINDS = ("note", "work", "boom", "leave", "idle")
ARRIVALS: tuple[tuple[Step, ...], ...] = (
    (("checkpoint",),),
    (("script", "a", "slow"), ("kill", "a"), ("advance", 0.25)),
    (("suspend", "a"), ("advance", 0.25)),
    (("offer", "tell", "a", "work", SOON), ("checkpoint",)),
    (("flood", "send", "a", SOON),),
    (("kill", "a"), ("checkpoint",)),
    (("stop", "a"), ("checkpoint",)),
    (("stop", "a"), ("advance", 0.25)),
    (("offer", "tell", "a", "idle", SOON), ("checkpoint",)),  # the others have a task, which keeps them
    (("offer", "tell", "a", "idle", SOON), ("checkpoint",), ("checkpoint",)),
    (("offer", "tell", "a", "idle", SOON), ("advance", 0.25)),
)
"""How a child is brought into a state: at rest, starting, suspended, at work, full, about to end, gone, passive."""
DEEDS: tuple[Step, ...] = (
    *(("offer", way, "a", kind, SOON) for way in ("tell", "ask", "request", "send") for kind in KINDS),
    *((order, "a") for order in ("stop", "kill", "spawn", "suspend")),
)
"""What then happens to it."""
AFTERWARDS = steps_of("advance 0.25; resume a; offer ask a note 0.507; kill b; offer tell c leave 0.507; kill d")
ENDINGS = (*(f"offer tell c {kind} 0.507; kill b" for kind in ("boom", "leave")), "script b fail; " * 4 + "kill b")


def meetings() -> Iterator[tuple[Strategy, tuple[Restart, ...], tuple[Step, ...]]]:
    """Each way to arrive with each deed, strategies and restart types taking turns; and how a supervisor gives up."""
    casts = cycle(product(Strategy, (Restart.PERMANENT, Restart.TRANSIENT)))
    for arrival, deed in product(ARRIVALS, DEEDS):
        strategy, restart = next(casts)
        yield strategy, (restart, Restart.PERMANENT, Restart.TEMPORARY, restart), (*arrival, deed, *AFTERWARDS)
    for strategy, ending, restart in product(Strategy, ENDINGS, Restart):
        yield strategy, (restart, Restart.PERMANENT, restart, restart), steps_of(ending)


@st.composite
def encounters(draw: st.DrawFn) -> Scene:
    """As `meetings`, with any child."""
    name = draw(names)
    steps = (*draw(st.sampled_from(ARRIVALS)), draw(st.sampled_from(DEEDS)))
    return [tuple(name if part == "a" else part for part in step) for step in steps]


OFFERS = scene("offer", ways, names, st.sampled_from(KINDS), deadlines)
ENDS_BY_ITSELF = scene("offer", ways, names, st.sampled_from(["boom", "leave"]), deadlines)
CRASHES = scene("offer", "tell", names, "boom", SOON)
FLOODS = scene("flood", st.sampled_from(["ask", "send"]), names, deadlines)
ORDERS = scene(st.sampled_from(["stop", "kill", "spawn", "suspend", "resume"]), names)
SCRIPTS = scene("script", names, st.sampled_from(["slow", "fail"]))
CRUMBLES = names.map(lambda name: [*[("script", name, "fail")] * 4, ("offer", "tell", name, "boom", SOON)])
PAUSES = scene("advance", st.sampled_from([0.25, 0.75, 2.0, 6.0]))
SPEECHES = scene("say", st.sampled_from(["boom", "hello"]))
FALLS = st.just([("say", "boom")] * 3)
CHECKPOINTS = scene("checkpoint")
LIFE = (OFFERS, ENDS_BY_ITSELF, CRASHES, FLOODS, ORDERS, SCRIPTS, CRUMBLES, PAUSES, encounters())
TALK = (SPEECHES, FALLS, PAUSES)
WEATHER = (*LIFE, SPEECHES, CHECKPOINTS, CHECKPOINTS)


def programs(*scenes: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Step, ...]]:
    """In parts, because hypothesis makes lists of five as a rule; and one that fails still shrinks to a step or two."""
    parts = st.tuples(*[st.lists(st.one_of(*scenes), max_size=12)] * 6)
    return parts.map(lambda parts: tuple(chain.from_iterable(chain.from_iterable(parts))))


strategies = st.sampled_from(Strategy)
restarts_of_all = st.tuples(*[st.sampled_from(Restart)] * len(NAMES))
seeds = st.integers(0, 2**16)
WITHOUT_EXPLANATION = (Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink)
"""Explaining which part of a program matters runs every line of it under a tracer: minutes."""


def shared(portion: float) -> settings:
    """So many examples as a portion of what the profile says."""
    return settings(max_examples=examples(portion), deadline=None, phases=WITHOUT_EXPLANATION)


ENDS = ("answer", "Dead", "Full", "HandlerFailed", "TimedOut")
OF_A_SUPERVISOR = {
    *(f"tell comes out as {end}" for end in ("taken", "Dead", "Full")),
    *(f"{way} comes out as {end}" for way in ("ask", "request") for end in ENDS),
    *(f"send comes out as {end}" for end in ("taken", "Dead", "TimedOut")),
    *(f"{kind} is handled" for kind in KINDS),
    *(f"a {restart.value} child ends: {why}" for restart in Restart for why in ("crash", "normal")),
    *(f"a sibling pulls a {restart.value} child down: stopped" for restart in Restart),
    *(f"a restart, {strategy.value}" for strategy in Strategy),
    *(f"the supervisor gives up, {strategy.value}" for strategy in Strategy),
    *(f"a child is {what}{when}" for what in ("stopped", "killed") for when in ("", " at work")),
    *("a child is added", "a start is slow", "a start fails", "a restart joins one that is under way"),
    *("a child passivates", "a passive child is woken", "a passive child is stopped"),
    *("a message waits for who is suspended", "messages wait over an end", "what nobody waits for is skipped"),
    "a sender that has waited is let in",
}
OF_A_FALLBACK = {
    *(f"the {name} {what}" for name in ("lead", "understudy") for what in ("answers", "is left alone")),
    *(f"the {name} {what} a probe" for name in ("lead", "understudy") for what in ("answers", "fails")),
    "nobody is left to answer",
}
UP_AND_DOWN = steps_of(
    "say boom; say boom; say boom; say hello; advance 6; say boom; advance 2; say boom; say boom; say boom; say boom;"
    "advance 4; say hello; say boom; say boom; say boom; advance 2; say boom; advance 2; say boom;"
    "advance 20; say hello; say hello"
)
STATES = ("starting", "running", "suspended", "stopping", "gone", "passive")
OF_A_STORM = {
    *(f"{way} meets one that is {state}" for way in ("tell", "ask", "request", "send") for state in STATES),
    *(f"{order} meets one that is {state}" for order in ("stop", "start") for state in STATES),
    *(f"kill meets one that is {state}" for state in ("starting", "running", "suspended", "stopping")),
    *(f"a wait comes out as {end}" for end in (*ENDS, "taken")),
    *("a child is restarted", "the supervisor gives up"),
}


@attrs.define(eq=False)
class Season:
    """The plays of one test.

    Attributes:
        happened: what has happened in them, and how often.
        last: the play that came last; of one that fails, the smallest that hypothesis has found.
    """

    happened: Counter[str] = attrs.field(factory=Counter)
    last: Play | None = None

    def give(self, *parts: Any) -> None:
        self.last = Play(*parts)
        self.happened.update(self.last.run())

    def explore(self, example: Callable[[], None]) -> None:
        """Have hypothesis make up plays. What fails is told in one line, as short as can be."""
        try:
            example()
        except AssertionError as error:
            if self.last is not None:
                error.add_note(f"in short: {self.last.least().line}")
            raise

    def never(self, rules: set[str]) -> set[str]:
        """What no play has needed."""
        return {what for what in rules if not self.happened[what]}


def test_a_supervisor_does_what_the_model_does():
    season = Season()

    @shared(0.4)
    @given(strategies, restarts_of_all, seeds, programs(*LIFE))
    def machine(strategy: Strategy, restarts: tuple[Restart, ...], seed: int, program: tuple[Step, ...]) -> None:
        season.give("machine", strategy, restarts, seed, program)

    season.explore(machine)
    for strategy, restarts, program in meetings():
        season.give("machine", strategy, restarts, 0, program)
    assert season.never(OF_A_SUPERVISOR) == set()


def test_a_fallback_does_what_the_model_does():
    season = Season()

    @shared(0.25)
    @given(seeds, programs(*TALK))
    @example(0, UP_AND_DOWN)
    def machine(seed: int, program: tuple[Step, ...]) -> None:
        season.give("machine", Strategy.ONE_FOR_ONE, (Restart.PERMANENT,) * 4, seed, program)

    season.explore(machine)
    assert season.never(OF_A_FALLBACK) == set()


def test_what_holds_in_any_storm():
    season = Season()

    @shared(1.2)
    @given(st.sampled_from(["storm", "peace"]), strategies, restarts_of_all, seeds, programs(*WEATHER))
    def weather(
        way: str, strategy: Strategy, restarts: tuple[Restart, ...], seed: int, program: tuple[Step, ...]
    ) -> None:
        season.give(way, strategy, restarts, seed, program)

    season.explore(weather)
    for seed, (strategy, restarts, program) in enumerate(meetings()):
        for way in ("storm", "peace"):
            season.give(way, strategy, restarts, seed, program)
    assert season.never(OF_A_STORM) == set()
