"""A graph of tasks: read and checked whole before any of it begins, and what may begin when. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import attrs

from actors.engines.fields import Fields

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
LONGEST_MISSION: Final = 20_000
MOST_RETRIES: Final = 10
LONGEST_TIMEOUT: Final = 86_400.0
PARAMETERS: Final = ("tasks", "items", "agent")
MEMBERS: Final = ("name", "worker", "mission", "agent", "depends_on", "retries", "timeout", "limit")


@attrs.frozen
class Defaults:
    """What a task is given that does not say itself; times in seconds."""

    retries: int = 1
    timeout: float = 120.0


@attrs.frozen
class WorkTask:
    """One task of a graph.

    Attributes:
        name: unique in its graph.
        worker: the type of worker that does it.
        mission: what is to be done; of a search, the query.
        depends_on: the tasks whose results it is given, and waits for.
        agent: for an agent's work, which one of the configuration; empty: the engine's own.
        retries: how often it is tried again after a failure.
        timeout: seconds for one try.
        limit: of a search, how many results.
    """

    name: str
    worker: str
    mission: str
    depends_on: tuple[str, ...] = ()
    agent: str = ""
    retries: int = 1
    timeout: float = 120.0
    limit: int = 5


def read_graph(
    parameters: Mapping[str, Any],
    description: str,
    *,
    workers: Collection[str],
    agents: Collection[str],
    most: int,
    defaults: Defaults,
) -> tuple[tuple[WorkTask, ...], dict[str, str]]:
    """The tasks of a request, and what is wrong with it by place; where anything is, the tasks mean nothing.

    `tasks` is a list of objects (`MEMBERS`); `items` a list of texts, each of which becomes an agent's task that is
    given the description too; without either, the description is one task.
    """
    problems: dict[str, str] = {}
    fields = Fields(parameters, PARAMETERS, problems)
    agent = fields.one_of("agent", agents, "") or ""
    listed = parameters.get("tasks")
    items = fields.texts("items", most=most, longest=LONGEST_MISSION)
    if listed is None:
        if not items and not description.strip():
            problems["description"] = "Say what is wanted here, or by tasks or items."
        missions = items or (description,)
        return tuple(
            WorkTask(
                f"item-{number}", "agent", mission, agent=agent, retries=defaults.retries, timeout=defaults.timeout
            )
            for number, mission in enumerate(missions, 1)
        ), problems
    if items:
        fields.wrong("items", "There may be tasks or items, not both.")
    if not isinstance(listed, list) or not 1 <= len(listed) <= most:
        fields.wrong("tasks", f"This must be a list of 1 to {most} tasks.")
        return (), problems
    tasks = tuple(
        _read_task(each, index, problems, workers=workers, agents=agents, agent=agent, defaults=defaults)
        for index, each in enumerate(listed)
    )
    if not problems:
        _check(tasks, problems)
    return tasks, problems


def _read_task(
    value: object,
    index: int,
    problems: dict[str, str],
    *,
    workers: Collection[str],
    agents: Collection[str],
    agent: str,
    defaults: Defaults,
) -> WorkTask:
    place = f"parameters.tasks[{index}]"
    if not isinstance(value, dict):
        problems[place] = "A task is an object."
        return WorkTask("", "", "")
    fields = Fields(value, MEMBERS, problems, f"{place}.")
    name = fields.text("name", longest=64, needed=True)
    if name and not NAME.fullmatch(name):
        fields.wrong("name", "A name has letters, digits, '.', '_' and '-', at most 64, a letter or digit first.")
    return WorkTask(
        name=name,
        worker=fields.one_of("worker", workers, "agent") or "agent",
        mission=fields.text("mission", longest=LONGEST_MISSION, needed=True),
        depends_on=tuple(dict.fromkeys(fields.texts("depends_on", most=100, longest=64))),
        agent=fields.one_of("agent", agents, agent) or "",
        retries=fields.whole("retries", defaults.retries, low=0, high=MOST_RETRIES),
        timeout=fields.seconds("timeout", defaults.timeout, high=LONGEST_TIMEOUT),
        limit=fields.whole("limit", 5, low=1, high=50),
    )


def _check(tasks: Sequence[WorkTask], problems: dict[str, str]) -> None:
    """Names and dependencies, over all tasks."""
    names = [task.name for task in tasks]
    for index, task in enumerate(tasks):
        if task.name in names[:index]:
            problems[f"parameters.tasks[{index}].name"] = f'There is a task "{task.name}" already.'
        unknown = [name for name in task.depends_on if name not in names]
        if unknown:
            shown = ", ".join(f'"{name}"' for name in unknown)
            known = ", ".join(names)[:300]
            problems[f"parameters.tasks[{index}].depends_on"] = f"There is no task {shown}. There are: {known}."
    if not problems:
        cycle = find_cycle(tasks)
        if cycle:
            problems["parameters.tasks"] = f"These tasks wait for each other: {' → '.join(cycle)}."


def find_cycle(tasks: Sequence[WorkTask]) -> tuple[str, ...]:
    """The names along one cycle, the first one again at its end; nothing if there is none."""
    waits_for = {task.name: task.depends_on for task in tasks}
    left = dict(waits_for)
    while free := [name for name, others in left.items() if not any(other in left for other in others)]:
        for name in free:
            del left[name]
    if not left:
        return ()
    path = [next(iter(left))]
    while True:  # whoever is left waits for one that is left, so this comes round
        following = next(name for name in waits_for[path[-1]] if name in left)
        if following in path:
            return (*path[path.index(following) :], following)
        path.append(following)


def in_order(tasks: Sequence[WorkTask]) -> list[WorkTask]:
    """Each task behind all that it waits for, and else as they were given. The graph has no cycle."""
    ordered: dict[str, WorkTask] = {}
    waiting = list(tasks)
    while waiting:
        free = next(task for task in waiting if all(name in ordered for name in task.depends_on))
        ordered[free.name] = free
        waiting.remove(free)
    return list(ordered.values())


def may_begin(tasks: Sequence[WorkTask], begun: Collection[str], ended: Collection[str]) -> list[WorkTask]:
    """The tasks that have not begun, and wait for nothing that has not ended."""
    return [task for task in tasks if task.name not in begun and all(name in ended for name in task.depends_on)]
