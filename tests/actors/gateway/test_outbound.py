"""What waits to be written: in order, in batches, counted in bytes."""

from __future__ import annotations

import attrs
import hypothesis.strategies as st
from hypothesis import given

from actors.gateway.frames import PING_FRAME, text_frames
from actors.gateway.joining import Joining
from actors.gateway.outbound import BATCH_BYTES, PING, Batch, Out, Outbound
from actors.users.messages import Attached, Deliver
from tests.support.said import delta


def test_messages_go_out_in_order_as_one_batch() -> None:
    out = Outbound()
    assert not out
    out.add(Out(b"one", 1))
    out.add(Out(b"two"))
    out.add(Out(b"three", 2, replayed=True))
    assert out
    assert out.waiting == 6
    assert out.take() == Batch(text_frames([b"one", b"two", b"three"]), durable=2, ephemeral=1)
    assert not out
    assert out.waiting == 0


def test_a_batch_is_bounded_but_takes_at_least_one_frame() -> None:
    out = Outbound()
    big = b"x" * (BATCH_BYTES + 1)
    half = b"y" * (BATCH_BYTES // 2)
    for frame in (big, half, half, b"z"):
        out.add(Out(frame))
    assert out.take().frames == text_frames([big])
    assert out.take().frames == text_frames([half, half])
    assert out.waiting == 1
    assert out.take().frames == text_frames([b"z"])


def test_a_ping_goes_in_its_turn_and_is_no_message() -> None:
    out = Outbound()
    for each in (Out(b"one", 1), PING, Out(b"two"), PING):
        out.add(each)
    assert out.take() == Batch(
        text_frames([b"one"]) + PING_FRAME + text_frames([b"two"]) + PING_FRAME, durable=1, ephemeral=1
    )


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
    assert out.take().frames == text_frames([b"durable", joined.frame])


MESSAGES = st.lists(
    st.builds(
        Out,
        st.integers(0, 3).map(lambda size: b"x" * (1 + size * 30_000)),
        st.none() | st.just(1),
        st.booleans(),
    ),
    max_size=20,
)


@given(MESSAGES)
def test_nothing_is_lost_or_reordered(messages: list[Out]) -> None:
    out = Outbound()
    for each in messages:
        out.add(each)
    assert out.waiting == sum(len(each.frame) for each in messages if not each.replayed)
    taken = b""
    durable = ephemeral = 0
    while out:
        batch = out.take()
        taken += batch.frames
        durable += batch.durable
        ephemeral += batch.ephemeral
    assert taken == text_frames([each.frame for each in messages])
    assert durable == sum(each.seq is not None for each in messages)
    assert durable + ephemeral == len(messages)
    assert out.waiting == 0


def test_an_event_is_framed_once_for_all_connections() -> None:
    deliver = Deliver("ada", b"x" * 300, 7)
    assert deliver.out.seq == 7
    assert deliver.out.header + deliver.out.frame == text_frames([deliver.frame])
    both = [Joining(1000), Joining(1000)]
    for each in both:
        each.begin(6, Attached("epoch", 1, 6, (), 0))
        assert each.deliver(deliver) == [deliver.out]


def test_another_frame_in_the_place_of_one_has_a_header_of_its_own() -> None:
    out = attrs.evolve(Out(b"short"), frame=b"y" * 70_000)
    assert out.header + out.frame == text_frames([b"y" * 70_000])
