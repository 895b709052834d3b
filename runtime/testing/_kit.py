"""A system under test, with what a test wants to see of it and what must hold at its end."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, cast

import attrs
import trio
from trio.testing import wait_all_tasks_blocked

from runtime import (
    ChildEnded,
    ChildFailed,
    ChildStarted,
    Crash,
    Host,
    InvalidSpec,
    Refused,
    Spec,
    open_system,
)
from runtime.testing._checks import assert_conserved, assert_no_leaks, busy_threads
from runtime.testing._probe import Probe

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from runtime import DeadLetter, Node, Reason, Ref, ReplyTo, Report, System

LONG: Final = 86_400.0
"""Seconds, virtual ones, in which a child surely has started or ended: its own limits are shorter."""


async def settle() -> None:
    """Wait until every task waits: whatever was under way has come to its end, and virtual time has stood still."""
    await wait_all_tasks_blocked()


@attrs.frozen
class _Start:
    spec: Spec


@attrs.frozen
class _Stop:
    name: str
    why: str


class _Stage(Host):
    """The host of probes and of actors under test. What they do does not disturb it."""

    def __init__(self) -> None:
        self._starting: dict[str, ReplyTo] = {}
        self._stopping: dict[str, ReplyTo] = {}

    async def receive(self, message: Any) -> object:
        match message:
            case _Start(spec):
                try:
                    self.start_child(spec)
                except InvalidSpec as error:
                    return Refused(error)
                self._starting[spec.name] = self.defer()
            case _Stop(name, why):
                try:
                    self.stop_child(name, why=why)
                except InvalidSpec as error:
                    return Refused(error)
                self._stopping[name] = self.defer()
            case ChildStarted(name, ref) if name in self._starting:
                self._starting.pop(name).answer(ref)
            case ChildEnded(name, ref, reason):
                if name in self._starting:
                    self._starting.pop(name).answer(Refused(ChildFailed(ref.path, reason)))
                if name in self._stopping:
                    self._stopping.pop(name).answer(reason)
        return None


@attrs.frozen(eq=False)
class ActorTestKit:
    """A running system and a test's tools. Made by `open_test_system` and by the fixture `actor_system`.

    Attributes:
        system: the system under test.
        reports: what it has reported.
        dead_letters: the messages that nobody will handle.
        stage: the address of the host of probes; where no root of your own was given, the root of the system.
    """

    system: System
    reports: list[Report]
    dead_letters: list[DeadLetter]
    stage: Ref[Any]

    async def spawn(self, spec: Spec) -> Ref[Any]:
        """Start an actor on the stage, and wait until its `started` has returned. Nobody restarts it.

        Raises:
            InvalidSpec: the name is taken.
            ChildFailed: it did not start.
        """
        ref: Ref[Any] = await self._ask_stage(_Start(spec))
        return ref

    async def stop(self, ref: Ref[Any], why: str = "stopped by the test") -> Reason:
        """Stop an actor that `spawn` has started, and wait until it has ended: the reason of its end.

        Raises:
            InvalidSpec: there is no such actor on the stage.
        """
        reason: Reason = await self._ask_stage(_Stop(ref.path.rsplit("/", 1)[1], why))
        return reason

    async def probe(
        self, name: str = "probe", *, answer: Callable[[Any], object] | None = None, held: bool = False
    ) -> Probe:
        """A probe on the stage, started. See `Probe` for the arguments."""
        probe = Probe(answer=answer, held=held)
        await self.spawn(Spec(name, probe.actor))
        return probe

    def node(self, ref: Ref[Any]) -> Node:
        """The state of an actor now.

        Raises:
            LookupError: there is no such actor.
        """
        node = self.system.tree().find(ref.path)
        if node is None:
            raise LookupError(f"no actor at {ref.path}")
        return node

    @property
    def crashes(self) -> list[Crash]:
        """The reports of incarnations that ended with an exception."""
        return [report for report in self.reports if isinstance(report, Crash)]

    async def settle(self) -> None:
        """See the function `settle`."""
        await settle()

    async def _ask_stage(self, order: object) -> Any:
        try:
            return await self.stage.ask(order, within=LONG)
        except Refused as refused:
            error = cast("Exception", refused.reason)
            raise error from None


@asynccontextmanager
async def open_test_system(
    root: Spec | None = None,
    *,
    stop_within: float = 5.0,
    conserved: bool = True,
    leaks: bool = True,
    **options: Any,
) -> AsyncIterator[ActorTestKit]:
    """Run a system for a test, stop it at the end, and check that no message, task, deadline, name or thread is left.

        async with open_test_system(supervise("root", [ChildSpec("greeter", Greeter)])) as kit:
            assert await kit.system.ref("/greeter").ask("Ada", within=1.0) == "Hello, Ada"

    Args:
        root: your own root. Without one, actors are started by `kit.spawn` under a host that the kit makes. With one,
            `kit.spawn` and `kit.probe` use a small system of their own beside it, so that your tree is as you made it.
        stop_within: seconds for the stop at the end.
        conserved: whether to check, at the end, that every message is accounted for.
        leaks: whether to check that nothing is left.
        options: for `System`. Its `rng` is seeded unless one is given; its `report` is called as well.

    Raises:
        AssertionError: a check failed. If the block itself has failed, that is raised instead.

    Cancellation: the tree is cancelled, its `stopped` hooks run, and the checks are made.
    """
    reports: list[Report] = []
    letters: list[DeadLetter] = []
    listener = options.pop("report", None)

    def report(fact: Report) -> None:
        reports.append(fact)
        if listener is not None:
            listener(fact)

    options.setdefault("rng", random.Random(0))
    stage_spec = Spec("stage", _Stage)
    threads = busy_threads()
    systems: list[System] = []
    failure: Exception | None = None

    def check_end() -> None:
        for each in systems:
            if conserved:
                assert_conserved(each)
            if leaks:
                assert_no_leaks(each)
        if leaks:
            left = busy_threads() - threads
            assert not left, f"threads outlive the system: {', '.join(thread.name for thread in left)}"

    try:
        async with AsyncExitStack() as stack:
            spec = stage_spec if root is None else root
            system = await stack.enter_async_context(
                open_system(spec, stop_within=stop_within, report=report, **options)
            )
            systems.append(system)
            system.dead_letters.listen(letters.append)
            stage = system
            if root is not None:
                stage = await stack.enter_async_context(open_system(stage_spec, stop_within=stop_within))
                systems.append(stage)
            try:
                yield ActorTestKit(system, reports, letters, stage.ref("/"))
                if conserved:
                    for each in systems:
                        assert_conserved(each)
            except Exception as error:  # noqa: BLE001 - raised again below, outside the nursery's exception group
                failure = error
    except BaseException as error:
        if only_cancelled(error):
            check_end()
        raise
    if failure is not None:
        raise failure
    check_end()


def only_cancelled(error: BaseException) -> bool:
    """Whether an error is a cancellation and nothing else."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(trio.Cancelled)[1] is None
    return isinstance(error, trio.Cancelled)
