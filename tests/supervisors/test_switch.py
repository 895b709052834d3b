"""The switch, on targets that are nobody's children here: what goes where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio

from runtime import Dead, Full, HookFailed, Mailbox, Restarting, TimedOut
from supervisors import Exhausted, Ticket
from supervisors._ledger import Account
from tests.support.actors import Boom, Later, settle
from tests.support.switches import OPEN, Line, Question, fail, line

if TYPE_CHECKING:
    from trio.testing import MockClock


@attrs.frozen
class Plain:
    text: str = ""


# --- what goes where


async def test_everything_goes_to_the_lead_while_it_is_closed(autojump_clock: MockClock) -> None:
    async with line() as own:
        assert own.ref.tell("told") is True
        assert await own.ask("asked") == "asked"
        await own.ref.send("sent", within=1.0)
        await settle()
        assert own.heard() == {"a": ["told", "asked", "sent"], "b": []}


@pytest.mark.parametrize("account", [OPEN, Account("probing", until=100.0), Account(parked_until=100.0)])
async def test_everything_goes_to_the_understudy_while_the_lead_is_not_to_be_called(
    autojump_clock: MockClock, account: Account
) -> None:
    async with line() as own:
        own.books["a"].account = account
        assert own.ref.tell("told") is True
        assert await own.ask("asked") == "asked"
        await own.ref.send("sent", within=1.0)
        await settle()
        assert own.heard() == {"a": [], "b": ["told", "asked", "sent"]}
        assert own.books["a"].account == account


async def test_understudies_come_in_their_order(autojump_clock: MockClock) -> None:
    async with line("abc") as own:
        for name in "abc":
            assert await own.ask(f"for {name}") == f"for {name}"
            own.books[name].account = OPEN
        assert own.heard() == {name: [f"for {name}"] for name in "abc"}


async def test_only_what_can_be_settled_probes(autojump_clock: MockClock) -> None:
    async with line(counted=(Plain,)) as own:
        own.due("a")
        own.ref.tell("told")
        await own.ask("not counted")
        await own.ref.send(Plain("sent"), within=1.0)
        assert own.states() == ["open", "closed"]
        await own.ask(Plain("counted"))
        assert own.heard() == {"a": [Plain("counted")], "b": ["told", "not counted", Plain("sent")]}
        assert own.states() == ["closed", "closed"]


async def test_while_the_probe_is_out_the_others_go_to_the_understudy(autojump_clock: MockClock) -> None:
    async with line(a={"on": {"slow": lambda _: trio.sleep(2.0)}}) as own, trio.open_nursery() as nursery:
        own.due("a")
        nursery.start_soon(own.ask, "slow")
        await settle()
        assert own.states() == ["probing", "closed"]
        for number in range(3):
            await own.ask(number)
        assert own.heard() == {"a": ["slow"], "b": [0, 1, 2]}
        await trio.sleep(2.1)
        assert own.states() == ["closed", "closed"]
        await own.ask("after")
        assert own.heard()["a"] == ["slow", "after"]


@pytest.mark.parametrize("message", [Plain(), Question()])
async def test_with_all_open_the_one_that_is_due_first_takes_it(autojump_clock: MockClock, message: Any) -> None:
    async with line("abc", counted=(Plain,)) as own:
        for name, until in (("a", 30.0), ("b", 20.0), ("c", 40.0)):
            own.books[name].account = attrs.evolve(OPEN, until=until)
        own.ref.tell("told")
        await own.ask("not counted")
        await own.ask(message)
        assert len(own.heard()["b"]) == 3
        # a forced success is evidence; a call is settled by whoever makes it
        assert own.states() == ["open", "open" if isinstance(message, Question) else "closed", "open"]


# --- targets that do not take it


def busy(capacity: int = 1) -> dict[str, Any]:
    return {"mailbox": Mailbox(capacity), "on": {"slow": lambda _: trio.sleep(2.0)}}


async def fill(own: Line, name: str) -> None:
    """One message in hand, one waiting: no more room."""
    for _ in range(2):
        own.targets[name].ref.tell("slow")
        await settle()


async def test_a_full_lead_pushes_back_instead_of_passing_on(autojump_clock: MockClock) -> None:
    async with line(a=busy()) as own:
        await fill(own, "a")
        assert own.ref.tell("told") is False
        with pytest.raises(Full):
            await own.ask("asked")
        with pytest.raises(TimedOut):
            await own.ref.send("sent", within=1.0)
        assert own.heard()["b"] == []
        assert own.books["a"].account == Account()


async def test_a_send_waits_at_the_target_in_charge(autojump_clock: MockClock) -> None:
    async with line(a=busy()) as own:
        await fill(own, "a")
        await own.ref.send("sent", within=5.0)
        await trio.sleep(5.0)
        assert own.heard()["a"] == ["slow", "slow", "sent"]


async def test_a_probe_that_finds_no_room_goes_to_the_understudy_and_gives_its_place_back(
    autojump_clock: MockClock,
) -> None:
    async with line(a=busy()) as own:
        await fill(own, "a")
        own.due("a")
        assert await own.ask("asked") == "asked"
        assert own.heard()["b"] == ["asked"]
        assert own.states() == ["open", "closed"]
        await trio.sleep(5.0)
        await own.ask("again")
        assert own.states() == ["closed", "closed"]


async def test_what_a_dead_lead_does_not_take_goes_to_the_understudy(autojump_clock: MockClock) -> None:
    async with line(owned=True) as own:
        await own.gone("a")
        assert own.ref.tell("told") is True
        assert await own.ask("asked") == "asked"
        assert await own.ask(Question(text="?")) == Question(text="?", ticket=Ticket("b", 0, "call", 1))
        await own.ref.send("sent", within=1.0)
        await settle()
        assert len(own.heard()["b"]) == 4
        assert own.books["a"].account == Account()


async def test_if_all_are_dead_so_is_the_address(autojump_clock: MockClock) -> None:
    async with line() as own:
        for name in "ab":
            await own.gone(name)
        assert own.ref.tell("told") is False
        for offer in (own.ask("asked"), own.ask(Question()), own.ref.send("sent", within=1.0)):
            with pytest.raises(Dead):
                await offer


async def test_what_a_lead_that_waits_to_restart_does_not_take_goes_to_the_understudy(
    autojump_clock: MockClock,
) -> None:
    async with line(root=Later, a={"on": {"bad": fail}}) as own:
        own.ref.tell("bad")
        await settle()
        assert await own.ask("asked") == "asked"
        assert own.heard()["b"] == ["asked"]
        own.due("a")
        assert await own.ask("probe") == "probe"
        assert own.heard()["b"] == ["asked", "probe"]
        assert own.states() == ["open", "closed"]


async def test_a_forced_call_that_is_not_taken_is_refused(autojump_clock: MockClock) -> None:
    async with line("a", root=Later, a={"on": {"bad": fail}}) as own:
        own.ref.tell("bad")
        await settle()
        own.books["a"].account = OPEN
        with pytest.raises(Restarting) as refused:
            await own.ask("asked")
        assert refused.value.message == "asked"
        assert own.states() == ["open"]


# --- when nobody is left


async def test_an_exhausted_chain_answers_for_itself(autojump_clock: MockClock) -> None:
    async with line(exhausted=lambda message: f"sorry for {message}") as own:
        for name in "ab":
            own.books[name].account = OPEN
        assert await own.ask("this") == "sorry for this"
        assert own.heard() == {"a": [], "b": []}
        own.ref.tell("a tell goes on")
        await settle()
        assert own.heard()["a"] == ["a tell goes on"]
        await own.gone("b")
        own.books["b"].account = Account()
        assert await own.ask("that") == "sorry for that"


async def test_an_exhausted_chain_answers_a_call_that_has_failed_everywhere(autojump_clock: MockClock) -> None:
    async with line(exhausted=lambda message: message) as own:
        last = Ticket("b", 0, "call", 1)
        assert await own.ask(Question(after=last)) == Question(after=last)


async def test_an_exhausted_chain_answers_a_request(autojump_clock: MockClock) -> None:
    async with line("a", exhausted=lambda _: "sorry") as own:
        own.books["a"].account = OPEN
        asker = await own.bench.spawn("asker")
        await asker.do(lambda actor: actor.request(own.ref, "x", 1.0))
        await trio.sleep(0.01)
        assert [reply.value for reply in asker.log.heard] == ["sorry"]


async def test_an_asker_that_is_cancelled_in_the_moment_of_the_answer_is_not_woken_twice(
    autojump_clock: MockClock,
) -> None:
    async with line("a", exhausted=lambda _: "sorry") as own:
        own.books["a"].account = OPEN
        with trio.CancelScope() as before:
            before.cancel()
            await own.ask("x")
        assert before.cancelled_caught
        with trio.CancelScope() as during:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(own.ask, "x")
                await trio.sleep(0)
                during.cancel()
        await trio.sleep(0.01)
        assert await own.ask("y") == "sorry"


async def test_a_last_word_that_fails_is_reported_and_the_call_refused(autojump_clock: MockClock) -> None:
    def exhausted(message: object) -> object:
        raise Boom("no words")

    async with line("a", exhausted=exhausted) as own:
        own.books["a"].account = OPEN
        with pytest.raises(Exhausted):
            await own.ask("x")
        [report] = [report for report in own.bench.reports if isinstance(report, HookFailed)]
        assert (report.path, type(report.error)) == ("/line", Boom)
        assert report.error.__traceback__ is None
