"""That every trap has its test; and the tests of those that belong to proofs."""

from __future__ import annotations

import ast
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime import Actor, Crash, Report, Spec
from runtime.testing import CancelPoint, every_cancellation, open_test_system, run_in_virtual_time
from tests.proofs.traps import ROOT, TRAPS, name_of


@pytest.mark.parametrize("module", TRAPS)
def test_each_trap_has_a_test_that_is_named_after_it(module: str):
    functions = {
        node.name: node
        for node in ast.parse((ROOT / module).read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    for trap in TRAPS[module]:
        function = functions.get(name_of(trap))
        assert function is not None, f"no test in {module} is named {name_of(trap)}"
        marks = " ".join(map(ast.unparse, function.decorator_list))
        assert not {"skip", "skipif", "xfail"} & set(marks.replace("(", ".").split("."))
        assert any(isinstance(node, ast.Assert | ast.With | ast.AsyncWith) for node in ast.walk(function))


def test_each_test_of_a_trap_is_in_the_list():
    module = "tests/runtime/test_traps.py"
    tests = [
        node.name
        for node in ast.parse((ROOT / module).read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    ]
    assert sorted(tests) == sorted(map(name_of, TRAPS[module]))


def test_the_hosts_own_cancelled_is_taken_for_a_failure_and_does_not_pass():
    """Trio's nurseries need it back. Cut off anywhere, nothing crashes, and the scope that was cancelled catches it."""

    class Busy(Actor):
        async def started(self) -> None:
            self.start(trio.sleep_forever)

        async def receive(self, message: Any) -> None:
            await trio.sleep_forever()

    async def scenario(point: CancelPoint) -> None:
        reports: list[Report] = []
        finished = False
        with point.exposed() as scope:
            async with open_test_system(report=reports.append) as kit:
                busy = await kit.spawn(Spec("busy", Busy, shutdown=1.0))
                busy.tell("work")
                await kit.stop(busy)
            finished = True
        assert finished or scope.cancelled_caught
        assert [report.error for report in reports if isinstance(report, Crash)] in ([], [None]), "only the kill"

    assert every_cancellation(scenario) > 10


def test_hypothesis_runs_every_example_under_one_schedule():
    """It seeds trio's generator anew for each example, and always alike: the seed has to be drawn."""

    def orders(seeds: st.SearchStrategy[int | None]) -> set[tuple[int, ...]]:
        found: set[tuple[int, ...]] = set()

        async def race() -> None:
            order: list[int] = []

            async def note(number: int) -> None:
                order.append(number)

            async with trio.open_nursery() as nursery:
                for number in range(4):
                    nursery.start_soon(note, number)
            found.add(tuple(order))

        @settings(max_examples=20, database=None)
        @given(seeds, st.integers())
        def example(seed: int | None, _: int) -> None:
            run_in_virtual_time(race, seed=seed)

        example()
        return found

    assert len(orders(st.none())) == 1
    assert len(orders(st.integers(0, 2**16))) > 5
