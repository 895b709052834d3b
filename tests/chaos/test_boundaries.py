"""A seeded sample of the boundaries, and that the comparison would see what it is there to see.

Every boundary: `python -m tests.chaos.boundaries`.
"""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

import pytest

from tests.chaos.boundaries import NEVER, SIDES, Case, Handed, Outcome, Summary, bed, compare, next_boundary, run_cases
from tests.support.cutting_proxy import Frames, frame_size
from tests.support.device import Device
from tests.support.raw_websocket import TEXT, encode_frame
from understudy.client.envelope import decode_frame
from understudy.client.events import typed

if TYPE_CHECKING:
    from pathlib import Path

SEED = 7
SAMPLE = [
    *(Case(SEED, side, first, stride=40) for side in SIDES for first in (1, 29)),
    Case(SEED, "server", 700, stride=NEVER),
]


async def test_a_sample_of_boundaries_and_every_client_ends_with_the_servers_log(tmp_path: Path) -> None:
    outcomes: list[Outcome] = []
    async with bed(tmp_path) as here:
        await run_cases(here, SAMPLE, outcomes.append)
        assert here.counters.isolation_violations == 0
    assert len(outcomes) == len(SAMPLE)
    cuts = {outcome.case: sum(map(len, outcome.cut.values())) for outcome in outcomes}
    for case, count in cuts.items():
        assert count >= (1 if case.stride == NEVER else 10), (case, count)
    for outcome in outcomes:
        # Each cut brings another connection, but one behind which a client had nothing left to wait for.
        assert outcome.connections >= cuts[outcome.case]
        for behind in outcome.cut.values():  # each of them where it was planned
            assert outcome.case.first is not None
            assert all((each - outcome.case.first) % outcome.case.stride == 0 for each in behind), behind


def test_where_the_next_cut_is() -> None:
    assert [next_boundary(passed, 3, 10) for passed in (0, 2, 3, 12, 13, 14)] == [3, 3, 13, 13, 23, 23]


def test_the_boundaries_that_were_not_cut_are_found() -> None:
    uncut = Outcome(Case(SEED), frames={"device": {"server": 3, "client": 9}, "shipped": {"server": 2, "client": 9}})
    summary = Summary()
    cut = Outcome(Case(SEED), cut={"device": [1, 3], "shipped": [1, 2]})
    summary.add(cut)
    assert summary.missed({"server": uncut}) == [("server", 2)]
    assert "2 of 3 boundaries, 2 cuts; not [2]" in summary.line("device", "server", 3)
    assert summary.line("shipped", "server", 2).endswith("2 of 2 boundaries, 2 cuts")


def event(seq: int) -> str:
    return json.dumps(
        {
            "seq": seq,
            "id": f"e{seq}",
            "type": "system",
            "timestamp": "2026-11-20T08:30:00.000Z",
            "agent_name": "System",
            "content": "",
            "metadata": {"event": "notice", "level": "info"},
            "requires_ack": True,
        }
    )


def handed(texts: list[str]) -> Handed:
    return Handed([[typed(decode_frame(text)) for text in texts]])


@pytest.mark.parametrize("fault", ["none", "missing", "doubled", "altered", "swapped", "short"])
def test_what_is_missing_doubled_or_altered_would_be_found(fault: str) -> None:
    log = [event(seq) for seq in range(1, 6)]
    seen = {
        "missing": [*log[:2], *log[3:]],
        "doubled": [*log[:3], *log[2:]],
        "altered": [*log[:2], log[2].replace("info", "error"), *log[3:]],
        "swapped": [log[1], log[0], *log[2:]],
    }.get(fault, log)
    device = Device(0, "ada", texts=seen)
    events = handed(seen)
    if fault == "none":
        compare(device, events, log, 5)
        return
    with pytest.raises(AssertionError):
        compare(device, handed(log), log[:4] if fault == "short" else log, 5)
    if fault != "short":
        with pytest.raises(AssertionError):
            compare(Device(0, "ada", texts=log), events, log, 5)


def test_frames_are_found_however_the_bytes_come() -> None:
    sizes = (0, 5, 125, 126, 300, 70_000)
    whole = [encode_frame(TEXT, bytes(size)) for size in sizes] + [encode_frame(TEXT, b"x", masked=False)]
    assert [frame_size(frame) for frame in whole] == [len(frame) for frame in whole]
    stream = b"HTTP/1.1 101 X\r\nA: b\r\n\r\n" + b"".join(whole)
    rng = random.Random(SEED)
    for _ in range(20):
        frames, found, at = Frames(), [], 0
        while at < len(stream):
            step = rng.choice((1, 3, 1000, 30_000))
            found += frames.feed(stream[at : at + step])
            at += step
        assert found == [b"HTTP/1.1 101 X\r\nA: b\r\n\r\n", *whole]
