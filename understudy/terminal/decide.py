"""Deciding about an answer that is held, and saying who answers in a session, from a terminal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import trio

from understudy.client import connect
from understudy.terminal.troubles import TROUBLES, trouble_words
from understudy.terminal.words import printable

if TYPE_CHECKING:
    from random import Random
    from typing import TextIO

Decision: TypeAlias = Literal["approve", "reject", "modify"]
Person: TypeAlias = Callable[[], Awaitable[tuple[Decision, str]]]
"""Asks somebody for a decision, and for feedback where there is any."""

QUESTION: Final = "[a]pprove, [r]eject or [m]odify? "
WHAT: Final = "What is to be different? "
_MEANT: Final[dict[str, Decision]] = {"a": "approve", "r": "reject", "m": "modify"}


def meant(line: str) -> Decision | None:
    """The decision that somebody has typed: a word, or the beginning of one."""
    word = line.strip().lower()
    found = _MEANT.get(word[:1])
    return found if found is not None and found.startswith(word) else None


def person_at(ask: Callable[[str], str]) -> Person:
    """Somebody who is asked with `ask`, such as `input`, in a thread. A cancellation leaves the thread to itself.

    Where nothing can be read any more (EOFError), nothing is decided: it waits until it is cancelled.
    """

    async def line(prompt: str) -> str:
        try:
            return await trio.to_thread.run_sync(ask, prompt, abandon_on_cancel=True)
        except EOFError:
            await trio.sleep_forever()
            raise AssertionError from None

    async def decide() -> tuple[Decision, str]:
        while (decision := meant(await line(QUESTION))) is None:
            pass
        feedback = ""
        while decision == "modify" and not feedback:
            feedback = (await line(WHAT)).strip()
        return decision, feedback

    return decide


async def decide_approval(
    url: str,
    approval_id: str,
    decision: Decision,
    feedback: str = "",
    *,
    out: TextIO,
    err: TextIO,
    rng: Random,
    user_id: str | None = None,
    token: str | None = None,
) -> int:
    """Decides about a held answer. Gives the exit code: 0 when the decision counts, else 1 with one line in `err`."""
    metadata = {"approval_id": approval_id, "decision": decision}
    try:
        async with connect(url, rng=rng, user_id=user_id, token=token) as client:
            reply = await client.command("decide", content=feedback, metadata=metadata)
    except TROUBLES as trouble:
        err.write(f"{trouble_words(trouble, f'Approval {approval_id}')}\n")
        return 1
    out.write(f"The answer is {printable(str(reply.metadata.get('status', decision)))}.\n")
    return 0


async def choose_mode(
    url: str,
    mode: Literal["autopilot", "hitl", "off"],
    *,
    out: TextIO,
    err: TextIO,
    rng: Random,
    user_id: str | None = None,
    token: str | None = None,
) -> int:
    """Says who answers in the default session. Gives the exit code: 0 when it is in force, else 1 with one line."""
    try:
        async with connect(url, rng=rng, user_id=user_id, token=token) as client:
            reply = await client.command("set_mode", metadata={"mode": mode})
    except TROUBLES as trouble:
        err.write(f"{trouble_words(trouble)}\n")
        return 1
    out.write(f"The session is in mode {printable(str(reply.metadata.get('mode', mode)))}.\n")
    return 0
