"""The checker of the event grammar is itself checked: whole logs pass, and each rule has a log that breaks it."""

import copy
import json
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from actors.protocol import connection_events, run_events
from actors.protocol.agent_events import Attempt
from actors.protocol.approval_events import approval_request, approval_result
from actors.protocol.codes import ErrorCode
from actors.protocol.event_types import DURABLE, AgentStatus, EventType, GapReason, NoticeLevel, RunStatus
from actors.protocol.events import Event, Stamp, encode
from tests.support.grammar import check
from tests.support.grammar_log import ONE, TWO, Log, whole_run
from tests.support.grammar_tables import TYPES, Frame


def good() -> list[Frame]:
    log = Log()
    log.welcome()
    whole_run(log)
    return log.frames


def durable(frames: list[Frame]) -> list[Frame]:
    return [frame for frame in frames if "seq" in frame]


def rules(frames: list[Frame], **options: bool) -> set[str]:
    return {violation.rule for violation in check(frames, **options)}


def test_a_whole_log_passes() -> None:
    assert check(good()) == []


def test_the_checker_knows_the_same_types_as_the_daemon() -> None:
    assert set(TYPES) == set(EventType)
    assert {kind for kind, (is_durable, *_) in TYPES.items() if is_durable} == DURABLE


def test_a_log_without_its_connection_passes() -> None:
    assert check(durable(good()), connection=False) == []
    assert rules(good()[1:], connection=False) == {"ephemeral_in_log"}


@pytest.mark.parametrize("cut", range(25))
def test_a_log_may_end_in_mid_run_where_that_is_said(cut: int) -> None:
    frames = good()[: cut + 1]
    assert check(frames, ends_midrun=True) == []
    assert bool(check(frames)) == (2 <= cut < 22)


@pytest.mark.parametrize("place", range(18))
def test_a_resume_in_the_middle_of_a_run_passes(place: int) -> None:
    """From every position: what is replayed comes first, then one delta with all the text so far."""
    events = durable(good())
    for replayed in range(len(events) - place + 1):
        log = Log(seq=place)
        log.welcome(replayed=replayed, resumed=True)
        frames = log.frames + events[place:]
        assert check(frames) == []


def test_a_client_that_connects_in_the_middle_of_an_answer() -> None:
    log = Log(seq=40)
    log.welcome()
    log.delta(ONE, 0, "All so far", "m1")
    log.delta(ONE, 10, ".", "m1")
    log.completed(ONE, "begun before")
    log.response(ONE, "All so far.", "m1")
    log.status(ONE, AgentStatus.COMPLETED)
    log.run(RunStatus.COMPLETED, 2)
    assert check(log.frames) == []
    log.frames[1]["metadata"]["offset"] = 3
    assert rules(log.frames) == {"delta_gap"}


def test_refusals_gaps_and_notices_pass() -> None:
    log = Log()
    log.add(connection_events.error(log.stamp(), ErrorCode.BAD_REQUEST))
    assert check(log.frames) == []
    log.welcome()
    assert rules(log.frames) == {"welcome_first"}

    log = Log(seq=7)
    log.welcome()
    log.add(connection_events.gap(log.stamp(), GapReason.TRIMMED, content="Gone.", from_seq=1, to_seq=2))
    log.add(connection_events.error(log.stamp(), ErrorCode.NOT_FOUND, reply_to="c1"))
    log.add(run_events.system(log.stamp(), "notice", NoticeLevel.INFO, notice="Hello"))
    log.add(run_events.message(log.stamp(), session_id="s", message_id="m", author="ann", text="Hi"))
    assert check(log.frames) == []


Break = Callable[[list[Frame]], Any]


def put(place: int, path: str, value: Any) -> Break:
    *outer, last = path.split(".")

    def change(frames: list[Frame]) -> None:
        target = frames[place]
        for name in outer:
            target = target[name]
        target[last] = value

    return change


def drop(place: int, path: str) -> Break:
    *outer, last = path.split(".")

    def change(frames: list[Frame]) -> None:
        target = frames[place]
        for name in outer:
            target = target[name]
        del target[last]

    return change


def remove(*places: int) -> Break:
    def change(frames: list[Frame]) -> None:
        for place in sorted(places, reverse=True):
            del frames[place]
        renumber(frames)

    return change


def move(place: int, to: int) -> Break:
    def change(frames: list[Frame]) -> None:
        frames.insert(to, frames.pop(place))
        renumber(frames)

    return change


def repeat(place: int, to: int, **changes: Any) -> Break:
    def change(frames: list[Frame]) -> None:
        frame = copy.deepcopy(frames[place])
        frame["metadata"].update(changes)
        frame["id"] = "repeated"
        frames.insert(to, frame)
        renumber(frames)

    return change


def renumber(frames: list[Frame]) -> None:
    for seq, frame in enumerate(durable(frames), 1):
        frame["seq"] = seq


@pytest.mark.parametrize(
    ("breaks", "rule"),
    [
        # Shape
        (put(5, "type", "agent_mood"), "unknown_type"),
        (put(5, "type", ["x"]), "unknown_type"),
        (put(5, "metadata.model", None), "null"),
        (put(0, "metadata.features", {"deep": [None]}), "null"),
        (put(8, "metadata.tool_input", {"deep": None}), "null"),
        (drop(5, "content"), "fields"),
        (drop(5, "agent_name"), "fields"),
        (drop(5, "run_id"), "fields"),
        (drop(5, "metadata"), "fields"),
        (drop(5, "metadata.step"), "fields"),
        (put(5, "metadata.attempt", 0), "fields"),
        (put(5, "metadata.status", "pondering"), "fields"),
        (put(17, "metadata.error_type", "bad_luck"), "fields"),
        (put(2, "metadata.status", "sleeping"), "fields"),
        (put(10, "metadata.status", "done"), "fields"),
        (put(5, "id", "x" * 65), "fields"),
        (put(5, "timestamp", "2026-11-20T08:30:00Z"), "fields"),
        (put(9, "metadata.server_time", 5.0), "fields"),
        (put(4, "content", ""), "fields"),
        (drop(0, "metadata.limits"), "fields"),
        (drop(0, "metadata.limits.runs"), "fields"),
        (drop(0, "metadata.epoch"), "fields"),
        (put(13, "metadata.usage", {"prompt_tokens": 1}), "fields"),
        (drop(13, "metadata.model"), "fields"),
        (put(13, "metadata.duration_ms", True), "fields"),
        (put(5, "requires_ack", False), "durable"),
        (drop(5, "seq"), "durable"),
        (put(6, "seq", 3), "durable"),
        (put(6, "requires_ack", True), "durable"),
        # Opening, Resume, Delivery
        (remove(0), "welcome_first"),
        (move(0, 1), "welcome_first"),
        (lambda frames: frames.clear(), "welcome_first"),
        (repeat(0, 3, reply_to="another"), "welcome_once"),
        (put(5, "seq", 5), "seq"),
        (put(2, "seq", 2), "seq"),
        (put(0, "metadata.seq", 1), "seq"),
        (put(0, "metadata.replayed", 3), "replay"),
        (lambda frames: frames[0]["metadata"].update(seq=99, replayed=99, resumed=True), "replay"),
        (lambda frames: frames[0]["metadata"].update(seq=5, replayed=5, resumed=True), "replay"),
        (lambda frames: frames.insert(2, gap()), "gap_place"),
        (lambda frames: (frames.insert(1, gap()), frames[0]["metadata"].update(resumed=True)), "gap_place"),
        (put(9, "metadata.reply_to", "c1"), "answered_twice"),
        (move(1, 2), "reply_late"),
        (lambda frames: frames[5].update(id=frames[4]["id"]), "id_repeated"),
        # Runs
        (remove(22), "run_unfinished"),
        (repeat(15, 23), "after_run_end"),
        (repeat(22, 23), "after_run_end"),
        (repeat(6, 23), "after_run_end"),
        (put(15, "metadata.steps", ["one", "three"]), "run_steps"),
        (put(15, "metadata.done", 2), "run_done"),
        (put(15, "metadata.done", 3), "run_done"),
        (put(3, "metadata.done", 1), "run_done"),
        (repeat(3, 16), "run_done"),
        (put(22, "metadata.done", 1), "run_done"),
        (put(15, "metadata.progress", 40), "run_progress"),
        (put(2, "metadata.progress", 1), "run_progress"),
        # Attempts
        (remove(4), "not_started"),
        (move(6, 4), "not_started"),
        (move(11, 4), "not_started"),
        (repeat(4, 5), "started_twice"),
        (repeat(5, 15), "attempt_after_end"),
        (repeat(14, 15), "attempt_after_end"),
        (repeat(14, 15, status="cancelled"), "attempt_after_end"),
        (repeat(4, 15), "attempt_after_end"),
        (remove(17), "attempt_unfinished"),
        (remove(17), "attempt_order"),
        (remove(16, 17), "attempt_order"),
        (put(16, "metadata.attempt", 2), "attempt_order"),
        (remove(5), "no_thinking"),
        # Tools
        (remove(10), "tool_unfinished"),
        (remove(8), "tool_pair"),
        (repeat(10, 11), "tool_pair"),
        (repeat(8, 9), "tool_pair"),
        (put(10, "metadata.tool_name", "other"), "tool_pair"),
        (move(10, 8), "tool_pair"),
        (move(10, 14), "attempt_after_end"),
        # Deltas and answers
        (remove(13), "response_missing"),
        (move(13, 14), "response_missing"),
        (repeat(13, 14), "response_twice"),
        (put(14, "metadata.status", "error"), "response_on_failure"),
        (put(14, "metadata.status", "cancelled"), "response_on_failure"),
        (put(7, "metadata.message_id", "m2"), "message_id"),
        (put(13, "metadata.message_id", "m2"), "message_id"),
        (put(20, "metadata.message_id", "m1"), "message_id"),
        (put(7, "metadata.offset", 3), "delta_gap"),
        (remove(6), "delta_gap"),
        (move(12, 13), "delta_late"),
        (put(13, "content", "Hallo!"), "response_text"),
        (put(13, "content", "Hello!!"), "response_text"),
        (remove(12), "response_text"),
        (put(7, "content", "LLO"), "response_text"),
    ],
)
def test_each_rule_has_a_log_that_breaks_it(breaks: Break, rule: str) -> None:
    frames = good()
    breaks(frames)
    assert rule in rules(frames)


def gap() -> Frame:
    frame: Frame = json.loads(
        encode(connection_events.gap(Stamp("gap", "2026-11-20T08:30:00.000Z"), GapReason.EPOCH, content="x"))
    )
    return frame


def test_a_violation_says_where() -> None:
    frames = good()
    frames[5]["metadata"]["status"] = "pondering"
    first = check(frames)[0]
    assert (first.index, first.rule, first.detail) == (5, "fields", "status is 'pondering'")
    assert check(good()[:-4])[0].index == 21


@pytest.mark.parametrize("message", ["lost at the end", "lost in the middle", "lost at the beginning"])
def test_a_log_over_a_crash_may_lack_deltas_but_not_the_truth(message: str) -> None:
    lost = {"lost at the end": 12, "lost in the middle": 7, "lost at the beginning": 6}[message]
    frames = good()
    remove(lost)(frames)
    assert check(frames)
    assert check(frames, lossy=True) == []
    frames[12]["content"] = "Something else"
    assert rules(frames, lossy=True) == ({"response_text"} if lost == 12 else set())


def test_an_offset_of_zero_begins_again() -> None:
    log = Log()
    log.welcome()
    log.run(RunStatus.QUEUED, 0)
    log.status(ONE, AgentStatus.STARTED)
    log.status(ONE, AgentStatus.THINKING)
    log.delta(ONE, 0, "First try", "m1")
    log.delta(ONE, 0, "Second \U0001f600", "m1")
    log.delta(ONE, 8, ".", "m1")
    log.response(ONE, "Second \U0001f600.", "m1")
    log.status(ONE, AgentStatus.COMPLETED)
    log.status(TWO, AgentStatus.STARTED)
    log.status(TWO, AgentStatus.CANCELLED)
    log.run(RunStatus.CANCELLED, 1)
    assert check(log.frames) == []


def test_a_run_that_began_on_this_connection_is_judged_whole() -> None:
    """Though the log is older, the answer to start_run shows where this run begins."""
    log = Log(seq=9)
    log.welcome()
    log.reply("c1", run_id="r1", session_id="s1")
    log.run(RunStatus.RUNNING, 0)
    log.delta(ONE, 0, "x", "m1")
    assert rules(log.frames, ends_midrun=True) == {"not_started"}


def asked(log: Log, of: Attempt, *, decision: str | None = None, forever: bool = False) -> None:
    log.add(
        approval_request(
            log.stamp(),
            of,
            approval_id="a",
            question="May I?",
            message_id="m",
            answer="Hello!",
            digest="d",
            expires_at=None if forever else 1_700_000_000.0,
            on_timeout="reject",
        )
    )
    if decision is not None:
        log.add(
            approval_result(
                log.stamp(), of, approval_id="a", decision=decision, by="ada", sentence="Decided.", feedback="Shorter."
            )
        )


@pytest.mark.parametrize(
    ("decision", "broken"), [("approve", set()), ("reject", {"not_released"}), (None, {"not_released"})]
)
@pytest.mark.parametrize("forever", [True, False])
def test_an_answer_that_was_asked_for_comes_only_released(decision: Any, broken: set[str], forever: bool) -> None:
    log = Log()
    log.welcome()
    log.run(RunStatus.QUEUED, 0)
    log.status(ONE, AgentStatus.STARTED)
    log.status(ONE, AgentStatus.THINKING)
    asked(log, ONE, decision=decision, forever=forever)
    log.response(ONE, "Hello!", "m")
    log.status(ONE, AgentStatus.COMPLETED)
    assert rules(log.frames, ends_midrun=True) == broken


def test_a_decision_is_asked_for_and_taken_once() -> None:
    log = Log()
    log.welcome()
    log.run(RunStatus.QUEUED, 0)
    log.status(ONE, AgentStatus.STARTED)
    asked(log, ONE, decision="reject")
    asked(log, ONE, decision="reject")
    assert rules(log.frames, ends_midrun=True) == {"approval_pair"}


def test_an_approval_of_a_run_names_its_step() -> None:
    log = Log()
    log.welcome()
    approval = Event(
        type="approval_request",
        content="May I?",
        metadata={"approval_id": "a", "expires_at": "2026-11-20T08:30:00.000Z", "on_timeout": "reject"},
        **attrs.asdict(log.stamp()),
    )
    log.add(approval)
    assert check(log.frames) == []
    log.add(attrs.evolve(approval, id="other", run_id="r1"))
    assert rules(log.frames, ends_midrun=True) == {"fields"}
