"""What `/api/supervisors` shows in mid-run, and that every trio task of the daemon belongs to an actor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio
import trio.testing

from tests.support.daemon import House, house, http
from tests.support.device import devices
from tests.support.held_model import held_model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trio.lowlevel import Task

    from runtime._cell import Cell


def walk(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node["children"]:
        yield from walk(child)


async def test_every_connection_user_run_and_agent_has_a_node_with_a_mailbox(tmp_path: Path) -> None:
    async with (
        held_model() as model,
        house(tmp_path, model.base_url) as here,
        devices(here.port, "ada", "grace/hopper", "ada") as [ada, grace, phone],
    ):
        runs = [await ada.run_under_way(), await grace.run_under_way()]
        tree = (await http(here.port, "/api/supervisors")).json
        nodes = {node["path"]: node for node in walk(tree)}
        for path in [
            *(f"/gateway/connections/{each.welcome['metadata']['connection_id']}" for each in (ada, grace, phone)),
            "/users/ada",
            "/users/grace%2Fhopper",
            *(f"/runs/{run_id}" for run_id in runs),
            *(f"/runs/{run_id}/writing-1" for run_id in runs),
        ]:
            assert nodes[path]["state"] == "running", path
            assert nodes[path]["mailbox"]["capacity"] > 0, path
        kinds = {node["kind"] for node in nodes.values()}
        assert {"Connection", "UserContext", "Run", "AgentStep", "Journal", "Gate", "Listener"} <= kinds
        for kind in ("Connection", "UserContext", "Run", "AgentStep"):
            handled = [node["counters"]["handled"] for node in nodes.values() if node["kind"] == kind]
            assert len(handled) == {"Connection": 4, "UserContext": 2, "Run": 2, "AgentStep": 2}[kind]
        model.release()
        for each, run_id in zip((ada, grace), runs, strict=True):
            await each.run_ended(run_id)
            each.verify()


def all_tasks() -> set[Task]:
    """Every task of this trio run."""
    root = trio.lowlevel.current_root_task()
    assert root is not None
    return descendants(root)


def descendants(task: Task) -> set[Task]:
    """A task and everything below it."""
    found: set[Task] = set()
    waiting = [task]
    while waiting:
        each = waiting.pop()
        found.add(each)
        waiting += [child for nursery in each.child_nurseries for child in nursery.child_tasks]
    return found


def beside(before: set[Task]) -> set[Task]:
    """The tasks that were there `before`, and all that those have begun which are not this test's own."""
    here = trio.lowlevel.current_task()
    others = [task for task in before if here not in descendants(task)]
    return before | {task for each in others for task in descendants(each)}


def actors_tasks(here: House) -> set[Task]:
    """The tasks of all cells, and those that actors have started."""
    root = here.system.root
    assert root is not None
    found: set[Task] = set()
    waiting: list[Cell] = [root]
    while waiting:
        cell = waiting.pop()
        waiting += cell.children.values()
        links = cell.links
        mine = [cell.task, *(task.task for task in (links.tasks if links is not None else ()))]
        found |= {task for task in mine if task is not None}
    return found


async def test_every_task_belongs_to_an_actor(tmp_path: Path) -> None:
    async with held_model() as model:
        before = all_tasks()
        async with house(tmp_path, model.base_url) as here:
            daemon = all_tasks() - before
            async with devices(here.port, *(f"user{number}" for number in range(5))) as users:
                for each in users:
                    await each.run_under_way()
                await trio.testing.wait_all_tasks_blocked(0.01)  # a task that was only spawned does not know itself yet
                root_task = here.system.root.task  # type: ignore[union-attr]  # it runs
                owned = actors_tasks(here)
                ours = {task for owner in owned for task in descendants(owner)}
                # What the daemon had begun before anybody connected is the actors', the wheel, the task of the tree,
                # and the program's one that waits to be told to stop. (One that made something ready has ended by now.)
                daemon &= all_tasks()
                programs = sorted(task.name.rpartition(".")[2] for task in daemon - ours)
                assert programs == ["run", "run", "stop_when_asked"]
                [tree] = [task for task in daemon - ours if root_task in descendants(task)]
                asked = {task for task in daemon - ours if task.name.endswith("stop_when_asked")}
                wheel = daemon - ours - {tree} - asked
                assert len(wheel) == 1
                assert "Wheel.run" in next(iter(wheel)).name
                # And since then nothing else: all that is new are the clients, the held model's answers, and actors'.
                assert descendants(tree) == ours | wheel | {tree}
                clients = {
                    task for nursery in trio.lowlevel.current_task().child_nurseries for task in nursery.child_tasks
                }
                clients = {task for each in clients - {tree} for task in descendants(each)}
                assert all_tasks() - beside(before) - clients == descendants(tree)
                assert len([task for task in ours if task in owned]) >= len(here.paths())
                model.release()
                for each in users:
                    await each.until(lambda each=each: each.log[-1]["metadata"].get("status") == "completed")
                    each.verify(midrun=True)
            assert all_tasks() - beside(before) == descendants(tree) | asked
        assert all_tasks() - beside(before) == set()


async def test_two_daemons_in_one_process_share_nothing(tmp_path: Path) -> None:
    async with held_model(held=False) as model, held_model(held=False, name="lead-2") as other:
        async with (
            house(tmp_path / "one", model.base_url) as one,
            house(tmp_path / "two", other.base_url, seed=2) as two,
            devices(one.port, "ada") as [ada],
            devices(two.port, "ada") as [twin],
        ):
            run_id = await ada.start_run(id="the-same-id")
            assert await ada.run_ended(run_id) == "completed"
            assert twin.log == []
            assert (await twin.ask("get_run", run_id=run_id))["metadata"]["code"] == "not_found"
            assert twin.welcome["metadata"]["epoch"] != ada.welcome["metadata"]["epoch"]
            assert (one.daemon.counters.events_committed, two.daemon.counters.events_committed) == (12, 0)
            name = "understudy_events_committed_total"
            assert (await one.metric(name), await two.metric(name)) == (12.0, 0.0)
            assert (model.asked, other.asked) == (2, 0)
            own_id = await twin.start_run(id="the-same-id")
            assert own_id != run_id
            await one.crash_and_see("/users")
            assert await twin.run_ended(own_id) == "completed"
            assert (one.crashes, two.crashes) == (1, 0)
            twin.verify()
            assert twin.codes == []
            assert all(str(tmp_path / "two") not in str(line) for line in one.log)
            await ada.until(lambda: len(ada.connections) == 2)
        kept = sorted(path.name for path in (tmp_path / "one" / "data").iterdir())
        assert kept == ["artifacts", "lock", "understudy.db"]
