"""The client's commands and their answers, against a scripted daemon over real sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import Sequencer

from tests.support.scripted_server import idle, rng, serving
from understudy.client import CommandRefused, CommandTooLarge, NoAnswer, connect

if TYPE_CHECKING:
    from tests.support.scripted_server import Peer


async def test_commands_get_their_own_answers_also_when_answers_overtake() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        first = await peer.command("get_run")
        second = await peer.command("list_runs")
        await peer.reply(second, runs=[])
        await peer.reply(first, "here", run={"status": "running"})

    async with serving(script) as server, connect(server.url, rng=rng()) as client, trio.open_nursery() as nursery:
        answers: dict[str, Any] = {}
        order = Sequencer()

        async def ask(turn: int, kind: str, **metadata: Any) -> None:
            async with order(turn):
                pass
            answers[kind] = await client.command(kind, metadata=metadata)

        nursery.start_soon(lambda: ask(0, "get_run", run_id="r1"))
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(lambda: ask(1, "list_runs"))
        with trio.fail_after(40):
            while len(answers) < 2:
                await trio.testing.wait_all_tasks_blocked()
        assert answers["list_runs"].metadata["runs"] == []
        assert (answers["get_run"].content, answers["get_run"].metadata["run"]) == ("here", {"status": "running"})


async def test_a_refusal_is_raised_with_its_code_and_fields() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        command = await peer.command("start_run")
        assert command["content"] == "tea"
        fields = {"content": "A brief has at least 10 characters."}
        await peer.refuse(command, "invalid_fields", "Please say more.", fields=fields, retryable=False)
        command = await peer.command("start_run")
        await peer.refuse(command, "rate_limited", "Slow down.", retryable=True, retry_after=2.5)

    async with serving(script) as server, connect(server.url, rng=rng()) as client:
        with pytest.raises(CommandRefused) as refused:
            await client.command("start_run", content="tea")
        assert (refused.value.code, refused.value.message) == ("invalid_fields", "Please say more.")
        assert refused.value.fields == {"content": "A brief has at least 10 characters."}
        assert (refused.value.retryable, refused.value.retry_after) == (False, None)
        with pytest.raises(CommandRefused) as refused:
            await client.command("start_run", content="tea")
        assert (refused.value.retryable, refused.value.retry_after) == (True, 2.5)


async def test_a_cancelled_command_leaves_nothing_and_its_late_answer_goes_nowhere() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        given_up = await peer.command("get_run")
        second = await peer.command("list_runs")
        await peer.reply(given_up)
        await peer.reply(second, runs=["r1"])
        await peer.durable("system", "after")

    async with serving(script) as server, connect(server.url, rng=rng()) as client:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: client.command("get_run", command_id="same"))
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
        reply = await client.command("list_runs")
        assert reply.metadata["runs"] == ["r1"]
        assert (await anext(client)).content == "after"


async def test_no_answer_in_time_names_the_command_to_repeat() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        lost = await peer.command("start_run")
        again = await peer.command("start_run")
        assert again == lost
        await peer.reply(again, run_id="r1")

    async with serving(script) as server, connect(server.url, rng=rng()) as client:
        with pytest.raises(NoAnswer) as silence:
            await client.command("start_run", content="a brief of tea", within=0.05)
        again = silence.value.command_id
        reply = await client.command("start_run", content="a brief of tea", command_id=again)
        assert reply.metadata["run_id"] == "r1"


async def test_an_id_that_is_still_waiting_is_refused() -> None:
    async with serving(idle) as server, connect(server.url, rng=rng()) as client, trio.open_nursery() as nursery:
        nursery.start_soon(lambda: client.command("get_run", command_id="x"))
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(ValueError, match="still waiting"):
            await client.command("get_run", command_id="x")
        nursery.cancel_scope.cancel()


async def test_a_command_is_measured_in_bytes_before_it_is_sent() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome(limits={"frame_bytes": 400})
        await peer.reply(await peer.command("start_run"))

    async with serving(script) as server, connect(server.url, rng=rng()) as client:
        with pytest.raises(CommandTooLarge) as large:
            await client.command("start_run", content="ä" * 200)  # 200 characters, 400 bytes and the envelope
        assert large.value.size > large.value.limit == 400
        await client.command("start_run", content="a" * 200)


async def test_a_hello_that_is_too_large_is_not_sent() -> None:
    async with serving(idle) as server:
        with pytest.raises(CommandTooLarge):
            async with connect(server.url, rng=rng(), token="t" * 70_000):
                pass
