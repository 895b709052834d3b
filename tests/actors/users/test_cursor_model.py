"""Cursors against a model, over any order of hellos, acks, departures, crashes and commits: what each client is sent.

The model knows of each client the last ack that counted, else where it came in. From that, and from what the client
says itself, follows everything: what is replayed, who is closed, and how many events were delivered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import hypothesis.strategies as st
import trio
from hypothesis import HealthCheck, given, settings

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
        st.tuples(st.just("ack"), CLIENTS, st.integers(0, 12)),
        st.tuples(st.just("stale ack"), CLIENTS, st.integers(0, 12)),
        st.tuples(st.just("leave"), CLIENTS),
        st.tuples(st.sampled_from(["crash", "crash journal", "wait", "sleep"])),
    ),
    max_size=30,
)


@attrs.define
class Model:
    """What is so by PROTOCOL.md."""

    top: int = 0
    came_in: dict[str, int] = attrs.field(factory=dict)
    acked: dict[str, int] = attrs.field(factory=dict)
    delivered: set[int] = attrs.field(factory=set)

    def hello(self, client: str, resume: int | None) -> tuple[bool, int]:
        """Whether it is resumed, and behind which event it goes on."""
        known = client in self.came_in
        if resume is not None and resume > self.top:
            self.came_in[client] = self.top
            self.acked.pop(client, None)
            return False, self.top
        if resume is None:
            after = self.acked.get(client, self.came_in.setdefault(client, self.top))
            return known, after
        if client not in self.acked:
            self.came_in[client] = min(self.came_in.get(client, 0), resume)
        self.ack(client, resume)
        return True, resume

    def ack(self, client: str, seq: int) -> None:
        """It has processed everything up to `seq`."""
        if seq >= self.came_in[client]:
            before = self.acked.get(client, self.came_in[client])
            self.delivered |= set(range(before + 1, seq + 1))
            self.acked[client] = max(before, seq)


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
            case "hello" | "resume":
                client, *seq = rest
                resume = Resume("epoch-ada", seq[0]) if seq else None
                expected = model.hello(client, seq[0] if seq else None)
                follower = await here.follow(client=client, resume=resume)
                await trio.sleep(0.1)
                plan = follower.began.plan
                assert (plan.resumed, plan.after) == expected, (client, steps)
                if client in current:
                    assert current[client].closed == REPLACED
                    stale.setdefault(client, []).append(current[client])
                current[client] = follower
                began.append((follower, plan.after))
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
def test_every_client_goes_on_where_the_contract_says(steps: list[tuple[Any, ...]]) -> None:
    async def main() -> None:
        async with users_system() as here:
            await play(here, steps)

    virtual(main)
