"""The ledger: pure functions against tables, and random lives against what must always hold."""

from __future__ import annotations

import math
import random

import attrs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from supervisors import Ledger, Outcome, Policy, Ticket, active
from supervisors._ledger import Account, admit, choose, overdue, park, retire, settle
from tests.support.examples import examples
from tests.support.supervision import Steady

SUCCESS, FAILURE, CANCELLED, MISCONFIGURED = Outcome.SUCCESS, Outcome.FAILURE, Outcome.CANCELLED, Outcome.MISCONFIGURED
POLICY = Policy(failures=3, open_first=4.0, open_cap=16.0, probe_within=10.0)


def ledger(target: str = "lead", *, portion: float = 0.0) -> Ledger:
    """With a portion of 0 the open times are 3, 6, 12 and 12 seconds."""
    return Ledger(target, POLICY, Steady(portion))


def call(book: Ledger, outcome: Outcome, now: float = 0.0) -> None:
    ticket = book.admit(now)
    assert ticket is not None
    book.settle(ticket, outcome, now)


def opened(now: float = 0.0) -> Ledger:
    """A ledger that has opened at `now`, until three seconds later."""
    book = ledger()
    for _ in range(3):
        call(book, FAILURE, now)
    assert (book.account.state, book.account.until) == ("open", now + 3.0)
    return book


def probe(book: Ledger, now: float) -> Ticket:
    ticket = book.admit(now)
    assert ticket is not None
    assert ticket.kind == "probe"
    return ticket


# --- counting


@pytest.mark.parametrize(
    ("outcomes", "state", "failures"),
    [
        ([FAILURE, FAILURE], "closed", 2),
        ([FAILURE, FAILURE, FAILURE], "open", 3),
        ([FAILURE, FAILURE, SUCCESS, FAILURE, FAILURE], "closed", 2),
        ([FAILURE, CANCELLED, FAILURE, CANCELLED], "closed", 2),
        ([FAILURE, CANCELLED, FAILURE, CANCELLED, FAILURE], "open", 3),
        ([SUCCESS, SUCCESS], "closed", 0),
        ([MISCONFIGURED], "open", 0),
        ([FAILURE, MISCONFIGURED], "open", 1),
    ],
)
def test_only_failures_in_a_row_count(outcomes: list[Outcome], state: str, failures: int) -> None:
    book = ledger()
    for outcome in outcomes:
        call(book, outcome)
    assert (book.account.state, book.account.failures) == (state, failures)


def test_an_instance_that_ends_counts_like_a_call() -> None:
    book = ledger()
    book.fail(0.0)
    call(book, FAILURE)
    book.fail(1.0)
    assert (book.account.state, book.account.until) == ("open", 4.0)


def test_calls_that_began_before_the_switch_change_nothing_after_it() -> None:
    book = ledger()
    slow = [book.admit(0.0) for _ in range(3)]
    for _ in range(3):
        call(book, FAILURE)
    before = book.account
    for ticket, outcome in zip(slow, (SUCCESS, FAILURE, MISCONFIGURED), strict=True):
        assert ticket is not None
        book.settle(ticket, outcome, 1.0)
    assert book.account == before


def test_many_calls_that_fail_together_open_once() -> None:
    book = ledger()
    tickets = [book.admit(0.0) for _ in range(10)]
    for ticket in tickets:
        assert ticket is not None
        book.settle(ticket, FAILURE, 0.0)
    assert (book.account.opened, book.account.until) == (1, 3.0)


# --- the way back


def test_an_open_target_admits_nothing_until_its_time_is_over_and_then_one_probe() -> None:
    book = opened()
    assert book.admit(2.999) is None
    probe(book, 3.0)
    assert book.account.state == "probing"
    assert book.admit(3.0) is None
    assert book.admit(12.999) is None


def test_a_probe_that_succeeds_forgets_everything() -> None:
    book = opened()
    book.settle(probe(book, 3.0), SUCCESS, 4.0)
    assert attrs.evolve(book.account, epoch=0) == Account()
    assert book.admit(4.0) is not None


@pytest.mark.parametrize("outcome", [FAILURE, MISCONFIGURED])
def test_a_probe_that_fails_sends_away_for_twice_as_long_up_to_the_cap(outcome: Outcome) -> None:
    book, now, times = opened(), 0.0, []
    for _ in range(4):
        now = book.account.until
        book.settle(probe(book, now), outcome, now)
        times.append(book.account.until - now)
    assert times == [6.0, 12.0, 12.0, 12.0]


def test_a_probe_that_never_ends_has_failed_at_its_deadline() -> None:
    book = opened()
    late = probe(book, 3.0)
    assert book.admit(13.0) is None  # 10 seconds on; open again, for 6 seconds from then
    assert (book.account.state, book.account.until) == ("open", 19.0)
    book.settle(late, SUCCESS, 14.0)
    assert book.account.state == "open"
    probe(book, 19.0)


def test_a_success_that_comes_at_the_deadline_comes_too_late() -> None:
    book = opened()
    book.settle(probe(book, 3.0), SUCCESS, 13.0)
    assert (book.account.state, book.account.until) == ("open", 19.0)


def test_a_cancelled_probe_gives_its_place_to_the_next_call() -> None:
    book = opened()
    first = probe(book, 3.0)
    book.settle(first, CANCELLED, 5.0)
    assert (book.account.state, book.account.opened) == ("open", 1)
    second = probe(book, 5.0)
    book.settle(second, SUCCESS, 6.0)
    assert book.account.state == "closed"


@pytest.mark.parametrize("outcome", Outcome)
def test_only_the_first_settlement_of_a_probe_counts(outcome: Outcome) -> None:
    for first in Outcome:
        book = opened()
        ticket = probe(book, 3.0)
        book.settle(ticket, first, 4.0)
        before = book.account
        book.settle(ticket, outcome, 5.0)
        assert book.account == before, first


def test_a_crash_while_the_probe_is_out_is_its_failure() -> None:
    book = opened()
    ticket = probe(book, 3.0)
    book.fail(4.0)
    assert (book.account.state, book.account.until) == ("open", 10.0)
    book.settle(ticket, SUCCESS, 5.0)
    assert book.account.state == "open"


def test_a_crash_while_open_counts_only_when_the_time_is_over() -> None:
    book = opened()
    book.fail(2.0)
    assert (book.account.until, book.account.opened) == (3.0, 1)
    book.fail(3.0)  # it was started to be tried, and did not even stand
    assert (book.account.until, book.account.opened) == (9.0, 2)


# --- last resort, parking, ends


def test_a_forced_call_that_succeeds_closes() -> None:
    book = opened()
    book.settle(book.force(1), SUCCESS, 1.0)
    assert book.account.state == "closed"


@pytest.mark.parametrize("outcome", [FAILURE, CANCELLED, MISCONFIGURED])
def test_a_forced_call_that_does_not_changes_nothing(outcome: Outcome) -> None:
    book = opened()
    before = book.account
    book.settle(book.force(), outcome, 1.0)
    assert book.account == before


def test_a_cancelled_forced_call_does_not_take_the_probe_s_place() -> None:
    book = opened()
    probe(book, 3.0)
    book.settle(book.force(), CANCELLED, 4.0)
    assert book.account.state == "probing"


def test_a_parked_target_is_left_alone_and_its_health_stays_what_it_was() -> None:
    book = ledger()
    call(book, FAILURE)
    book.park(5.0)
    assert book.admit(4.999) is None
    assert (book.account.state, book.account.failures) == ("closed", 1)
    assert book.admit(5.0) is not None
    book.park(3.0)
    assert book.account.parked_until == 5.0


def test_parking_outlasts_a_success_and_holds_back_a_probe() -> None:
    book = opened()
    ticket = probe(book, 3.0)
    book.park(20.0)
    book.settle(ticket, SUCCESS, 4.0)
    assert (book.account.state, book.admit(19.0)) == ("closed", None)
    book = opened()
    book.park(8.0)
    assert book.admit(7.0) is None
    probe(book, 8.0)


def test_one_that_has_retired_is_never_tried_again() -> None:
    book = ledger()
    early = book.admit(0.0)
    assert early is not None
    book.retire()
    book.settle(early, SUCCESS, 0.0)
    book.fail(1e9)
    assert book.admit(1e9) is None
    assert book.account.free_at(0.0) == math.inf


# --- listening


def test_a_listener_hears_of_each_change_that_matters_with_what_was_before() -> None:
    book = ledger()
    heard: list[tuple[str, str, int]] = []
    deaf = book.listen(lambda which, before: heard.append((before.state, which.account.state, which.account.opened)))
    for _ in range(3):
        call(book, FAILURE)
    book.fail(3.0)
    book.settle(probe(book, 9.0), CANCELLED, 9.0)
    book.settle(probe(book, 9.0), SUCCESS, 9.0)
    book.park(30.0)
    book.park(20.0)
    book.retire()
    assert heard == [
        ("closed", "open", 1),
        ("open", "open", 2),
        ("open", "probing", 2),
        ("probing", "open", 2),
        ("open", "probing", 2),
        ("probing", "closed", 0),
        ("closed", "closed", 0),
        ("closed", "open", 0),
    ]
    deaf()
    deaf()
    book.park(60.0)
    assert len(heard) == 8


# --- chains


def chain(*states: str) -> list[Ledger]:
    """Ledgers a, b, c, … in these states at the time 0: closed, open, due (open, its time over), parked, probing."""
    books = []
    for name, state in zip("abcde", states, strict=False):
        book = ledger(name)
        match state:
            case "open":
                book.account = Account("open", opened=1, until=3.0)
            case "due":
                book.account = Account("open", opened=1)
            case "parked":
                book.park(2.0)
            case "probing":
                book.account = Account("probing", opened=1, until=10.0)
        books.append(book)
    return books


@pytest.mark.parametrize(
    ("states", "after", "force", "target", "kind"),
    [
        (("closed", "closed"), None, False, "a", "call"),
        (("open", "closed"), None, False, "b", "call"),
        (("due", "closed"), None, False, "a", "probe"),
        (("parked", "closed"), None, False, "b", "call"),
        (("probing", "closed"), None, False, "b", "call"),
        (("open", "due", "closed"), None, False, "b", "probe"),
        (("closed", "closed"), 0, False, "b", "call"),
        (("closed", "due", "closed"), 0, False, "b", "probe"),
        (("closed", "open", "closed"), 0, False, "c", "call"),
        (("open", "open"), None, False, None, None),
        (("open", "parked"), None, True, "b", "forced"),
        (("open", "parked", "probing"), None, True, "b", "forced"),
        (("closed", "open"), 0, True, "b", "forced"),
        (("closed", "closed"), 1, True, None, None),
        (("closed", "closed"), 1, False, None, None),
    ],
)
def test_the_next_of_a_chain(
    states: tuple[str, ...], after: int | None, force: bool, target: str | None, kind: str | None
) -> None:
    failed = None if after is None else Ticket("a", 0, position=after)
    ticket = choose(chain(*states), 0.0, failed, force=force)
    if ticket is None:
        assert target is None
    else:
        assert (ticket.target, ticket.kind, "abcde"[ticket.position]) == (target, kind, target)


@pytest.mark.parametrize(
    ("states", "now", "name"),
    [
        (("closed", "closed"), 0.0, "a"),
        (("open", "closed"), 0.0, "b"),
        (("due", "closed"), 0.0, "b"),
        (("probing", "closed"), 0.0, "b"),
        (("parked", "closed"), 0.0, "b"),
        (("parked", "closed"), 2.0, "a"),
        (("open", "open"), 0.0, None),
    ],
)
def test_in_charge_is_the_first_that_is_closed_and_not_parked(
    states: tuple[str, ...], now: float, name: str | None
) -> None:
    assert active(chain(*states), now) == name


def test_without_a_time_parking_is_left_out_of_account() -> None:
    assert active(chain("parked", "closed")) == "a"


def test_two_chains_in_different_order_share_one_count() -> None:
    a, b = ledger("a"), ledger("b")
    for books in ((a, b), (b, a), (a, b)):
        ticket = choose(books, 0.0, None, force=False)
        assert ticket is not None
        {"a": a, "b": b}[ticket.target].settle(ticket, FAILURE, 0.0)
    assert (a.account.failures, b.account.failures) == (2, 1)
    a.fail(0.0)
    ticket = choose((a, b), 0.0, None, force=False)
    assert ticket is not None
    assert ticket == Ticket("b", 0, "call", 1)


# --- anything at any time

STEP = st.one_of(
    st.tuples(st.just("pass"), st.floats(0, 20)),
    st.tuples(st.just("admit"), st.just(0)),
    st.tuples(st.sampled_from(Outcome), st.integers(0, 30)),
    st.tuples(st.just("again"), st.integers(0, 30)),
    st.tuples(st.just("park"), st.floats(0, 10)),
)


@settings(max_examples=examples(5), deadline=None)
@given(steps=st.lists(STEP, max_size=60), seed=st.integers(0, 3))
@example(steps=[("admit", 0), (FAILURE, 0)] * 3 + [("pass", 4.0), ("admit", 0), (CANCELLED, 0), ("again", 3)], seed=0)
def test_whatever_is_admitted_and_settled(steps: list[tuple[str | Outcome, float]], seed: int) -> None:
    rng = random.Random(seed)
    account, now, epochs = Account(), 0.0, 0
    out: list[tuple[Ticket, float]] = []
    settled: list[Ticket] = []
    in_a_row = 0
    for what, value in steps:
        before = account
        portion = rng.random()
        if what == "pass":
            now += float(value)
        elif what == "park":
            account = park(account, now + value)
            assert account == attrs.evolve(before, parked_until=max(before.parked_until, now + value))
        elif what == "admit":
            account, kind = admit(account, POLICY, now, portion)
            before = overdue(before, POLICY, now, portion)
            if now < before.parked_until or (before.state != "closed" and now < before.until):
                assert kind == "no"  # never while open and not due
            if kind == "no":
                assert account == before
            else:
                assert (kind == "call") == (before.state == "closed")
                out.append((Ticket("a", account.epoch, kind), now))
            if kind == "probe":
                assert (account.state, account.until) == ("probing", now + POLICY.probe_within)
        else:
            if what == "again":
                if not settled:
                    continue
                ticket, outcome = settled[int(value) % len(settled)], rng.choice(list(Outcome))
                if ticket.kind != "probe":
                    continue  # a call that is settled twice counts twice: the ledger keeps no list of them
            else:
                if not out:
                    continue
                ticket, _ = out.pop(int(value) % len(out))
                outcome = what if isinstance(what, Outcome) else SUCCESS
            before = overdue(before, POLICY, now, portion)
            account = settle(account, ticket, outcome, POLICY, now, portion)
            if ticket.epoch != before.epoch or what == "again":
                assert account == before  # stale, or settled before
            elif outcome is CANCELLED:
                assert (account.failures, account.opened) == (before.failures, before.opened)  # neither
            settled.append(ticket)
            if before.state == "closed" and ticket.epoch == before.epoch:
                in_a_row = {SUCCESS: 0, FAILURE: in_a_row + 1}.get(outcome, in_a_row)
                assert account.failures == in_a_row
                assert (account.state == "open") == (in_a_row >= POLICY.failures or outcome is MISCONFIGURED)
            if before.state == "probing" and ticket.epoch == before.epoch:
                assert (account.state == "closed") == (outcome is SUCCESS)
        if account.opened > before.opened:  # it grows to the cap, and the jitter stays under it
            whole = min(POLICY.open_cap, POLICY.open_first * 2 ** (account.opened - 1))
            since = now if before.state != "probing" or now < before.until else before.until
            assert 0.75 * whole <= account.until - since <= whole + 1e-9
        if account.state == "closed" and before.state != "closed":
            in_a_row = 0
            assert (account.failures, account.opened) == (0, 0)
        assert account.epoch >= epochs
        epochs = account.epoch
        if account.state == "probing":  # at most one probe at a time
            current = [ticket for ticket, _ in out if ticket.kind == "probe" and ticket.epoch == account.epoch]
            assert len(current) <= 1


@given(times=st.integers(1, 10_000), portion=st.floats(0, 1, exclude_max=True))
def test_the_open_time_grows_to_the_cap_with_jitter_under_it(times: int, portion: float) -> None:
    policy = Policy()
    whole = min(policy.open_cap, policy.open_first * 2.0 ** min(times - 1, 60))
    assert 0.75 * whole <= policy.open_for(times, portion) <= whole <= policy.open_cap
    assert policy.open_for(times, portion) <= policy.open_for(times + 1, portion)


def test_retiring_is_pure() -> None:
    account = Account(failures=2, epoch=7)
    assert retire(account) == Account("open", failures=2, epoch=8, until=math.inf)
