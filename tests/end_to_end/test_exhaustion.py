"""Restart budgets used up: what docs/failure.md says that connected clients then see."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from runtime import SystemFailed
from tests.support.daemon import house
from tests.support.device import Device, devices
from tests.support.held_model import held_model

if TYPE_CHECKING:
    from pathlib import Path

TOP = ("storage", "models", "engines", "users", "runs", "gateway", "operations", "watchdog")


@pytest.mark.parametrize("child", TOP)
async def test_a_top_level_child_that_keeps_failing_ends_the_daemon(child: str, tmp_path: Path) -> None:
    async with held_model() as model, trio.open_nursery() as clients:
        with pytest.raises(SystemFailed, match=f"/{child} failed again after 3 restarts in 5 s"):
            async with house(tmp_path, model.base_url) as here:
                assert tuple(node.spec.name for node in here.system.root.children.values()) == TOP  # type: ignore[union-attr]
                ada = Device(here.port, "ada")
                await clients.start(ada.live)
                run_id = await ada.run_under_way()
                await here.crash_while(f"/{child}", lambda: not here.daemon.ended.is_set())
        last = here.log[-1]
        given_up = [line for line in here.log if line["event"] == "restart limit reached"]
        assert [(line["actor"], line["level"], line["escalated"]) for line in given_up] == [
            (f"/{child}", "critical", True)
        ]
        assert last["event"] in {"restart limit reached", "connection closed", "actor crashed", "actor restarts"}
        await ada.until(lambda: ada.refusals)  # nobody listens any more
        # Whoever comes back while the gateway is being crashed is cut off before the handshake is over.
        assert set(ada.codes) == {1011} or (child == "gateway" and set(ada.codes) == {1006, 1011})
        # Whoever watches over the process starts it again: the client comes back, and its run is closed.
        model.release()
        async with house(tmp_path, model.base_url) as again:
            ada.port = again.port
            assert await ada.run_ended(run_id) in {"failed", "completed"}
            after = await ada.start_run()
            assert await ada.run_ended(after) == "completed"
            ada.verify(lossy=True)
            clients.cancel_scope.cancel()


async def test_a_run_that_keeps_failing_is_closed_alone(tmp_path: Path) -> None:
    async with (
        held_model() as model,
        house(tmp_path, model.base_url) as here,
        devices(here.port, "injured", "other") as [injured, other],
    ):
        run_id, theirs = await injured.run_under_way(), await other.run_under_way()
        path = f"/runs/{run_id}"
        for _ in range(4):
            await here.crash_and_see(path)
        assert await injured.run_ended(run_id) == "failed"
        last = injured.log[-1]
        assert last["content"] == "This run was interrupted. Please start it again."
        errors = [frame for frame in injured.log if frame["metadata"].get("status") == "error"]
        assert {frame["metadata"]["error_type"] for frame in errors} == {"interrupted"}
        given_up = [line for line in here.log if line["event"] == "restart limit reached"]
        assert [(line["actor"], line["escalated"]) for line in given_up] == [(path, False)]
        model.release()
        assert await other.run_ended(theirs) == "completed"
        assert await injured.run_ended(await injured.start_run()) == "completed"
        for each in (injured, other):
            assert each.codes == []
            each.verify()


async def test_an_agent_that_keeps_failing_is_missing_and_the_run_goes_on(tmp_path: Path) -> None:
    async with held_model() as model, house(tmp_path, model.base_url) as here, devices(here.port, "ada") as [ada]:
        run_id = await ada.run_under_way()
        for attempt in (1, 2, 3):
            await ada.wait_for(type="agent_delta", step="writing", attempt=attempt)
            await here.crash_and_see(f"/runs/{run_id}/writing-{attempt}")
        await ada.wait_for(type="agent_delta", step="critique")
        model.release()
        assert await ada.run_ended(run_id) == "completed"
        assert [f["agent_name"] for f in ada.log if f["type"] == "agent_response"] == ["Critic"]
        assert "it was interrupted" in model.heard[-1]
        ada.verify()


@pytest.mark.parametrize(
    ("path", "restarted"),
    [("/models/gate-default", "/models"), ("/models/chain-default", "/models"), ("/gateway/listener", "/gateway")],
)
async def test_below_the_top_level_the_supervisor_starts_anew(path: str, restarted: str, tmp_path: Path) -> None:
    async with held_model() as model, house(tmp_path, model.base_url) as here, devices(here.port, "ada") as [ada]:
        run_id = await ada.run_under_way()

        def incarnation() -> int:
            node = here.node(restarted)
            return -1 if node is None else node.incarnation

        await here.crash_while(path, lambda: incarnation() == 0)
        await here.settled()
        model.release()
        assert await ada.run_ended(run_id) == "completed"
        assert await ada.run_ended(await ada.start_run()) == "completed"
        assert set(ada.codes) == ({1011} if restarted == "/gateway" else set())
        ada.verify()


async def test_top_level_children_share_no_budget(tmp_path: Path) -> None:
    """As often as each may by itself, one after the other: more than any of them may, and the daemon goes on."""
    async with (
        held_model(held=False) as model,
        house(tmp_path, model.base_url) as here,
        devices(here.port, "ada") as [ada],
    ):
        for child in ("watchdog", "operations", "engines", "models"):
            for _ in range(3):
                await here.crash_and_see(f"/{child}")
        assert not here.daemon.ended.is_set()
        assert await ada.run_ended(await ada.start_run()) == "completed"
        ada.verify()
