"""What can be configured does something: each key is read, and each flag can be given."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import attrs

from understudy import cli
from understudy.configuration.flags import FLAGS
from understudy.configuration.tables import Document

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = Path(cli.__file__).parent
DECLARING = {"tables.py", "engine_tables.py"}


def tables(kind: Any) -> Iterator[type]:
    """The class of a table, and those of all tables in it."""
    if isinstance(kind, type) and attrs.has(kind):
        yield kind
        for key in attrs.fields(kind):
            yield from tables(key.type)
    else:
        for part in get_args(kind):
            yield from tables(part)


def names_read() -> set[str]:
    """The names of all attributes that the program reads, but for the modules that only say which keys there are."""
    trees = [ast.parse(path.read_text()) for path in PROGRAM.rglob("*.py") if path.name not in DECLARING]
    nodes = (node for tree in trees for node in ast.walk(tree))
    return {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)}


def test_every_key_is_read_by_the_program() -> None:
    keys = {f"{table.__name__}.{key.name}" for table in tables(Document) for key in attrs.fields(table)}
    assert len(keys) > 100
    read = names_read()
    assert {key for key in keys if key.partition(".")[2] not in read} == set()


def test_every_flag_can_be_given() -> None:
    assert set(FLAGS) == set(inspect.signature(cli.serve).parameters) - {"config"}
