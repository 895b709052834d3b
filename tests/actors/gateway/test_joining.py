"""The log and the live events as one sequence: no gap, no repeat, nothing overtaken, under every interleaving."""

from __future__ import annotations

import json
from collections import deque
from typing import Any

import attrs
import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from actors.gateway import joining as joining_module
from actors.gateway.joining import PAGE, Broken, Joining, Out, Wanted
from actors.protocol.codes import CONNECTION_FAILED, TOO_SLOW
from actors.storage.interface import Stored
from actors.users.messages import Attached, Deliver
from tests.support.examples import examples
from tests.support.said import delivery, delta, passed_on


def body(text: str) -> bytes:
    return json.dumps({"content": text}).encode()


def stored(*seqs: int) -> list[Stored]:
    return [Stored(seq, f"id{seq}", body(f"d{seq}")) for seq in seqs]


def attached(seq: int, *live: str, first: int = 1, incarnation: int = 0, epoch: str = "e") -> Attached:
    return Attached(epoch, first, seq, tuple(map(body, live)), incarnation)


def deliver(text: str, seq: int | None = None, incarnation: int = 0) -> Deliver:
    return delivery("ada", Out(body(text), seq), incarnation=incarnation)


def shown(outs: list[Out] | Broken) -> list[Any]:
    assert not isinstance(outs, Broken)
    return [json.loads(out.frame)["content"] for out in outs]


class TestOneStepAfterAnother:
    def test_without_a_replay_live_events_pass_at_once(self) -> None:
        joining = Joining(1000)
        assert shown(joining.begin(3, attached(3, "text so far"))) == ["text so far"]
        assert joining.next_page() is None
        assert not joining.replaying
        assert shown(passed_on(joining, deliver("piece"))) == ["piece"]
        assert shown(passed_on(joining, deliver("d4", 4))) == ["d4"]
        assert joining.last == 4

    def test_replayed_events_come_first_then_the_text_so_far_then_what_is_live(self) -> None:
        joining = Joining(1000)
        assert joining.begin(1, attached(3, "text so far")) == []
        assert joining.replaying
        assert joining.next_page() == Wanted(1, 2)
        assert joining.next_page() is None
        assert passed_on(joining, deliver("piece")) == []
        assert passed_on(joining, deliver("d4", 4)) == []
        outs = joining.page(stored(2, 3))
        assert shown(outs) == ["d2", "d3", "text so far", "piece", "d4"]
        assert not isinstance(outs, Broken)
        assert [(out.seq, out.replayed) for out in outs] == [
            (2, True),
            (3, True),
            (None, False),
            (None, False),
            (4, False),
        ]
        assert json.loads(outs[0].frame) == {"seq": 2, "content": "d2"}
        assert joining.last == 4

    def test_a_long_replay_comes_in_pages(self) -> None:
        joining = Joining(1000)
        joining.begin(0, attached(PAGE + 5))
        assert joining.next_page() == Wanted(0, PAGE)
        assert len(shown(joining.page(stored(*range(1, PAGE + 1))))) == PAGE
        assert joining.next_page() == Wanted(PAGE, 5)
        joining.not_read()
        assert joining.next_page() == Wanted(PAGE, 5)
        assert shown(joining.page(stored(*range(PAGE + 1, PAGE + 6))))[-1] == f"d{PAGE + 5}"
        assert joining.next_page() is None

    @pytest.mark.parametrize("seqs", [(), (1, 2), (1, 3, 4), (2, 3, 4), (1, 2, 3, 4)])
    def test_a_hole_in_the_log_breaks_it(self, seqs: tuple[int, ...]) -> None:
        joining = Joining(1000)
        joining.begin(0, attached(3))
        joining.next_page()
        assert joining.page(stored(*seqs)) == Broken(CONNECTION_FAILED)

    @pytest.mark.parametrize("seq", [3, 4, 6, 99])
    def test_a_live_event_that_does_not_follow_breaks_it(self, seq: int) -> None:
        joining = Joining(1000)
        joining.begin(4, attached(4))
        assert passed_on(joining, deliver("x", seq)) == Broken(TOO_SLOW)

    def test_one_that_does_not_follow_is_found_also_behind_a_replay(self) -> None:
        joining = Joining(1000)
        joining.begin(3, attached(4))
        joining.next_page()
        passed_on(joining, deliver("d6", 6))
        assert joining.page(stored(4)) == Broken(TOO_SLOW)

    def test_too_much_held_back_breaks_it(self) -> None:
        joining = Joining(len(body("12345")) * 2)
        joining.begin(0, attached(1))
        assert passed_on(joining, deliver("12345")) == []
        assert passed_on(joining, deliver("12345")) == []
        assert passed_on(joining, deliver("1")) == Broken(TOO_SLOW)

    def test_what_is_held_back_gives_way_to_what_is_newer_before_it_is_too_much(self) -> None:
        pieces = [delta("m", 2 * number, "ab") for number in range(10)]
        joining = Joining(4 * len(pieces[0].frame))
        joining.begin(0, attached(1))
        for first in range(0, 10, 2):
            assert passed_on(joining, delivery("ada", *pieces[first : first + 2])) == []
        joining.next_page()
        assert shown(joining.page(stored(1))) == ["d1", "ab" * 10]

    def test_what_comes_together_follows_as_a_whole_or_not_at_all(self) -> None:
        joining = Joining(1000)
        joining.begin(3, attached(3))
        follows = delivery("ada", Out(body("d4"), 4), Out(body("piece")), Out(body("d5"), 5))
        assert shown(passed_on(joining, follows)) == ["d4", "piece", "d5"]
        assert joining.last == 5
        assert passed_on(joining, delivery("ada", Out(body("d6"), 6), Out(body("d8"), 8))) == Broken(TOO_SLOW)

    def test_what_is_not_held_back_has_no_limit(self) -> None:
        joining = Joining(1)
        assert shown(joining.begin(0, attached(0, "a long text so far"))) == ["a long text so far"]
        assert shown(passed_on(joining, deliver("a long piece"))) == ["a long piece"]


class TestAgain:
    def test_after_a_restart_it_goes_on_behind_the_last_event(self) -> None:
        joining = Joining(1000)
        joining.begin(2, attached(2))
        passed_on(joining, deliver("d3", 3))
        joining.detached()
        assert passed_on(joining, deliver("d4", 4)) == []  # of the dead incarnation, and in the log
        assert joining.again(attached(4, "text so far", incarnation=1)) == []
        assert passed_on(joining, deliver("an old piece")) == []
        assert passed_on(joining, deliver("a new piece", incarnation=1)) == []
        assert joining.next_page() == Wanted(3, 1)
        assert shown(joining.page(stored(4))) == ["d4", "text so far", "a new piece"]

    def test_where_nothing_happened_the_text_so_far_comes_at_once(self) -> None:
        joining = Joining(1000)
        joining.begin(2, attached(2))
        joining.detached()
        assert shown(joining.again(attached(2, "text", incarnation=1))) == ["text"]

    def test_in_the_middle_of_a_replay(self) -> None:
        joining = Joining(1000)
        joining.begin(0, attached(2, "old text"))
        assert joining.next_page() == Wanted(0, 2)
        passed_on(joining, deliver("old piece"))
        joining.detached()
        assert joining.again(attached(4, "new text", incarnation=1)) == []
        assert joining.next_page() is None  # the page of before is still under way
        assert shown(joining.page(stored(1, 2))) == ["d1", "d2"]
        assert joining.next_page() == Wanted(2, 2)
        assert shown(joining.page(stored(3, 4))) == ["d3", "d4", "new text"]

    def test_a_replay_that_ends_while_the_context_is_away(self) -> None:
        joining = Joining(1000)
        joining.begin(0, attached(1))
        joining.next_page()
        passed_on(joining, deliver("piece"))
        passed_on(joining, deliver("d2", 2))
        joining.detached()
        assert shown(joining.page(stored(1))) == ["d1", "piece", "d2"]
        assert shown(joining.again(attached(2, incarnation=1))) == []

    @pytest.mark.parametrize(
        "again",
        [attached(5, epoch="another"), attached(3), attached(9, first=6)],
        ids=["another log", "cut back", "trimmed"],
    )
    def test_what_cannot_go_on(self, again: Attached) -> None:
        joining = Joining(1000)
        joining.begin(4, attached(4))
        assert joining.again(attrs.evolve(again, incarnation=1)) == Broken(CONNECTION_FAILED)


@attrs.define
class World:
    """A context, its log, and one connection with its two lanes; who does what next is up to the schedule.

    What is ephemeral is named after the last durable event before it.
    """

    start: int
    joining: Joining = attrs.field(factory=lambda: Joining(10**9))
    log: list[int] = attrs.field(factory=list)
    incarnation: int = 0
    registered: bool = False
    mailbox: deque[Deliver] = attrs.field(factory=deque)
    system: deque[Any] = attrs.field(factory=deque)
    to_journal: deque[Wanted] = attrs.field(factory=deque)
    attach_under_way: int | None = None
    begun: bool = False
    got: list[tuple[int | None, str]] = attrs.field(factory=list)
    living: str = ""

    def durable(self) -> None:
        self.log.append(len(self.log) + 1)
        self.living = ""
        self.send(deliver(f"d{len(self.log)}", len(self.log), self.incarnation))

    def ephemeral(self) -> None:
        self.living = f"e{len(self.log)}"
        self.send(deliver(self.living, None, self.incarnation))

    def send(self, message: Deliver) -> None:
        if self.registered:
            self.mailbox.append(message)

    def ask_to_attach(self) -> None:
        if self.attach_under_way is None:
            self.attach_under_way = self.incarnation

    def context_answers(self) -> None:
        """It answers an Attach that waits for it, also one that was asked of the incarnation before."""
        if self.attach_under_way is not None and not self.registered:
            self.registered = True
            live = (self.living,) if self.living else ()
            self.system.append(attached(len(self.log), *live, incarnation=self.incarnation))

    def crash(self) -> None:
        self.incarnation += 1
        self.registered = False
        self.living = ""
        self.system.append("restarted")

    def journal_answers(self) -> None:
        if self.to_journal:
            wanted = self.to_journal.popleft()
            self.system.append(stored(*self.log[wanted.after : wanted.after + wanted.limit]))

    def connection_acts(self) -> None:
        """The system lane comes first."""
        if self.system:
            self.hear(self.system.popleft())
        elif self.mailbox:
            self.give(passed_on(self.joining, self.mailbox.popleft()))
        self.read_on()

    def hear(self, signal: Any) -> None:
        if signal == "restarted":
            self.joining.detached()
            self.ask_to_attach()
        elif isinstance(signal, Attached):
            self.attach_under_way = None
            self.give(self.joining.again(signal) if self.begun else self.joining.begin(self.start, signal))
            self.begun = True
            if signal.incarnation != self.incarnation:
                self.ask_to_attach()
        else:
            self.give(self.joining.page(signal))

    def read_on(self) -> None:
        wanted = self.joining.next_page() if self.begun else None
        if wanted is not None:
            self.to_journal.append(wanted)

    def give(self, outs: list[Out] | Broken) -> None:
        assert not isinstance(outs, Broken)
        for out in outs:
            self.got.append((out.seq, json.loads(out.frame)["content"]))


ACTS = ("durable", "ephemeral", "context_answers", "crash", "journal_answers", "connection_acts", "connection_acts")


@settings(max_examples=examples(6), deadline=None)
@given(st.integers(0, 5), st.lists(st.sampled_from(ACTS), max_size=80), st.integers(1, 3))
def test_no_gap_no_repeat_nothing_overtaken(before: int, acts: list[str], page: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(joining_module, "PAGE", page)
        world = World(0)
        for _ in range(before):
            world.durable()
        world.ask_to_attach()
        for act in acts:
            getattr(world, act)()
        for _ in range(300):
            world.context_answers()
            world.journal_answers()
            world.connection_acts()
    seqs = [seq for seq, _ in world.got if seq is not None]
    assert seqs == world.log
    last = 0
    for seq, text in world.got:
        if seq is not None:
            last = seq
        else:
            assert text == f"e{last}"
