"""From merged tables to typed ones, and from what cattrs found wrong to lines that a person can act on."""

import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

import attrs
import cattrs
from cattrs.cols import homogenous_tuple_structure_factory
from cattrs.errors import AttributeValidationNote, BaseValidationError, ForbiddenExtraKeysError, IterableValidationNote
from cattrs.gen import make_dict_structure_fn

from understudy.configuration import kinds
from understudy.configuration.errors import plain, suggestion
from understudy.configuration.sources import Layers, Path, dotted
from understudy.configuration.tables import Document


@attrs.frozen
class Problem:
    """Something wrong at a place of the configuration; `says` completes a sentence that begins with the key."""

    path: Path
    says: str


def structure(tables: Mapping[str, Any]) -> Document | list[Problem]:
    """The typed document, or every problem of the tables by itself."""
    try:
        return _converter().structure(tables, Document)
    except BaseValidationError as error:
        return list(_problems(error, (), tables))


def line(problem: Problem, layers: Layers) -> str:
    """The problem as one line, led by the file and line, the variable or the flag that it comes from."""
    return f"{layers.origin(problem.path).place}: {dotted(problem.path)} {problem.says}"


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=True)
    converter.register_structure_hook(bool, lambda value, _: kinds.truth(value))
    converter.register_structure_hook(str, lambda value, _: kinds.text(value))
    converter.register_structure_hook(pathlib.Path, lambda value, _: kinds.directory(value))
    converter.register_structure_hook_func(
        lambda kind: _made_of(kind, Literal), lambda value, kind: kinds.choice(value, get_args(kind))
    )
    converter.register_structure_hook_func(lambda kind: _made_of(kind, Annotated), _annotated)
    converter.register_structure_hook_factory(attrs.has, lambda kind: _table(kind, converter))
    converter.register_structure_hook_factory(
        lambda kind: _made_of(kind, tuple), lambda kind: _sequence(kind, converter)
    )
    converter.register_structure_hook_factory(
        lambda kind: _made_of(kind, dict), lambda kind: _named_tables(kind, converter)
    )
    return converter


def _made_of(kind: Any, form: Any) -> bool:
    """Whether the type is `form[…]`."""
    return get_origin(kind) is form


def _annotated(value: Any, kind: Any) -> Any:
    plain_kind, constraint = get_args(kind)
    if isinstance(constraint, kinds.Form):
        return kinds.text_of_form(value, constraint)
    return kinds.integer(value, constraint) if plain_kind is int else kinds.number(value, constraint)


# cattrs by itself would take a text for a sequence of letters, and end in a TypeError where a table is expected.
def _table(kind: type, converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    fill: Callable[[Any, Any], Any] = make_dict_structure_fn(
        kind, converter, _cattrs_forbid_extra_keys=True, _cattrs_detailed_validation=True
    )

    def hook(value: Any, kind: Any) -> Any:
        if not isinstance(value, dict):
            raise kinds.UnfitError("a table", says="is not a table")
        return fill(value, kind)

    return hook


def _sequence(kind: Any, converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    fill: Callable[[Any, Any], Any] = homogenous_tuple_structure_factory(kind, converter)

    def hook(value: Any, kind: Any) -> Any:
        if not isinstance(value, list):
            raise kinds.UnfitError("a list, in square brackets")
        return fill(value, kind)

    return hook


def _named_tables(kind: Any, converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    table = get_args(kind)[1]
    fill = converter.get_structure_hook(table)

    def hook(value: Any, _: Any) -> Any:
        if not isinstance(value, dict):
            raise kinds.UnfitError("tables", says="is not a table of tables")
        made: dict[str, Any] = {}
        wrong: list[Exception] = []
        for name, inner in value.items():
            try:
                kinds.text_of_form(name, NAME_OF_TABLE)
                made[name] = fill(inner, table)
            except (kinds.UnfitError, BaseValidationError) as error:
                error.add_note(IterableValidationNote("", name, table))
                wrong.append(error)
        if wrong:
            raise cattrs.IterableValidationError("tables", wrong, kind)
        return made

    return hook


NAME_OF_TABLE = attrs.evolve(kinds.NAMED, allowed="letters, digits, - and _, at most 64, a letter or digit first")


def _problems(error: BaseException, path: Path, value: Any) -> Iterator[Problem]:
    if isinstance(error, BaseValidationError):
        for inner in error.exceptions:
            part = _part(inner)
            if part is None:
                yield from _problems(inner, path, value)
            else:
                yield from _problems(inner, (*path, part), _inside(value, part))
    elif isinstance(error, ForbiddenExtraKeysError):
        known = [field.name for field in attrs.fields(error.cl)]
        for name in sorted(error.extra_fields):
            yield Problem((*path, name), f"is not a known key; {suggestion(name, known)}")
    elif isinstance(error, KeyError):
        yield Problem(path, "is missing; give it a value")
    elif isinstance(error, kinds.UnfitError) and error.says is not None:
        yield Problem(path, f"{error.says}; allowed: {error.allowed}")
    elif isinstance(error, kinds.UnfitError) and error.allowed == NAME_OF_TABLE.allowed:
        yield Problem(path, f"has a name that cannot be used; allowed: {error.allowed}")
    elif isinstance(error, kinds.UnfitError):
        yield Problem(path, f"is {_shown(path, value)}; allowed: {error.allowed}")
    else:
        yield Problem(path, f"cannot be used: {plain(type(error).__name__)}")


def _part(error: BaseException) -> str | int | None:
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            return note.name
        if isinstance(note, IterableValidationNote):
            return note.index
    return None


def _inside(value: Any, part: str | int) -> Any:
    try:
        return value[part]
    except (KeyError, IndexError, TypeError):
        return None


def _shown(path: Path, value: Any) -> str:
    hidden = kinds.masked(path, value)
    return "set to what is not shown here" if hidden == "********" and hidden != value else kinds.shown(hidden)
