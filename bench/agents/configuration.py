"""The daemon's configuration in each scenario. Pure: text."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from understudy import configuration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

USUAL: Final = """
[server]
log_format = "json"
[connections]
per_user = 1000
commands_per_minute = 1000000
"""
"""Only limits that the load would run into; all else is as by default."""

AT_ONCE: Final = 10_000
"""Tasks of one agent: what may not be what is measured."""
REMEDIATION: Final = Path(configuration.__file__).parent / "workflows" / "remediation.toml"

Step = tuple[str, str, tuple[str, ...]]
"""Name, agent, and what it waits for."""


def model(name: str, model: str, port: int, **limits: int) -> str:
    """An endpoint."""
    lines = [f"[models.{name}]", f'model = "{model}"', f'base_url = "http://127.0.0.1:{port}/v1"']
    return "\n".join([*lines, *(f"{key} = {value}" for key, value in limits.items()), ""])


def agent(name: str, *models: str) -> str:
    """One with this chain."""
    chain = ", ".join(map(quoted, models))
    lines = (
        f"[agents.{name}]",
        'role = "Speaker"',
        'prompt = "Say what you have to say."',
        f"models = [{chain}]",
        f'capabilities = ["{name}"]',
        f"max_concurrent_tasks = {AT_ONCE}",
    )
    return "\n".join([*lines, ""])


def workflow(name: str, steps: Sequence[Step]) -> str:
    """A workflow of these steps."""
    lines = (
        f'    {{ name = "{step}", agent = "{who}", depends_on = [{", ".join(map(quoted, after))}] }},'
        for step, who, after in steps
    )
    return "\n".join([f'[workflows.{name}]\ntitle = "{name}"', "steps = [", *lines, "]", ""])


def quoted(text: str) -> str:
    return f'"{text}"'


def single(name: str, *models: str) -> str:
    """An agent, and a workflow of the same name in which it answers."""
    return agent(name, *models) + workflow(name, [(name, name, ())])


def streams(port: int, kinds: Mapping[str, str]) -> str:
    """A daemon for the provider on `port`: workflow → what the provider is asked for."""
    first, *others = kinds
    models = [model("default", kinds[first], port)]
    models += [f'[models.{name}]\nmodel = "{kinds[name]}"\n' for name in others]
    return USUAL + "".join([*models, single(first, "default"), *(single(name, name) for name in others)])


def batches(size: int, count: int) -> list[Step]:
    """`count` batches of `size` steps, each of which waits for the whole batch before."""
    named = [[f"step-{batch}-{number}" for number in range(size)] for batch in range(count)]
    return [
        (name, "worker", tuple(named[batch - 1]) if batch else ())
        for batch, names in enumerate(named)
        for name in names
    ]


def shipped() -> tuple[list[Step], list[str]]:
    """The steps of the workflow `remediation` that comes with the daemon, and the agents that only validate.

    What they wait for is left out: the daemon has it.
    """
    steps = tomllib.loads(REMEDIATION.read_text())["workflows"]["remediation"]["steps"]
    validators = sorted({step["agent"] for step in steps if "validates" in step})
    return [(step["name"], step["agent"], ()) for step in steps], validators


def chain_of(name: str, *models: str) -> str:
    """Another chain for an agent that comes with the daemon."""
    return f"[agents.{name}]\nmodels = [{', '.join(map(quoted, models))}]\n"


def in_sequence(steps: Sequence[Step]) -> list[Step]:
    """The same steps, one after the other."""
    return [(name, who, (steps[place - 1][0],) if place else ()) for place, (name, who, _) in enumerate(steps)]
