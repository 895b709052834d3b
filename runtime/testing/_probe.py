"""Probes: actors that tell a test what they get."""

from __future__ import annotations

from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import trio

from runtime import Actor

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime import Ref, ReplyTo

T = TypeVar("T")

WITHIN: Final = 1.0
"""Seconds, as a rule virtual ones, that a probe waits for a message."""


class Probe:
    """A test's hand in the system: an address that writes down what it gets, and lets the test wait for it.

    `kit.probe()` makes one and starts it. To put one under a supervisor of your own, make it yourself and give `actor`
    as the `start` of a spec: `Spec("worker", probe.actor)`.

        probe = await kit.probe("listener", answer=lambda message: "thanks")
        assert await greeter.ask(("Ada", probe.ref), within=1.0) == "done"
        assert await probe.expect(str) == "Hello, Ada"
        await probe.expect_nothing()

    Args:
        answer: called, and awaited, with each message; what it returns is the answer, what it raises ends the
            incarnation. None answers None.
        held: asks are left unanswered until `reply`.

    Attributes:
        messages: everything that came, over all incarnations, the kernel's notices included.
        incarnations: how many incarnations have started.
    """

    def __init__(self, *, answer: Callable[[Any], object] | None = None, held: bool = False) -> None:
        self.messages: list[Any] = []
        self.incarnations = 0
        self._answer = answer
        self._held = held
        self._replies: list[ReplyTo | None] = []
        self._taken = 0
        self._arrived = trio.Event()
        self._actor: _ProbeActor | None = None

    def __repr__(self) -> str:
        return f"<Probe {'not started' if self._actor is None else self.ref.path}>"

    def actor(self) -> Actor:
        """A fresh instance that writes to this probe; give it as `start` of a spec."""
        return _ProbeActor(self)

    @property
    def ref(self) -> Ref[Any]:
        """The probe's address.

        Raises:
            RuntimeError: no incarnation has started yet.
        """
        if self._actor is None:
            raise RuntimeError("the probe has not started")
        return self._actor.ref

    @property
    def waiting(self) -> list[Any]:
        """What has come and was not taken by `expect` or `fish`."""
        return self.messages[self._taken :]

    def forget(self) -> None:
        """Drop every message that was taken, for tests so long that `messages` would grow too large."""
        del self.messages[: self._taken]
        del self._replies[: self._taken]
        self._taken = 0

    def watch(self, ref: Ref[Any]) -> None:
        """Have the ends of the actor at `ref` told to the probe: `Restarted`, `Ended`.

        Raises:
            RuntimeError: no incarnation has started yet.
        """
        if self._actor is None:
            raise RuntimeError("the probe has not started")
        self._actor.watch(ref)

    async def expect(self, kind: type[T], *, within: float = WITHIN, where: Callable[[T], bool] | None = None) -> T:
        """The next message, which has to be a `kind` and, with `where`, has to satisfy it.

        Args:
            kind: its class.
            within: seconds to wait for it.
            where: what else has to be true of it.

        Raises:
            AssertionError: another message came, or none within the time. One of another kind stays where it is.

        Cancellation: nothing is taken.
        """
        message = await self._next(within)
        if message is _NOTHING:
            raise AssertionError(f"{self!r} got nothing within {within:g} s; expected a {kind.__name__}")
        if not (isinstance(message, kind) and (where is None or where(message))):
            raise AssertionError(f"{self!r} got {message!r}; expected {wanted(kind, where)}")
        self._taken += 1
        return message

    async def fish(self, kind: type[T], *, within: float = WITHIN, where: Callable[[T], bool] | None = None) -> T:
        """The first message that is a `kind` and satisfies `where`. What comes before it is passed over.

        Raises:
            AssertionError: there was none within the time; what was passed over is in the error.

        Cancellation: what was passed over is taken.
        """
        passed: list[Any] = []
        with trio.move_on_after(within):
            while True:
                message = await self._next(within)
                if message is _NOTHING:
                    break
                self._taken += 1
                if isinstance(message, kind) and (where is None or where(message)):
                    return message
                passed.append(message)
        raise AssertionError(f"{self!r} got no {wanted(kind, where)} within {within:g} s; it got {passed}")

    async def expect_nothing(self, *, within: float = WITHIN) -> None:
        """Wait for `within` seconds in which no message may come.

        Raises:
            AssertionError: one came, or had come before and was not taken.
        """
        message = await self._next(within)
        if message is not _NOTHING:
            raise AssertionError(f"{self!r} got {message!r}; expected nothing for {within:g} s")

    def reply(self, value: object) -> bool:
        """Answer the message that was taken last. False if nobody waits for the answer (any more).

        Raises:
            RuntimeError: the probe does not hold its answers, or no message was taken.
        """
        reply = self._replies[self._taken - 1] if self._taken else None
        if reply is None:
            raise RuntimeError("only a probe that holds its answers can reply, and only to a message that was taken")
        return reply.answer(value)

    async def _next(self, within: float) -> Any:
        with trio.move_on_after(within):
            while self._taken == len(self.messages):
                await self._arrived.wait()
        return self.messages[self._taken] if self._taken < len(self.messages) else _NOTHING

    # --- for the actor

    def _started(self, actor: _ProbeActor) -> None:
        self._actor = actor
        self.incarnations += 1

    async def _heard(self, actor: _ProbeActor, message: Any) -> object:
        self._replies.append(actor.defer() if self._held else None)
        self.messages.append(message)
        self._arrived.set()
        self._arrived = trio.Event()
        if self._answer is None:
            return None
        answer = self._answer(message)
        return await answer if isawaitable(answer) else answer


_NOTHING: Final = object()


def wanted(kind: type, where: Callable[..., bool] | None) -> str:
    """What was expected, in words."""
    return kind.__name__ if where is None else f"{kind.__name__} that satisfies {where}"


class _ProbeActor(Actor):
    """One incarnation of a probe."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe

    async def started(self) -> None:
        self._probe._started(self)  # noqa: SLF001 - the two are one

    async def receive(self, message: Any) -> object:
        return await self._probe._heard(self, message)  # noqa: SLF001 - the two are one
