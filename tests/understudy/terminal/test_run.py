"""`understudy run` against a scripted daemon over real sockets."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.support.scripted_run import (
    PLAN,
    ROLES,
    accept_run,
    answer,
    delta,
    response,
    run_status,
    status,
    whole_run,
    whole_step,
)
from tests.support.scripted_server import Server, serving
from tests.support.terminal import BRIEF, Run, visible

if TYPE_CHECKING:
    from tests.support.scripted_server import Peer


async def test_five_answers_are_printed_in_order_each_once_and_in_whole() -> None:
    async with serving(whole_run) as server:
        run = Run(server.url)
        assert await run() == 0
    text = run.out.getvalue()
    places = [text.index(f"== [{number}/5] {PLAN[number - 1]} ({ROLES[number - 1]}) ==") for number in range(1, 6)]
    assert places == sorted(places)
    for role in ROLES:
        assert text.count(answer(role)) == 1
    assert "-- done in 1.5 s · gpt · 12 tokens" in text
    assert re.search(r"Run r1 completed after .* s: 5 of 5 steps answered\.", text)
    assert "\x1b" not in text
    assert run.err.getvalue() == ""


async def test_the_command_carries_brief_and_workflow() -> None:
    commands: list[dict[str, Any]] = []

    async def script(peer: Peer) -> None:
        hello = await peer.welcome()
        assert hello["metadata"]["user_id"] == "ada"
        commands.append(await accept_run(peer))
        await run_status(peer, "completed", 0)

    async with serving(script) as server:
        await Run(server.url)(workflow="tea")
    assert (commands[0]["content"], commands[0]["metadata"]) == (BRIEF, {"workflow": "tea"})


@pytest.mark.parametrize("colour", [True, False])
async def test_on_a_terminal_every_line_of_every_answer_stands_once_in_the_scroll(colour: bool) -> None:
    async with serving(whole_run) as server:
        run = Run(server.url)
        assert await run(tty=True, colour=colour) == 0
    lines = [line.strip() for line in visible(run.out.getvalue()).splitlines()]
    for role in ROLES:
        assert any(line.endswith(f"The {role} has thought about it.") for line in lines)
        assert any(line.endswith(f"And this is the last line of the {role}.") for line in lines)
    assert any("Run r1 completed" in line for line in lines)
    assert ("\x1b[1;32m" in run.out.getvalue() or "\x1b[32m" in run.out.getvalue()) == colour


async def test_the_simulated_model_is_announced_loudly_and_once() -> None:
    async def script(peer: Peer) -> None:
        await whole_run(peer, model="simulated")

    for tty in (False, True):
        async with serving(script) as server:
            run = Run(server.url)
            await run(tty=tty)
        assert visible(run.out.getvalue()).count("SIMULATED MODEL") == 1


async def test_trouble_of_an_agent_is_told_in_plain_words() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await accept_run(peer)
        await status(peer, 0, "started")
        await status(peer, 0, "retrying", "AI service is busy. Retrying in a moment...", retry_after=2)
        await status(peer, 0, "fallback")
        where: dict[str, Any] = {"step": PLAN[0], "attempt": 1, "tool_call_id": "t", "tool_name": "search"}
        await peer.durable("tool_executing", **where, tool_input="tea")
        await peer.durable("tool_completed", **where, status="timeout", duration_ms=1)
        await peer.durable("approval_request", "Release it?", step=PLAN[0], attempt=1, approval_id="a")
        await run_status(peer, "waiting_for_approval", 0)
        await peer.send("draining", retry_after=1)
        await peer.durable("system", "Maintenance tonight.", level="warning", event="notice")
        await response(peer, 0, degraded=True, partial=True)
        await status(peer, 0, "completed")
        await status(peer, 1, "started")
        await delta(peer, 1, "Half an ans", 0)
        await status(peer, 1, "error", "AI service took too long to answer.", error_type="timeout")
        await run_status(peer, "failed", 2)

    async with serving(script) as server:
        run = Run(server.url)
        assert await run() == 1
    text = run.out.getvalue()
    for line in (
        "(analysis: AI service is busy. Retrying in a moment...)",
        "(analysis: goes on with another model)",
        "(analysis: is using the tool search.)",
        "(analysis: the tool search did not work.)",
        "(analysis: asks for approval: Release it?)",
        "(To decide: understudy decide a approve|reject|modify [FEEDBACK])",
        "(The run is waiting for approval.)",
        "(The daemon is going down for a moment. This goes on as soon as it is back.)",
        "(Maintenance tonight.)",
        "a stand-in: no model answered · cut off",
        "(architecture: AI service took too long to answer.)",
        "Half an ans\n-- failed · AI service took too long to answer.",
    ):
        assert line in text
    assert "deployment    " in text
    assert "not started" in text
    assert "Run r1 failed" in text


async def test_a_model_cannot_steer_the_terminal() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await accept_run(peer)
        await status(peer, 0, "started")
        await response(peer, 0, "before\x1b]0;owned\x07\x1b[2Jafter [bold]kept[/bold]\u202e")
        await status(peer, 0, "completed")
        await run_status(peer, "completed", 1)

    for tty in (False, True):
        async with serving(script) as server:
            run = Run(server.url)
            await run(tty=tty)
        assert "before]0;owned[2Jafter [bold]kept[/bold]" in visible(run.out.getvalue())
        assert "\x1b[2J" not in run.out.getvalue()
        assert "\u202e" not in run.out.getvalue()


async def test_nobody_listening_is_one_line_that_says_what_to_do() -> None:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    run = Run(f"127.0.0.1:{port}")
    assert await run() == 1
    assert run.err.getvalue() == (
        f"Cannot reach a daemon at ws://127.0.0.1:{port}/ws: nothing answers there. "
        "Is it running? Start it with: understudy serve\n"
    )


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"503 Service Unavailable\r\nRetry-After: 4", "(503). Try again in 4 s."),
        (b"404 Not Found", "there is no Understudy WebSocket at this path (404)."),
    ],
)
async def test_a_refused_upgrade_is_one_line(head: bytes, words: str) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 " + head + b"\r\nContent-Length: 0\r\n\r\n")

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(
            lambda task_status: trio.serve_tcp(serve, 0, host="127.0.0.1", task_status=task_status)
        )
        run = Run(f"127.0.0.1:{listener.socket.getsockname()[1]}")
        assert await run() == 1
        assert run.err.getvalue().endswith(f"{words}\n")
        assert run.err.getvalue().count("\n") == 1
        nursery.cancel_scope.cancel()


async def test_an_address_that_is_none_is_one_line() -> None:
    run = Run("ftp://somewhere")
    assert await run() == 1
    assert "is not the address of a daemon" in run.err.getvalue()


async def test_a_refused_brief_says_what_is_wrong_with_it() -> None:
    async def short(peer: Peer) -> None:
        await peer.welcome()
        fields = {"content": "A brief has at least 10 characters."}
        await peer.refuse(await peer.command("start_run"), "invalid_fields", "Please correct this.", fields=fields)

    async def busy(peer: Peer) -> None:
        await peer.welcome()
        command = await peer.command("start_run")
        await peer.refuse(command, "already_running", "One run at a time.", run_id="r0", retry_after=3)

    async with serving(short, busy) as server:
        run = Run(server.url)
        assert await run() == 1
        assert run.err.getvalue() == "Please correct this. content: A brief has at least 10 characters.\n"
        run = Run(server.url)
        assert await run() == 1
        assert run.err.getvalue() == "One run at a time. The run in progress is r0. Try again in 3 s.\n"


async def test_a_close_that_is_final_is_one_line() -> None:
    async def script(peer: Peer) -> None:
        await peer.receive()
        await peer.send("error", "Please sign in again.", code="unauthorized")
        await peer.close(4401)

    async with serving(script) as server:
        run = Run(server.url)
        assert await run() == 1
    assert run.err.getvalue() == "The daemon closed the connection (4401): Please sign in again.\n"


@pytest.mark.parametrize("tty", [False, True])
async def test_a_socket_that_breaks_in_mid_answer_is_resumed_and_no_text_is_told_twice(tty: bool) -> None:
    text = answer(ROLES[0])

    async def first(peer: Peer) -> None:
        await peer.welcome(seq=3)
        await accept_run(peer)
        await status(peer, 0, "started")
        await delta(peer, 0, text[:20], 0)
        await peer.command("ack")
        peer.reset()

    async def second(peer: Peer) -> None:
        hello = await peer.welcome(seq=6, replayed=1)
        assert hello["metadata"]["resume"] == {"epoch": "e1", "seq": 5}
        assert hello["metadata"]["reconnect"]["last_code"] == 1006
        await status(peer, 0, "thinking")
        await delta(peer, 0, text[:25], 0)
        await delta(peer, 0, text[25:], 25)
        await response(peer, 0)
        await status(peer, 0, "completed")
        for number in range(1, 5):
            await whole_step(peer, number)
        await run_status(peer, "completed", 5)

    async with serving(first, second) as server:
        run = Run(server.url)
        assert await run(tty=tty) == 0
        hellos = [peer.hello for peer in server.peers]
    shown = visible(run.out.getvalue())
    assert "Connection lost. Reconnecting automatically..." in shown
    assert shown.count("Connected again.") == 1
    assert "starts over" not in shown
    if not tty:
        assert shown.count(text) == 1
    assert hellos[0] is not None
    assert hellos[1] is not None
    assert hellos[0]["metadata"]["client_id"] == hellos[1]["metadata"]["client_id"]


async def test_a_start_without_an_answer_is_repeated_with_the_same_id() -> None:
    commands: list[dict[str, Any]] = []

    async def first(peer: Peer) -> None:
        await peer.welcome()
        commands.append(await peer.command("start_run"))
        peer.reset()

    async def second(peer: Peer) -> None:
        hello = await peer.welcome(seq=1, replayed=1)
        assert hello["metadata"]["resume"] == {"epoch": "e1", "seq": 0}
        await run_status(peer, "running", 0)
        commands.append(await peer.command("start_run"))
        await peer.reply(commands[-1], run_id="r1")
        await run_status(peer, "completed", 0)

    async with serving(first, second) as server:
        assert await Run(server.url)() == 0
    assert commands[0] == commands[1]


async def test_where_the_log_is_lost_the_run_is_loaded_afresh() -> None:
    async def first(peer: Peer) -> None:
        await peer.welcome()
        await accept_run(peer)
        await status(peer, 0, "started")
        await peer.close(1011)

    async def second(peer: Peer) -> None:
        await peer.welcome(epoch="e2", seq=40, resumed=False)
        await peer.send("gap", reason="epoch")
        command = await peer.command("get_run")
        assert command["metadata"] == {"run_id": "r1"}
        steps = [{"step": name, "attempt": 1, "status": "completed"} for name in PLAN[:4]]
        run = {"status": "running", "workflow": "delivery", "steps": PLAN, "done": 4, "progress": 80}
        await peer.reply(command, run=run, steps=steps, epoch="e2", seq=41)
        await run_status(peer, "failed", 4)  # seq 41: in the answer already, whatever it says
        await whole_step(peer, 4)
        await run_status(peer, "completed", 5)

    async with serving(first, second) as server:
        run = Run(server.url)
        assert await run() == 0
    text = run.out.getvalue()
    assert "(Part of what happened meanwhile cannot be shown any more.)" in text
    assert answer("Deployer") in text
    assert "5 of 5 steps answered" in text
    rows = [line.split() for line in text.splitlines() if line.startswith(f"{PLAN[0]} ")]
    assert rows[-1] == [PLAN[0], "1"]  # in the chart: when it ended was not seen


async def test_a_new_log_that_is_shorter_than_the_old_one_is_believed() -> None:
    async def first(peer: Peer) -> None:
        await peer.welcome(seq=100)
        await accept_run(peer)
        await status(peer, 0, "started")
        await peer.close(1011)

    async def second(peer: Peer) -> None:
        await peer.welcome(epoch="e2", seq=2, resumed=False)
        await peer.send("gap", reason="epoch")
        run = {"status": "running", "workflow": "delivery", "steps": PLAN, "done": 4, "progress": 80}
        steps = [{"step": name, "attempt": 1, "status": "completed"} for name in PLAN[:4]]
        await peer.reply(await peer.command("get_run"), run=run, steps=steps, epoch="e2", seq=2)
        await whole_step(peer, 4)
        await run_status(peer, "completed", 5)

    async with serving(first, second) as server:
        run = Run(server.url)
        assert await run() == 0
    assert answer("Deployer") in run.out.getvalue()


async def test_patience_ends() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await accept_run(peer)
        peer.reset()

    async with trio.open_nursery() as nursery:
        started = trio.Event()
        stop = trio.Event()
        servers: list[Server] = []

        async def serve() -> None:
            async with serving(script) as server:
                servers.append(server)
                started.set()
                await stop.wait()

        nursery.start_soon(serve)
        await started.wait()
        run = Run(servers[0].url)

        async def take_away() -> None:
            while not servers[0].peers:
                await trio.testing.wait_all_tasks_blocked()
            stop.set()

        nursery.start_soon(take_away)
        assert await run(patience=0.3) == 1
    assert run.err.getvalue() == "No connection for 0.3 s. If the daemon is up, the run goes on there.\n"


async def test_an_attempt_that_is_interrupted_begins_again() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await accept_run(peer)
        await status(peer, 0, "started")
        await delta(peer, 0, "first try", 0)
        await status(peer, 0, "error", "This step was interrupted.", error_type="interrupted")
        await status(peer, 0, "started", attempt=2)
        await delta(peer, 0, "second ", 0, attempt=2)
        await response(peer, 0, "second try", attempt=2)
        await status(peer, 0, "completed", attempt=2)
        await run_status(peer, "completed", 1)

    async with serving(script) as server:
        run = Run(server.url)
        assert await run() == 0
    text = run.out.getvalue()
    assert text.index("first try\n-- failed") < text.index("second try\n-- done")
    assert "attempt 2" in text
