"""The clients of the delivery benchmark, as far as a scenario leans on what they promise."""

from __future__ import annotations

import sys

import pytest

from bench.delivery.dialects import dialect
from bench.delivery.swarm import NotServed, Swarm
from bench.figures import OWN

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="waits with epoll")


def test_a_window_does_not_end_before_there_is_something_to_measure():
    swarm = Swarm(0, dialect(OWN))
    came: list[str] = []
    swarm.later(0.01, lambda: came.append("a message"))
    swarm.rest(0.0, lambda: came)
    assert came
    swarm.close()


def test_what_does_not_come_in_time_is_named():
    swarm = Swarm(0, dialect(OWN))
    with pytest.raises(NotServed, match=r"the first messages: not within 0\.01 s; 0 clients are inside"):
        swarm.run(lambda: False, 0.01, "the first messages")
    swarm.close()
