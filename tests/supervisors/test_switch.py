"""The switch, on targets that are nobody's children here: what goes where, and what is evidence."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio

from runtime import (
    Dead,
    Ended,
    Full,
    HandlerFailed,
    HookFailed,
    Mailbox,
    Overflow,
    Refused,
    Replied,
    Restarting,
    TimedOut,
    WaitCycle,
)
from supervisors import Call, Exhausted, Ledger, Outcome, Policy, Switch, Ticket
from supervisors._ledger import Account
from supervisors._switch import answered
from tests.support.actors import LONG, Bench, Boom, Later, OpenHost, Probe, Subject, running, settle
from tests.support.supervision import Steady

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from trio.testing import MockClock

    from runtime import Ref

POLICY = Policy(failures=3, open_first=4.0, open_cap=16.0, probe_within=10.0)
OPEN = Account("open", failures=3, opened=1, until=100.0)


@attrs.frozen
class Question(Call):
    text: str = ""


@attrs.frozen
class Plain:
    text: str = ""


@attrs.define(eq=False)
class Line:
    """A switch at `/line` over targets that the bench's root hosts."""

    bench: Bench
    targets: dict[str, Subject]
    books: dict[str, Ledger]
    switch: Switch
    ref: Ref[Any]

    def heard(self) -> dict[str, list[Any]]:
        return {name: target.log.heard for name, target in self.targets.items()}

    def due(self, name: str) -> None:
        """Let a target's next call be a probe."""
        self.books[name].account = attrs.evolve(OPEN, until=0.0)

    def states(self) -> list[str]:
        return [book.account.state for book in self.books.values()]

    async def ask(self, message: Any, within: float = 5.0) -> Any:
        return await self.ref.ask(message, within=within)

    async def gone(self, name: str) -> None:
        """End a target for good."""
        await self.bench.stop(self.targets[name])


@asynccontextmanager
async def line(
    names: str = "ab",
    *,
    counted: tuple[type, ...] = (object,),
    judge: Callable[[object, object], Outcome | None] = answered,
    exhausted: Callable[[object], object] | None = None,
    owned: bool = False,
    root: type[OpenHost] = OpenHost,
    **specs: dict[str, Any],
) -> AsyncGenerator[Line, None]:
    async with running(root, rng=Steady()) as bench:
        await trio.sleep(1.0)
        targets = {name: await bench.spawn(name, **specs.get(name, {})) for name in names}
        books = {name: Ledger(name, POLICY, Steady()) for name in names}
        switch = Switch(
            bench.system,
            list(books.values()),
            [target.ref for target in targets.values()],
            counted=counted,
            judge=judge,
            exhausted=exhausted,
            owner=bench.root.cell if owned else None,
        )
        ref: Ref[Any] = bench.system.ref("/line")
        ref.target = switch
        yield Line(bench, targets, books, switch, ref)


async def fail(_: Any) -> None:
    raise Boom("asked for")


async def refuse(_: Any) -> Refused:
    return Refused("no")


async def never(actor: Any) -> None:
    actor.kept = actor.defer()


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


# --- what is evidence


@pytest.mark.parametrize(
    ("answer", "counts"),
    [(Outcome.SUCCESS, 0), (Outcome.FAILURE, 2), (Outcome.CANCELLED, 1), (None, 1)],
)
async def test_the_judge_says_what_an_answer_is_worth(
    autojump_clock: MockClock, answer: Outcome | None, counts: int
) -> None:
    async with line(judge=lambda _, answer: answer if isinstance(answer, Outcome) else None) as own:
        await own.ask(Outcome.FAILURE)
        await own.ask(answer)
        assert own.books["a"].account.failures == counts


async def test_a_judge_can_misconfigure_at_once(autojump_clock: MockClock) -> None:
    async with line(judge=lambda *_: Outcome.MISCONFIGURED) as own:
        await own.ask("one")
        await own.ask("two")
        assert own.heard() == {"a": ["one"], "b": ["two"]}


async def test_a_refusal_is_no_evidence(autojump_clock: MockClock) -> None:
    async with line(a={"on": {"no": refuse}}) as own:
        own.books["a"].fail(0.0)
        with pytest.raises(Refused):
            await own.ask("no")
        assert own.books["a"].account.failures == 1
        own.due("a")
        with pytest.raises(Refused):
            await own.ask("no")  # a probe: it gives its place back
        assert own.states() == ["open", "closed"]
        await own.ask("yes")
        assert own.states() == ["closed", "closed"]


async def test_a_judge_that_fails_is_reported_and_hurts_nobody(autojump_clock: MockClock) -> None:
    def judge(message: object, answer: object) -> Outcome:
        raise Boom("judge")

    async with line(judge=judge) as own:
        own.books["a"].fail(0.0)
        assert await own.ask("one") == "one"
        assert own.books["a"].account.failures == 1
        assert own.targets["a"].log.ended == []
        [report] = [report for report in own.bench.reports if isinstance(report, HookFailed)]
        assert (report.path, type(report.error)) == ("/line", Boom)


async def test_a_deferred_answer_is_evidence_when_it_is_given(autojump_clock: MockClock) -> None:
    async with line(a={"on": {"later": never}}) as own, trio.open_nursery() as nursery:
        own.due("a")
        nursery.start_soon(own.ask, "later")
        await settle()
        assert own.states() == ["probing", "closed"]
        await own.targets["a"].do(lambda actor: actor.kept.answer("now"))
        assert own.states() == ["closed", "closed"]


async def test_a_request_is_evidence_like_an_ask(autojump_clock: MockClock) -> None:
    replies: list[Any] = []

    class Asker(Probe):
        async def receive(self, message: Any) -> object:
            if isinstance(message, Replied):
                replies.append(message.value)
                return None
            return await super().receive(message)

    async with line() as own:
        own.due("a")
        asker = await own.bench.spawn("asker", Asker)
        await asker.do(lambda actor: actor.request(own.ref, "x", 1.0))
        await settle()
        assert replies == ["x"]
        assert own.states() == ["closed", "closed"]


@pytest.mark.parametrize("kind", ["queued", "in hand", "deferred"])
async def test_an_asker_that_goes_is_no_evidence_and_gives_the_probe_s_place_back(
    autojump_clock: MockClock, kind: str
) -> None:
    ways = {"slow": lambda _: trio.sleep(2.0), "later": never}
    async with line(a={"on": ways}) as own:
        own.books["a"].fail(0.0)
        own.due("a")
        if kind == "queued":
            own.targets["a"].ref.tell("slow")
        with trio.move_on_after(1.0):
            await own.ask({"queued": "x", "in hand": "slow", "deferred": "later"}[kind])
        assert own.states() == ["open", "closed"]
        assert own.books["a"].account.opened == 1
        await trio.sleep(2.0)
        await own.ask("next")
        assert own.heard()["a"][-1] == "next"
        assert own.states() == ["closed", "closed"]


async def test_a_probe_that_times_out_keeps_its_place_until_its_own_deadline_has_passed(
    autojump_clock: MockClock,
) -> None:
    async with line(a={"on": {"slow": lambda _: trio.sleep(5.0)}}) as own:
        own.due("a")
        began = trio.current_time()
        with pytest.raises(TimedOut):
            await own.ask("slow", within=1.0)
        await trio.sleep(5.0)  # the answer came too late to be evidence
        await own.ask("other")
        assert own.states() == ["probing", "closed"]
        await trio.sleep(5.0)
        await own.ask("later")
        assert own.states() == ["open", "closed"]
        assert own.books["a"].account.until == pytest.approx(began + 10.0 + 6.0)
        assert own.heard() == {"a": ["slow"], "b": ["other", "later"]}


async def test_a_crash_is_left_to_whoever_supervises(autojump_clock: MockClock) -> None:
    async with line(a={"on": {"bad": fail}}) as own:
        with pytest.raises(HandlerFailed):
            await own.ask("bad")
        assert own.books["a"].account == Account()


async def test_a_probe_that_makes_way_for_another_message_gives_its_place_back(autojump_clock: MockClock) -> None:
    small = Mailbox(1, Overflow.DROP_OLDEST)
    async with (
        line(a={"mailbox": small, "on": {"slow": lambda _: trio.sleep(1.0)}}) as own,
        trio.open_nursery() as nursery,
    ):
        own.due("a")
        own.targets["a"].ref.tell("slow")
        await settle()

        async def displaced() -> None:
            with pytest.raises(Full):
                await own.ask("probe")

        nursery.start_soon(displaced)
        await settle()
        assert own.states() == ["probing", "closed"]
        own.targets["a"].ref.tell("pushes")
        assert own.states() == ["open", "closed"]


# --- calls


async def test_a_call_carries_its_ticket_and_is_settled_by_its_maker(autojump_clock: MockClock) -> None:
    async with line(counted=()) as own:
        got = await own.ask(Question(text="?"))
        assert got == Question(text="?", ticket=Ticket("a", 0, "call", 0))
        assert own.books["a"].account.failures == 0
        for _ in range(3):
            got = await own.ask(Question())
            own.books["a"].settle(got.ticket, Outcome.FAILURE, trio.current_time())
        assert own.states() == ["open", "closed"]
        assert (await own.ask(Question())).ticket == Ticket("b", 0, "call", 1)


async def test_a_call_that_has_failed_gets_the_next_of_its_chain(autojump_clock: MockClock) -> None:
    async with line("abc") as own:
        own.books["b"].account = OPEN
        first = await own.ask(Question())
        second = await own.ask(Question(after=first.ticket))
        assert second.ticket.target == "c"
        with pytest.raises(Exhausted) as over:
            await own.ask(Question(text="mine", after=second.ticket))
        assert over.value.message == Question(text="mine", after=second.ticket)
        assert str(over.value) == "/line has no further target: Question"


async def test_a_call_by_tell_has_no_ticket(autojump_clock: MockClock) -> None:
    async with line() as own:
        own.due("a")
        own.ref.tell(Question())
        await settle()
        assert own.heard() == {"a": [], "b": [Question()]}


async def test_a_call_that_is_refused_is_handed_back_as_it_was(autojump_clock: MockClock) -> None:
    async with line("a", a={"mailbox": Mailbox(1, Overflow.REJECT), "on": {"slow": lambda _: trio.sleep(1.0)}}) as own:
        for _ in range(2):
            own.ref.tell("slow")
            await settle()
        with pytest.raises(Full) as refused:
            await own.ask(Question(text="mine"))
        assert refused.value.message == Question(text="mine")
        assert refused.value.ref is own.ref
        assert own.books["a"].account == Account()


async def test_a_probing_call_that_is_cancelled_by_its_maker_lets_the_next_one_probe(autojump_clock: MockClock) -> None:
    async with line() as own:
        own.due("a")
        first = (await own.ask(Question())).ticket
        assert first.kind == "probe"
        assert (await own.ask(Question())).ticket.target == "b"
        own.books["a"].settle(first, Outcome.CANCELLED, trio.current_time())
        assert (await own.ask(Question())).ticket.kind == "probe"


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
    replies: list[Any] = []

    class Asker(Probe):
        async def receive(self, message: Any) -> object:
            if isinstance(message, Replied):
                replies.append(message.value)
                return None
            return await super().receive(message)

    async with line("a", exhausted=lambda _: "sorry") as own:
        own.books["a"].account = OPEN
        asker = await own.bench.spawn("asker", Asker)
        await asker.do(lambda actor: actor.request(own.ref, "x", 1.0))
        await trio.sleep(0.01)
        assert replies == ["sorry"]


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
