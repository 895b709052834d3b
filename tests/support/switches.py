"""A switch over targets that are nobody's children, at `/line` of a bench."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
import trio

from supervisors import Call, Ledger, Outcome, Policy, Switch
from supervisors._ledger import Account
from supervisors._switch import answered
from tests.support.actors import Bench, Boom, OpenHost, Subject, running
from tests.support.supervision import Steady

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from runtime import Ref

POLICY = Policy(failures=3, open_first=4.0, open_cap=16.0, probe_within=10.0)
OPEN = Account("open", failures=3, opened=1, until=100.0)


@attrs.frozen
class Question(Call):
    text: str = ""


@attrs.define(eq=False)
class Line:
    """A switch at `/line` over targets that the bench's root hosts."""

    bench: Bench
    targets: dict[str, Subject]
    books: dict[str, Ledger]
    switch: Switch
    ref: Ref[Any]

    def heard(self) -> dict[str, list[Any]]:
        return {name: target.log.heard for name, target in self.targets.items()}

    def due(self, name: str) -> None:
        """Let a target's next call be a probe."""
        self.books[name].account = attrs.evolve(OPEN, until=0.0)

    def states(self) -> list[str]:
        return [book.account.state for book in self.books.values()]

    async def ask(self, message: Any, within: float = 5.0) -> Any:
        return await self.ref.ask(message, within=within)

    async def gone(self, name: str) -> None:
        """End a target for good."""
        await self.bench.stop(self.targets[name])


@asynccontextmanager
async def line(
    names: str = "ab",
    *,
    counted: tuple[type, ...] = (object,),
    judge: Callable[[object, object], Outcome | None] = answered,
    exhausted: Callable[[object], object] | None = None,
    owned: bool = False,
    root: type[OpenHost] = OpenHost,
    **specs: dict[str, Any],
) -> AsyncGenerator[Line, None]:
    async with running(root, rng=Steady()) as bench:
        await trio.sleep(1.0)
        targets = {name: await bench.spawn(name, **specs.get(name, {})) for name in names}
        books = {name: Ledger(name, POLICY, Steady()) for name in names}
        switch = Switch(
            bench.system,
            list(books.values()),
            [target.ref for target in targets.values()],
            counted=counted,
            judge=judge,
            exhausted=exhausted,
            owner=bench.root.cell if owned else None,
        )
        ref: Ref[Any] = bench.system.ref("/line")
        ref.target = switch
        yield Line(bench, targets, books, switch, ref)


async def fail(_: Any) -> None:
    raise Boom("asked for")
