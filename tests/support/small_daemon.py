"""A tree with one of each: a plain actor, a supervisor for many, a fallback; and what a scrape of it says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
import trio
import trio.testing
from prometheus_client.parser import text_string_to_metric_families

from runtime import Actor, Mailbox, Overflow, Ref, Refused, System
from supervisors import ChildSpec, DynamicSupervisor, Intensity, Policy, Restart, fallback, supervise


@attrs.frozen
class Work:
    """Do nothing, and succeed."""


@attrs.frozen
class Fail:
    """Crash, with this text."""

    text: str = "planted"


@attrs.frozen
class Leave:
    """End normally."""


@attrs.frozen
class Refuse:
    """Say no."""


@attrs.frozen
class Hold:
    """Stay busy until `release` is set; `begun` tells that it is."""

    begun: trio.Event
    release: trio.Event


class Worker(Actor):
    async def receive(self, message: Any) -> object:
        match message:
            case Fail(text):
                raise RuntimeError(text)
            case Leave():
                self.stop()
            case Refuse():
                return Refused("not today")
            case Hold(begun, release):
                begun.set()
                await release.wait()
        return None


class Clerk(Worker):
    """Another kind; what it says of itself looks a little like a fallback's."""

    def inspect(self) -> dict[str, Any]:
        return {"active": "three runs"}


class Visitor(Worker):
    """One of many."""


@attrs.frozen
class Admit:
    """Start visitors with these names; `ask` it. `then` is called before any of them has run."""

    names: tuple[str, ...]
    restart: Restart = Restart.TEMPORARY
    then: Callable[[], object] = lambda: None


class Visitors(DynamicSupervisor):
    budget = Intensity(2, 5.0)

    async def receive(self, message: Any) -> object:
        if isinstance(message, Admit):
            box = Mailbox(4, Overflow.REJECT)
            for name in message.names:
                self.start_child(ChildSpec(name, Visitor, mailbox=box, restart=message.restart))
            message.then()
            return None
        return await super().receive(message)


def root() -> ChildSpec:
    """The spec of the whole tree."""
    speaker = fallback(
        "speaker", [ChildSpec("lead", Worker), ChildSpec("understudy", Worker)], policy=Policy(open_first=60.0)
    )
    children = [ChildSpec("clerk", Clerk), ChildSpec("visitors", Visitors), speaker]
    return supervise("root", children, intensity=Intensity(3, 60.0))


async def settled() -> None:
    """Wait until nothing in this process has anything to do."""
    await trio.testing.wait_all_tasks_blocked()


async def admit(
    system: System, *names: str, restart: Restart = Restart.TEMPORARY, then: Callable[[], object] = lambda: None
) -> list[Ref[Any]]:
    """Visitors of these names, started."""
    await system.ref("/visitors").ask(Admit(names, restart, then), within=10.0)
    await settled()
    return [system.ref(f"/visitors/{name}") for name in names]


def samples(text: bytes, *, but: tuple[str, ...] = ("process_", "understudy_gc_")) -> dict[str, float]:
    """Every sample of a scrape, as `name{label="value"}`, but those whose value the test cannot know."""
    found = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            if not sample.name.startswith(but):
                found[_series(sample.name, sample.labels)] = sample.value
    return found


def changes(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """By how much each sample differs, where it does; what was absent was 0."""
    names = [*after, *(name for name in before if name not in after)]
    differences = {name: after.get(name, 0.0) - before.get(name, 0.0) for name in names}
    return {name: difference for name, difference in differences.items() if difference}


def _series(name: str, labels: Mapping[str, str]) -> str:
    inner = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
    return f"{name}{{{inner}}}" if inner else name
