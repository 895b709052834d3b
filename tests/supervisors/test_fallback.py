"""The fallback at work: a lead, its understudies, one address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from runtime import (
    Crashed,
    GaveUp,
    HandlerFailed,
    Restarting,
    Switched,
    WaitCycle,
)
from supervisors import (
    ChildSpec,
    Elsewhere,
    Exhausted,
    Intensity,
    Ledger,
    Outcome,
    Ticket,
    fallback,
)
from tests.support.actors import LONG, Probe, settle
from tests.support.fallbacks import POLICY, Question, actor_of, book, chain, charge, crash, slowly, targets
from tests.support.supervision import Stage, Steady, boom, fail_in_task, over, theatre

if TYPE_CHECKING:
    from trio.testing import MockClock


# --- the switch


async def test_after_three_crashes_in_a_row_the_understudy_takes_the_lead_s_place(autojump_clock: MockClock) -> None:
    stage = Stage()
    async with theatre(chain(stage), stage) as play:
        assert await play.top.ask("one", within=1.0) == "a"
        await crash(play, times=2)
        assert await play.top.ask("two", within=1.0) == "a"  # a success: the count begins again
        await crash(play, times=2)
        assert play.states() == {"a": "running", "b": "running"}
        assert play.top.tell("three") is True
        await crash(play, times=1)
        assert play.states() == {"a": "waiting", "b": "running"}
        assert await play.top.ask("four", within=1.0) == "b"
        assert play.top.tell("five") is True
        await settle()
        assert stage.heard == [("a", "one"), ("a", "two"), ("a", "three"), ("b", "four"), ("b", "five")]
        assert play.switched == [("a", "b")]
        assert [report.delay for report in play.restarts] == [0.0, 0.0, 0.0, 0.0, 3.0]
        assert [(report.restarts, report.limit) for report in play.restarts] == [(1, 3), (2, 3), (1, 3), (2, 3), (3, 3)]


async def test_a_snapshot_shows_who_is_in_charge_and_what_stands_against_the_others(autojump_clock: MockClock) -> None:
    stage = Stage()
    async with theatre(chain(stage), stage) as play:
        assert play.node().details == {
            "active": "a",
            "targets": {"a": {"state": "closed", "failures": 0}, "b": {"state": "closed", "failures": 0}},
        }
        await crash(play)
        assert play.node().details == {
            "active": "b",
            "targets": {"a": {"state": "open", "failures": 3}, "b": {"state": "closed", "failures": 0}},
        }
        restarts = play.node("/top/a").restarts
        assert restarts is not None
        assert (restarts.total, restarts.used, restarts.limit) == (3, 3, 3)
        actor = actor_of(play)
        assert actor.restarts_of("nobody") is None


@pytest.mark.parametrize("end", ["crash", "kill", "task", "start"])
async def test_whatever_ends_the_lead_abnormally_counts(autojump_clock: MockClock, end: str) -> None:
    stage = Stage()
    async with theatre(chain(stage), stage) as play:
        match end:
            case "crash":
                await crash(play)
            case "kill":
                for _ in range(3):
                    play.cell("a").kill("killed")
                    await settle()
            case "task":
                for _ in range(3):
                    await play.tell("a", fail_in_task)
            case "start":
                stage.failing["a"] = 2
                await crash(play, times=1)
        assert targets(play) == {"a": "open", "b": "closed"}
        assert play.given_up == []


async def test_a_first_start_that_fails_is_a_failure_like_any_other(autojump_clock: MockClock) -> None:
    stage = Stage(failing={"a": 3})
    async with theatre(chain(stage), stage) as play:
        assert targets(play) == {"a": "open", "b": "closed"}
        assert await play.top.ask("x", within=1.0) == "b"


async def test_failures_that_the_lead_itself_reports_count_too_and_it_goes_on_running(
    autojump_clock: MockClock,
) -> None:
    def judge(message: object, answer: object) -> Outcome:
        return Outcome.FAILURE if message == "bad" else Outcome.SUCCESS

    stage = Stage()
    async with theatre(chain(stage, judge=judge), stage) as play:
        for _ in range(3):
            assert await play.top.ask("bad", within=1.0) == "a"
        assert await play.top.ask("good", within=1.0) == "b"
        assert play.states() == {"a": "running", "b": "running"}
        await play.tell("a", boom)  # while open: it waits for what is left
        assert play.restarts[-1].delay == pytest.approx(3.0)
        assert book(play, "a").account.opened == 1


async def test_understudies_follow_one_another(autojump_clock: MockClock) -> None:
    stage = Stage()
    async with theatre(chain(stage, "abc"), stage) as play:
        await crash(play, "a")
        await crash(play, "b")
        assert await play.top.ask("x", within=1.0) == "c"
        assert play.switched == [("a", "b"), ("b", "c")]
        assert play.given_up == []


# --- misconfigured, parked


async def test_a_misconfigured_lead_is_left_at_once(autojump_clock: MockClock) -> None:
    def judge(message: object, answer: object) -> Outcome:
        return Outcome.MISCONFIGURED if answer == "a" else Outcome.SUCCESS

    stage = Stage()
    async with theatre(chain(stage, judge=judge), stage) as play:
        assert await play.top.ask("one", within=1.0) == "a"
        assert await play.top.ask("two", within=1.0) == "b"
        assert play.switched == [("a", "b")]


async def test_a_parked_lead_is_left_alone_for_a_while_and_both_ways_are_reported(autojump_clock: MockClock) -> None:
    stage = Stage()
    async with theatre(chain(stage), stage) as play:
        book(play, "a").park(5.0)
        assert charge(play) == "b"
        assert await play.top.ask("one", within=1.0) == "b"
        play.top.tell("two")
        await trio.sleep(5.1)
        assert play.switched == [("a", "b"), ("b", "a")]
        assert await play.top.ask("three", within=1.0) == "a"
        assert stage.heard_by("b") == ["one", "two"]
        assert play.states() == {"a": "running", "b": "running"}
        book(play, "a").park(20.0)
        book(play, "b").park(30.0)
        assert charge(play) is None
        await trio.sleep(30.0)
        assert play.switched[2:] == [("a", "b"), ("b", None), (None, "a")]


async def test_a_target_parked_before_the_fallback_began_is_known_to_be(autojump_clock: MockClock) -> None:
    stage = Stage()
    shared = Ledger("far", POLICY, Steady())
    shared.park(5.0)
    async with theatre(over(stage.specs("f")), stage) as play:
        far = Elsewhere("far", play.ref("f"), shared)
        await play.do(lambda top: top.start_child(fallback("fb", [far, stage.spec("b")], policy=POLICY)))
        assert play.node("/top/fb").details["active"] == "b"
        await trio.sleep(5.1)
        assert play.switched == [("b", "far")]


# --- when all are open


async def test_when_all_are_open_further_failures_count_and_over_the_limit_it_gives_up(
    autojump_clock: MockClock,
) -> None:
    stage = Stage()
    async with theatre(chain(stage, intensity=Intensity(1, 60.0)), stage) as play:
        await crash(play, "a")
        await crash(play, "b")  # the third of these is the first that counts
        assert play.given_up == []
        assert charge(play) is None
        await trio.sleep(3.1)
        await play.tell("a", boom)
        assert play.given_up == [GaveUp("/top/a", "Boom: asked for", 1, 60.0, escalated=True)]
        ended = play.bench.root.log.heard[-1]
        assert ended.name == "top"
        assert isinstance(ended.reason, Crashed)


async def test_failures_with_an_understudy_left_never_count(autojump_clock: MockClock) -> None:
    stage = Stage()
    async with theatre(chain(stage, intensity=Intensity(0, 60.0)), stage) as play:
        await crash(play, "a")
        for _ in range(5):
            await trio.sleep(20.0)
            await crash(play, "a", times=1)
        assert len(play.restarts) == 8
        assert play.given_up == []
        assert play.node().state == "running"


async def test_when_all_are_open_the_one_that_is_due_first_takes_what_comes(autojump_clock: MockClock) -> None:
    stage = Stage()
    async with theatre(chain(stage), stage) as play:
        await crash(play, "a")
        await trio.sleep(1.0)
        await crash(play, "b")
        assert play.states() == {"a": "waiting", "b": "waiting"}
        assert play.switched == [("a", "b"), ("b", None)]
        assert play.top.tell("kept") is True
        await play.top.send("sent", within=1.0)
        with pytest.raises(Restarting) as refused:
            await play.top.ask("asked", within=1.0)
        assert refused.value.retry_after == pytest.approx(2.0)
        await trio.sleep(2.1)
        assert stage.heard == [("a", "kept"), ("a", "sent")]
        assert await play.top.ask("probe", within=1.0) == "a"
        assert play.switched[2:] == [(None, "a")]


async def test_a_chain_that_ends_in_an_answer_of_its_own_gives_it(autojump_clock: MockClock) -> None:
    stage = Stage()
    async with theatre(chain(stage, exhausted=lambda message: f"sorry for {message}"), stage) as play:
        await crash(play, "a")
        await crash(play, "b")
        assert await play.top.ask("this", within=1.0) == "sorry for this"
        await trio.sleep(3.1)
        assert await play.top.ask("that", within=1.0) == "a"


# --- calls and targets elsewhere


async def test_a_call_goes_down_its_chain_and_its_maker_settles(autojump_clock: MockClock) -> None:
    class Echo(Probe):
        async def receive(self, message: Any) -> object:
            return message

    spec = fallback("top", [ChildSpec(name, Echo) for name in "abc"], policy=POLICY)
    async with theatre(spec, Stage()) as play:

        async def whole_call() -> list[str]:
            """Fails at a, then at b, then comes through: what was tried."""
            tried: list[Ticket] = []
            while True:
                question = await play.top.ask(Question(after=tried[-1] if tried else None), within=1.0)
                tried.append(question.ticket)
                outcome = Outcome.SUCCESS if question.ticket.target == "c" else Outcome.FAILURE
                book(play, question.ticket.target).settle(question.ticket, outcome, trio.current_time())
                if outcome is Outcome.SUCCESS:
                    return [ticket.target for ticket in tried]

        assert [await whole_call() for _ in range(4)] == [["a", "b", "c"]] * 3 + [["c"]]
        assert play.switched == [("a", "b"), ("b", "c")]
        with pytest.raises(Exhausted):
            await play.top.ask(Question(after=Ticket("c", 0, "call", 2)), within=1.0)


async def test_two_chains_in_different_order_share_one_count_of_each_target(autojump_clock: MockClock) -> None:
    stage = Stage()
    books = {name: Ledger(name, POLICY, Steady()) for name in "ab"}
    async with theatre(over(stage.specs("ab")), stage) as play:
        far = {name: Elsewhere(name, play.ref(name), books[name]) for name in "ab"}
        one = await play.do(lambda top: top.start_child(fallback("one", [far["a"], far["b"]])))
        two = await play.do(lambda top: top.start_child(fallback("two", [far["b"], far["a"]])))
        assert [await one.ask("x", within=1.0), await two.ask("x", within=1.0)] == ["a", "b"]
        for _ in range(3):
            books["a"].fail(trio.current_time())
        assert [await one.ask("x", within=1.0), await two.ask("x", within=1.0)] == ["b", "b"]
        assert [report.path for report in play.reports(Switched)] == ["/top/one"]
        for _ in range(3):
            books["b"].fail(trio.current_time())
        assert {play.node(f"/top/{name}").details["active"] for name in ("one", "two")} == {None}
        await trio.sleep(3.1)
        assert await two.ask("probe", within=1.0) == "b"  # each target is due; each chain tries its own first
        assert await one.ask("probe", within=1.0) == "a"
        assert {name: shown.account.state for name, shown in books.items()} == {"a": "closed", "b": "closed"}
        await play.do(lambda top: top.stop_child("one"))
        assert len(books["a"]._listeners) == 1  # a chain that has ended listens no more


async def test_what_waits_at_a_target_elsewhere_stays_there(autojump_clock: MockClock) -> None:
    stage = Stage()
    shared = Ledger("b", POLICY, Steady())  # named like a child of the fallback
    async with theatre(over(stage.specs("f")), stage) as play:
        far = Elsewhere("far", play.ref("f"), shared)
        ref = await play.do(lambda top: top.start_child(fallback("fb", [far, stage.spec("b")], policy=POLICY)))
        play.ref("f").tell(slowly)
        play.ref("fb/b").tell(slowly)
        await settle()
        ref.tell("far's")
        play.ref("fb/b").tell("b's")
        for _ in range(3):
            shared.fail(trio.current_time())
        await trio.sleep(1.1)
        assert stage.heard == [("f", "far's"), ("b", "b's")] or stage.heard == [("b", "b's"), ("f", "far's")]


async def test_a_lead_elsewhere_that_waits_to_restart_costs_its_asker_nothing(autojump_clock: MockClock) -> None:
    stage = Stage()
    shared = Ledger("far", POLICY, Steady())
    async with theatre(over(stage.specs("f")), stage) as play:
        far = Elsewhere("far", play.ref("f"), shared)
        ref = await play.do(lambda top: top.start_child(fallback("fb", [far, stage.spec("b")], policy=POLICY)))
        for _ in range(2):
            await play.tell("f", boom)
        assert play.states()["f"] == "waiting"
        assert await ref.ask("x", within=1.0) == "b"
        await trio.sleep(1.0)
        assert await ref.ask("x", within=1.0) == "f"


async def test_a_fallback_may_be_the_target_of_another(autojump_clock: MockClock) -> None:
    stage = Stage()
    inner = fallback("in", stage.specs("ab"), policy=POLICY)
    async with theatre(fallback("top", [inner, stage.spec("z")], policy=POLICY), stage) as play:
        assert await play.top.ask("one", within=1.0) == "a"
        for name in "ab":
            for _ in range(3):
                play.ref(f"in/{name}").tell(boom)
                await settle()
        assert await play.top.ask("two", within=1.0) == "z"  # those within wait, and take nothing
        assert targets(play) == {"in": "closed", "z": "closed"}
        for _ in range(3):
            play.bench.root.cell.children["top"].children["in"].kill("killed")
            await settle()
        assert targets(play) == {"in": "open", "z": "closed"}
        await trio.sleep(3.1)
        assert await play.top.ask("probe", within=1.0) == "a"
        assert targets(play) == {"in": "closed", "z": "closed"}


# --- waiting in circles


async def test_asks_between_the_targets_and_their_address(autojump_clock: MockClock) -> None:
    stage = Stage()

    def ask_top(_: Any) -> Any:
        return play.top.ask("from within", within=LONG)

    async with theatre(chain(stage), stage) as play:
        assert await play.ref("b").ask(ask_top, within=1.0) == "a"
        with pytest.raises(HandlerFailed) as failed:
            await play.ref("a").ask(ask_top, within=1.0)
        assert isinstance(failed.value.__cause__, WaitCycle)
        assert failed.value.__cause__.path == ("/top/a", "/top/a")


async def test_an_understudy_that_waits_for_the_lead_is_not_left_waiting_for_itself(autojump_clock: MockClock) -> None:
    stage = Stage()
    errors: list[str] = []

    async def ask_top(_: Any) -> None:
        with pytest.raises(WaitCycle) as cycle:
            await play.top.ask("from b", within=LONG)
        errors.append(str(cycle.value))

    async with theatre(chain(stage), stage) as play:
        await crash(play, times=2)
        play.top.tell(slowly)
        await settle()
        play.ref("a").tell(boom)
        play.ref("b").tell(ask_top)
        await trio.sleep(1.1)
        assert errors == ["waiting would close a cycle: /top/b -> /top/b"]
        assert play.states()["b"] == "running"
