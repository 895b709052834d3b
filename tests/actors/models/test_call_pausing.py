"""A pause in the middle of a call: no attempt is begun upstream, what streams goes on, and no time is lost by it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.models.gate import Gate
from actors.models.lease import Acquire
from actors.models.model_call import CallResult
from actors.models.pausing import Pausing
from tests.support.models_system import ONCE, QUICK, Heard, ModelsSystem, fails, models_system, plan, settled


@pytest.fixture
async def provider(simulated: Any) -> Any:
    """A provider that does not call itself simulated, with any model, and its base URL."""
    return await simulated(model_name="test-model")


@attrs.define(eq=False)
class Rest:
    """A pause that a test begins and ends. `rests`: the call waits; `seconds`: so long it did."""

    held: bool = False
    waiting: trio.CancelScope | None = None
    rests: trio.Event = attrs.field(factory=trio.Event)
    goes_on: trio.Event = attrs.field(factory=trio.Event)
    seconds: float = 0.0

    async def resumed(self) -> None:
        began = trio.current_time()
        self.rests.set()
        await self.goes_on.wait()
        self.seconds += trio.current_time() - began

    def interrupts(self, waiting: trio.CancelScope | None) -> None:
        self.waiting = waiting

    def begin(self) -> None:
        self.held = True
        if self.waiting is not None:
            self.waiting.cancel()

    def end(self) -> None:
        self.held = False
        goes_on, self.goes_on, self.rests = self.goes_on, trio.Event(), trio.Event()
        goes_on.set()


class Hears(Heard):
    """Begins the pause with the first event of this kind."""

    def __init__(self, rest: Rest, kind: str) -> None:
        super().__init__()
        self._rest = rest
        self.kind = kind

    def retrying(self, facts: Any, delay: float) -> None:
        super().retrying(facts, delay)
        self._rest.held |= self.kind == "retrying"

    def text(self, piece: str) -> None:
        super().text(piece)
        self._rest.held |= self.kind == "text"


async def until(holds: Callable[[], bool]) -> None:
    while not holds():
        await trio.sleep(0.001)


async def paused(
    site: ModelsSystem, rest: Rest, meanwhile: Callable[[], Awaitable[None]], **options: Any
) -> CallResult:
    """A call that comes to rest; what comes of it when, after `meanwhile`, the pause ends."""
    results: list[CallResult] = []

    async def call() -> None:
        results.append(await site.call("lead", "understudy", pause=rest, **options))

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await rest.rests.wait()
            await meanwhile()
            rest.end()
    return results[0]


async def test_a_paused_call_makes_no_further_attempt_and_holds_nothing_and_loses_no_time(
    provider: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulation, url = provider
    simulation.tell(fails(requests=1))
    asked: list[Acquire] = []

    class Noting(Gate):
        async def receive(self, message: Any) -> object:
            if isinstance(message, Acquire):
                asked.append(message)
            return await super().receive(message)

    monkeypatch.setattr("actors.models.supervisor.Gate", Noting)
    rest = Rest()
    async with models_system(plan(url)) as site:

        async def meanwhile() -> None:
            assert (await site.status("lead")).limiter.in_flight == 0, "others may have its place"
            assert (await site.call("lead", "understudy")).target == "lead"
            assert simulation.counts("lead").total == 2, "one of the call, one of the other's"

        result = await paused(site, rest, meanwhile, observer=Hears(rest, "retrying"))
        assert [(each.target, each.kind) for each in result.attempts] == [("lead", "server_error"), ("lead", None)]
        first, _, again = asked
        assert again.deadline >= first.deadline + rest.seconds
        assert (await settled(site, "lead")).failures == 0
    assert (simulation.counts("lead").total, simulation.counts("understudy").total) == (3, 0)


async def test_nor_does_it_ask_the_next_of_the_chain(provider: Any) -> None:
    simulation, url = provider
    simulation.tell(fails(fault="silent"))
    rest = Rest()
    limits = attrs.evolve(ONCE, first_token=0.3)
    async with models_system(plan(url)) as site, trio.open_nursery() as nursery:

        async def hold() -> None:
            await until(lambda: simulation.counts("lead").total == 1)
            rest.held = True

        async def meanwhile() -> None:
            assert simulation.counts("understudy").total == 0

        nursery.start_soon(hold)
        result = await paused(site, rest, meanwhile, limits=limits)
        assert [(each.target, each.kind) for each in result.attempts] == [("lead", "timeout"), ("understudy", None)]


@pytest.mark.parametrize("attempts_before", [0, 1])
async def test_a_lease_that_comes_when_the_call_is_paused_is_given_back(provider: Any, attempts_before: int) -> None:
    """Of the first attempt, and of a further one: it has waited in the line of the gate."""
    simulation, url = provider
    rest, ahead, in_line = Rest(), Heard(), trio.Event()
    results: list[CallResult] = []
    async with models_system(plan(url, in_flight=1)) as site, trio.open_nursery() as nursery:

        async def other() -> None:
            limits = attrs.evolve(QUICK, idle=2.0)  # longer than any pause between two attempts
            await site.ended("lead", "understudy", observer=ahead, limits=limits)

        async def mine() -> None:
            results.append(await site.call("lead", "understudy", observer=Hears(rest, "retrying"), pause=rest))

        async def hold() -> None:
            if attempts_before:
                simulation.tell(fails(requests=1))
                nursery.start_soon(mine)
                await rest.rests.wait()
            simulation.tell(fails(fault="stall", after_tokens=2, requests=1))
            nursery.start_soon(other)
            await ahead.first_text.wait()
            if attempts_before:
                rest.end()
            else:
                nursery.start_soon(mine)
            await until(lambda: site.gate("lead").target.actor.inspect()["waiting"] == 1)
            rest.held = True
            in_line.set()

        with trio.fail_after(20):
            nursery.start_soon(hold)
            await in_line.wait()
            await rest.rests.wait()
            assert simulation.counts("lead").total == 1 + attempts_before
            assert (await site.status("lead")).limiter.in_flight == 0
            rest.end()
            await until(lambda: bool(results))
        assert results[0].text
        assert len(results[0].attempts) == 1 + attempts_before
        assert (await settled(site, "lead")).limiter.requests == 2 + attempts_before, "what was given back counts not"


async def test_what_streams_goes_on_to_its_end(provider: Any) -> None:
    _, url = provider
    rest = Rest()
    heard = Hears(rest, "text")
    async with models_system(plan(url)) as site:
        result = await site.call("lead", "understudy", observer=heard, pause=rest)
        assert (result.text, result.partial) == ("".join(heard.pieces), False)
        assert (rest.held, rest.rests.is_set()) == (True, False)


@pytest.mark.parametrize("attempts_before", [0, 1])
async def test_one_who_stands_in_the_line_rests_at_once_and_leaves_it(provider: Any, attempts_before: int) -> None:
    simulation, url = provider
    rest, ahead = Rest(), Heard()
    heard = Hears(rest, "retrying" if attempts_before else "")
    results: list[CallResult] = []
    async with models_system(plan(url, in_flight=1)) as site, trio.open_nursery() as nursery:

        async def mine() -> None:
            results.append(await site.call("lead", "understudy", observer=heard, pause=rest))

        with trio.fail_after(20):
            if attempts_before:
                simulation.tell(fails(requests=1))
                nursery.start_soon(mine)
                await rest.rests.wait()
                heard.kind = ""
            simulation.tell(fails(fault="stall", after_tokens=2, requests=1))
            limits = attrs.evolve(QUICK, idle=2.0)
            nursery.start_soon(partial(site.ended, "lead", "understudy", observer=ahead, limits=limits))
            await ahead.first_text.wait()
            if attempts_before:
                rest.end()
            else:
                nursery.start_soon(mine)
            await until(lambda: site.gate("lead").target.actor.inspect()["waiting"] == 1)
            rest.begin()
            await rest.rests.wait()
            assert (await site.status("lead")).waiting == 0
            assert (await site.status("lead")).limiter.in_flight == 1, "the other's is under way all the time"
            rest.end()
            await until(lambda: bool(results))
        assert results[0].text
        assert len(results[0].attempts) == 1 + attempts_before


async def test_one_between_two_attempts_rests_at_once_and_still_obeys_retry_after(
    provider: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.models.call.retry_delay", lambda *_: 1.0)
    simulation, url = provider
    simulation.tell(fails(requests=1))
    rest, heard = Rest(), Heard()
    results: list[CallResult] = []
    async with models_system(plan(url)) as site, trio.open_nursery() as nursery:

        async def mine() -> None:
            results.append(await site.call("lead", "understudy", observer=heard, pause=rest))

        with trio.fail_after(20):
            nursery.start_soon(mine)
            await heard.waiting.wait()
            failed = trio.current_time()
            await until(lambda: rest.waiting is not None)
            rest.begin()
            await rest.rests.wait()
            assert simulation.counts("lead").total == 1
            rest.end()
            await until(lambda: bool(results))
        assert trio.current_time() - failed >= 1.0
        assert [each.kind for each in results[0].attempts] == ["server_error", None]
    assert rest.waiting is None


async def test_one_that_was_paused_before_it_began_to_wait_rests_at_once(autojump_clock: MockClock) -> None:
    """As where the pause fell into the attempt that has just failed."""
    rest, rested = Rest(), list[float]()
    rest.begin()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Pausing(rest, rested.append).sleep_until, trio.current_time() + 8)
        await wait_all_tasks_blocked()
        assert rest.rests.is_set()
        await trio.sleep(2)
        rest.end()
    assert rested == [2.0]
