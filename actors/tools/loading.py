"""Where tools come from: `module:function`, or the entry points of the group `understudy.tools`, by name.

An entry point is loaded only when something names it: what else is installed on the machine runs no code here.
"""

from __future__ import annotations

import importlib
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Final

from actors.tools.definitions import BadTool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

GROUP: Final = "understudy.tools"


def entry_point_tools() -> Mapping[str, EntryPoint]:
    """The entry points of the group, by name; of several with one name the first."""
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=GROUP):
        found.setdefault(point.name, point)
    return found


def find_function(path: str) -> Callable[..., Any]:
    """The function at `module:function`; `function` may have dots.

    Raises:
        BadTool: there is none, or its module cannot be imported.
    """
    module_name, colon, name = path.partition(":")
    if not colon or not module_name or not name:
        raise BadTool('is not of the form "module:function"')
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise BadTool(f"cannot be found: there is no module {error.name}") from None
    except Exception as error:  # noqa: BLE001 - whatever the module of an operator does when it is imported
        raise BadTool(f"cannot be imported: {type(error).__name__}: {error}") from None
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise BadTool(f"cannot be found: {module_name} has no {name}") from None
    if not callable(found):
        raise BadTool("is no function")
    function: Callable[..., Any] = found
    return function
