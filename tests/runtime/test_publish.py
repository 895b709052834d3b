"""Who is told first. A weigher sees each put as it happens; the order in which tasks wake says nothing of it."""

from __future__ import annotations

from tests.support.actors import Bench, bounded


async def test_subscribers_are_told_in_the_order_of_subscription(bench: Bench):
    told: list[str] = []

    def weigher(name: str) -> object:
        return lambda _: told.append(name) or 1  # type: ignore[func-returns-value]

    for name in ("c", "a", "b"):
        subject = await bench.spawn(name, mailbox=bounded(9, weigher=weigher(name)))
        await subject.do(lambda actor: actor.subscribe("topic"))
    told.clear()
    assert bench.system.topics.publish("topic", "news") == 3
    assert told == ["c", "a", "b"]
