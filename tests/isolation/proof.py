"""Nothing of one user reaches another: everybody at work at once, and everything looked at that anybody is given.

    python -m tests.isolation.proof [--rounds N] [--users N] [--seed S] [--data DIRECTORY]
    python -m tests.isolation.proof --leaks

The whole daemon in this process, over real sockets, with the real journal on the disk. What each user does follows from
the seed; how it all interleaves, the machine decides. Everything that a user says holds a word that is that user's.

- No frame on any connection, no answer over HTTP, holds another's word or another's id (of a run, a task, a memory, a
  log).
- No request to a model holds the words of two users.
- No row of the database, and no file, is kept with another than whose words it holds.
- What operators read (metrics, the tree, statistics, the log) holds nobody's words, and no key.
- A worker is given its own user's tasks, unless it has come to work for all.
- The daemon itself counts no violation of isolation: where its second line of defence had to act, the first has failed.

A round with users in the role of users, one in which all are operators, and so on; between them the daemon is started
anew on the same data, with runs and tasks under way. `--leaks` breaks isolation on purpose, in one place after the
other, and shows that each time it is found.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs
import trio

from tests.isolation.disk import look_at_disk
from tests.isolation.leaks import LEAKS
from tests.isolation.marks import Marks
from tests.isolation.provider import Provider, attentive_provider
from tests.isolation.world import SHARED, World

if TYPE_CHECKING:
    from collections.abc import Iterable

PEOPLE: Final = ("ada", "grace", "alan", "edsger", "barbara")


@attrs.define
class Summary:
    """What came of it."""

    seed: int
    users: int
    rounds: int
    seconds: float
    happened: dict[str, int]
    kept: dict[str, int]
    provider: Provider
    marks: Marks

    def lines(self) -> Iterable[str]:
        yield f"seed {self.seed}: {self.users} users, {self.rounds} daemons one after the other, {self.seconds:.0f} s"
        provider = self.provider
        yield (
            f"requests to the model: {provider.requests}, {provider.with_tools} of them with what tools have said; "
            f"refused {provider.refused}, cut {provider.cut}, left by the daemon {provider.left}"
        )
        yield f"texts looked at: {self.marks.looked_at}; marks: {len(self.marks.owners)}"
        yield "kept: " + ", ".join(f"{count} {what}" for what, count in sorted(self.kept.items()))
        for what, count in sorted(self.happened.items()):
            yield f"{count:7}  {what}"
        yield from (f"WRONG: {sentence[:2000]}" for sentence in self.marks.wrong[:20])
        yield "nothing of one user has reached another" if not self.marks.wrong else "ISOLATION IS BROKEN"


async def prove(
    data: Path,
    *,
    seed: int,
    users: int = 3,
    rounds: int = 2,
    parts: int = 2,
    pause: float = 0.03,
    broken: AbstractContextManager[object] | None = None,
) -> Summary:
    """All of it. What is wrong stands in the summary's marks; with the first it ends.

    Args:
        data: for the daemon's data.
        seed: decides who does what.
        users: how many.
        rounds: how many daemons, one after the other.
        parts: that everything is cut into; on each daemon everybody does the next.
        pause: seconds, the longest of everybody between two acts.
        broken: what is broken on purpose.
    """
    began = time.monotonic()
    rng, marks = random.Random(seed), Marks()
    kept: dict[str, int] = {}
    provider = Provider(marks, rng)
    happened: dict[str, int] = {}

    async def all_of_it() -> None:
        nonlocal kept, provider, happened
        luck = random.Random(rng.getrandbits(64))
        async with attentive_provider(marks, luck) as provider, trio.open_nursery() as devices:
            world = World(data, marks, provider, rng, devices)
            happened = world.happened
            shared = rng.sample(SHARED, len(SHARED))
            for number in range(rounds):
                async with world.running(operators=number % 2 == 1):
                    for user in () if number else PEOPLE[:users]:
                        await world.settle(user, marks.canary(user, rng))
                    await world.work(shared[number % 2 :: 2], pause, slice(number % parts, None, parts))
                    if number == rounds - 1:
                        for person in world.people:
                            await person.finish()
                        _verify(world)
                kept = look_at_disk(data / "data", marks)
            devices.cancel_scope.cancel()

    with nullcontext() if broken is None else broken:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_when, marks.found, nursery.cancel_scope)
            await all_of_it()
            nursery.cancel_scope.cancel()
    return Summary(seed, users, rounds, time.monotonic() - began, happened, kept, provider, marks)


async def _cancel_when(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


def _verify(world: World) -> None:
    """Every device by the grammar: what was given to nobody else has come to its owner as it should."""
    for person in world.people:
        for device in person.devices:
            device.verify(lossy=True, midrun=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.isolation.proof")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--users", type=int, default=len(PEOPLE), choices=range(2, len(PEOPLE) + 1))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", type=Path, help="keep everything here; else it is removed")
    parser.add_argument("--leaks", action="store_true", help="break isolation on purpose, each place in turn")
    chosen = parser.parse_args()
    if chosen.leaks:
        return _leaks(chosen.seed)

    def run(data: Path) -> Summary:
        data.mkdir(parents=True, exist_ok=True)
        return trio.run(lambda: prove(data, seed=chosen.seed, users=chosen.users, rounds=chosen.rounds, parts=1))

    if chosen.data is not None:
        summary = run(chosen.data)
    else:
        with tempfile.TemporaryDirectory() as folder:
            summary = run(Path(folder))
    print("\n".join(summary.lines()))
    return int(bool(summary.marks.wrong))


def _leaks(seed: int) -> int:
    missed = 0
    for name, leak in LEAKS.items():
        with tempfile.TemporaryDirectory() as folder:
            summary = trio.run(lambda: prove(Path(folder), seed=seed, users=3, broken=leak()))  # noqa: B023 - run at once
        found = summary.marks.wrong[:1]
        missed += not found
        print(f"{summary.seconds:5.1f} s  {name}: {found[0][:200] if found else 'NOT FOUND'}", flush=True)
    return missed


if __name__ == "__main__":
    raise SystemExit(main())
