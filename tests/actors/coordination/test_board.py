"""Who is given what: the matching and the queue, by examples and by properties."""

from __future__ import annotations

import itertools

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from actors.coordination.board import SWEEP_FROM, Board, Claim, Grant, Place
from actors.protocol.task_events import Priority
from tests.support.examples import examples

RANKS = {priority: priority.rank for priority in Priority}


def claim(name: str, since: float = 0.0, **more: object) -> Claim:
    values = {"lease_id": name, "user": "ada", "rank": Priority.MEDIUM.rank, "since": since, **more}
    return Claim(**values)  # type: ignore[arg-type]


def names(grants: list[Grant]) -> list[str]:
    return [grant.claim.lease_id for grant in grants]


def served(board: Board, agent_id: str = "a") -> list[str]:
    """Who is served, in order, by an agent with one slot that gives it back each time."""
    order: list[str] = []
    place = board.place(agent_id)
    assert place is not None
    while place.leases:
        (lease_id,) = place.leases
        order.append(lease_id)
        board.release(lease_id)
    return order


def busy(slots: int = 1, **more: object) -> Board:
    """A board with an agent that has nothing to spare."""
    board = Board()
    board.put(Place("a", slots, **more))  # type: ignore[arg-type]
    for number in range(slots):
        assert names(board.claim(claim(f"first{number}", -1.0 + number / 10)))
    return board


def test_trap_6_a_priority_queue_that_ran_low_first_and_crashed_on_equal_priorities() -> None:
    """CRITICAL first, then HIGH, MEDIUM, LOW; of equal priority who came first, whatever the names are."""
    board = busy()
    arrivals = [("LOW", "z"), ("CRITICAL", "y"), ("MEDIUM", "x"), ("HIGH", "w"), ("LOW", "v"), ("CRITICAL", "u")]
    arrivals += [("MEDIUM", "t"), ("HIGH", "s"), ("CRITICAL", "r"), ("LOW", "q")]
    for since, (priority, name) in enumerate(arrivals):
        assert board.claim(claim(name, float(since), rank=RANKS[Priority(priority)])) == []
    assert served(board) == ["first0", "y", "u", "r", "w", "s", "x", "t", "z", "v", "q"]


def test_capabilities_are_all_needed() -> None:
    board = Board()
    board.put(Place("a", 5, frozenset({"read", "write"})))
    assert names(board.claim(claim("both", capabilities=frozenset({"read", "write"})))) == ["both"]
    assert board.claim(claim("other", capabilities=frozenset({"read", "fly"}))) == []
    assert board.agent_of("other") is None


def test_who_nobody_can_serve_holds_nobody_up() -> None:
    board = busy()
    board.claim(claim("impossible", 1.0, rank=0, capabilities=frozenset({"fly"})))
    board.claim(claim("possible", 2.0))
    assert served(board) == ["first0", "possible"]


def test_a_users_agent_serves_that_user_only() -> None:
    board = Board()
    board.put(Place("a", 5, owner="ada"))
    assert board.claim(claim("bobs", user="bob")) == []
    assert board.claim(claim("by name", user="bob", agent="a")) == []
    assert names(board.claim(claim("own"))) == ["own"]


def test_one_that_wants_an_agent_of_this_daemon_gets_no_remote_one() -> None:
    board = Board()
    board.put(Place("far", 5, remote=True))
    assert board.claim(claim("step", remote=False)) == []
    assert names(board.put(Place("near", 5))) == ["step"]


def test_one_that_names_an_agent_gets_that_one() -> None:
    board = busy()
    board.put(Place("b", 1))
    assert board.claim(claim("wanted", agent="a")) == []
    assert names(board.release("first0")) == ["wanted"]


@pytest.mark.parametrize(
    ("others", "chosen"),
    [
        ([Place("idle", 10), Place("loaded", 10)], "idle"),
        ([Place("loaded", 10), Place("knows", 1, frozenset({"sums"}))], "knows"),
        ([Place("shared", 1), Place("own", 1, owner="ada")], "own"),
        ([Place("tried", 1, frozenset({"sums"})), Place("loaded", 10)], "loaded"),
    ],
)
def test_who_is_preferred(others: list[Place], chosen: str) -> None:
    board = Board()
    for place in others:
        board.put(place)
        if place.agent_id == "loaded":
            board.claim(claim("before", agent="loaded"))
    (grant,) = board.claim(claim("now", 1.0, kind="sums", avoid=frozenset({"tried"})))
    assert grant.agent_id == chosen


def test_equal_agents_take_turns() -> None:
    board = Board()
    for name in "abc":
        board.put(Place(name, 1))
    given_to = []
    for number in range(6):
        (grant,) = board.claim(claim(str(number), float(number)))
        given_to.append(grant.agent_id)
        board.release(str(number))
    assert given_to == ["a", "b", "c", "a", "b", "c"]


def test_an_agent_that_comes_takes_what_waits() -> None:
    board = Board()
    for number in range(4):
        board.claim(claim(str(number), float(number), rank=number % 2))
    assert names(board.put(Place("a", 3))) == ["0", "2", "1"]


def test_one_that_is_away_is_given_nothing_and_keeps_what_it_has() -> None:
    board = busy()
    board.present("a", present=False)
    board.release("first0")
    assert board.claim(claim("later")) == []
    assert names(board.present("a", present=True)) == ["later"]


def test_what_is_revoked_is_nobodys_and_what_is_removed_goes_with_its_agent() -> None:
    board = busy(2)
    board.claim(claim("waits", 1.0))
    assert [c.lease_id for c in board.revoke("a")] == ["first0", "first1"]
    assert board.agent_of("first0") is None
    assert names(board.present("a", present=True)) == ["waits"]
    assert [c.lease_id for c in board.remove("a")] == ["waits"]
    assert board.release("waits") == []
    assert board.remove("a") == []


def test_the_same_claim_again_changes_nothing() -> None:
    board = busy()
    first, waits = claim("first0", -1.0), claim("waits", 1.0)
    assert board.claim(first) == board.claim(waits) == board.claim(waits) == []
    assert names(board.release("first0")) == ["waits"]
    assert board.release("waits") == []


def test_what_is_held_is_counted_though_it_is_more_than_there_may_be() -> None:
    board = busy()
    assert board.hold(claim("told", 0.5), "a")
    assert not board.hold(claim("told", 0.5), "b")
    place = board.place("a")
    assert place is not None
    assert place.load == 2.0
    board.claim(claim("waits", 1.0))
    assert board.release("told") == []
    assert names(board.release("first0")) == ["waits"]


def test_an_agent_that_is_put_again_keeps_what_it_has() -> None:
    board = busy()
    board.claim(claim("waits", 1.0))
    assert names(board.put(Place("a", 2))) == ["waits"]
    assert board.put(Place("a", 1)) == []
    assert board.release("first0") == []
    assert board.claim(claim("next", 2.0)) == []
    assert names(board.release("waits")) == ["next"]


def test_a_line_does_not_grow_with_those_who_have_left() -> None:
    board = busy()
    for number in range(10 * SWEEP_FROM):
        board.claim(claim(f"gone{number}", float(number)))
        board.release(f"gone{number}")
    place = board.place("a")
    assert place is not None
    assert len(place.line) <= SWEEP_FROM + 1
    board.claim(claim("stays", 1e9))
    assert names(board.release("first0")) == ["stays"]


CAPABILITIES = st.frozensets(st.sampled_from("xyz"), max_size=2)


class Boards(RuleBasedStateMachine):
    """Whatever comes in whatever order: nobody has more than it may, each claim is in one place, and the next is the
    one that should be."""

    def __init__(self) -> None:
        super().__init__()
        self.board = Board()
        self.numbers = itertools.count()
        self.waiting: dict[str, Claim] = {}
        self.held: dict[str, str] = {}
        self.ended: set[str] = set()

    def take(self, grants: list[Grant]) -> None:
        for grant in grants:
            wanted = self.waiting.pop(grant.claim.lease_id)
            place = self.board.place(grant.agent_id)
            assert place is not None
            assert place.present
            assert place.may(wanted)
            better = [c for c in self.waiting.values() if place.may(c) and c.order < wanted.order]
            assert not better, "somebody was passed over"
            assert wanted.lease_id not in self.held
            self.held[wanted.lease_id] = grant.agent_id

    @rule(
        agent=st.sampled_from("abcd"),
        slots=st.integers(1, 3),
        capabilities=CAPABILITIES,
        owner=st.sampled_from([None, "ada"]),
        present=st.booleans(),
    )
    def put(self, agent: str, slots: int, capabilities: frozenset[str], owner: str | None, present: bool) -> None:
        self.take(self.board.put(Place(agent, slots, capabilities, owner, present=present)))

    @rule(
        user=st.sampled_from(["ada", "bob"]),
        rank=st.integers(0, 3),
        capabilities=CAPABILITIES,
        agent=st.sampled_from([None, None, "a"]),
    )
    def claim(self, user: str, rank: int, capabilities: frozenset[str], agent: str | None) -> None:
        number = next(self.numbers)
        wanted = Claim(str(number), user, rank, float(number), agent=agent, capabilities=capabilities)
        self.waiting[wanted.lease_id] = wanted
        self.take(self.board.claim(wanted))

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        anything = sorted([*self.waiting, *self.held], key=int)
        if anything:
            lease_id = data.draw(st.sampled_from(anything))
            self.waiting.pop(lease_id, None)
            self.held.pop(lease_id, None)
            self.ended.add(lease_id)
            self.take(self.board.release(lease_id))

    @rule(agent=st.sampled_from("abcd"), present=st.booleans())
    def present(self, agent: str, present: bool) -> None:
        if self.board.place(agent) is not None:
            self.take(self.board.present(agent, present=present))

    @rule(agent=st.sampled_from("abcd"), removed=st.booleans())
    def lose(self, agent: str, removed: bool) -> None:
        if self.board.place(agent) is not None:
            lost = self.board.remove(agent) if removed else self.board.revoke(agent)
            for each in lost:
                assert self.held.pop(each.lease_id) == agent
                self.ended.add(each.lease_id)
            if not removed:
                self.take(self.board.present(agent, present=False))

    @invariant()
    def it_agrees(self) -> None:
        assert {c.lease_id for c in self.board.waiting} == set(self.waiting)
        found = {lease: place.agent_id for place in self.board.places() for lease in place.leases}
        assert found == self.held
        assert not self.ended & (set(self.waiting) | set(self.held))

    @invariant()
    def nobody_waits_for_one_who_is_free(self) -> None:
        for place in self.board.places():
            if place.free:
                assert not [c for c in self.waiting.values() if place.may(c)]


TestBoards = Boards.TestCase
TestBoards.settings = settings(max_examples=examples(0.5), stateful_step_count=60, deadline=None)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4)), min_size=1, max_size=40),
    st.integers(1, 4),
    st.randoms(use_true_random=False),
)
@settings(max_examples=examples(2), deadline=None)
def test_nobody_starves_within_a_priority_and_no_agent_has_more_than_it_may(
    work: list[tuple[int, int]], slots: int, random: object
) -> None:
    """All of it is served, each once, within each priority in the order of coming, at most `slots` at a time."""
    board = Board()
    place = Place("a", slots)
    board.put(place)
    running: dict[str, int] = {}
    order: list[Claim] = []
    arriving = [(claim(str(n), float(n), rank=rank), length) for n, (rank, length) in enumerate(work)]
    lengths = {each.lease_id: length for each, length in arriving}

    def begin(grants: list[Grant]) -> None:
        for grant in grants:
            order.append(grant.claim)
            running[grant.claim.lease_id] = lengths[grant.claim.lease_id]
        assert len(running) <= slots

    while arriving or running:
        if arriving and random.random() < 0.5:  # type: ignore[attr-defined]
            begin(board.claim(arriving.pop(0)[0]))
        for lease_id in list(running):
            running[lease_id] -= 1
            if running[lease_id] == 0:
                del running[lease_id]
                begin(board.release(lease_id))
    assert sorted(c.lease_id for c in order) == sorted(lengths)
    for rank in range(4):
        since = [c.since for c in order if c.rank == rank]
        assert since == sorted(since)


def test_a_claim_is_compared_by_what_it_is() -> None:
    assert attrs.evolve(claim("a"), rank=0).order < claim("b").order
