"""The two sides of the way to the log, as pure values: nothing lost, doubled or out of order, whatever fails."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from actors.protocol.agent_events import Attempt, agent_delta, agent_progress
from actors.protocol.event_types import NoticeLevel
from actors.protocol.events import Event, Stamp, encode
from actors.protocol.run_events import system
from actors.storage.interface import Appended, DeleteState, Effect, KeepReply, PutState
from actors.users.messages import Item
from actors.users.outbox import LARGEST_BATCH, Entry, Offers, Outbox, joined, latest

OF = Attempt(agent_name="Analyst", session_id="s", run_id="r", step="analysis")


def notice(name: str) -> Event:
    return system(Stamp(name, "2026-11-20T08:30:00.000Z"), "notice", NoticeLevel.INFO, notice=name)


def delta(name: str, offset: int, text: str) -> Event:
    return agent_delta(Stamp(name, "2026-11-20T08:30:00.000Z"), OF, message_id="m", offset=offset, text=text)


def sign(name: str) -> Event:
    return agent_progress(Stamp(name, "2026-11-20T08:30:00.000Z"), OF, sentence="At work.", elapsed_ms=1)


def durable(name: str, **more: Any) -> Entry:
    return Entry(Item(notice(name)), **more)


def names(entries: list[Entry]) -> list[str]:
    return ["marker" if entry.item is None else entry.item.id for entry in entries]


def outcomes(entries: list[Entry], first: int = 1) -> list[Appended]:
    return [Appended(name, (("u", first + n),), repeated=False) for n, name in enumerate(names(entries))]


class TestOutbox:
    def test_what_is_ephemeral_waits_behind_what_is_durable(self) -> None:
        box = Outbox()
        for entry in (Entry(Item(sign("e1"))), durable("d1"), Entry(Item(sign("e2"))), Entry(None), durable("d2")):
            assert box.add(entry)
        assert names(box.leaving()) == ["e1"]
        batch = box.batch()
        assert names(batch) == ["d1", "d2"]
        assert box.batch() == []
        assert names(box.leaving()) == []
        box.committed(outcomes(batch))
        assert names(box.leaving()) == ["d1", "e2", "marker", "d2"]
        assert len(box) == 0

    def test_what_comes_meanwhile_is_the_next_batch(self) -> None:
        box = Outbox()
        box.add(durable("d1"))
        first = box.batch()
        box.add(durable("d2"))
        assert box.batch() == []
        box.committed(outcomes(first))
        assert names(box.leaving()) == ["d1"]
        assert names(box.batch()) == ["d2"]

    def test_an_item_that_waits_already_is_not_added_again_until_it_has_left(self) -> None:
        box = Outbox()
        assert box.add(durable("d1"))
        assert not box.add(durable("d1"))
        assert box.add(Entry(Item(sign("e1"))))
        assert box.add(Entry(Item(sign("e1"))))
        box.committed(outcomes(box.batch()))
        assert names(box.leaving()) == ["d1", "e1", "e1"]
        assert box.add(durable("d1"))

    def test_a_failed_batch_is_offered_again_before_everything_newer(self) -> None:
        box = Outbox()
        box.add(durable("d1"))
        box.batch()
        box.add(durable("d2"))
        box.failed("full", clean=True)
        assert names(box.batch()) == ["d1", "d2"]

    def test_only_what_somebody_waits_for_is_taken_back(self) -> None:
        box = Outbox()
        told: list[str] = []
        box.add(durable("d1"))
        box.add(durable("c1", refused=told.append))
        box.add(Entry(Item(sign("e1"))))
        box.batch()
        box.failed("full", clean=True)
        assert told == ["full"]
        assert names(box.batch()) == ["d1"]
        assert box.add(durable("c1"))  # forgotten, so it may be offered anew

    def test_what_may_have_been_committed_stays_though_somebody_was_told(self) -> None:
        box = Outbox()
        told: list[str] = []
        left: list[str] = []
        box.add(durable("c1", refused=told.append, released=lambda: left.append("c1")))
        box.batch()
        box.failed("unknown", clean=False)
        assert told == ["unknown"]
        box.batch()
        box.failed("full", clean=True)  # this offer was not committed; the first may have been
        assert told == ["unknown"]
        batch = box.batch()
        assert names(batch) == ["c1"]
        box.committed(outcomes(batch))
        assert names(box.leaving()) == ["c1"]

    def test_a_batch_is_bounded(self) -> None:
        box = Outbox()
        for number in range(LARGEST_BATCH + 10):
            box.add(durable(f"d{number}"))
        assert len(box.batch()) == LARGEST_BATCH

    def test_what_came_together_is_committed_together(self) -> None:
        box = Outbox()
        for number in range(LARGEST_BATCH - 1):
            box.add(durable(f"d{number}"))
        items = [Item(notice("a")), Item(sign("e")), Item(notice("b")), Item(notice("c"))]
        assert [item.id for item in box.add_all(items)] == ["a", "b", "c"]
        box.add(durable("next"))
        batch = box.batch()
        assert names(batch)[-3:] == ["a", "b", "c"]
        box.committed(outcomes(batch))
        assert names(box.leaving())[-4:] == ["a", "e", "b", "c"]
        assert names(box.batch()) == ["next"]

    def test_of_what_is_offered_again_only_the_new_is_added(self) -> None:
        box = Outbox()
        box.add_all([Item(notice("a")), Item(notice("b"))])
        again = [Item(notice("a"), again=True), Item(notice("b"), again=True), Item(notice("c"))]
        assert [item.id for item in box.add_all(again)] == ["c"]
        assert names(box.batch()) == ["a", "b", "c"]

    def test_a_change_of_state_is_committed_in_its_turn(self) -> None:
        box = Outbox()
        change = Item(None, (DeleteState("space", "key"),), change="x")
        assert [item.id for item in box.add_all([Item(notice("a")), change, Item(sign("e"))])] == ["a", "x"]
        batch = box.batch()
        assert names(batch) == ["a", "x"]
        box.committed(outcomes(batch))
        assert names(box.leaving()) == ["a", "x", "e"]

    def test_an_event_is_encoded_once(self) -> None:
        entry = durable("d1")
        assert entry.frame() == encode(notice("d1"))
        assert entry.frame() is entry.frame()


class TestOffers:
    def test_one_batch_with_something_durable_at_a_time(self) -> None:
        offers = Offers()
        assert offers.empty
        assert offers.next() == ()
        offers.add(Item(notice("d1")))
        assert [item.id for item in offers.next()] == ["d1"]
        offers.add(Item(notice("d2")))
        assert offers.next() == ()
        assert not offers.empty
        offers.done()
        assert [item.id for item in offers.next()] == ["d2"]
        offers.done()
        assert offers.empty

    def test_what_is_only_ephemeral_is_not_waited_for(self) -> None:
        offers = Offers()
        offers.add(Item(sign("e1")))
        assert [item.id for item in offers.next()] == ["e1"]
        assert offers.empty
        offers.untold((Item(sign("e1")),))
        offers.add(Item(sign("e2")))
        assert [item.id for item in offers.next()] == ["e1", "e2"]

    def test_neighbouring_pieces_are_joined_and_nothing_else(self) -> None:
        items = [Item(delta("1", 0, "ab")), Item(delta("2", 2, "c")), Item(notice("d")), Item(delta("3", 3, "d"))]
        out = joined([*items, Item(None, change="x"), Item(delta("4", 4, "e"))])
        assert [(item.event and item.event.content) for item in out] == ["abc", "d", "d", None, "e"]

    def test_after_a_batch_that_may_have_been_seen_what_is_ephemeral_is_dropped(self) -> None:
        offers = Offers()
        offers.add(Item(sign("e1")))
        offers.add(Item(notice("d1")))
        offers.next()
        offers.add(Item(sign("e2")))
        offers.failed(seen=True)
        batch = offers.next()
        assert [(item.id, item.again) for item in batch] == [("d1", True), ("e2", False)]

    def test_after_a_batch_that_was_handed_back_nothing_is(self) -> None:
        offers = Offers()
        for event in (sign("e1"), notice("d1")):
            offers.add(Item(event))
        offers.next()
        offers.add(Item(sign("e2")))
        offers.failed(seen=False)
        assert [(item.id, item.again) for item in offers.next()] == [("e1", False), ("d1", False), ("e2", False)]

    def test_a_change_of_state_ends_its_batch(self) -> None:
        """Whoever asked for it is answered before anybody hears of what it causes."""
        offers = Offers()
        for item in (Item(notice("a")), Item(None, change="x"), Item(notice("b"))):
            offers.add(item)
        assert [item.id for item in offers.next()] == ["a", "x"]
        offers.done()
        assert [item.id for item in offers.next()] == ["b"]


STEPS = st.lists(
    st.sampled_from(["durable", "ephemeral", "command", "ok", "clean", "unknown", "unknown but done", "crash"]),
    max_size=60,
)


@given(STEPS)
def test_nothing_is_lost_doubled_or_reordered_over_random_failures(steps: list[str]) -> None:
    """A producer, a context and a log, all pure; a crash forgets the context's outbox."""
    offers, box = Offers(), Outbox()
    log: dict[str, int] = {}
    shown: list[tuple[str, int | None]] = []
    said: list[str] = []
    refused: list[str] = []
    commands: list[str] = []
    released = 0
    answered: list[bool] = []

    def commit(batch: list[Entry]) -> list[Appended]:
        out = []
        for entry in batch:
            assert entry.item is not None
            repeated = entry.item.id in log
            seq = log.setdefault(entry.item.id, len(log) + 1)
            out.append(Appended(entry.item.id, (("u", seq),), repeated=repeated))
        return out

    def leave() -> None:
        nonlocal released
        for entry in box.leaving():
            if entry.released is not None:
                entry.released()
            if entry.item is not None and entry.outcome is None:
                shown.append((entry.item.id, None))
            elif entry.outcome is not None and entry.outcome.seqs[0][1] > released:
                released = entry.outcome.seqs[0][1]
                shown.append((entry.outcome.event_id, released))

    def offer() -> None:
        batch = offers.next()
        if batch:
            box.add_all(batch)
            box.add(Entry(None, released=(lambda: answered.append(True)) if any(i.durable for i in batch) else None))

    for number, step in enumerate([*steps, "ok", "ok", "ok", "ok"]):
        name = f"{step}{number}"
        match step:
            case "durable" | "ephemeral":
                offers.add(Item(notice(name) if step == "durable" else sign(name)))
                said += [name] if step == "durable" else []
            case "command":
                commands.append(name)
                box.add(durable(name, refused=lambda _, name=name: refused.append(name)))
            case "crash":
                box, released = Outbox(), len(log)
                offers.failed(seen=True)
            case _:
                batch = box.batch()
                if step == "ok":
                    box.committed(commit(batch))
                else:
                    if step == "unknown but done":
                        commit(batch)
                    box.failed("why", clean=step == "clean")
        leave()
        while answered:
            answered.pop()
            offers.done()
            leave()
        offer()
        leave()

    assert offers.empty
    assert [name for name in log if name in said] == said  # none lost, none doubled, in order
    seqs = [seq for _, seq in shown if seq is not None]
    assert seqs == sorted(set(seqs))
    ephemeral = [name for name, seq in shown if seq is None]
    assert len(set(ephemeral)) == len(ephemeral)
    assert set(refused) <= set(commands)


@pytest.mark.parametrize("seen", [True, False])
def test_an_effect_stays_with_its_item(seen: bool) -> None:
    offers = Offers()
    effects = (DeleteState("space", "key"),)
    offers.add(Item(notice("d1"), effects))
    offers.next()
    offers.failed(seen=seen)
    (item,) = offers.next()
    assert item.effects == effects


keys = st.sampled_from(["a", "b"])
effects = st.one_of(
    st.builds(PutState, st.just("space"), keys, st.binary(max_size=2)),
    st.builds(DeleteState, st.just("space"), keys),
    st.builds(KeepReply, st.just("ada"), keys, st.just(b""), st.binary(max_size=2), st.just(1.0)),
)


@given(st.lists(st.lists(effects, max_size=4), max_size=6))
def test_of_items_that_are_committed_together_only_the_last_changes_a_key(changes: list[list[Effect]]) -> None:
    items = tuple(Item(notice(f"d{number}"), tuple(of)) for number, of in enumerate(changes))
    kept = latest(items)
    assert [item.event for item in kept] == [item.event for item in items]
    assert _state(kept) == _state(items)
    assert [e for e in _effects(kept) if isinstance(e, KeepReply)] == [
        e for e in _effects(items) if isinstance(e, KeepReply)
    ]
    where = [(e.space, e.key) for e in _effects(kept) if isinstance(e, PutState | DeleteState)]
    assert len(where) == len(set(where))


def _effects(items: Any) -> list[Effect]:
    return [effect for item in items for effect in item.effects]


def _state(items: Any) -> dict[str, bytes | None]:
    state: dict[str, bytes | None] = {}
    for effect in _effects(items):
        if isinstance(effect, PutState | DeleteState):
            state[effect.key] = getattr(effect, "value", None)
    return state
