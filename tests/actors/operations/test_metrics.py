from __future__ import annotations

import gc
from collections import Counter
from io import StringIO
from typing import Protocol
from unittest.mock import patch

import pytest
import trio
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families
from trio.testing import MockClock

from actors.operations.census import OUTCOMES, take_census, take_census_in_turns
from actors.operations.counters import DaemonCounters
from actors.operations.metrics import Metrics, open_metrics
from actors.operations.reports import ReportLog
from runtime import Full, System, SystemFailed, open_system
from supervisors import ChildSpec, Intensity, Restart, supervise
from tests.support.small_daemon import Clerk, Fail, Hold, Leave, Work, admit, changes, root, samples, settled
from understudy.logs import open_log


class Daemon(Protocol):
    system: System
    counters: DaemonCounters
    metrics: Metrics

    def scrape(self) -> dict[str, float]: ...


async def test_messages_are_counted_by_kind_and_outcome(daemon: Daemon) -> None:
    before = daemon.scrape()
    for _ in range(7):
        daemon.system.ref("/clerk").tell(Work())
    await settled()
    assert changes(before, daemon.scrape()) == {'understudy_messages_total{kind="Clerk",outcome="handled"}': 7}


async def test_a_crash_changes_exactly_what_it_is_counted_in(daemon: Daemon) -> None:
    before = daemon.scrape()
    daemon.system.ref("/clerk").tell(Fail())
    await settled()
    assert changes(before, daemon.scrape()) == {
        'understudy_messages_total{kind="Clerk",outcome="failed"}': 1,
        'understudy_crashes_total{kind="Clerk"}': 1,
        'understudy_incarnations_total{kind="Clerk"}': 1,
        'understudy_restarts_total{kind="Clerk"}': 1,
        'understudy_supervisor_restarts_total{component="clerk"}': 1,
        # one_for_one: the budget is the supervisor's, and all of its children draw on it
        'understudy_restart_budget_used{child="/clerk"}': 1,
        'understudy_restart_budget_used{child="/visitors"}': 1,
        'understudy_restart_budget_used{child="/speaker"}': 1,
    }


async def test_the_budget_has_its_limit_beside_it(daemon: Daemon) -> None:
    scrape = daemon.scrape()
    assert scrape['understudy_restart_budget_limit{child="/clerk"}'] == 3
    assert scrape['understudy_restart_budget_used{child="/clerk"}'] == 0


async def test_full_mailboxes_and_dead_letters_have_their_reasons(daemon: Daemon) -> None:
    [visitor] = await admit(daemon.system, "slow")
    hold = Hold(trio.Event(), trio.Event())
    visitor.tell(hold)
    await hold.begun.wait()
    before = daemon.scrape()
    assert [visitor.tell(Work()) for _ in range(6)] == [True] * 4 + [False] * 2
    with pytest.raises(Full):
        await visitor.ask(Work(), within=1.0)
    daemon.system.ref("/nobody").tell(Work())
    assert changes(before, daemon.scrape()) == {
        'understudy_messages_total{kind="Visitor",outcome="dropped"}': 3,
        'understudy_messages_dropped_total{reason="full"}': 3,
        'understudy_dead_letters_total{reason="full"}': 3,
        'understudy_dead_letters_total{reason="dead"}': 1,
        'understudy_mailbox_messages{kind="Visitor"}': 4,
        'understudy_mailbox_deepest_messages{kind="Visitor"}': 4,
    }
    hold.release.set()
    await settled()
    assert daemon.scrape()['understudy_mailbox_messages{kind="Visitor"}'] == 0


async def test_mailboxes_are_summed_and_the_fullest_is_told(daemon: Daemon) -> None:
    release = trio.Event()
    for visitor, waiting in zip(await admit(daemon.system, "a", "b"), (1, 3), strict=True):
        hold = Hold(trio.Event(), release)
        visitor.tell(hold)
        await hold.begun.wait()
        for _ in range(waiting):
            visitor.tell(Work())
    scrape = daemon.scrape()
    assert scrape['understudy_mailbox_messages{kind="Visitor"}'] == 4
    assert scrape['understudy_mailbox_deepest_messages{kind="Visitor"}'] == 3
    release.set()


async def test_three_failures_are_seen_as_a_fallback(daemon: Daemon) -> None:
    speaker = daemon.system.ref("/speaker")
    before = daemon.scrape()
    assert before['understudy_fallback_in_charge{fallback="/speaker",target="lead"}'] == 1
    assert before["understudy_fallbacks_active"] == 0
    for _ in range(3):
        speaker.tell(Fail())
        await settled()
    changed = changes(before, daemon.scrape())
    assert {name: by for name, by in changed.items() if "fallback" in name} == {
        'understudy_fallback_in_charge{fallback="/speaker",target="lead"}': -1,
        'understudy_fallback_in_charge{fallback="/speaker",target="understudy"}': 1,
        'understudy_fallback_failures{fallback="/speaker",target="lead"}': 3,
        "understudy_fallbacks_active": 1,
        'understudy_fallback_switches_total{fallback="/speaker"}': 1,
    }
    assert changed['understudy_actors{kind="Worker",state="waiting"}'] == 1
    assert changed['understudy_crashes_total{kind="Worker"}'] == 3


async def test_a_budget_that_is_used_up_is_counted_once(autojump_clock: MockClock, daemon: Daemon) -> None:
    [visitor] = await admit(daemon.system, "clumsy", restart=Restart.PERMANENT)
    before = daemon.scrape()
    for _ in range(3):
        assert visitor.tell(Fail())
        await trio.sleep(0.5)
    assert not visitor.tell(Fail())
    changed = changes(before, daemon.scrape())
    assert changed["understudy_give_ups_total"] == 1
    assert "understudy_escalations_total" not in changed
    assert changed['understudy_crashes_total{kind="Visitor"}'] == 3
    assert changed['understudy_restarts_total{kind="Visitor"}'] == 2
    assert changed['understudy_supervisor_restarts_total{component="visitors"}'] == 2
    assert changed['understudy_actors_ended_total{kind="Visitor"}'] == 1
    assert changed['understudy_actors{kind="Visitor",state="running"}'] == -1


async def test_a_supervisor_that_ends_with_it_is_an_escalation(daemon: Daemon) -> None:
    counters = DaemonCounters()
    report = ReportLog(open_log(StringIO()), counters)
    spec = supervise("root", [ChildSpec("clerk", Clerk)], intensity=Intensity(0))

    async def fail() -> None:
        async with open_system(spec, report=report) as system:
            await settled()
            system.ref("/clerk").tell(Fail())
            await trio.sleep_forever()

    with pytest.raises(ExceptionGroup) as caught:
        await fail()
    assert caught.group_contains(SystemFailed)
    assert (counters.give_ups, counters.escalations) == (1, 1)
    assert counters.crashes["Clerk"] == 1
    assert daemon.scrape()["understudy_escalations_total"] == 0


async def test_totals_never_go_back_when_actors_end(daemon: Daemon) -> None:
    previous = daemon.scrape()
    for turn in range(4):
        visitors = await admit(daemon.system, *(f"v{turn}-{index}" for index in range(5)))
        for index, visitor in enumerate(visitors):
            visitor.tell(Work())
            visitor.tell((Work(), Leave(), Fail())[index % 3])
            visitor.tell(Work())
            now = daemon.scrape()
            assert not {name for name, by in changes(previous, now).items() if "_total" in name and by < 0}
            previous = now
        await settled()
        now = daemon.scrape()
        assert not {name for name, by in changes(previous, now).items() if "_total" in name and by < 0}
        previous = now
    assert previous['understudy_actors_ended_total{kind="Visitor"}'] == 4 * 3
    assert previous['understudy_actors{kind="Visitor",state="running"}'] == 4 * 2
    assert previous['understudy_incarnations_total{kind="Visitor"}'] == 20
    outcomes = {
        outcome: previous[f'understudy_messages_total{{kind="Visitor",outcome="{outcome}"}}'] for outcome in OUTCOMES
    }
    # of 5 visitors: 2 handle three, 2 handle two and leave, 1 handles one and crashes
    assert outcomes == {"handled": 4 * 11, "failed": 4, "undelivered": 4 * 3, "expired": 0, "dropped": 0, "moved": 0}


async def test_an_actor_that_is_not_made_yet_takes_nothing_back_later(daemon: Daemon) -> None:
    """Its kind is not known before its task has run, and by then its mailbox may have refused messages already."""
    before = daemon.scrape()
    seen = []

    def overfill() -> None:
        accepted = [daemon.system.ref("/visitors/new").tell(Work()) for _ in range(6)]
        assert accepted == [True] * 4 + [False] * 2
        seen.append(daemon.scrape())

    await admit(daemon.system, "new", then=overfill)
    changed = changes(before, seen[0])
    assert changed['understudy_actors{kind="?",state="starting"}'] == 1
    assert changed['understudy_mailbox_messages{kind="?"}'] == 4
    assert not [name for name in changed if name.startswith("understudy_messages_total")]
    changed = changes(seen[0], daemon.scrape())
    assert changed['understudy_messages_total{kind="Visitor",outcome="handled"}'] == 4
    assert changed['understudy_messages_total{kind="Visitor",outcome="dropped"}'] == 2
    assert not {name for name, by in changed.items() if "_total" in name and by < 0}


async def test_no_count_falls_in_the_middle_of_a_turn(daemon: Daemon) -> None:
    """What a turn skips is counted before what it handles: for a moment the latter would seem to have become less."""
    clerk = daemon.system.ref("/clerk")
    first, second = (Hold(trio.Event(), trio.Event()) for _ in range(2))
    for _ in range(5):
        clerk.tell(Work())
    await settled()
    clerk.tell(first)
    await first.begun.wait()
    with trio.CancelScope() as scope:  # nobody waits for this one any more
        scope.cancel()
        await clerk.ask(Work(), within=1.0)
    clerk.tell(second)
    handled = 'understudy_messages_total{kind="Clerk",outcome="handled"}'
    assert daemon.scrape()[handled] == 5
    first.release.set()
    await second.begun.wait()
    assert daemon.scrape()[handled] == 5
    second.release.set()
    await settled()
    scrape = daemon.scrape()
    assert scrape[handled] == 7
    assert scrape['understudy_messages_total{kind="Clerk",outcome="expired"}'] == 1


async def test_what_is_counted_is_what_a_snapshot_shows(daemon: Daemon) -> None:
    for visitor in await admit(daemon.system, "a", "b", "c", restart=Restart.PERMANENT):
        for message in (Work(), Fail(), Work()):
            visitor.tell(message)
    for message in (Fail(), Fail(), Fail(), Work()):  # the last one moves on to the understudy
        daemon.system.ref("/speaker").tell(message)
    hold = Hold(trio.Event(), trio.Event())
    clerk = daemon.system.ref("/clerk")
    clerk.tell(hold)
    await hold.begun.wait()
    with trio.CancelScope() as scope:  # nobody waits for this one any more
        scope.cancel()
        await clerk.ask(Work(), within=1.0)
    hold.release.set()
    await settled()
    clerk.tell(Hold(trio.Event(), trio.Event()))
    await settled()
    clerk.tell(Work())

    census = take_census(daemon.system)
    kinds: dict[str, Counter[str]] = {}
    for node in daemon.system.tree().walk():
        kind = kinds.setdefault(node.kind, Counter())
        for outcome in OUTCOMES:
            kind[outcome] += getattr(node.counters, outcome)
        kind["restarts"] += node.incarnation
        kind["waiting"] += node.mailbox.depth
        kind[f"state {node.state}"] += 1
        if node.restarts is not None and not node.path.startswith("/visitors/"):
            assert census.budgets[node.path] == node.restarts
    kinds = {kind: +counts for kind, counts in kinds.items()}
    assert kinds == {
        kind: +Counter(
            {
                **tally.outcomes,
                "restarts": tally.restarts,
                "waiting": tally.waiting,
                **{f"state {state}": count for state, count in tally.states.items()},
            }
        )
        for kind, tally in census.kinds.items()
    }
    assert kinds["Clerk"] == {"handled": 1, "expired": 1, "waiting": 1, "state running": 1}
    assert kinds["Worker"]["moved"] == 1
    assert set(census.budgets) == {"/clerk", "/visitors", "/speaker", "/speaker/lead", "/speaker/understudy"}


async def test_a_thousand_users_make_no_new_series(daemon: Daemon) -> None:
    few = await admit(daemon.system, "u0", restart=Restart.PERMANENT)
    for message in (Work(), Fail(), Leave()):
        few[0].tell(message)
        await settled()
    before = set(daemon.scrape())
    for visitor in await admit(daemon.system, *(f"u{index}" for index in range(1, 1001)), restart=Restart.PERMANENT):
        visitor.tell(Work())
        visitor.tell(Fail())
    await settled()
    scrape = daemon.scrape()
    assert scrape['understudy_crashes_total{kind="Visitor"}'] == 1001
    assert set(scrape) == before


async def test_what_clients_make_up_is_told_as_other(daemon: Daemon) -> None:
    before = daemon.scrape()
    daemon.counters.connections_opened += 1002
    daemon.counters.connections_closed.update({4410: 1, **dict.fromkeys(range(3000, 4000), 1)})
    daemon.counters.commands.update({"start_run": 2, **{f"made up {index}": 1 for index in range(50)}})
    daemon.counters.command_errors.update({"conflict": 1})
    after = daemon.scrape()
    assert changes(before, after) == {
        "understudy_connections_opened_total": 1002,
        "understudy_connections": 1,
        'understudy_connections_closed_total{code="4410"}': 1,
        'understudy_connections_closed_total{code="other"}': 1000,
        'understudy_commands_total{type="start_run"}': 2,
        'understudy_commands_total{type="other"}': 50,
        'understudy_command_errors_total{code="conflict"}': 1,
    }
    assert set(after) == set(before)


async def test_isolation_violations_are_there_from_the_start(daemon: Daemon) -> None:
    assert daemon.scrape()["understudy_isolation_violations_total"] == 0
    daemon.counters.isolation_violations += 1
    assert daemon.scrape()["understudy_isolation_violations_total"] == 1


async def test_every_plain_counter_of_the_daemon_is_told(daemon: Daemon) -> None:
    before = daemon.scrape()
    plain = [name for name, value in vars_of(daemon.counters).items() if isinstance(value, int)]
    for position, name in enumerate(plain, 1):
        setattr(daemon.counters, name, position)
    changed = changes(before, daemon.scrape())
    changed.pop("understudy_connections")
    assert changed == {f"understudy_{name}_total": position for position, name in enumerate(plain, 1)}


def vars_of(counters: DaemonCounters) -> dict[str, object]:
    return {name: getattr(counters, name) for name in DaemonCounters.__slots__ if not name.startswith("_")}


async def test_deadlines_that_are_set_are_counted(daemon: Daemon, nursery: trio.Nursery) -> None:
    hold = Hold(trio.Event(), trio.Event())
    before = daemon.scrape()["understudy_wheel_entries"]

    async def ask() -> None:
        await daemon.system.ref("/clerk").ask(hold, within=60.0)

    nursery.start_soon(ask)
    await hold.begun.wait()
    assert daemon.scrape()["understudy_wheel_entries"] == before + 1
    hold.release.set()


async def test_two_daemons_share_nothing(daemon: Daemon, second_daemon: Daemon) -> None:
    before = second_daemon.scrape()
    daemon.system.ref("/clerk").tell(Fail())
    daemon.counters.isolation_violations += 1
    await settled()
    assert changes(before, second_daemon.scrape()) == {}
    assert daemon.scrape()['understudy_crashes_total{kind="Clerk"}'] == 1
    assert not [family.name for family in REGISTRY.collect() if family.name.startswith("understudy")]


async def test_the_process_and_its_collector_are_in_it(daemon: Daemon) -> None:
    before = samples(daemon.metrics.render(), but=())
    assert before["process_resident_memory_bytes"] > 1e6
    gc.collect()
    after = samples(daemon.metrics.render(), but=())
    name = 'understudy_gc_pause_seconds_count{generation="2"}'
    assert after[name] == before[name] + 1
    assert after['understudy_gc_pause_seconds_bucket{generation="2",le="+Inf"}'] == after[name]


async def test_every_name_has_a_type_and_a_sentence(daemon: Daemon) -> None:
    families = list(text_string_to_metric_families(daemon.metrics.render().decode()))
    assert len({family.name for family in families}) == len(families)
    for family in families:
        assert family.type in {"counter", "gauge", "histogram"}, family.name
        assert family.documentation.endswith("."), family.name


async def test_after_the_end_the_totals_stand_and_nothing_lives() -> None:
    counters = DaemonCounters()
    async with open_system(root()) as system:
        with open_metrics(system, counters) as metrics:
            await settled()
            system.ref("/clerk").tell(Work())
            await settled()
            before = samples(metrics.render())
    after = samples(metrics.render())
    handled = 'understudy_messages_total{kind="Clerk",outcome="handled"}'
    assert after[handled] == before[handled] == 1
    begun, ended = (
        {name.partition("{")[2]: value for name, value in after.items() if name.startswith(family)}
        for family in ("understudy_incarnations_total{", "understudy_actors_ended_total{")
    )
    assert begun == ended  # the root's kind too: it is not counted among the living as well
    assert len(begun) == 5
    assert sum(value for name, value in after.items() if name.startswith("understudy_actors{")) == 0


async def test_counting_in_turns_lets_others_run_and_comes_to_the_same(daemon: Daemon) -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    many = daemon.system.root.children  # type: ignore[union-attr]
    assert many
    async with trio.open_nursery() as nursery:
        nursery.start_soon(others)
        with patch("actors.operations.census.CELLS_A_TURN", 1):
            census = await take_census_in_turns(daemon.system)
        nursery.cancel_scope.cancel()
    assert census == take_census(daemon.system)
    assert turns > 1


async def test_lines_that_the_log_has_lost_are_counted(daemon: Daemon) -> None:
    lost = [0]
    with open_metrics(daemon.system, daemon.counters, lambda: lost[0]) as metrics:
        found = []
        for lost[0] in (0, 7):
            found.append(samples(metrics.render())["understudy_log_lines_lost_total"])
    assert found == [0, 7]
