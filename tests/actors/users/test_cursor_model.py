"""Cursors against a model, over any order of hellos, acks, departures, crashes and commits: what each client is sent.

The model knows of each client the last ack that counted, else where it came in. From that, from what the client says
itself, and from what the log still holds follows everything: what is replayed, who is told of a gap, and again when it
comes back without having acknowledged anything since, who is closed, and how many events were delivered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import hypothesis.strategies as st
import trio
from hypothesis import HealthCheck, example, given, settings

from actors.protocol.codes import REPLACED
from actors.protocol.commands import Resume
from tests.support.examples import examples
from tests.support.users_system import UsersSystem, settle, users_system, virtual

if TYPE_CHECKING:
    from tests.support.users_system import Follower

CLIENTS = st.sampled_from("abc")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("say"), st.integers(1, 4)),
        st.tuples(st.just("hello"), CLIENTS),
        st.tuples(st.just("resume"), CLIENTS, st.integers(0, 12)),
        st.tuples(st.just("foreign"), CLIENTS),
        st.tuples(st.just("trim"), st.integers(0, 4)),
        st.tuples(st.just("ack"), CLIENTS, st.integers(0, 12)),
        st.tuples(st.just("stale ack"), CLIENTS, st.integers(0, 12)),
        st.tuples(st.just("leave"), CLIENTS),
        st.tuples(st.sampled_from(["crash", "crash journal", "wait", "sleep"])),
    ),
    max_size=30,
)


@attrs.define
class Client:
    """What is known of one.

    Attributes:
        stands: its last ack; else where it first came in. There it goes on if it does not say itself how far it is.
        since: an ack counts for what is behind this: where it came in, or was last told to begin afresh.
        acked: whether `stands` is an ack, or as good as one.
    """

    stands: int
    since: int
    acked: bool = False


@attrs.define
class Model:
    """What is so by PROTOCOL.md."""

    top: int = 0
    first: int = 1
    clients: dict[str, Client] = attrs.field(factory=dict)
    delivered: set[int] = attrs.field(factory=set)

    def hello(self, name: str, resume: int | None, *, foreign: bool = False) -> tuple[bool, int, bool]:
        """Whether it is resumed, behind which event it goes on, and whether there is a gap."""
        client = self.clients.get(name)
        at = resume if resume is not None else self.top if client is None else client.stands
        if foreign or at > self.top or at + 1 < self.first:
            if client is None:
                self.clients[name] = Client(self.top, self.top)
            else:
                client.since, client.acked = self.top, True
            return False, self.top, True
        if client is None:
            begins = self.top if resume is None else min(self.first - 1, resume)
            client = self.clients[name] = Client(begins, begins)
            known = resume is not None
        else:
            known = True
            self.go_on(client, at)
        if resume is not None:
            self.ack(name, resume)
        return known, at, False

    def go_on(self, client: Client, at: int) -> None:
        """It is sent what is behind `at`, which may be further back than where its acks begin to count."""
        afresh = client.since > client.stands
        if at < client.since and (afresh or not client.acked):
            if at < client.stands:
                client.stands, client.acked = at, False
            client.since = client.stands

    def ack(self, name: str, seq: int) -> None:
        """It has processed everything up to `seq`."""
        client = self.clients[name]
        if seq >= client.since:
            self.delivered |= set(range(max(client.since, client.stands) + 1, seq + 1))
            client.stands, client.acked = max(client.stands, seq), True


async def play(here: UsersSystem, steps: list[tuple[Any, ...]]) -> None:
    model = Model()
    current: dict[str, Follower] = {}
    began: list[tuple[Follower, int]] = []
    stale: dict[str, list[Follower]] = {}
    count = 0
    for kind, *rest in steps:
        match kind:
            case "say":
                names = [f"d{count + n}" for n in range(1, rest[0] + 1)]
                count += len(names)
                model.top = count
                await here.say(*names)
                await trio.sleep(0.1)
            case "hello" | "resume" | "foreign":
                client, *seq = rest
                resume = Resume("epoch-ada", seq[0]) if seq else None
                if kind == "foreign":
                    resume = Resume("another", 0)
                expected = model.hello(client, seq[0] if seq else None, foreign=kind == "foreign")
                follower = await here.follow(client=client, resume=resume)
                await trio.sleep(0.1)
                plan = follower.began.plan
                assert (plan.resumed, plan.after, plan.gap is not None) == expected, (client, steps)
                if client in current:
                    assert current[client].closed == REPLACED
                    stale.setdefault(client, []).append(current[client])
                current[client] = follower
                began.append((follower, plan.after))
            case "trim":
                model.first = max(model.first, model.top + 1 - rest[0])
                events = here.plan.storage.log_of("ada").events
                for old in [old for old in events if old < model.first]:
                    del events[old]
            case "ack":
                client, seq = rest
                if client in current and seq <= current[client].joining.last:
                    current[client].ack(seq)
                    model.ack(client, seq)
                    await settle()
            case "stale ack":
                client, seq = rest
                for follower in stale.get(client, []):
                    follower.ack(seq)
                await settle()
            case "leave":
                left = current.pop(rest[0], None)
                if left is not None:
                    here.system.root.actor.stop_child(left.ref.path[1:])  # type: ignore[union-attr]
                    await trio.sleep(0.1)
            case "crash":
                here.crash("/users/ada")
                await trio.sleep(2)
            case "crash journal":
                here.crash("/storage")
                await trio.sleep(2)
            case "wait":
                await trio.sleep(1.5)
            case "sleep":
                await trio.sleep(30)
        assert here.counters.events_delivered == len(model.delivered), steps
    await trio.sleep(5)
    for follower, after in began:
        assert follower.closed in {None, REPLACED}
        assert follower.seqs == list(range(after + 1, after + 1 + len(follower.seqs)))
    for follower in current.values():
        assert follower.closed is None
        assert follower.seqs[-1:] in ([], [model.top])
        assert follower.joining.last == model.top


@settings(max_examples=examples(1.2), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS)
@example([("hello", "a"), ("say", 1), ("foreign", "a"), ("hello", "a")])
@example([("hello", "a"), ("say", 3), ("ack", "a", 1), ("trim", 1), ("hello", "a"), ("leave", "a"), ("hello", "a")])
def test_every_client_goes_on_where_the_contract_says(steps: list[tuple[Any, ...]]) -> None:
    async def main() -> None:
        async with users_system() as here:
            await play(here, steps)

    virtual(main)
