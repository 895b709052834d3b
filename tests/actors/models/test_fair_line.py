"""The order of those who wait, and the part that is left to others: both without a gate."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.models.fair_line import FairLine, may_take
from actors.protocol.task_events import Priority


@attrs.define(eq=False)
class Waiter:
    user: str
    cost: int = 1
    priority: Priority = Priority.MEDIUM


def line(*waiters: Waiter) -> FairLine[Waiter]:
    made: FairLine[Waiter] = FairLine()
    for waiter in waiters:
        made.add(waiter)
    return made


def serve(waiting: FairLine[Waiter], times: int = 1000) -> list[Waiter]:
    served = []
    while len(waiting) and times:
        served.append(waiting.first()[0])
        waiting.served(served[-1])
        times -= 1
    return served


def users(waiters: list[Waiter]) -> str:
    return "".join(waiter.user for waiter in waiters)


def test_users_take_turns_however_many_requests_each_has_put_in():
    waiting = line(*(Waiter("a") for _ in range(5)), Waiter("b"), Waiter("c"), Waiter("b"))
    assert waiting.users == 3
    assert users(serve(waiting)) == "abcabaaa"


def test_the_turn_is_counted_in_tokens():
    waiting = line(*(Waiter("a", 300) for _ in range(2)), *(Waiter("b", 100) for _ in range(6)))
    assert users(serve(waiting)) == "abbbabbb"


def test_who_has_the_most_is_too_much_and_of_theirs_the_least_urgent_and_last():
    first, urgent, last = Waiter("a"), Waiter("a", priority=Priority.CRITICAL), Waiter("a")
    waiting = line(Waiter("b"), first, urgent, last, Waiter("b"), Waiter("c", priority=Priority.LOW))
    gone = []
    for _ in range(6):
        gone.append(waiting.surplus())
        waiting.leave(gone[-1])
    assert users(gone) == "aabcba"
    assert (gone[0], gone[1], gone[-1]) == (last, first, urgent)
    assert not len(waiting)


def test_of_several_who_have_the_most_the_last_to_come_has_to_go():
    waiting = line(Waiter("a"), Waiter("b"), Waiter("c"))
    assert waiting.surplus().user == "c"
    waiting.add(Waiter("d", priority=Priority.CRITICAL))
    assert waiting.surplus().user == "c", "the less urgent"


def test_who_comes_after_a_flood_has_begun_is_next():
    waiting = line(*(Waiter("a") for _ in range(50)))
    serve(waiting, 20)
    for _ in range(5):
        waiting.add(Waiter("b"))
    assert users(serve(waiting, 5)) == "babab", "next, and then in turn: what it did not use before is not made up for"


def test_waiting_for_nothing_earns_nothing():
    """Who was not there while others were served does not get their time afterwards."""
    waiting = line(Waiter("a"))
    for _ in range(100):
        serve(waiting)
        waiting.add(Waiter("a"))
    for _ in range(4):
        waiting.add(Waiter("a"))
        waiting.add(Waiter("b"))
    assert sorted(users(serve(waiting, 4))) == ["a", "a", "b", "b"]


def test_the_more_urgent_is_served_first_whoever_it_is_and_in_its_order():
    late = [Waiter("a", priority=Priority.CRITICAL), Waiter("b", priority=Priority.HIGH)]
    waiting = line(Waiter("c", priority=Priority.LOW), Waiter("b"), *reversed(late), Waiter("a"))
    assert [waiter.priority.name for waiter in serve(waiting)] == ["CRITICAL", "HIGH", "MEDIUM", "MEDIUM", "LOW"]


def test_who_leaves_gives_up_the_place_and_costs_nothing():
    first, second = Waiter("a", 1000), Waiter("a", 1)
    waiting = line(first, Waiter("b"), second)
    waiting.leave(first)
    assert len(waiting) == 2
    assert users(serve(waiting)) == "ab"
    assert not list(waiting)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 50)), min_size=30, max_size=80))
def test_those_who_wait_together_get_the_same_number_of_tokens(wanted: list[tuple[str, int]]):
    """At no time do two users differ by more than two of the largest requests, while both have something waiting."""
    waiting = line(*(Waiter(user, cost) for user, cost in wanted))
    left = dict.fromkeys("abc", 0)
    for user, _ in wanted:
        left[user] += 1
    got = dict.fromkeys("abc", 0)
    while len(waiting):
        [served] = serve(waiting, 1)
        got[served.user] += served.cost
        left[served.user] -= 1
        busy = [got[user] for user in "abc" if left[user]]
        if len(busy) > 1 and all(left[user] for user in "abc"):
            assert max(busy) - min(busy) <= 100


def test_what_is_kept_of_users_who_have_gone_is_bounded():
    waiting: FairLine[Waiter] = FairLine()
    for number in range(1000):
        waiting.add(Waiter(f"u{number}"))
        serve(waiting)
    assert len(waiting._ends) <= 32


@pytest.mark.parametrize(
    ("limit", "own", "others", "wanted", "users", "allowed"),
    [
        (None, 10**9, 0, 10**9, 1, True),  # nothing is limited
        (100, 0, 100, 50, 5, True),  # a first request is everybody's
        (100, 89, 0, 1, 1, True),  # alone: nine tenths
        (100, 90, 0, 1, 1, False),
        (9, 8, 0, 1, 1, True),  # of a small limit, all
        (100, 39, 50, 1, 20, True),  # what the others have used in the last minute stays theirs, and a tenth
        (100, 40, 50, 1, 20, False),
        (100, 4, 95, 1, 20, True),  # a fair share in any case
        (100, 5, 95, 1, 20, False),
        (100, 60, 5, 1, 2, True),
    ],
)
def test_the_part_of_the_others(limit: int | None, own: int, others: int, wanted: int, users: int, allowed: bool):
    assert may_take(limit, own=own, others=others, wanted=wanted, users=users) is allowed


def test_what_lasts_a_minute_is_kept_for_those_who_come_a_little_more_often():
    few = {"limit": 300, "others": 200, "wanted": 1, "users": 20}
    assert may_take(**few, own=56, times=200)  # 200 ± 14.1, three times: 42.4 are kept
    assert not may_take(**few, own=57, times=200)
    assert may_take(**few, own=69, times=None)


def test_who_comes_a_little_more_often_than_the_others_is_let_through_even_so():
    full = {"limit": 300, "others": 285, "wanted": 1, "users": 20, "times": 285}
    assert may_take(**full, own=21)  # 15 ± 3.9, twice
    assert not may_take(**full, own=22)
    assert may_take(30_000, own=2_100, others=28_500, wanted=100, users=20, times=285), "tokens as well"
