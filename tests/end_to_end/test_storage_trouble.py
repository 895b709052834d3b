"""Trouble with the disk while the daemon runs: a state that everybody can see and that passes, and not a crash."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import trio

from tests.support.daemon import House, http, until
from tests.support.device import Device, devices
from tests.support.household import household

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def locked(data: Path) -> Iterator[None]:
    """Another process's hand on the database: nothing can be committed, what is there can be read."""
    with closing(sqlite3.connect(data / "data" / "understudy.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


async def status(here: House) -> tuple[int, str]:
    ready = await http(here.port, "/ready")
    return ready.status, ready.json["checks"]["storage"]["status"]


async def nothing_given_up(here: House) -> None:
    assert here.crashes == 0
    assert here.daemon.counters.give_ups == 0
    assert here.unsettled() == []


async def test_a_database_that_is_locked_refuses_commands_and_recovers_by_itself(tmp_path: Path) -> None:
    async with household(tmp_path, "ada", "grace") as (model, here, [ada, grace]):
        run_id = await ada.run_under_way()
        at = ada.log[-1]["seq"]
        with locked(tmp_path):
            refused = await grace.ask("start_run", "A brief that nobody can keep", id="mine", workflow="short")
            assert refused["metadata"]["code"] == "unavailable"
            assert refused["metadata"]["retryable"] is True
            await until(lambda: journal(here) != "ok")
            assert await status(here) == (503, "unavailable")
            # The run goes on meanwhile, and nothing of it is told that is not on the disk.
            model.release()
            await model.until(whole=1)
            again = await grace.ask("start_run", "A brief that nobody can keep", id="mine", workflow="short")
            assert again["metadata"]["code"] == "unavailable"
            assert ada.log[-1]["seq"] == at
            assert grace.log == []
            await nothing_given_up(here)
        await until(lambda: journal(here) == "ok")
        assert await ada.run_ended(run_id) == "completed"
        assert await status(here) == (200, "ok")
        # An error means that nothing was done, and it is not kept: the same id may be tried again.
        async with devices(here.port, "grace") as [later]:
            accepted = await later.ask("start_run", "A brief that nobody can keep", id="mine", workflow="short")
            assert accepted["type"] == "reply"
            assert await grace.run_ended(accepted["metadata"]["run_id"]) == "completed"
            assert await later.run_ended(accepted["metadata"]["run_id"]) == "completed"
            runs = (await grace.ask("list_runs"))["metadata"]["runs"]
            assert [run["run_id"] for run in runs] == [accepted["metadata"]["run_id"]]
            later.verify()
        await nothing_given_up(here)
        for each in (ada, grace):
            assert each.codes == []
        ada.verify()
        on_disk(tmp_path, ada)
        on_disk(tmp_path, grace)


async def test_an_answer_that_comes_while_nothing_can_be_kept_comes_once(tmp_path: Path) -> None:
    async with household(tmp_path, "ada", "ada") as (model, here, [ada, phone]):
        run_id = await ada.run_under_way()
        with locked(tmp_path):
            model.release()
            await until(lambda: journal(here) != "ok")
        for each in (ada, phone):
            assert await each.run_ended(run_id) == "completed"
            assert len([frame for frame in each.log if frame["type"] == "agent_response"]) == 2
            each.verify()
            assert each.codes == []
        on_disk(tmp_path, ada)
        await nothing_given_up(here)


async def test_an_operator_hears_of_it_and_that_it_is_over_and_that_the_daemon_leaves(tmp_path: Path) -> None:
    async with household(tmp_path, "ada", "root", "late", held=False) as (_, here, [ada, root, late]):
        assert (await root.ask("subscribe", channel="system_alerts"))["type"] == "reply"

        def alerts(device: Device = root) -> list[dict[str, Any]]:
            return [frame["metadata"]["payload"] for frame in device.frames if frame["type"] == "channel"]

        with locked(tmp_path):
            refused = await ada.ask("start_run", "A brief that nobody can keep")
            assert refused["metadata"]["code"] == "unavailable"
            [raised] = await root.until(alerts)
            assert (raised["name"], raised["severity"]) == ("storage_unavailable", "critical")
            assert "resolved_at" not in raised
            assert (await late.ask("subscribe", channel="system_alerts"))["type"] == "reply"
            assert await late.until(lambda: alerts(late)) == [raised]
            await until(lambda: journal(here) != "ok")
        await root.until(lambda: len(alerts()) == 2)
        assert alerts()[1] == {**raised, "resolved_at": alerts()[1]["resolved_at"]}
        root.comes_back = ada.comes_back = late.comes_back = False
        here.daemon.ask_to_stop("the test is over")
        await root.until(lambda: root.codes)
        assert alerts()[2]["name"] == "draining"
        assert not [frame for frame in ada.frames if frame["type"] == "channel"]
        root.verify()


async def test_whoever_comes_in_the_meantime_is_told_to_come_back(tmp_path: Path) -> None:
    async with household(tmp_path, "ada", held=False) as (_, here, [ada]):
        with locked(tmp_path):
            refused = await ada.ask("start_run", "A brief that nobody can keep")
            assert refused["metadata"]["code"] == "unavailable"
            late = Device(here.port, "late", comes_back=False)
            await late.live()
            [connection] = late.connections
            assert [frame["metadata"]["code"] for frame in connection.frames] == ["unavailable"]
            assert connection.code == 1011
            late.verify()
        await until(lambda: journal(here) == "ok")
        async with devices(here.port, "late") as [back]:
            assert await back.run_ended(await started(back)) == "completed"
            back.verify()
        await nothing_given_up(here)
        ada.verify()


async def started(device: Device) -> str:
    """The id of a new run. A context that began in the trouble looks at the disk again only after a moment; until then
    it says when to ask again."""
    while True:
        answer = await device.ask("start_run", "A shop that sells tea by weight", workflow="short")
        if answer["type"] == "reply":
            return str(answer["metadata"]["run_id"])
        assert answer["metadata"]["code"] == "unavailable"
        await trio.sleep(answer["metadata"]["retry_after"])


def journal(here: House) -> str:
    node = here.node("/storage")
    assert node is not None
    return str(node.details["storage"])


def on_disk(data: Path, device: Device) -> None:
    """Everything that the device was told as durable is in the database."""
    with closing(sqlite3.connect(data / "data" / "understudy.db")) as database:
        rows = database.execute(
            "SELECT seq, event_id FROM log WHERE log = (SELECT id FROM logs WHERE user = ?)", (device.user,)
        ).fetchall()
    assert {(frame["seq"], frame["id"]) for frame in device.log} <= set(rows)
