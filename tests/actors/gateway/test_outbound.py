"""What waits to be written: in order, in batches, counted in bytes."""

from __future__ import annotations

import attrs
import hypothesis.strategies as st
from hypothesis import given

from actors.gateway.frames import PING_FRAME
from actors.gateway.joining import Joining
from actors.gateway.outbound import BATCH_BYTES, PING, Batch, Out, Outbound, batch_of
from actors.users.messages import Attached
from tests.support.said import delivery, delta
from tests.support.whole_frames import text_frames


def taken(out: Outbound) -> Batch:
    batch = out.take()
    assert batch is not None
    return batch


def test_messages_go_out_in_order_as_one_batch() -> None:
    out = Outbound()
    assert not out
    out.add(Out(b"one", 1))
    out.add(Out(b"two"))
    out.add(Out(b"three", 2, replayed=True))
    assert out
    assert out.waiting == 6
    batch = taken(out)
    assert batch.frames == text_frames([b"one", b"two", b"three"])
    assert (batch.seqs, batch.ephemeral) == ([1, 2], 1)
    assert not out
    assert out.waiting == 0
    assert out.take() is None


def test_a_batch_is_bounded_but_takes_at_least_one_frame() -> None:
    out = Outbound()
    big = b"x" * (BATCH_BYTES + 1)
    half = b"y" * (BATCH_BYTES // 2)
    for frame in (big, half, half, b"z"):
        out.add(Out(frame))
    assert taken(out).frames == text_frames([big])
    assert taken(out).frames == text_frames([half, half])
    assert out.waiting == 1
    assert taken(out).frames == text_frames([b"z"])


def test_a_ping_goes_in_its_turn_and_is_no_message() -> None:
    out = Outbound()
    for each in (Out(b"one", 1), PING, Out(b"two"), PING):
        out.add(each)
    batch = taken(out)
    assert batch.frames == text_frames([b"one"]) + PING_FRAME + text_frames([b"two"]) + PING_FRAME
    assert (batch.seqs, batch.ephemeral) == ([1], 1)


def test_clearing_forgets_everything() -> None:
    out = Outbound()
    out.add(Out(b"one"))
    out.clear()
    assert not out
    assert out.waiting == 0


def test_conflating_counts_what_it_spares_and_what_is_left() -> None:
    out = Outbound()
    out.add(Out(b"durable", 1))
    out.add(delta("m", 0, "ab"))
    out.add(delta("m", 2, "cd"))
    assert out.conflate() == 1
    joined = delta("m", 0, "abcd")
    assert out.waiting == len(b"durable") + len(joined.frame)
    assert out.conflate() == 0
    assert taken(out).frames == text_frames([b"durable", joined.frame])


MESSAGES = st.lists(
    st.builds(
        Out,
        st.integers(0, 3).map(lambda size: b"x" * (1 + size * 30_000)),
        st.none() | st.just(1),
        st.booleans(),
    ),
    max_size=20,
)


@given(st.lists(MESSAGES, max_size=4), st.booleans())
def test_nothing_is_lost_or_reordered(groups: list[list[Out]], together: bool) -> None:
    """Whether one by one or, where they are live, some together."""
    out = Outbound()
    for group in groups:
        if together and group and not any(each.replayed for each in group):
            out.add_batch(batch_of(group))
        else:
            for each in group:
                out.add(each)
    messages = [each for group in groups for each in group]
    assert out.waiting == sum(len(each.frame) for each in messages if not each.replayed)
    frames = b""
    durable = ephemeral = 0
    while (batch := out.take()) is not None:
        assert len(batch.outs) == 1 or batch.size <= BATCH_BYTES
        frames += batch.frames
        durable += len(batch.seqs)
        ephemeral += batch.ephemeral
    assert frames == text_frames([each.frame for each in messages])
    assert durable == sum(each.seq is not None for each in messages)
    assert durable + ephemeral == len(messages)
    assert out.waiting == 0


def test_what_comes_together_and_meets_nothing_is_written_as_it_came() -> None:
    """Joined once for all connections."""
    message = delivery("ada", Out(b"x" * 300, 7), delta("m", 0, "ab"))
    for joining in (Joining(1000), Joining(1000)):
        joining.begin(6, Attached("epoch", 1, 6, (), 0))
        assert joining.deliver(message) is True
        out = Outbound()
        out.add_batch(message.batch)
        assert out.take() is message.batch


def test_what_comes_together_keeps_its_place_among_others() -> None:
    together = batch_of([Out(b"two"), Out(b"three", 3)])
    behind, before, twice = Outbound(), Outbound(), Outbound()
    behind.add(Out(b"one"))
    behind.add_batch(together)
    before.add_batch(together)
    before.add(Out(b"four"))
    twice.add_batch(together)
    twice.add_batch(together)
    assert taken(behind).frames == text_frames([b"one", b"two", b"three"])
    assert taken(before).frames == text_frames([b"two", b"three", b"four"])
    assert taken(twice).frames == text_frames([b"two", b"three"] * 2)


def test_what_comes_together_may_give_way_and_be_dropped() -> None:
    out = Outbound()
    out.add_batch(batch_of([delta("m", 0, "ab"), delta("m", 2, "cd")]))
    assert out.conflate() == 1
    assert taken(out).frames == text_frames([delta("m", 0, "abcd").frame])
    out.add_batch(batch_of([Out(b"one")]))
    out.clear()
    assert out.take() is None


def test_another_frame_in_the_place_of_one_has_a_header_of_its_own() -> None:
    out = attrs.evolve(Out(b"short"), frame=b"y" * 70_000)
    assert out.header + out.frame == text_frames([b"y" * 70_000])
