"""Channels over real sockets: hello, subscribe, unsubscribe, and what is then heard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from actors.gateway.settings import GatewayServices
from actors.operations.channels import Channels, Published, Topic
from actors.protocol.channel_events import AgentState, AgentView, AlertView, Channel, channel_event
from actors.protocol.events import encode
from actors.protocol.stamps import Stamps
from tests.support.gateway_system import Client, GatewaySystem, gateway_system

if TYPE_CHECKING:
    import random

    import pytest

ALERT = AlertView(alert_id="a", name="lag", severity="critical", message="Slow.", raised_at="2026-11-20T08:30:00.000Z")


def channels(here: GatewaySystem) -> Channels:
    rng: random.Random = here.system.rng
    return Channels(here.system, Stamps(rng, lambda: 1_800_000_000.0))


def agent(agent_id: str) -> AgentView:
    return AgentView(agent_id=agent_id, name="Analyst", role="Analyst", status=AgentState.PROCESSING)


def heard(client: Client) -> list[str]:
    """The agents that a client heard of."""
    frames = [frame["metadata"] for frame in client.frames if frame["type"] == "channel"]
    return [each["payload"]["agent_id"] for each in frames if each["channel"] == "agent_status"]


async def answered(client: Client) -> None:
    """Everything that was published before has come by now."""
    await client.ask("heartbeat")


async def test_hello_asks_and_welcome_says_what_is_allowed() -> None:
    asked = ["agent_status", "weather", "system_alerts", "agent_status"]
    async with gateway_system(role="user") as here:
        ada = await here.connect()
        welcome = await ada.hello("ada", subscribe=asked)
        assert welcome["metadata"]["subscribed"] == ["agent_status"]
        assert welcome["metadata"]["role"] == "user"
        ada.verify()
    async with gateway_system() as here:
        ada = await here.connect()
        welcome = await ada.hello("ada", subscribe=asked)
        assert welcome["metadata"]["subscribed"] == ["agent_status", "system_alerts"]
        assert welcome["metadata"]["role"] == "operator"
        assert (await (await here.connect()).hello("ada"))["metadata"]["subscribed"] == []


async def test_a_user_hears_of_their_own_agents_and_of_no_stranger() -> None:
    async with gateway_system(role="user") as here:
        ada = await here.welcomed("ada", subscribe=["agent_status"])
        phone = await here.welcomed("ada")
        grace = await here.welcomed("grace", subscribe=["agent_status"])
        assert channels(here).agent_status("ada", agent("adas")) == 1
        assert channels(here).agent_status("grace", agent("graces")) == 1
        assert channels(here).agent_status("eve", agent("eves")) == 0
        for each in (ada, phone, grace):
            await answered(each)
            each.verify()
        assert (heard(ada), heard(phone), heard(grace)) == (["adas"], [], ["graces"])
        assert here.counters.isolation_violations == 0


async def test_an_operator_hears_of_everybody() -> None:
    async with gateway_system() as here:
        root = await here.welcomed("root", subscribe=["agent_status", "system_alerts"])
        channels(here).agent_status("ada", agent("adas"))
        channels(here).agent_status("grace", agent("graces"))
        assert channels(here).system_alerts(ALERT) == 1
        await answered(root)
        assert heard(root) == ["adas", "graces"]
        [alert] = [
            f["metadata"] for f in root.frames if f["type"] == "channel" and "alert_id" in f["metadata"]["payload"]
        ]
        assert alert["payload"]["message"] == "Slow."
        assert here.counters.isolation_violations == 0
        root.verify()


async def test_subscribe_and_unsubscribe_are_answered_and_take_effect_at_once() -> None:
    async with gateway_system(role="user") as here:
        ada = await here.welcomed("ada")
        for _ in range(2):
            answer = await ada.ask("subscribe", channel="agent_status")
            assert (answer["type"], answer["metadata"]["channel"]) == ("reply", "agent_status")
        assert channels(here).agent_status("ada", agent("one")) == 1
        for _ in range(2):
            answer = await ada.ask("unsubscribe", channel="agent_status")
            assert (answer["type"], answer["metadata"]["channel"]) == ("reply", "agent_status")
        assert channels(here).agent_status("ada", agent("two")) == 0
        await answered(ada)
        assert heard(ada) == ["one"]
        ada.verify()


async def test_what_there_is_not_and_what_is_not_for_them() -> None:
    async with gateway_system(role="user") as here:
        ada = await here.welcomed("ada")
        for kind in ("subscribe", "unsubscribe"):
            answer = await ada.ask(kind, channel="weather")
            assert answer["metadata"]["code"] == "invalid_fields"
            assert all(channel in answer["metadata"]["fields"]["channel"] for channel in Channel)
            assert (await ada.ask(kind))["metadata"]["code"] == "invalid_fields"
        for channel in ("system_alerts", "system_metrics"):
            assert (await ada.ask("subscribe", channel=channel))["metadata"]["code"] == "forbidden"
        assert channels(here).system_alerts(ALERT) == 0
        ada.verify()


async def test_a_planted_misdelivery_is_refused_and_counted() -> None:
    async with gateway_system(role="user") as here:
        ada = await here.welcomed("ada", subscribe=["agent_status"])
        stamp = Stamps(here.system.rng, lambda: 1_800_000_000.0).stamp()
        event = channel_event(stamp, Channel.AGENT_STATUS, agent("graces"))
        here.connection(ada).tell(Published(Channel.AGENT_STATUS, "grace", encode(event), event))
        alert = channel_event(stamp, Channel.SYSTEM_ALERTS, ALERT)
        here.connection(ada).tell(Published(Channel.SYSTEM_ALERTS, None, encode(alert), alert))
        await here.holds(lambda: here.counters.isolation_violations == 2)
        await answered(ada)
        assert heard(ada) == []
        assert not any(frame["type"] == "channel" for frame in ada.frames)
        lines = [line for line in here.logs if str(line.get("event", "")).startswith("isolation violation")]
        assert [line["user"] for line in lines] == ["ada", "ada"]


async def test_subscriptions_end_with_the_connection_and_come_back_because_the_client_asks() -> None:
    """The trap: subscriptions that are not restored after a reconnect."""
    topic = Topic(Channel.AGENT_STATUS, "ada")
    async with gateway_system(role="user") as here:
        first = await here.welcomed("ada", client_id="tab", subscribe=["agent_status"])
        assert here.system.topics.subscribers(topic) == 1
        first.raw.stream.socket.close()
        await here.holds(lambda: here.system.topics.subscribers(topic) == 0)
        without = await here.welcomed("ada", client_id="tab")
        assert here.system.topics.subscribers(topic) == 0
        again = await here.welcomed("ada", client_id="tab2", subscribe=["agent_status"])
        channels(here).agent_status("ada", agent("one"))
        await answered(again)
        assert heard(again) == ["one"]
        await answered(without)
        assert heard(without) == []


async def test_nothing_of_a_channel_comes_between_replayed_events() -> None:
    async with gateway_system(role="user") as here:
        ada = await here.welcomed("ada")
        epoch = ada.frames[0]["metadata"]["epoch"]
        # More than the system holds for a client that reads nothing: the replay waits for it.
        names = [f"d{number}{'.' * 4_000}" for number in range(1, 601)]
        for at in range(0, len(names), 100):
            here.say(*names[at : at + 100])
            while len(ada.contents) < at + 100:
                assert await ada.next() is not None
        late = await here.connect()
        await late.send("hello", user_id="ada", resume={"epoch": epoch, "seq": 0}, subscribe=["agent_status"])
        topic = Topic(Channel.AGENT_STATUS, "ada")
        await here.holds(lambda: here.system.topics.subscribers(topic) == 1)
        for number in range(50):
            channels(here).agent_status("ada", agent(f"a{number % 5}"))
        while len(late.contents) < len(names):
            assert await late.next() is not None
        channels(here).agent_status("ada", agent("last"))
        await answered(late)
        kinds: list[Any] = [frame["type"] for frame in late.frames]
        assert kinds.index("channel") > max(n for n, kind in enumerate(kinds) if kind == "system")
        assert heard(late)[-1] == "last"
        assert set(heard(late)) == {"a0", "a1", "a2", "a3", "a4", "last"}
        late.verify()


def told_alerts(client: Client) -> list[str]:
    frames = [frame["metadata"] for frame in client.frames if frame["type"] == "channel"]
    return [each["payload"]["alert_id"] for each in frames if each["channel"] == "system_alerts"]


async def test_who_begins_to_hear_of_alerts_is_told_those_that_last(monkeypatch: pytest.MonkeyPatch) -> None:
    async with gateway_system() as here:
        open_alerts = [channels(here).alert(attrs.evolve(ALERT, alert_id=name)) for name in ("a", "b")]
        monkeypatch.setattr(GatewayServices, "open_alerts", property(lambda _: lambda: open_alerts))
        by_hello = await here.welcomed("root", subscribe=["system_alerts", "agent_status"])
        by_command, another = await here.welcomed("root"), await here.welcomed("root", subscribe=["agent_status"])
        assert (await by_command.ask("subscribe", channel="system_alerts"))["type"] == "reply"
        for each in (by_hello, by_command, another):
            await answered(each)
            each.verify()
        assert (told_alerts(by_hello), told_alerts(by_command), told_alerts(another)) == (["a", "b"], ["a", "b"], [])
