"""What waits to be written: in order, in batches, counted in bytes."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from actors.gateway.outbound import BATCH_BYTES, PING, Batch, Outbound


def test_frames_go_out_in_order_as_one_batch() -> None:
    out = Outbound()
    assert not out
    out.add(b"one", durable=True)
    out.add(b"two")
    out.add(b"three", durable=True, counts=False)
    assert out
    assert out.waiting == 6
    assert out.take() == Batch([b"one", b"two", b"three"], durable=2)
    assert not out
    assert out.waiting == 0


def test_a_batch_is_bounded_but_takes_at_least_one_frame() -> None:
    out = Outbound()
    big = b"x" * (BATCH_BYTES + 1)
    half = b"y" * (BATCH_BYTES // 2)
    for frame in (big, half, half, b"z"):
        out.add(frame)
    assert out.take().frames == [big]
    assert out.take().frames == [half, half]
    assert out.take().frames == [b"z"]


def test_a_ping_goes_alone_and_in_its_turn() -> None:
    out = Outbound()
    for frame in (b"one", PING, b"two", PING):
        out.add(frame)
    batches = [out.take() for _ in range(4)]
    assert [(batch.frames, batch.is_ping) for batch in batches] == [
        ([b"one"], False),
        ([PING], True),
        ([b"two"], False),
        ([PING], True),
    ]


def test_clearing_forgets_everything() -> None:
    out = Outbound()
    out.add(b"one")
    out.clear()
    assert not out
    assert out.waiting == 0


FRAMES = st.lists(
    st.tuples(st.integers(0, 3).map(lambda size: b"x" * (size * 30_000)), st.booleans(), st.booleans()), max_size=20
)


@given(FRAMES)
def test_nothing_is_lost_or_reordered(frames: list[tuple[bytes, bool, bool]]) -> None:
    out = Outbound()
    for frame, durable, counts in frames:
        out.add(frame, durable=durable, counts=counts)
    assert out.waiting == sum(len(frame) for frame, _, counts in frames if counts)
    taken: list[bytes] = []
    durable_frames = 0
    while out:
        batch = out.take()
        taken += batch.frames
        durable_frames += batch.durable
    assert taken == [frame for frame, _, _ in frames]
    assert durable_frames == sum(durable for _, durable, _ in frames)
    assert out.waiting == 0
