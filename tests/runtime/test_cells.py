"""Which cell a task works for."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from runtime import HandlerFailed
from runtime._cells import cell_of, cells_of_run
from tests.support.actors import Bench, Probe, asking, running, settle


async def test_a_cell_is_known_by_its_task_and_by_the_tasks_that_it_started(bench: Bench):
    seen: list[Any] = []

    async def note() -> None:
        seen.append(cell_of(trio.lowlevel.current_task()))

    async def look(actor: Probe) -> None:
        await note()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(note)
        actor.start(note)

    a = await bench.spawn("a")
    await a.do(look)
    await settle()
    assert seen == [a.ref.target] * 3
    assert cell_of(trio.lowlevel.current_task()) is None


async def test_nothing_is_kept_of_a_task_that_has_ended(bench: Bench):
    before = len(cells_of_run())
    a = await bench.spawn("a")
    a.cell.actor.start(trio.sleep_forever)
    await settle()
    assert len(cells_of_run()) == before + 2
    await bench.stop(a)
    await settle()
    assert len(cells_of_run()) == before


async def test_a_cycle_through_two_systems_is_found(bench: Bench):
    async with running() as other:
        a = await bench.spawn("a", on={"go": asking(lambda: b, "back")})
        b = await other.spawn("b", on={"back": asking(lambda: a)})
        with pytest.raises(HandlerFailed, match="/b -> /a -> /b"):
            await a.ref.ask("go", within=5)
