"""The memory's engine and what stands in for it, on a real database in virtual time; and the seam for tools."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import structlog
import trio

from actors.engines.counts import EngineCounts
from actors.engines.engine import Part
from actors.engines.fallback import EnginePlan, engine_spec
from actors.engines.memory import Memory
from actors.engines.ranking import pack
from actors.engines.recall import MemoryLimits, PerfectRecall, Vector
from actors.engines.scan import PlainScan, find
from actors.engines.strategy import Desk, Outcome, Unavailable
from actors.storage.interface import Record, Stored
from runtime import open_system
from supervisors import ChildSpec, supervise
from tests.support.engines_system import (
    POLICY,
    DirectJournal,
    execute,
    journal_site,
    open_database,
    stamps,
    texts,
)

if TYPE_CHECKING:
    from pathlib import Path

LIMITS = MemoryLimits(50, 1000)


async def do(strategy: Any, description: str = "", user: str = "ada", key: str = "", **parameters: Any) -> Outcome:
    ask = attrs.evolve(execute(description, user, **parameters), key=key)
    assert strategy.problems(ask) == {}
    outcome: Outcome = await strategy.run(ask, Desk(None, lambda *_: None))  # type: ignore[arg-type]  # it starts none
    return outcome


async def test_what_was_stored_is_recalled_and_counted_as_used(autojump_clock: Any, tmp_path: Path) -> None:
    async with journal_site(tmp_path) as (system, _):
        engine = PerfectRecall(system.ref("/storage"), stamps(), LIMITS)
        stored = await do(engine, action="remember", content="Tea at 80 degrees", content_type="solution", tags=["tea"])
        await do(engine, action="remember", content="Coffee at 93 degrees")
        await do(engine, user="grace", action="remember", content="Tea is a secret")
        found = (await do(engine, "How hot is tea?")).result["memories"]
        assert texts(found) == ["Tea at 80 degrees"]
        assert found[0]["memory_id"] == stored.result["memory_id"]
        assert (found[0]["uses"], found[0]["tags"], found[0]["content_type"]) == (0, ["tea"], "solution")
        assert found[0]["created_at"].endswith("Z")
        rated = await do(engine, action="rate", memory_ids=[found[0]["memory_id"], "none"], success=True)
        assert rated.result == {"memories": 1}
        [again] = (await do(engine, query="degrees", tags=["tea"], limit=1)).result["memories"]
        assert (again["uses"], again["successes"]) == (1, 1)
        await trio.sleep(1)
        await do(engine, action="remember", content="Water")
        assert texts((await do(engine, limit=1)).result["memories"]) == ["Water"]
        assert (await do(engine, action="forget", memory_ids=[again["memory_id"]])).result == {"memories": 1}
        assert (await do(engine, "tea")).result["memories"] == []
        assert texts((await do(engine, "tea", user="grace")).result["memories"]) == ["Tea is a secret"]


async def test_the_same_key_stores_once_and_each_user_has_their_own(autojump_clock: Any, tmp_path: Path) -> None:
    async with journal_site(tmp_path) as (system, database):
        engine = PerfectRecall(system.ref("/storage"), stamps(), LIMITS)
        told = [
            await do(engine, user=user, key="k", action="remember", content="x") for user in ("ada", "ada", "grace")
        ]
        assert [each.result["repeated"] for each in told] == [False, True, False]
        assert told[0].result["memory_id"] == told[1].result["memory_id"] != told[2].result["memory_id"]
        assert (database.count_memories("ada"), database.count_memories("grace")) == (1, 1)


async def test_storage_that_is_away_is_no_fault_of_the_engine(autojump_clock: Any, tmp_path: Path) -> None:
    async with journal_site(tmp_path, lambda: True) as (system, _):
        for engine in (
            PerfectRecall(system.ref("/storage"), stamps(), LIMITS),
            PlainScan(system.ref("/storage"), stamps(), LIMITS, 100),
        ):
            with pytest.raises(Unavailable):
                await do(engine, "tea")
            with pytest.raises(Unavailable):
                await do(engine, action="remember", content="tea")


# --- meaning


class Meanings:
    """Vectors by the words of a text; none while it is away."""

    def __init__(self) -> None:
        self.away = False

    async def __call__(self, text: str, user: str) -> Vector | None:
        assert user in {"ada", "grace"}
        if self.away:
            return None
        return Vector("v", pack([float("hot" in text or "warm" in text), float("cold" in text), 0.1]))


async def test_with_vectors_a_memory_is_found_by_its_meaning_and_without_by_its_words(tmp_path: Path) -> None:
    async with journal_site(tmp_path) as (system, _):
        meanings = Meanings()
        engine = PerfectRecall(system.ref("/storage"), stamps(), LIMITS, meanings)
        await do(engine, action="remember", content="Serve it hot")
        await do(engine, action="remember", content="Serve it cold")
        await do(engine, user="grace", action="remember", content="A hot secret")
        assert texts((await do(engine, "warm")).result["memories"]) == ["Serve it hot"]
        assert texts((await do(engine, "serve warm")).result["memories"]) == ["Serve it hot", "Serve it cold"]
        meanings.away = True
        assert (await do(engine, "warm")).result["memories"] == []
        assert len((await do(engine, "serve warm")).result["memories"]) == 2


# --- the plain scan


def event(number: int, content: str, kind: str = "agent_response", session: str = "s1") -> bytes:
    body = {"id": f"e{number}", "type": kind, "timestamp": "t", "session_id": session, "content": content}
    return json.dumps(body).encode()


def test_a_scan_finds_what_was_said_newest_first() -> None:
    bodies = [
        event(1, "Green tea"),
        event(2, "tea", kind="agent_status"),
        event(3, "Coffee"),
        event(4, "TEA again", kind="message", session="s2"),
        b"no json",
        event(5, "teapot"),
    ]
    events = [Stored(n, f"e{n}", body) for n, body in enumerate(bodies, 1)]
    assert texts(find(events, ("tea",), "", 9)) == ["TEA again", "Green tea"]
    assert texts(find(events, ("tea",), "s1", 9)) == ["Green tea"]
    assert texts(find(events, (), "", 2)) == ["teapot", "TEA again"]
    assert find(events, ("tea",), "", 9)[0]["score"] is None


async def test_the_scan_looks_at_the_users_last_events_and_at_nobody_elses(autojump_clock: Any, tmp_path: Path) -> None:
    async with journal_site(tmp_path) as (system, database):
        records = [Record(f"e{n}", event(n, f"tea {n}"), ("ada",)) for n in range(450)]
        database.append([*records, Record("g", event(1000, "tea of grace"), ("grace",))])
        scan = PlainScan(system.ref("/storage"), stamps(), LIMITS, 300)
        outcome = await do(scan, "tea", limit=2)
        assert texts(outcome.result["memories"]) == ["tea 449", "tea 448"]
        assert outcome.result["scanned"] == 200
        assert (await do(scan, "149")).result == {"memories": [], "scanned": 300}
        assert texts((await do(scan, "150")).result["memories"]) == ["tea 150"]
        assert (await do(scan, "tea", user="nobody")).result == {"memories": [], "scanned": 0}
        assert (await do(scan, "tea", content_type="code")).result["memories"] == []
        stored = await do(scan, action="remember", content="kept all the same")
        assert stored.result["repeated"] is False
        assert database.count_memories("ada") == 1


# --- the seam


async def test_tools_use_the_memory_through_its_address(autojump_clock: Any, tmp_path: Path) -> None:
    database = open_database(tmp_path)
    trouble = False

    async with open_system(
        supervise("root", [ChildSpec("storage", lambda: DirectJournal(database, lambda: trouble))])
    ) as system:
        journal = system.ref("/storage")
        plan = EnginePlan(
            Part("recall", None, 2, 2, lambda _: PerfectRecall(journal, stamps(), LIMITS)),
            Part("plain_scan", "recall", 2, 2, lambda _: PlainScan(journal, stamps(), LIMITS, 100)),
            POLICY,
        )
        root = supervise("root", [engine_spec(plan, EngineCounts("recall"), stamps(), structlog.get_logger())])
        async with open_system(root) as engines:
            memory = Memory(engines.ref("/recall"))
            await trio.sleep(0.1)
            memory_id = await memory.remember("ada", "Tea at 80", "solution", ["tea"], key="k")
            assert await memory.remember("ada", "Tea at 80", "solution", ["tea"], key="k") == memory_id
            recalled = await memory.recall("ada", "tea", 3, ["tea"], "solution")
            assert (texts(recalled.memories), recalled.degraded) == (["Tea at 80"], False)
            assert await memory.rate("ada", [memory_id], success=True) == 1
            assert await memory.rate("grace", [memory_id], success=False) == 0
            assert (await memory.recall("grace", "tea")).memories == []
            engines.suspend("/recall/engine")
            await trio.sleep(0.5)
            recalled = await memory.recall("ada", "tea")
            assert (recalled.memories, recalled.degraded) == ([], True)
            trouble = True
            with pytest.raises(Unavailable):
                await memory.recall("ada", "tea")
            with pytest.raises(Unavailable):
                await memory.recall("ada", "tea", by=trio.current_time() - 1)
    database.close()
