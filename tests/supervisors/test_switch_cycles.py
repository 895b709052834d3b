"""The switch in the wait-for graph, under a watcher, and behind another switch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio

from runtime import Ended, HandlerFailed, WaitCycle
from supervisors import Ledger, Switch
from supervisors._switch import answered
from tests.support.actors import LONG, settle
from tests.support.supervision import Steady
from tests.support.switches import OPEN, POLICY, line

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio.testing import MockClock

    from runtime import Ref


# --- waiting in circles, and watching


async def test_a_target_that_asks_its_own_address_is_told_of_the_cycle(autojump_clock: MockClock) -> None:
    async with line() as own:
        with pytest.raises(HandlerFailed) as failed:
            await own.targets["a"].do(lambda _: own.ask("myself"))
        assert isinstance(failed.value.__cause__, WaitCycle)
        assert failed.value.__cause__.path == ("/a", "/a")


async def test_the_understudy_may_ask_the_lead_through_the_switch(autojump_clock: MockClock) -> None:
    async with line() as own:
        assert await own.targets["b"].do(lambda _: own.ask("you")) == "you"
        assert own.heard() == {"a": ["you"], "b": []}


async def test_a_longer_cycle_through_the_switch_is_found(autojump_clock: MockClock) -> None:
    async with line() as own:
        other = await own.bench.spawn("other")
        with pytest.raises(HandlerFailed) as failed:
            await other.do(lambda _: own.ask(ask_of(other.ref)))
        # the lead's handler fails with the cycle; the one who asked it hears of that
        assert "WaitCycle" in str(failed.value)
        assert own.bench.crashes()[0].path == "/a"
        assert "/a -> /other -> /a" in own.bench.crashes()[0].detail


def ask_of(ref: Ref[Any]) -> Callable[[Any], Any]:
    async def ask(_: Any) -> Any:
        return await ref.ask("x", within=LONG)

    return ask


async def test_a_lead_that_would_be_its_own_probe_is_told_of_the_cycle_and_loses_the_place(
    autojump_clock: MockClock,
) -> None:
    async with line() as own:
        own.due("a")
        with pytest.raises(HandlerFailed) as failed:
            await own.targets["a"].ref.ask(lambda _: own.ask("myself", within=LONG), within=5.0)
        assert "WaitCycle" in failed.value.detail
        assert own.states() == ["open", "closed"]
        assert own.books["a"].account.until <= trio.current_time()


async def test_a_moved_message_does_not_close_a_cycle_unseen(autojump_clock: MockClock) -> None:
    """The understudy waits for the lead; what it asked is moved, to itself."""
    async with line(a={"on": {"slow": lambda _: trio.sleep(LONG)}}) as own, trio.open_nursery() as nursery:
        errors: list[str] = []

        async def ask(_: Any) -> None:
            with pytest.raises(WaitCycle) as cycle:
                await own.ask("you", within=LONG)
            errors.append(str(cycle.value))

        own.targets["a"].ref.tell("slow")
        nursery.start_soon(own.targets["b"].do, ask)
        await settle()
        own.books["a"].account = OPEN
        lead = own.targets["a"].cell
        moved = lead.hand_over(lambda item: own.switch.move(own.ref, item), lambda m: own.switch.refusal(own.ref, m))
        await settle()
        assert moved == 1
        assert errors == ["waiting would close a cycle: /b -> /b"]
        own.targets["a"].cell.kill("enough")


async def test_a_watcher_of_the_address_hears_of_its_owner(autojump_clock: MockClock) -> None:
    async with line(owned=True) as own:
        assert own.switch.watchable() is own.bench.root.cell


async def test_without_an_owner_a_watcher_hears_of_the_target_in_charge(autojump_clock: MockClock) -> None:
    async with line() as own:
        own.books["a"].account = OPEN
        watcher = await own.bench.spawn("watcher", start=lambda actor: actor.watch(own.ref))
        await own.gone("b")
        [ended] = watcher.log.heard
        assert isinstance(ended, Ended)
        assert ended.ref is own.targets["b"].ref


# --- a switch behind a switch


async def test_an_answer_through_two_switches_is_evidence_for_both(autojump_clock: MockClock) -> None:
    async with line() as own:
        outer_book = Ledger("outer", POLICY, Steady())
        outer_book.account = attrs.evolve(OPEN, until=0.0)
        spare = await own.bench.spawn("spare")
        spare_book = Ledger("spare", POLICY, Steady())
        outer: Ref[Any] = own.bench.system.ref("/outer")
        outer.target = Switch(
            own.bench.system,
            [outer_book, spare_book],
            [own.ref, spare.ref],
            counted=(object,),
            judge=answered,
            exhausted=None,
        )
        own.due("a")
        assert await outer.ask("x", within=1.0) == "x"
        assert own.states() == ["closed", "closed"]
        assert outer_book.account.state == "closed"
