"""Ctrl-C in `understudy run`, and `understudy cancel`, `pause` and `resume`, against a scripted daemon."""

from __future__ import annotations

import io
import random
import signal
from typing import TYPE_CHECKING, Any

import trio

from tests.support.scripted_run import (
    accept_run,
    delta,
    run_status,
    status,
)
from tests.support.scripted_server import Server, serving
from tests.support.terminal import Run
from understudy.terminal import cancel_run, steer_run

if TYPE_CHECKING:
    from tests.support.scripted_server import Peer


async def interrupted(server: Server, run: Run, **options: Any) -> int:
    """Presses Ctrl-C once the first delta has been printed."""
    codes = []

    async def press() -> None:
        while "press now" not in run.out.getvalue():
            await trio.sleep(0.005)
        signal.raise_signal(signal.SIGINT)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(press)
        codes.append(await run(**options))
    return codes[0]


async def until_press(peer: Peer) -> None:
    await peer.welcome()
    await accept_run(peer)
    await status(peer, 0, "started")
    await delta(peer, 0, "press now\n", 0)


async def test_ctrl_c_says_that_the_run_goes_on_and_how_to_cancel_it() -> None:
    before = signal.getsignal(signal.SIGINT)
    async with serving(until_press) as server:
        run = Run(server.url)
        assert await interrupted(server, run) == 130
    assert run.err.getvalue() == "\nThe run goes on at the daemon. To cancel it: understudy cancel r1\n"
    assert signal.getsignal(signal.SIGINT) is before


async def test_ctrl_c_cancels_the_run_where_that_was_asked_for() -> None:
    async def second(peer: Peer) -> None:
        await peer.welcome(seq=2)
        command = await peer.command("cancel_run")
        assert command["metadata"] == {"run_id": "r1"}
        await peer.reply(command, run_id="r1", status="running")
        await run_status(peer, "cancelled", 0)

    async with serving(until_press, second) as server:
        run = Run(server.url)
        assert await interrupted(server, run, cancel_on_interrupt=True) == 130
    assert run.out.getvalue().endswith("Run r1 cancelled.\n")
    assert run.err.getvalue() == ""


async def test_ctrl_c_before_the_answer_says_what_is_not_known() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.command("start_run")
        signal.raise_signal(signal.SIGINT)

    async with serving(script) as server:
        run = Run(server.url)
        assert await run() == 130
    assert "Interrupted before the daemon had answered" in run.err.getvalue()


async def test_cancel_run_reports_what_became_of_it() -> None:
    async def ended(peer: Peer) -> None:
        await peer.welcome()
        await peer.reply(await peer.command("cancel_run"), run_id="r1", status="completed")

    async def unknown(peer: Peer) -> None:
        await peer.welcome()
        await peer.refuse(await peer.command("cancel_run"), "not_found", "There is no such run.")

    async def silent(peer: Peer) -> None:
        await peer.welcome()
        await peer.reply(await peer.command("cancel_run"), run_id="r1", status="running")

    async def gone(peer: Peer) -> None:
        await peer.welcome()
        await peer.command("cancel_run")
        peer.reset()

    async with serving(ended, unknown, silent, gone) as server:
        said = []
        for _ in range(4):
            out, err = io.StringIO(), io.StringIO()
            code = await cancel_run(server.url, "r1", out=out, err=err, rng=random.Random(1), within=0.3)
            said.append((code, out.getvalue() + err.getvalue()))
    assert said == [
        (0, "Run r1 completed.\n"),
        (1, "Run r1: There is no such run.\n"),
        (1, "The daemon has been told to cancel run r1, but it had not stopped after 0.3 s.\n"),
        (1, "The daemon closed the connection (1006): no reason given\n"),
    ]
    out, err = io.StringIO(), io.StringIO()
    assert await cancel_run("ftp://x", "r1", out=out, err=err, rng=random.Random(1)) == 1
    assert await cancel_run(server.url, "r1", out=out, err=err, rng=random.Random(1)) == 1
    assert "Start it with: understudy serve" in err.getvalue()


async def test_pause_and_resume_say_how_the_run_stood() -> None:
    def answering(kind: str, metadata: dict[str, Any], status: str) -> Any:
        async def script(peer: Peer) -> None:
            await peer.welcome()
            command = await peer.command(kind)
            assert command["metadata"] == metadata
            await peer.reply(command, run_id="r1", status=status)

        return script

    async def unknown(peer: Peer) -> None:
        await peer.welcome()
        await peer.refuse(await peer.command("pause_run"), "not_found", "There is no such run.")

    scripts = (
        answering("pause_run", {"run_id": "r1"}, "running"),
        answering("resume_run", {"run_id": "r1", "agent_name": "Tester"}, "paused"),
        answering("resume_run", {"run_id": "r1"}, "completed"),
        unknown,
    )
    orders: tuple[Any, ...] = (("pause", None), ("resume", "Tester"), ("resume", None), ("pause", None))
    async with serving(*scripts) as server:
        said = []
        for order, agent in orders:
            out, err = io.StringIO(), io.StringIO()
            code = await steer_run(server.url, "r1", order, out=out, err=err, rng=random.Random(1), agent=agent)
            said.append((code, out.getvalue() + err.getvalue()))
    assert said == [
        (0, "Told to pause: run r1. A call to a model that is under way goes on to its end.\n"),
        (0, "Told to go on: Tester in run r1.\n"),
        (0, "Run r1 has ended already: completed.\n"),
        (1, "Run r1: There is no such run.\n"),
    ]
