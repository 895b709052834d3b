"""Who may hear what, against the table of the protocol; and that nothing else is ever heard."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.gateway.subscriptions import Foreign, Subscriptions
from actors.operations.channels import Channels, Hears, Published, Topic, hears, may_hear, topic_of
from actors.protocol.channel_events import (
    PAYLOADS,
    AgentState,
    AgentView,
    AlertView,
    Channel,
    EngineView,
    MetricsView,
    TaskView,
    channel_event,
)
from actors.protocol.codes import ErrorCode
from actors.protocol.events import encode
from actors.protocol.stamps import Stamps
from runtime import Actor, System
from supervisors import ChildSpec, supervise
from tests.support.examples import examples
from tests.support.grammar import Checker

AGENT = AgentView(agent_id="r.s", name="Analyst", role="Analyst", status=AgentState.PROCESSING)
TASK = TaskView(task_id="t", task_type="x", description="d", status="completed", priority="LOW")
ENGINE = EngineView(engine="creative", state="running", load=0.5)
ALERT = AlertView(alert_id="a", name="lag", severity="critical", message="Slow.", raised_at="2026-11-20T08:30:00.000Z")
METRICS = MetricsView(
    measured_at="2026-11-20T08:30:00.000Z",
    seconds=5.0,
    connections=1,
    users=1,
    runs=0,
    events_committed_per_second=0.0,
    events_sent_per_second=0.0,
    loop_lag_ms=0.1,
    restarts=0,
    isolation_violations=0,
)
SAMPLES: dict[Channel, Any] = {
    Channel.AGENT_STATUS: AGENT,
    Channel.TASK_COMPLETION: TASK,
    Channel.ENGINE_STATUS: ENGINE,
    Channel.SYSTEM_METRICS: METRICS,
    Channel.SYSTEM_ALERTS: ALERT,
}
# Written out from PROTOCOL.md, and not taken from the code.
HEARD = {
    "agent_status": ("own", "all"),
    "task_completion": ("own", "all"),
    "engine_status": ("all", "all"),
    "system_metrics": ("nothing", "all"),
    "system_alerts": ("nothing", "all"),
}
OWNED = {"agent_status", "task_completion"}


def stamps() -> Stamps:
    return Stamps(random.Random(1), lambda: 1_800_000_000.0)


@pytest.mark.parametrize("channel", list(Channel))
def test_the_table_is_the_protocols(channel: Channel) -> None:
    assert {each.value for each in Channel} == set(HEARD)
    assert (hears("user", channel).value, hears("operator", channel).value) == HEARD[channel]
    assert hears("worker", channel) is Hears.NOTHING
    assert hears("", channel) is Hears.NOTHING


def test_what_is_somebodys_is_heard_by_them_and_by_who_hears_all() -> None:
    assert may_hear(Hears.OWN, "ada", "ada")
    assert may_hear(Hears.ALL, "grace", "ada")
    assert may_hear(Hears.ALL, "grace", None)
    assert not may_hear(Hears.OWN, "grace", "ada")
    assert not may_hear(Hears.OWN, "grace", None)
    assert not may_hear(Hears.NOTHING, "ada", "ada")
    assert topic_of(Channel.AGENT_STATUS, Hears.OWN, "ada") == Topic(Channel.AGENT_STATUS, "ada")
    assert topic_of(Channel.AGENT_STATUS, Hears.ALL, "ada") == Topic(Channel.AGENT_STATUS, None)
    with pytest.raises(ValueError, match="system_alerts"):
        topic_of(Channel.SYSTEM_ALERTS, Hears.NOTHING, "ada")


@pytest.mark.parametrize("channel", list(Channel))
def test_every_payload_is_by_the_grammar(channel: Channel) -> None:
    event = channel_event(stamps().stamp(), channel, SAMPLES[channel])
    frame = json.loads(encode(event))
    checker = Checker(connection=False, lossy=False)
    assert checker.shape(frame), checker.violations
    assert not event.durable
    assert isinstance(SAMPLES[channel], PAYLOADS[channel])
    for other in Channel:
        if other is not channel:
            with pytest.raises(TypeError, match="no payload"):
                channel_event(stamps().stamp(), other, SAMPLES[channel])


class Ear(Actor):
    """A connection without a socket: what it may hear, by the same object as one with a socket."""

    def __init__(self, user: str, role: str) -> None:
        self.user, self.role = user, role
        self.heard: list[tuple[str, str | None]] = []
        self.foreign = 0

    async def started(self) -> None:
        self.subscriptions = Subscriptions(self, self.user, self.role)

    async def receive(self, message: Any) -> object:
        if isinstance(message, Published):
            try:
                outs = self.subscriptions.hear(message, hold=False)
            except Foreign:
                self.foreign += 1
            else:
                self.heard += [(message.channel.value, message.owner)] * len(outs)
        return None


def publish(channels: Channels, channel: Channel, owner: str) -> int:
    """As whoever has such a thing to tell would do it."""
    if channel in OWNED:
        return {"agent_status": channels.agent_status, "task_completion": channels.task_completion}[channel](
            owner, SAMPLES[channel]
        )
    return getattr(channels, channel.value)(SAMPLES[channel])


PEOPLE = [("ada", "user"), ("ada", "user"), ("grace", "user"), ("grace", "operator"), ("root", "operator"), ("x", "?")]
WHO = st.integers(0, len(PEOPLE) - 1)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("subscribe"), WHO, st.sampled_from([*Channel, "agent_state"])),
        st.tuples(st.just("unsubscribe"), WHO, st.sampled_from([*Channel, "agent_state"])),
        st.tuples(st.just("publish"), st.sampled_from(["ada", "grace", "root"]), st.sampled_from(list(Channel))),
    ),
    max_size=40,
)


@settings(max_examples=examples(0.6), deadline=None)
@given(STEPS)
def test_everybody_hears_what_the_table_says_and_nothing_else(steps: list[tuple[str, Any, Any]]) -> None:
    ears = [Ear(user, role) for user, role in PEOPLE]
    wanted: list[set[str]] = [set() for _ in PEOPLE]
    expected: list[list[tuple[str, str | None]]] = [[] for _ in PEOPLE]

    def told(who: int, channel: str, owner: str) -> bool:
        user, role = PEOPLE[who]
        column = {"user": 0, "operator": 1}.get(role)
        much = "nothing" if column is None else HEARD[channel][column]
        return channel in wanted[who] and (much == "all" or (much == "own" and owner == user))

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            system = System(rng=random.Random(1))
            specs = [ChildSpec(f"ear{n}", lambda ear=ear: ear) for n, ear in enumerate(ears)]
            await nursery.start(system.run, supervise("root", specs))
            await wait_all_tasks_blocked()
            channels = Channels(system, stamps())
            for what, whose, channel in steps:
                if what == "publish":
                    hearers = [who for who in range(len(PEOPLE)) if told(who, channel, whose)]
                    assert publish(channels, channel, whose) == len(hearers)
                    for who in hearers:
                        expected[who].append((channel.value, whose if channel in OWNED else None))
                    await wait_all_tasks_blocked()
                    continue
                problem = getattr(ears[whose].subscriptions, what)(channel)
                allowed = channel != "agent_state" and hears(PEOPLE[whose][1], channel) is not Hears.NOTHING
                if channel == "agent_state":
                    assert problem.code is ErrorCode.INVALID_FIELDS
                    assert all(each in problem.details["fields"]["channel"] for each in Channel)
                elif what == "subscribe" and not allowed:
                    assert problem.code is ErrorCode.FORBIDDEN
                elif what == "subscribe":
                    assert problem is None
                    wanted[whose].add(channel)
                else:
                    assert problem is None
                    wanted[whose].discard(channel)
            system.stop(1.0)

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert [ear.heard for ear in ears] == expected
    assert [ear.foreign for ear in ears] == [0] * len(PEOPLE)


def made(user: str, role: str, actor: Any) -> Subscriptions:
    return Subscriptions(actor, user, role)


class Deaf:
    """What `Subscriptions` wants of an actor, noted."""

    def __init__(self) -> None:
        self.topics: list[Topic] = []

    def subscribe(self, topic: Topic) -> None:
        self.topics.append(topic)

    def unsubscribe(self, topic: Topic) -> None:
        self.topics.remove(topic)


def published(channel: Channel, owner: str | None, **changes: Any) -> Published:
    payload = AgentView(**{"agent_id": "r.s", "name": "A", "role": "A", "status": AgentState.IDLE, **changes})
    event = channel_event(stamps().stamp(), Channel.AGENT_STATUS, payload)
    return Published(channel, owner, encode(event), event)


def test_hello_gets_what_it_asked_for_and_may_have() -> None:
    actor = Deaf()
    asked = ["agent_status", "system_metrics", "weather", "engine_status", "agent_status"]
    assert made("ada", "user", actor).begin(asked) == ["agent_status", "engine_status"]
    assert actor.topics == [Topic(Channel.AGENT_STATUS, "ada"), Topic(Channel.ENGINE_STATUS, None)]
    assert made("ada", "operator", Deaf()).begin(asked) == ["agent_status", "system_metrics", "engine_status"]


@pytest.mark.parametrize(
    ("role", "channel", "owner"), [("user", "agent_status", "grace"), ("user", "system_alerts", None)]
)
def test_what_is_not_for_it_is_foreign_even_if_it_never_subscribed(role: str, channel: str, owner: str | None) -> None:
    subscriptions = made("ada", role, Deaf())
    with pytest.raises(Foreign):
        subscriptions.hear(published(Channel(channel), owner), hold=False)


def test_what_comes_after_unsubscribing_is_passed_over() -> None:
    actor = Deaf()
    subscriptions = made("ada", "user", actor)
    assert subscriptions.subscribe("agent_status") is None
    assert len(subscriptions.hear(published(Channel.AGENT_STATUS, "ada"), hold=False)) == 1
    assert subscriptions.unsubscribe("agent_status") is None
    assert subscriptions.unsubscribe("agent_status") is None
    assert actor.topics == []
    assert subscriptions.hear(published(Channel.AGENT_STATUS, "ada"), hold=False) == []


def test_while_a_replay_goes_on_the_newest_of_each_agent_waits() -> None:
    subscriptions = made("ada", "user", Deaf())
    subscriptions.subscribe("agent_status")
    for agent_id, name in (("one", "a"), ("two", "b"), ("one", "c")):
        assert subscriptions.hear(published(Channel.AGENT_STATUS, "ada", agent_id=agent_id, name=name), hold=True) == []
    held = [json.loads(out.frame)["metadata"]["payload"]["name"] for out in subscriptions.let_go()]
    assert held == ["b", "c"]
    assert subscriptions.let_go() == []
    for number in range(1_100):
        subscriptions.hear(published(Channel.AGENT_STATUS, "ada", agent_id=f"a{number}"), hold=True)
    held = [json.loads(out.frame)["metadata"]["payload"]["agent_id"] for out in subscriptions.let_go()]
    assert held == [f"a{number}" for number in range(100, 1_100)]
