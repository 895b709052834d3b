"""Every example in the guide, and in the docstrings, is run."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import trio

import runtime.testing
from runtime import Actor, Spec
from runtime.testing import CancelPoint, ScheduleTrace, every_cancellation, run_in_virtual_time

pytest_plugins = ["pytester"]

GUIDE = Path(runtime.testing.__file__).with_name("README.md").read_text()
ALREADY_IMPORTED = ("-W", "ignore::pytest.PytestAssertRewriteWarning")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)


def test_the_plain_examples_of_the_guide():
    """They follow one another, like the reader."""
    names: dict[str, Any] = {}
    examples = blocks("python")
    assert len(examples) == 5
    for example in examples:
        exec(example, names)


@pytest.mark.parametrize("example", blocks("python pytest"), ids=["fixture", "schedule", "hypothesis"])
def test_the_pytest_examples_of_the_guide(pytester: pytest.Pytester, example: str):
    pytester.makeini("[pytest]\ntrio_mode = true\n")
    pytester.makepyfile(example)
    pytester.runpytest_inprocess(*ALREADY_IMPORTED, "-p", "no:cacheprovider").assert_outcomes(passed=1)


def test_everything_public_is_in_the_guide():
    public = [name for name in vars(runtime.testing) if name[0].isalpha() and name != "plugin"]
    absent = {name for name in public if name not in GUIDE}
    assert absent <= {"ActorTestKit", "CancelPoint", "busy_threads", "kernel_tasks"}, absent


class Greeter(Actor):
    async def receive(self, message: Any) -> object:
        name, reply_to = message
        reply_to.tell(f"Hello, {name}")
        return "done"


def example_of(documented: Any) -> str:
    """The indented lines of a docstring that are code."""
    assert documented.__doc__ is not None
    lines = dedent("    " + documented.__doc__ if documented is not runtime.testing else documented.__doc__)
    found = re.search(r"\n\n((?:    .*\n|\n)+)", lines)
    assert found, documented
    return dedent(found[1])


def test_the_example_of_the_package():
    exec(example_of(runtime.testing), {"Actor": Actor, "Spec": Spec, **vars(runtime.testing)})


def test_the_example_of_every_cancellation():
    class Polite(Actor):
        async def receive(self, name: Any) -> object:
            return f"Hello, {name}"

    names = {"Spec": Spec, "Greeter": Polite, **vars(runtime.testing)}
    exec(example_of(every_cancellation), names)


def test_the_example_of_a_trace():
    async def main() -> None:
        await trio.sleep(1.0)

    before = ScheduleTrace()
    run_in_virtual_time(main, seed=7, instruments=[before])
    names = {"main": main, "what_it_was_before": before.steps, **vars(runtime.testing)}
    exec(example_of(ScheduleTrace), names)
    exec(example_of(run_in_virtual_time), dict(vars(runtime.testing), trio=trio))


def test_a_cancel_point_is_an_instrument():
    assert isinstance(CancelPoint(0), trio.abc.Instrument)
