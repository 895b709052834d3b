"""`understudy serve` as a real process: signals, kill -9, and what the next daemon makes of what was cut."""

from __future__ import annotations

import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from tests.support.daemon import Served, quick_file, serve
from tests.support.device import Device
from tests.support.held_model import held_model

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.held_model import HeldModel


@asynccontextmanager
async def one_client(directory: Path, *options: str) -> AsyncIterator[tuple[HeldModel, Served, Device]]:
    """A held model, a daemon with these options, and ada, who is connected."""
    async with (
        held_model() as model,
        trio.open_nursery() as clients,
        serve(quick_file(directory, model.base_url), directory / "data", *options) as served,
    ):
        ada = Device(served.port, "ada")
        await clients.start(ada.live)
        yield model, served, ada
        clients.cancel_scope.cancel()


async def taken_up_by_the_next_daemon(ada: Device, run_id: str, served: Served) -> None:
    """The client comes back, and sees how the run that was cut goes on: one log, without a gap."""
    seen = ada.log[-1]["seq"]
    ada.port = served.port
    assert await ada.run_ended(run_id) == "completed"
    welcome = ada.welcome["metadata"]
    assert welcome["resumed"]
    after = [frame for frame in ada.log if frame["seq"] > seen]
    assert [(f["type"], f["metadata"]["status"], f["metadata"].get("error_type")) for f in after[:3]] == [
        ("agent_status", "error", "interrupted"),
        ("agent_status", "started", None),
        ("agent_status", "thinking", None),
    ]
    assert [f["metadata"]["attempt"] for f in after[:2]] == [1, 2]
    answer = (await ada.ask("list_runs", active=True))["metadata"]
    assert answer["runs"] == []
    assert (await ada.ask("get_run", run_id=run_id))["metadata"]["run"]["status"] == "completed"
    after_that = await ada.start_run()
    assert await ada.run_ended(after_that) == "completed"
    ada.verify()


def no_traceback(served: Served) -> None:
    assert "Traceback" not in served.text, served.text
    assert '"level": "error"' not in served.text, served.text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_in_mid_run_ends_it_cleanly_and_the_next_daemon_goes_on(
    number: signal.Signals, tmp_path: Path
) -> None:
    async with held_model() as model, trio.open_nursery() as clients:
        file = quick_file(tmp_path, model.base_url)
        async with serve(file, tmp_path / "data", "--shutdown-deadline", "10") as served:
            ada = Device(served.port, "ada")
            await clients.start(ada.live)
            run_id = await ada.run_under_way()
            with trio.fail_after(10):  # the deadline that it was given
                served.signal(number)
                assert await served.ended() == 0
            await ada.until(lambda: ada.codes)
            assert ada.codes == [1012]
            [draining] = [frame for frame in ada.frames if frame["type"] == "draining"]  # text may still come behind it
            assert 0 <= draining["metadata"]["retry_after"] <= 5
            assert served.lines[-1] != ""
            no_traceback(served)
        model.release()
        async with serve(file, tmp_path / "data") as again:
            await taken_up_by_the_next_daemon(ada, run_id, again)
            again.signal(signal.SIGTERM)
            assert await again.ended() == 0
            no_traceback(again)
            clients.cancel_scope.cancel()


async def test_a_second_interrupt_ends_it_at_once(tmp_path: Path) -> None:
    async with one_client(tmp_path, "--shutdown-deadline", "60") as (_, served, ada):
        # A client that never answers the goodbye keeps the daemon from being done before the second interrupt.
        stream = await trio.open_tcp_stream("127.0.0.1", served.port)
        await ada.run_under_way()
        served.signal(signal.SIGINT)
        await served.line('"stopping"')
        served.signal(signal.SIGINT)
        assert await served.ended() == 130
        no_traceback(served)
        await stream.aclose()


async def test_killed_in_mid_run_the_log_goes_on_without_a_gap(tmp_path: Path) -> None:
    async with held_model() as model, trio.open_nursery() as clients:
        file = quick_file(tmp_path, model.base_url)
        async with serve(file, tmp_path / "data") as served:
            ada = Device(served.port, "ada")
            await clients.start(ada.live)
            run_id = await ada.run_under_way()
            served.signal(signal.SIGKILL)
            assert await served.ended() == -signal.SIGKILL
            await ada.until(lambda: ada.codes)
            assert ada.codes == [1006]
        model.release()
        async with serve(file, tmp_path / "data") as again:
            await taken_up_by_the_next_daemon(ada, run_id, again)
            no_traceback(again)
            clients.cancel_scope.cancel()


async def test_a_command_whose_answer_was_lost_with_the_daemon_is_settled_by_its_repeat(tmp_path: Path) -> None:
    async with held_model() as model, trio.open_nursery() as clients:
        file = quick_file(tmp_path, model.base_url)
        async with serve(file, tmp_path / "data") as served:
            ada = Device(served.port, "ada")
            await clients.start(ada.live)
            first = await ada.ask("start_run", "A brief, the same each time", id="once", workflow="short")
            served.signal(signal.SIGKILL)
            await served.ended()
            await ada.until(lambda: ada.codes)
        ada.repeated.add("once")
        model.release()
        async with serve(file, tmp_path / "data") as again:
            ada.port = again.port
            assert await ada.run_ended(first["metadata"]["run_id"]) == "completed"
            repeat = await ada.ask("start_run", "A brief, the same each time", id="once", workflow="short")
            assert repeat["metadata"] == first["metadata"]
            ada.verify()
            clients.cancel_scope.cancel()


async def test_while_draining_it_takes_nobody_in(tmp_path: Path) -> None:
    """A client that lingers keeps the daemon draining; whoever comes then is told when to come back."""
    async with one_client(tmp_path, "--shutdown-deadline", "6") as (_, served, ada):
        lingering = await trio.open_tcp_stream("127.0.0.1", served.port)
        served.signal(signal.SIGTERM)
        await ada.until(lambda: ada.refusals)
        assert ada.codes == [1012]
        assert ada.refusals[0].status == 503
        assert 1 <= (ada.refusals[0].retry_after or 0) <= 5
        await lingering.aclose()
        assert await served.ended() == 0
        no_traceback(served)
