from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest
import trio

from runtime import Dead, Ended, Passivated, Restarted
from tests.support.actors import LONG, Bench, OpenHost, boom, running, settle

if TYPE_CHECKING:
    from runtime import Reason
    from runtime._cell import Cell


async def test_a_path_has_one_ref(bench: Bench):
    a = await bench.spawn("a")
    assert bench.system.ref("/a") is a.ref
    assert await a.do(lambda actor: actor.ref) is a.ref
    assert bench.system.ref("/") is bench.root.ref
    host = await bench.spawn("host", OpenHost)
    assert (await bench.spawn("leaf", under=host)).ref.path == "/host/leaf"
    assert repr(a.ref) == "<Ref /a>"


async def test_an_address_that_nobody_holds_is_forgotten(bench: Bench):
    bench.system.ref("/nobody")
    gc.collect()
    assert "/nobody" not in bench.system._refs


async def test_a_crash_keeps_ref_mailbox_and_counters(bench: Bench):
    a = await bench.spawn("a", on={"wait": lambda _: trio.sleep(1), "boom": boom})
    cell = a.cell
    for message in ("wait", "boom", 1, 2, 3):
        assert a.ref.tell(message)
    await trio.sleep(2)
    assert a.cell is cell
    assert a.log.heard == ["wait", "boom", 1, 2, 3]
    assert a.log.started == [0, 1]
    counters = bench.counters(a)
    assert (counters.offered, counters.handled, counters.failed) == (5, 4, 1)


class Forcing(OpenHost):
    """Starts every child again that it was told to stop, as a supervisor does to the siblings of one that failed."""

    def child_ended(self, cell: Cell, reason: Reason) -> object:
        if self.on:
            return super().child_ended(cell, reason)
        self._cell.relaunch(cell, reason)
        return None


async def test_a_restart_forced_by_a_sibling_keeps_the_mailbox(bench: Bench):
    host = await bench.spawn("host", Forcing)
    a = await bench.spawn("a", under=host, stop=lambda _: trio.sleep(0.5), start_within=3, shutdown=3)
    await host.do(lambda actor: actor.stop_child("a"))
    await trio.sleep(0.1)
    for message in (1, 2):
        assert a.ref.tell(message)
    await trio.sleep(1)
    assert a.log.heard == [1, 2]
    assert a.log.started == [0, 1]
    await trio.sleep(100)  # neither the deadline of the stop nor that of the start still hangs over it
    assert (a.cell.state, a.cell.incarnation) == ("running", 1)
    await host.do(lambda actor: setattr(actor, "on", {"x": 1}))


async def test_a_new_parent_means_a_new_cell_with_an_empty_mailbox(bench: Bench):
    host = await bench.spawn("host", OpenHost, on={"boom": boom})
    a = await bench.spawn("a", under=host, on={"wait": lambda _: trio.sleep(LONG)})
    cell = a.cell
    for message in ("wait", 1, 2):
        a.ref.tell(message)
    await settle()
    host.ref.tell("boom")
    await settle()
    await trio.sleep(10)  # its five seconds to stop
    assert a.ref.target is bench.system.dead
    assert bench.lost() == [("/host/a", 1, "dead"), ("/host/a", 2, "dead")]
    again = await bench.spawn("a", under=host)
    assert again.ref is a.ref
    assert again.cell is not cell
    assert await a.ref.ask(3, within=1) == 3
    assert again.log.heard == [3]


async def test_passivation_means_a_new_cell_behind_the_same_ref(bench: Bench):
    a = await bench.spawn("a", on={"go": lambda actor: actor.passivate()})
    cell = a.cell
    assert await a.ref.ask("go", within=1) is None
    await settle()
    assert a.log.ended == [Passivated()]
    assert await a.ref.ask(1, within=1) == 1
    assert a.cell is not cell
    assert bench.system.ref("/a") is a.ref
    assert bench.counters(a).offered == 1


async def test_after_the_end_come_dead_letters(bench: Bench):
    a = await bench.spawn("a")
    await bench.stop(a)
    message = object()
    assert a.ref.tell(message) is False
    for offer in (a.ref.ask, a.ref.send):
        with pytest.raises(Dead, match="/a has ended: object") as caught:
            await offer(message, within=1)
        assert caught.value.message is message
        assert caught.value.ref is a.ref
    assert bench.lost() == [("/a", message, "dead")] * 3
    assert bench.system.dead.offered == 3


async def test_an_address_where_nothing_ever_was_is_dead(bench: Bench):
    ref = bench.system.ref("/nowhere")
    assert not ref.tell(1)
    with pytest.raises(Dead):
        await ref.ask(1, within=1)


@pytest.mark.parametrize("text", ["", "a", "nobody", "/a/", "//a", "a/", "/ a", "//"])
async def test_what_is_no_path_leads_to_nobody(bench: Bench, text: str):
    a = await bench.spawn("a")
    ref = bench.system.ref(text)
    assert bench.system.ref(text) is ref
    assert not ref.tell(1)
    await settle()
    assert a.log.heard == []
    assert 1 not in bench.root.log.heard


async def test_an_ask_after_the_end_of_the_system_is_dead():
    async with running() as bench:
        a = await bench.spawn("a")
    with pytest.raises(Dead):
        await a.ref.ask(1, within=1)
    assert not bench.root.ref.tell(1)


async def test_watchers_tell_a_restart_from_an_end(bench: Bench):
    a = await bench.spawn("a", on={"boom": boom})
    w = await bench.spawn("w", start=lambda actor: actor.watch(a.ref))
    a.ref.tell("boom")
    await settle()
    await bench.stop(a)
    restarted, ended = w.log.heard
    assert isinstance(restarted, Restarted)
    assert (restarted.ref, restarted.incarnation) == (a.ref, 1)
    assert isinstance(ended, Ended)
    assert ended.ref is a.ref
