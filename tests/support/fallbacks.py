"""A fallback over players, at `/top` of a theatre."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import trio

from supervisors import Call, ChildSpec, Fallback, Ledger, Policy, fallback
from tests.support.supervision import Stage, Theatre, boom

if TYPE_CHECKING:
    from runtime import Mailbox

POLICY = Policy(failures=3, open_first=4.0, open_cap=16.0, probe_within=10.0)
"""With `Steady` randomness a target is open for 3, 6, 12 and 12 seconds."""


@attrs.frozen
class Question(Call):
    """A call that says what it is."""

    text: str = ""


def chain(stage: Stage, names: str = "ab", *, mailbox: Mailbox | None = None, **options: Any) -> ChildSpec:
    """A fallback at `/top` over players."""
    box: dict[str, Any] = {} if mailbox is None else {"mailbox": mailbox}
    options.setdefault("policy", POLICY)
    return fallback("top", [stage.spec(name, **box) for name in names], **options)


async def crash(play: Theatre, name: str = "a", times: int = 3) -> None:
    """Have a target crash so many times in a row, each time after it has started again."""
    for _ in range(times):
        await play.tell(name, boom)


def actor_of(play: Theatre) -> Fallback:
    """The fallback itself."""
    actor: Fallback = play.bench.root.cell.children["top"].actor
    return actor


def targets(play: Theatre) -> dict[str, str]:
    """The state of each target's ledger."""
    return {name: shown["state"] for name, shown in play.node().details["targets"].items()}


def charge(play: Theatre) -> str | None:
    """The target in charge."""
    active: str | None = play.node().details["active"]
    return active


def book(play: Theatre, name: str) -> Ledger:
    """The ledger of a target."""
    return next(ledger for ledger in actor_of(play)._ledgers if ledger.target == name)


async def slowly(_: Any) -> str:
    """Takes a second."""
    await trio.sleep(1.0)
    return "slowly"


async def never(actor: Any) -> None:
    """Keeps the right to answer, and does not use it."""
    actor.kept = actor.defer()
