"""A crash in any one actor, while ten other users' runs are in progress: theirs go on, and the injured one's too."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import attrs
import pytest
import trio

from tests.support.daemon import House, house, until
from tests.support.device import Device, devices
from tests.support.held_model import WHOLE, held_model
from tests.support.household import household

if TYPE_CHECKING:
    from pathlib import Path

OTHERS = tuple(f"other{number}" for number in range(10))


@attrs.frozen
class Place:
    """An actor to crash, and what follows.

    Attributes:
        path: its path; RUN and CONNECTION stand for those of the injured user.
        codes: the closes that the injured user sees, and `others` those of everybody else.
        attempts: how often the injured user's first step is begun; `theirs`: everybody else's.
        lossy: whether pieces of text may be missing until the whole answer comes.
    """

    path: str
    codes: tuple[int, ...] = ()
    others: tuple[int, ...] = ()
    attempts: int = 1
    theirs: int = 1
    lossy: bool = False


PLACES = {
    "Journal": Place("/storage"),
    "Models": Place("/models"),
    "Gate": Place("/models/gate-default"),
    "Fallback": Place("/models/chain-default"),
    "Users": Place("/users", codes=(1011,), others=(1011,), lossy=True),
    "UserContext": Place("/users/injured"),
    "Runs": Place("/runs", attempts=2, theirs=2),
    "Run": Place("/runs/RUN", attempts=2),
    "AgentStep": Place("/runs/RUN/writing-1", attempts=2),
    "Gateway": Place("/gateway", codes=(1011,), others=(1011,)),
    "Connections": Place("/gateway/connections", codes=(1011,), others=(1011,)),
    "Connection": Place("/gateway/connections/CONNECTION", codes=(1011,)),
    "Listener": Place("/gateway/listener"),
    "EngineFallback": Place("/engines/creative"),
    "Engine": Place("/engines/perfect_recall/engine"),
    "Coordinator": Place("/engines/coordinator"),
    "Tasks": Place("/engines/tasks"),
    "FixedSupervisor": Place("/operations"),
    "Pulse": Place("/operations/pulse"),
    "Survey": Place("/operations/survey"),
    "Watchdog": Place("/watchdog"),
}


def path_of(place: Place, injured: Device, run_id: str) -> str:
    connection = injured.welcome["metadata"]["connection_id"]
    return place.path.replace("RUN", run_id).replace("CONNECTION", connection)


async def start_all(users: list[Device]) -> dict[str, str]:
    """A run for each, all of them with their first words written."""
    runs: dict[str, str] = {}

    async def start(each: Device) -> None:
        runs[each.user] = await each.run_under_way(f"A brief of {each.user}, who sells tea")

    async with trio.open_nursery() as nursery:
        for each in users:
            nursery.start_soon(start, each)
    return runs


async def ended_well(each: Device, run_id: str, *, attempts: int) -> None:
    """The run completes, with both answers whole, after so many attempts at its first step."""
    assert await each.run_ended(run_id) == "completed"
    ours = [frame for frame in each.log if frame.get("run_id") == run_id]
    assert [frame["content"] for frame in ours if frame["type"] == "agent_response"] == [WHOLE, WHOLE]
    begun = [f["metadata"]["attempt"] for f in ours if f["metadata"].get("status") == "started"]
    assert begun == [*range(1, attempts + 1), 1]


def kinds_of(here: House) -> set[str]:
    return {node.kind for node in here.system.tree().walk() if node.path != "/"}


@pytest.mark.parametrize("kind", PLACES)
async def test_one_crash_and_everybody_goes_on(kind: str, tmp_path: Path) -> None:
    place = PLACES[kind]
    async with household(tmp_path, "injured", *OTHERS) as (model, here, [injured, *others]):
        runs = await start_all([injured, *others])
        assert kinds_of(here) == set(PLACES)  # who adds a kind of actor adds what its crash means
        path = path_of(place, injured, runs["injured"])
        node = here.node(path)
        assert node is not None
        assert node.kind == kind
        await here.crash_and_see(path)
        model.release()
        for each in others:
            await ended_well(each, runs[each.user], attempts=place.theirs)
            each.verify(lossy=place.lossy)
            assert tuple(each.codes) == place.others
        await ended_well(injured, runs["injured"], attempts=place.attempts)
        injured.verify(lossy=place.lossy)
        assert tuple(injured.codes) == place.codes
        after = await injured.start_run("Another brief, after the crash")
        assert await injured.run_ended(after) == "completed"


async def test_a_crash_of_the_simulated_model(tmp_path: Path) -> None:
    async with house(tmp_path, None) as here, devices(here.port, *OTHERS) as others:
        runs = await start_all(others)
        await here.crash_and_see("/models/simulated")
        for each in others:
            assert await each.run_ended(runs[each.user]) == "completed"
            answers = [frame["metadata"] for frame in each.log if frame["type"] == "agent_response"]
            assert [answer.get("partial", False) for answer in answers] == [True, False]
            each.verify()
            assert each.codes == []


@pytest.mark.parametrize("place", ["/users/{user}", "/gateway/connections/{connection}"])
async def test_fifty_at_once_and_nobody_else_notices(place: str, tmp_path: Path) -> None:
    fifty = [f"injured{number}" for number in range(50)]
    async with (
        held_model() as model,
        house(tmp_path, model.base_url) as here,
        devices(here.port, *fifty) as injured,
        devices(here.port, *OTHERS) as others,
    ):
        runs = await start_all([*others, *injured[:5]])
        for each in injured:
            connection = each.welcome["metadata"]["connection_id"]
            here.crash(place.format(user=each.user, connection=connection))
        await until(lambda: here.crashes >= len(fifty))
        await here.settled()
        model.release()
        for each in others:
            await ended_well(each, runs[each.user], attempts=1)
            each.verify()
            assert each.codes == []
        for each in injured[:5]:
            await ended_well(each, runs[each.user], attempts=1)
        for each in injured:
            answer = await each.ask("list_runs")
            assert len(answer["metadata"]["runs"]) == (each in injured[:5])
            each.verify()
            assert each.codes == ([1011] if "connections" in place else [])


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_crashes_in_full_flight(seed: int, tmp_path: Path) -> None:
    """Any actor at any moment, while five runs stream: every log is whole in the end, and every run completes."""
    rng = random.Random(seed)
    users = OTHERS[:5]
    crashed: list[str] = []

    async def crash_some(here: House) -> None:
        for _ in range(8):
            await trio.sleep(rng.uniform(0, 0.15))
            supervisors_left = 3 - sum(path.count("/") == 1 for path in crashed)  # one more would end the daemon
            paths = [n.path for n in here.system.tree().walk() if n.state == "running" and n.path.count("/") > 1]
            path = rng.choice(
                paths + ["/storage", "/models", "/users", "/runs", "/gateway"][: 5 * (supervisors_left > 0)]
            )
            here.system.fail(path, RuntimeError("injected"))
            crashed.append(path)

    async def work(each: Device) -> None:
        assert await each.run_ended(await each.start_run()) == "completed"

    async with (
        held_model(held=False, pause=0.02) as model,
        house(tmp_path, model.base_url, seed=seed) as here,
        devices(here.port, *users) as everybody,
    ):
        async with trio.open_nursery() as nursery:
            for each in everybody:
                nursery.start_soon(work, each)
            nursery.start_soon(crash_some, here)
        for each in everybody:
            each.verify(lossy=True)
            assert set(each.codes) <= {1006, 1011}


@pytest.mark.parametrize("path", ["/users", "/users/ada"])
async def test_a_run_finds_its_owner_again_though_nobody_is_connected(path: str, tmp_path: Path) -> None:
    async with household(tmp_path, "ada") as (model, here, [ada]):
        run_id = await ada.run_under_way()
        await ada.drop()
        await here.crash_and_see(path)
        model.release()
        await until(lambda: f"/runs/{run_id}" not in {p for p in here.paths() if here.runs(p)})
        async with devices(here.port, "ada", resume=ada.resume) as [back]:
            assert await back.run_ended(run_id) == "completed"
            assert [f["content"] for f in back.log if f["type"] == "agent_response"] == [WHOLE, WHOLE]
            back.verify()


async def test_a_run_that_was_accepted_while_the_runs_supervisor_restarts_is_started(tmp_path: Path) -> None:
    async with household(tmp_path, "ada", held=False) as (_, here, [ada]):
        for _ in range(3):  # after the second crash in a row it waits before it is back
            here.crash("/runs")
            run_id = await ada.start_run()
            assert await ada.run_ended(run_id) == "completed"
            await here.settled()
        ada.verify()
        assert ada.codes == []
