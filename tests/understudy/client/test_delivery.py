"""What comes out of a client is the daemon's log, whatever breaks below: over real sockets, at every frame boundary."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio

from tests.support.grammar import check
from tests.support.grammar_log import Log, whole_run
from tests.support.hasty import Hasty
from tests.support.log_daemon import WITHIN, LogDaemon, log_daemon
from understudy.client import Client, Event, Gap, Open, Polling, Position, RunView, apply, open_client

if TYPE_CHECKING:
    from tests.support.grammar_tables import Frame
    from tests.support.log_daemon import Break


def the_run() -> list[Frame]:
    """The frames of a whole run that belong to a log or to its deltas."""
    log = Log()
    whole_run(log)
    return [frame for frame in log.frames if frame["type"] not in ("reply", "heartbeat", "draining")]


RUN = the_run()
DURABLE = [frame for frame in RUN if "seq" in frame]


def as_frame(event: Event) -> Frame:
    """What came over the wire, from what the application was given."""
    names = [field.name for field in attrs.fields(Event)]
    frame = {name: getattr(event, name) for name in names if getattr(event, name) is not None}
    return frame | {"requires_ack": True} if event.seq is not None else frame


async def read_to_end(client: Client, daemon: LogDaemon) -> list[Event]:
    events: list[Event] = []
    with trio.fail_after(WITHIN):
        async for event in client:
            events.append(event)
            if event.seq == DURABLE[-1]["seq"]:
                return events
    raise AssertionError


def verify(events: list[Event], daemon: LogDaemon) -> None:
    durable = [as_frame(event) for event in events if event.seq is not None]
    assert durable == daemon.log == DURABLE
    assert check(durable, connection=False) == []
    view = RunView(run_id="r1")
    for event in events:
        view = apply(view, event)
    assert view.status == "completed"
    assert [step.text for step in view.steps] == ["Hello!", "Nothing to say."]
    assert not any(isinstance(event, Gap) for event in events)


async def go_through(daemon: LogDaemon, seed: int = 1, **options: Any) -> None:
    async with open_client(daemon.url, rng=Hasty(seed), **options) as client:
        await client.command("start_run", content="A shop that sells tea by weight", within=WITHIN)
        events = await read_to_end(client, daemon)
    verify(events, daemon)
    assert len(daemon.done) == 1  # repeated perhaps, carried out once
    assert len({hello["metadata"]["client_id"] for hello in daemon.hellos}) <= 1
    with trio.fail_after(WITHIN):
        while daemon.open:
            await trio.sleep(0.001)


async def test_a_run_without_any_trouble_is_acknowledged_to_its_end() -> None:
    async with log_daemon(RUN) as daemon:
        await go_through(daemon)
        assert daemon.acked == DURABLE[-1]["seq"]
        assert daemon.upgrades == 1


@pytest.mark.parametrize("how", ["reset", "eof", 1011])
@pytest.mark.repeats
async def test_a_break_at_every_frame_boundary_loses_and_repeats_nothing(how: Break) -> None:
    # welcome, the heartbeat's answer and the reply come on top of the run's own frames
    for boundary in range(len(RUN) + 3):
        async with log_daemon(RUN, plans=[(boundary, how)]) as daemon:
            await go_through(daemon)


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.repeats
async def test_any_number_of_breaks_on_any_transport(seed: int) -> None:
    rng = random.Random(seed)
    plans: list[tuple[int, Break]] = [
        (rng.choice([0, 0, 0, 1, 2, 3, 5, 8]), rng.choice(["reset", "eof", 1011, 4413]))
        for _ in range(rng.randrange(12))
    ]
    async with log_daemon(RUN, plans=plans) as daemon:
        await go_through(daemon, seed)


async def test_a_reader_that_asks_in_short_turns_loses_nothing() -> None:
    plans: list[tuple[int, Break]] = [(3, "reset"), (2, "eof"), (0, "reset"), (0, "eof"), (0, 1011), (6, "reset")]
    async with log_daemon(RUN, plans=plans) as daemon, open_client(daemon.url, rng=Hasty(3)) as client:
        client.post("start_run", content="A shop that sells tea by weight")
        events: list[Event] = []
        with trio.fail_after(WITHIN):
            while not events or events[-1].seq != DURABLE[-1]["seq"]:
                with trio.move_on_after(0.0005):
                    events.append(await anext(client))
                await trio.lowlevel.checkpoint()
    verify(events, daemon)


async def test_three_failed_connections_then_polling_then_back() -> None:
    states: list[str] = []
    async with log_daemon(RUN, refuse_upgrades=502) as daemon:
        async with open_client(
            daemon.url, rng=Hasty(5), user_id="ada", on_state=lambda state: states.append(type(state).__name__)
        ) as client:
            with trio.fail_after(WITHIN):
                await client.until(Polling)
                assert daemon.upgrades >= 3
                reply = await client.command("start_run", content="A shop that sells tea by weight")
                assert reply.metadata["run_id"] == "r1"
                events = [await anext(client) for _ in range(4)]
                daemon.refuse_upgrades = 0
                await client.until(Open)
                asked = len(daemon.asked)
                for _ in range(20):
                    await client.command("list_runs")
            events += await read_to_end(client, daemon)
            assert len(daemon.asked) == asked  # polling has stopped
        verify(events, daemon)
        assert len(daemon.posted) == 1
        assert daemon.headers[0]["x-user-id"] == "ada"
        assert {asked["client_id"] for asked in daemon.asked} == {client.client_id}
        assert "after" not in daemon.asked[0]
        assert daemon.hellos[0]["metadata"]["client_id"] == client.client_id
        assert daemon.hellos[0]["metadata"]["resume"]["seq"] in (3, 4)
    first = states.index("Polling")
    assert "Open" not in states[:first]
    assert states[first:] == ["Polling", "Open", "Closed"]


async def test_a_whole_run_by_polling_alone_is_acknowledged_to_its_end() -> None:
    async with log_daemon(RUN, refuse_upgrades=404) as daemon:
        async with open_client(daemon.url, rng=Hasty(5)) as client:
            with trio.fail_after(WITHIN):
                await client.command("start_run", content="A shop that sells tea by weight")
                events = await read_to_end(client, daemon)
        durable = [event for event in events if event.seq is not None]
        assert durable == events  # over HTTP nothing is ephemeral
        assert [as_frame(event) for event in events] == DURABLE
        assert daemon.acked == DURABLE[-1]["seq"]


async def test_what_a_lost_log_leaves_is_told_as_a_gap_on_either_transport() -> None:
    after_gap = max(frame["seq"] for frame in RUN[:10] if "seq" in frame)
    async with log_daemon(RUN, happened=10, plans=[(1, "reset")], epoch="e2") as daemon:
        async with open_client(daemon.url, rng=Hasty(5), resume=Position("e1", 3)) as client:
            with trio.fail_after(WITHIN):
                gap = await anext(client)
                assert isinstance(gap, Gap)
                assert gap.reason == "epoch"
                assert client.position == Position("e1", 3)  # not yet processed
                client.post("start_run", content="A shop that sells tea by weight")
                events = await read_to_end(client, daemon)
                seqs = [event.seq for event in events if event.seq is not None]
                assert seqs == list(range(after_gap + 1, DURABLE[-1]["seq"] + 1))
        # the first connection broke before the gap came, and nothing of it was lost
        assert [hello["metadata"]["resume"] for hello in daemon.hellos] == [{"epoch": "e1", "seq": 3}] * 2


async def test_polling_tells_a_gap_too() -> None:
    async with (
        log_daemon(RUN, happened=10, refuse_upgrades=404, epoch="e2") as daemon,
        open_client(daemon.url, rng=Hasty(5), resume=Position("e1", 3)) as client,
    ):
        with trio.fail_after(WITHIN):
            gap = await anext(client)
            assert isinstance(gap, Gap)
            assert (gap.reason, client.position) == ("epoch", Position("e1", 3))
            daemon.started = True
            event = await anext(client)
            assert event.seq == daemon.top
            assert client.position == Position("e2", event.seq - 1)
