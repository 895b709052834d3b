"""A tool made of a plain Python function: its annotations become the schema, its docstring the description.

Arguments are read with the types of the annotations, strictly: `"3"` is no integer. What a model words wrongly it is
told in words that it can act on, and the function is not called.
"""

from __future__ import annotations

import inspect
import re
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, get_type_hints

import attrs
import msgspec

from actors.models.tools import Tool
from actors.tools.context import ToolContext

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actors.models.tools import ToolCall

TIMEOUT: Final = 30.0
"""Seconds that a call may take where the configuration does not say."""
NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_KINDS: Final = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class BadTool(ValueError):
    """This function cannot be a tool. `str()` of it completes a sentence that begins with the function."""


class BadArguments(Exception):
    """The arguments do not fit; `str()` of it says what is wrong, for the model."""


class Read(Protocol):
    """Turns what the model words into what the tool is called with. Raises BadArguments."""

    def __call__(self, call: ToolCall) -> Mapping[str, Any]: ...


@attrs.frozen
class ToolDefinition:
    """A tool.

    Attributes:
        name: as the model calls it.
        description: what it does, for the model.
        schema: of its arguments: the JSON schema of an object.
        call: carries it out; called with what `read` gives, and the context. Gives a value that JSON has a word for.
        is_async: whether `call` gives an awaitable; otherwise it blocks, and runs in a thread.
        timeout: seconds that a call may take.
        read: reads the arguments.
    """

    name: str
    description: str
    schema: Mapping[str, Any]
    call: Callable[[Mapping[str, Any], ToolContext], Any]
    is_async: bool
    timeout: float
    read: Read

    @property
    def offered(self) -> Tool:
        """As a model is told of it."""
        return Tool(self.name, self.description, self.schema)


def tool_from(
    function: Callable[..., Any], *, name: str | None = None, description: str | None = None, timeout: float = TIMEOUT
) -> ToolDefinition:
    """The tool that calls this function.

    Args:
        function: plain or a coroutine function. Every parameter is annotated and can be given by keyword; one that is
            annotated `ToolContext` is given by the daemon.
        name: instead of the function's own.
        description: instead of its docstring.
        timeout: seconds that a call may take.

    Raises:
        BadTool: it cannot be one.
    """
    own_name = name if name is not None else str(getattr(function, "__name__", ""))
    if NAME.fullmatch(own_name) is None:
        raise BadTool(f'would be a tool named "{own_name}"; allowed: 1 to 64 letters, digits, - and _')
    if not callable(function):
        raise BadTool("is no function")
    told = description if description is not None else inspect.getdoc(function) or ""
    if not told.strip():
        raise BadTool("has no docstring, which tells the model what it does; give it one, or a description")
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        raise BadTool("is a generator; allowed: a function that returns its result")
    fields, context = _parameters(function)
    arguments = _arguments(own_name, fields)

    def read(call: ToolCall) -> Mapping[str, Any]:
        if call.input is None:
            raise BadArguments(call.problem)
        try:
            read = msgspec.convert(call.input, arguments)
        except (msgspec.ValidationError, RecursionError) as error:
            raise BadArguments(
                f"The arguments of {own_name} do not fit: {error}. Call it again with ones that do."
            ) from None
        return {field: getattr(read, field) for field in arguments.__struct_fields__}

    def carry_out(values: Mapping[str, Any], given: ToolContext) -> Any:
        return function(**values, **({} if context is None else {context: given}))

    is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - of an object that is called like a function
    )
    return ToolDefinition(own_name, told.strip(), _schema(arguments), carry_out, is_async, timeout, read)


def _parameters(function: Callable[..., Any]) -> tuple[list[tuple[str, Any, Any]], str | None]:
    """(name, type, default) of each parameter that the model gives, and the name of the one that takes the context."""
    try:
        hints = get_type_hints(function, include_extras=True)
        parameters = inspect.signature(function).parameters.values()
    except (NameError, TypeError, ValueError, AttributeError) as error:
        raise BadTool(f"has annotations that cannot be read ({error})") from None
    fields: list[tuple[str, Any, Any]] = []
    context: str | None = None
    for parameter in parameters:
        name = parameter.name
        if parameter.kind not in _KINDS:
            raise BadTool(f'takes "{name}", which cannot be given by one keyword; allowed: plain parameters')
        if name not in hints:
            raise BadTool(f'has no annotation for "{name}"; every parameter needs one')
        if hints[name] is ToolContext:
            context = name
        elif parameter.default is inspect.Parameter.empty:
            fields.append((name, hints[name], msgspec.NODEFAULT))
        else:
            fields.append((name, hints[name], parameter.default))
    return fields, context


def _arguments(name: str, fields: list[tuple[str, Any, Any]]) -> type[msgspec.Struct]:
    plain = [(field, kind, _field(default)) for field, kind, default in fields]
    try:
        arguments = msgspec.defstruct(f"Arguments_{name}", plain, kw_only=True, forbid_unknown_fields=True, frozen=True)
        msgspec.convert({}, dict[str, arguments])  # type: ignore[valid-type]  # looks at every type
    except (TypeError, ValueError, NameError) as error:
        raise BadTool(f"has parameters of which no schema can be made ({error})") from None
    return arguments


def _field(default: Any) -> Any:
    if isinstance(default, list | dict | set | bytearray):
        return msgspec.field(default_factory=partial(copy, default))
    return msgspec.field(default=default)


def _schema(arguments: type[msgspec.Struct]) -> Mapping[str, Any]:
    try:
        (_,), components = msgspec.json.schema_components([arguments], ref_template="#/$defs/{name}")
    except (TypeError, ValueError) as error:
        raise BadTool(f"has parameters of which no schema can be made ({error})") from None
    schema = dict(components.pop(arguments.__name__))
    schema.pop("title", None)
    return {**schema, "$defs": dict(components)} if components else schema
