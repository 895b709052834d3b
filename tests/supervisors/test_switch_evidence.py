"""The switch: what is evidence of a target's health, and calls that are settled by their maker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from runtime import Full, HandlerFailed, HookFailed, Mailbox, Overflow, Refused, TimedOut
from supervisors import Exhausted, Outcome, Ticket
from supervisors._ledger import Account
from tests.support.actors import Boom, settle
from tests.support.switches import OPEN, Question, fail, line

if TYPE_CHECKING:
    from trio.testing import MockClock


async def refuse(_: Any) -> Refused:
    return Refused("no")


async def never(actor: Any) -> None:
    actor.kept = actor.defer()


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
        assert report.error.__traceback__ is None


async def test_a_deferred_answer_is_evidence_when_it_is_given(autojump_clock: MockClock) -> None:
    async with line(a={"on": {"later": never}}) as own, trio.open_nursery() as nursery:
        own.due("a")
        nursery.start_soon(own.ask, "later")
        await settle()
        assert own.states() == ["probing", "closed"]
        await own.targets["a"].do(lambda actor: actor.kept.answer("now"))
        assert own.states() == ["closed", "closed"]


async def test_a_request_is_evidence_like_an_ask(autojump_clock: MockClock) -> None:
    async with line() as own:
        own.due("a")
        asker = await own.bench.spawn("asker")
        await asker.do(lambda actor: actor.request(own.ref, "x", 1.0))
        await settle()
        assert [reply.value for reply in asker.log.heard] == ["x"]
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
