"""A program of steps, played on the real thing: what hypothesis makes up, and what is typed in to have it again.

    python -m tests.proofs.replay machine one_for_one temporary,permanent,permanent,permanent 0 "kill b; advance 2.0"

The words are: how it is played, the strategy, the restart types of the four children, the seed of trio's scheduler, and
the steps. Exit code 1, and the reason, if something is not as it has to be. How it is played:

- `machine`: step by step, and after each step the real thing and the model must agree;
- `storm`: all steps at once, and `Storm.check` says what must be so when it is over;
- `peace`: a storm in which nobody ends but to come back at the next message, so that no message may be lost.
"""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs
import trio

from runtime.testing import open_test_system, run_in_virtual_time, settle
from supervisors import Restart, Strategy
from tests.proofs.storm import Storm
from tests.proofs.world import LONG_ENOUGH, NAMES, Flat, Stage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

Step: TypeAlias = tuple[Any, ...]
WAYS: Final = ("machine", "storm", "peace")


@attrs.frozen
class Play:
    """A program and how it is played.

    Attributes:
        way: one of `WAYS`.
        strategy: of the supervisor.
        restarts: the restart type of each child.
        seed: of trio's scheduler.
        program: the steps; each is the name of a method of `Stage`, or of `Storm`, and its arguments.
    """

    way: str
    strategy: Strategy
    restarts: tuple[Restart, ...]
    seed: int
    program: tuple[Step, ...]

    def run(self) -> Counter[str]:
        """Play it in virtual time. What has happened, and how often.

        Raises:
            AssertionError: something is not as it has to be. A note says how to have it again.
        """
        try:
            return run_in_virtual_time(self._staged, seed=self.seed)
        except BaseException as error:
            error.add_note(f"again: {self.line}")
            raise

    def least(self, seeds: range = range(16)) -> Play:
        """Of a play that fails, one with fewer steps that fails, too, if need be under another of the `seeds`.

        Hypothesis cannot take a step away and change the seed at once, and a schedule depends on every step.
        """
        for index in range(len(self.program)):
            program = (*self.program[:index], *self.program[index + 1 :])
            for seed in (self.seed, *seeds):
                shorter = attrs.evolve(self, seed=seed, program=program)
                try:
                    shorter.run()
                except AssertionError:
                    return shorter.least(seeds)
        return self

    @property
    def line(self) -> str:
        """What to type to have it again."""
        restarts = ",".join(restart.value for restart in self.restarts)
        words = (self.way, self.strategy.value, restarts, str(self.seed), text_of(self.program))
        return shlex.join(["python", "-m", "tests.proofs.replay", *words])

    @classmethod
    def of(cls, words: Sequence[str]) -> Play:
        """From the words of `line`, those after the module's name.

        Raises:
            ValueError: they are not five, or one of them is nothing that there is.
        """
        way, strategy, restarts, seed, program = words
        if way not in WAYS:
            raise ValueError(f"{way}: allowed are {', '.join(WAYS)}")
        types = tuple(map(Restart, restarts.split(",")))
        if len(types) != len(NAMES):
            raise ValueError(f"{restarts}: there are {len(NAMES)} children")
        return cls(way, Strategy(strategy), types, int(seed), steps_of(program))

    async def _staged(self) -> Counter[str]:
        """Play it on a stage of its own. An error comes out as it is, not in a group."""
        failure: AssertionError | None = None
        happened: Counter[str] = Counter()
        async with open_test_system(rng=Flat()) as kit:
            async with trio.open_nursery() as nursery:
                stage = await Stage.open(kit, nursery, self.strategy, self.restarts)
                play: Callable[[Stage], Awaitable[Counter[str]]]
                play = self._step_by_step if self.way == "machine" else self._at_once
                try:
                    happened = await play(stage)
                except AssertionError as error:
                    failure = error
                    nursery.cancel_scope.cancel()
            if failure is not None:
                raise failure
        assert stage.world.living == {}, "actors outlive their system"
        assert not any(stage.world.tasks.values()), "tasks outlive their host"
        return happened

    async def _step_by_step(self, stage: Stage) -> Counter[str]:
        await stage.compare()
        for step in self.program:
            await stage.play(step)
        for name in NAMES:
            await stage.play(("resume", name))
        await stage.play(("advance", LONG_ENOUGH))
        assert all(offer.outcome is not None for offer in stage.offers), "by its deadline every ask is resolved"
        await settle()
        return stage.summary()

    async def _at_once(self, stage: Stage) -> Counter[str]:
        storm = Storm(stage, peaceful=self.way == "peace")
        for step in self.program:
            await storm.play(step)
        for _ in range(2):
            for name in NAMES:
                storm.resume(name)
            await trio.sleep(LONG_ENOUGH)
        storm.check()
        return storm.summary()


def text_of(program: Sequence[Step]) -> str:
    """Steps as text: words, with a semicolon between two steps."""
    return "; ".join(" ".join(map(str, step)) for step in program)


def steps_of(text: str) -> tuple[Step, ...]:
    """The opposite of `text_of`."""
    steps = (part.split() for part in text.split(";"))
    return tuple(tuple(float(word) if word[0].isdigit() else word for word in step) for step in steps if step)


def main(words: Sequence[str]) -> int:
    play = Play.of(words)
    try:
        happened = play.run()
    except AssertionError as error:
        print(f"{type(error).__name__}: {error}")
        return 1
    print("all is as it has to be:", ", ".join(f"{count} x {what}" for what, count in sorted(happened.items())))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
