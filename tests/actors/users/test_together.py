"""What messages of a context release that wait together goes out together, and waits for nothing else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import trio

from actors.gateway.outbound import Batch, Out, batch_of
from actors.operations.channels import Channels, Hears, Published, topic_of
from actors.protocol.agent_events import agent_delta, agent_status
from actors.protocol.channel_events import AgentState, AgentView, Channel
from actors.protocol.event_types import AgentStatus
from actors.protocol.events import Event
from actors.users import devices
from actors.users.device import Device
from actors.users.devices import TOGETHER, TOGETHER_BYTES
from actors.users.messages import Attach, AwaitNews, Deliver, Emit, Item, Later, Locate, Sync, ToClient
from runtime import Actor, Mailbox, Ref, Replied, TimedOut
from supervisors import ChildSpec
from tests.support.users_system import OF, UsersSystem, settle, users_system, virtual

if TYPE_CHECKING:
    from collections.abc import Callable


class Ear(Actor):
    """Stands for a connection, and notes what comes."""

    def __init__(self, heard: list[Any]) -> None:
        self.heard = heard

    async def started(self) -> None:
        self.subscribe(topic_of(Channel.AGENT_STATUS, Hears.OWN, "ada"))

    async def receive(self, message: Any) -> object:
        self.heard.append(message)
        return None

    @property
    def groups(self) -> list[list[str]]:
        """What the events of each delivery say."""
        delivered = [message.batch.outs for message in self.heard if isinstance(message, Deliver)]
        return [[json.loads(out.frame)["content"] for out in outs] for outs in delivered]


class Place:
    """A context, and ears that are attached to it."""

    def __init__(self, here: UsersSystem, context: Ref[Any]) -> None:
        self.here = here
        self.context = context

    async def ear(self, client_id: str = "c") -> Ear:
        ear = Ear([])
        root: Any = self.here.system.root
        root.actor.start_child(ChildSpec(client_id, lambda: ear, mailbox=Mailbox(10_000)))
        await settle()
        self.context.tell(Later(lambda: self.attach(ear, client_id)))
        await settle()
        return ear

    def attach(self, ear: Ear, client_id: str) -> None:
        devices = self.here.actor("/users/ada").devices
        devices.attach(devices.add(Device(client_id, 0)), Attach(ear.ref, client_id), 0)

    def piece(self, text: str) -> Event:
        stamp = self.here.services.stamps.stamp()
        return agent_delta(stamp, OF, message_id="m", offset=0, text=text)

    def say(self, *texts: str) -> None:
        """Each in a message of its own."""
        for text in texts:
            assert self.context.tell(Emit((Item(self.piece(text)),)))


async def place(here: UsersSystem) -> Place:
    context = await here.users.ask(Locate("ada"), 10.0)
    await settle()
    return Place(here, context)


def test_what_waits_together_goes_out_together() -> None:
    async def main() -> None:
        async with users_system() as here:
            where = await place(here)
            one, other = await where.ear("one"), await where.ear("other")
            where.say("a", "b", "c")
            await settle()
            assert one.groups == other.groups == [["a", "b", "c"]]
            assert one.heard[0] is other.heard[0], "made once"
            where.say("d")
            await settle()
            assert one.groups == [["a", "b", "c"], ["d"]], "one by itself waits for nothing"

    virtual(main)


def test_it_waits_for_so_many_messages_and_no_more() -> None:
    async def main() -> None:
        async with users_system() as here:
            where = await place(here)
            ear = await where.ear()
            where.say(*map(str, range(TOGETHER + 1)))
            await settle()
            assert [len(group) for group in ear.groups] == [TOGETHER, 1]
            where.say("a", "b")
            await settle()
            assert ear.groups[2:] == [["a", "b"]], "counted anew"
            where.say("first")
            for _ in range(2 * TOGETHER):
                where.context.tell(Sync())  # releases nothing
            where.say("last")
            await settle()
            assert ear.groups[3:] == [["first"], ["last"]]

    virtual(main)


def test_it_does_not_wait_for_what_is_skipped_because_its_asker_has_gone() -> None:
    async def main() -> None:
        async with users_system() as here:
            where = await place(here)
            ear = await where.ear()
            here.system.suspend(where.context.path)
            where.say("said")
            with pytest.raises(TimedOut):
                await where.context.ask(AwaitNews(100), 1.0)
            here.system.resume(where.context.path)
            await settle()
            assert ear.groups == [["said"]]

    virtual(main)


def test_where_nobody_is_connected_nothing_is_made_and_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []

    def made_of(outs: list[Out]) -> Batch:
        made.append(outs)
        return batch_of(outs)

    async def main() -> None:
        async with users_system() as here:
            where = await place(here)
            where.say("nobody hears it")
            await settle()
            assert made == []
            ear = await where.ear()
            where.say("a")
            await settle()
            assert ear.groups == [["a"]]

    monkeypatch.setattr(devices, "batch_of", made_of)
    virtual(main)


def test_it_waits_until_there_are_so_many_bytes_and_no_longer() -> None:
    async def main() -> None:
        async with users_system() as here:
            where = await place(here)
            ear = await where.ear()
            half = "x" * (TOGETHER_BYTES // 2)
            where.say(half, half, "a", "b")
            await settle()
            assert ear.groups == [[half, half], ["a", "b"]]

    virtual(main)


def test_who_is_attached_meanwhile_gets_nothing_that_was_released_before() -> None:
    async def main() -> None:
        async with users_system() as here:
            where = await place(here)
            first = await where.ear("first")
            late = await where.ear("late")
            devices = here.actor("/users/ada").devices

            def released_then_attached() -> None:
                devices.forget(late.ref)
                devices.deliver(b'{"content":"before"}', None, where.piece("before"))
                where.attach(late, "late")
                devices.deliver(b'{"content":"behind"}', None, where.piece("behind"))

            where.context.tell(Later(released_then_attached))
            await settle()
            assert first.groups == [["before"], ["behind"]]
            assert late.groups == [["behind"]]

    virtual(main)


def test_what_is_for_one_client_alone_keeps_its_place() -> None:
    async def main() -> None:
        async with users_system() as here:
            where = await place(here)
            one, other = await where.ear("one"), await where.ear("other")
            where.say("before")
            where.context.tell(ToClient("one", where.piece("alone")))
            where.say("behind")
            await settle()
            assert one.groups == [["before"], ["alone"], ["behind"]]
            assert other.groups == [["before"], ["behind"]]

    virtual(main)


def test_a_channel_tells_of_an_agent_behind_the_event_that_does() -> None:
    async def main() -> None:
        async with users_system() as here:
            where = await place(here)
            ear = await where.ear()
            stamp = here.services.stamps.stamp()
            where.say("before")
            started = agent_status(stamp, OF, AgentStatus.STARTED, sentence="Begun.")
            where.context.tell(Emit((Item(started), Item(where.piece("behind")))))
            await settle()
            kinds = [type(message) for message in ear.heard]
            assert [text for group in ear.groups for text in group] == ["before", "Begun.", "behind"]
            assert kinds.index(Published) == 1 + max(
                n for n, message in enumerate(ear.heard) if isinstance(message, Deliver) and message.batch.seqs
            )

    virtual(main)


class Teller(Actor):
    """Tells a channel of an agent as soon as it hears that what it has said is committed."""

    def __init__(self, context: Ref[Any], item: Item, tell: Callable[[], object]) -> None:
        self._context = context
        self._item = item
        self._tell = tell

    async def started(self) -> None:
        self.request(self._context, Emit((self._item,)), 10.0, tag=None)

    async def receive(self, message: Any) -> object:
        assert isinstance(message, Replied)
        assert message.error is None
        self._tell()
        return None


def test_who_said_it_is_answered_behind_it_though_the_context_has_more_to_do() -> None:
    async def main() -> None:
        async with users_system() as here:
            where = await place(here)
            ear = await where.ear()
            agent = AgentView(agent_id="a1", name="Analyst", role="analyst", status=AgentState.IDLE)
            channels = Channels(here.system, here.services.stamps)
            here.system.suspend(where.context.path)
            teller = Teller(where.context, Item(where.piece("said")), lambda: channels.agent_status("ada", agent))
            root: Any = here.system.root
            root.actor.start_child(ChildSpec("teller", lambda: teller))
            await settle()
            clock: Any = trio.lowlevel.current_clock()
            for _ in range(TOGETHER - 4):
                where.context.tell(Later(lambda: clock.jump(0.001)))  # its turn is over soon: others come in between
            here.system.resume(where.context.path)
            await settle()
            assert [type(message) for message in ear.heard] == [Deliver, Published]

    virtual(main)
