"""One order on a connection of its own: cancel, pause or resume a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import trio

from understudy.client import RunView, apply, connect
from understudy.client.view import RUN_ENDED
from understudy.terminal.troubles import TROUBLES, trouble_words
from understudy.terminal.words import printable

if TYPE_CHECKING:
    from random import Random
    from typing import TextIO

EXIT_DONE: Final = 0
EXIT_FAILED: Final = 1
#: Seconds in which a run that was asked to stop has to have stopped.
CANCEL_WITHIN: Final = 15.0


async def cancel_run(
    url: str,
    run_id: str,
    *,
    out: TextIO,
    err: TextIO,
    rng: Random,
    user_id: str | None = None,
    token: str | None = None,
    within: float = CANCEL_WITHIN,
) -> int:
    """Cancels a run and waits, at most `within` seconds, until everything in it has stopped.

    Gives the exit code: 0 when the run has ended, else 1 with one line in `err`.
    """
    try:
        with trio.move_on_after(within):
            async with connect(url, rng=rng, user_id=user_id, token=token) as client:
                reply = await client.command("cancel_run", metadata={"run_id": run_id})
                view = RunView(run_id=run_id, status=str(reply.metadata.get("status", "running")))
                while not view.ended:
                    view = apply(view, await anext(client))
                out.write(f"Run {run_id} {view.status}.\n")
                return EXIT_DONE
        err.write(f"The daemon has been told to cancel run {run_id}, but it had not stopped after {within:g} s.\n")
    except TROUBLES as trouble:
        err.write(f"{trouble_words(trouble, f'Run {run_id}')}\n")
    return EXIT_FAILED


async def steer_run(
    url: str,
    run_id: str,
    order: Literal["pause", "resume"],
    *,
    out: TextIO,
    err: TextIO,
    rng: Random,
    agent: str | None = None,
    user_id: str | None = None,
    token: str | None = None,
) -> int:
    """Pauses or resumes a run, or one agent of it, and says how the run stood.

    Gives the exit code: 0 when the daemon has recorded the order, else 1 with one line in `err`.
    """
    metadata = {"run_id": run_id} if agent is None else {"run_id": run_id, "agent_name": agent}
    try:
        async with connect(url, rng=rng, user_id=user_id, token=token) as client:
            reply = await client.command(f"{order}_run", metadata=metadata)
    except TROUBLES as trouble:
        about = f"Run {run_id}" if agent is None else f"{agent} in run {run_id}"
        err.write(f"{trouble_words(trouble, about)}\n")
        return EXIT_FAILED
    status = printable(str(reply.metadata.get("status", "running")))
    whom = f"run {run_id}" if agent is None else f"{printable(agent)} in run {run_id}"
    if status in RUN_ENDED:
        out.write(f"Run {run_id} has ended already: {status}.\n")
    elif order == "pause":
        out.write(f"Told to pause: {whom}. A call to a model that is under way goes on to its end.\n")
    else:
        out.write(f"Told to go on: {whom}.\n")
    return EXIT_DONE
