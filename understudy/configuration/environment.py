"""The variables: `UNDERSTUDY_SECTION_KEY` for every key that holds one value, and the two that the field shares.

The known names are made from the keys, never read from the names: `models.my-model.base_url` is
UNDERSTUDY_MODELS_MY_MODEL_BASE_URL, and only a list of what there is tells where the name of the model ends. So a
variable reaches the models and agents that the default configuration or the file has; it makes no new ones.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, get_args, get_origin

import attrs

from understudy.configuration.errors import nearest_word, plain
from understudy.configuration.sources import Layers, Source
from understudy.configuration.tables import Document

PREFIX = "UNDERSTUDY_"
SHARED = {
    "OPENAI_API_KEY": ("models", "default", "api_key"),
    "OPENAI_BASE_URL": ("models", "default", "base_url"),
}
"""Variables that many programs read. They stand just above the shipped defaults, and below the file."""


def lay_shared(environ: Mapping[str, str], layers: Layers) -> None:
    """Lay OPENAI_API_KEY and OPENAI_BASE_URL over the defaults. An empty variable counts as not set."""
    for name, path in SHARED.items():
        value = environ.get(name, "").strip()
        if value:
            layers.put(path, value, Source("environment", name))


def lay_own(environ: Mapping[str, str], layers: Layers) -> list[str]:
    """Lay the UNDERSTUDY_ variables over what is there; returns a line for each that names no key, or two.

    An empty variable counts as not set, as a shell or a compose file leaves it. Lists are written with commas.
    """
    problems: list[str] = []
    known = variables(layers.tables)
    for name in sorted(name for name in environ if name.startswith(PREFIX)):
        keys = known.get(name, [])
        if not keys:
            hint = _hint(name.removeprefix(PREFIX), {variable.removeprefix(PREFIX) for variable in known})
            problems.append(f"environment variable {plain(name)} is not known; {hint}")
        elif len(keys) > 1:
            places = " and ".join(".".join(path) for path, _ in keys)
            problems.append(f"environment variable {name} could mean {places}; set these in the file")
        elif environ[name].strip():
            path, kind = keys[0]
            layers.put(path, read(environ[name], kind), Source("environment", name))
    return problems


def _hint(rest: str, known: Collection[str]) -> str:
    near = nearest_word(rest, known)  # compared without the prefix that all share, or everything would be near
    if near is not None:
        return f"did you mean {PREFIX}{near}?"
    return f"known are {PREFIX}SECTION_KEY, like {PREFIX}SERVER_PORT; `understudy config` prints the keys"


def variables(tables: Mapping[str, Any]) -> dict[str, list[tuple[tuple[str, ...], Any]]]:
    """Each variable's name with the keys that it stands for (one, unless two names differ only in - and _)."""
    known: dict[str, list[tuple[tuple[str, ...], Any]]] = {}
    for path, kind in _keys(tables):
        name = PREFIX + re.sub(r"[^A-Z0-9]", "_", "_".join(path).upper())
        known.setdefault(name, []).append((path, kind))
    return known


def read(text: str, kind: Any) -> Any:
    """A variable's text as TOML would have given it; what is no number stays a text, and is refused as such later."""
    plain_kind = _plain(kind)
    if get_origin(plain_kind) is tuple:
        return [read(part.strip(), get_args(plain_kind)[0]) for part in text.split(",") if part.strip()]
    if plain_kind is bool:
        return {"true": True, "false": False}.get(text.strip().lower(), text)
    try:
        return plain_kind(text) if plain_kind in {int, float} else text
    except ValueError:
        return text


def kind_of(path: tuple[str, ...]) -> Any:
    """The type of the key at `path`, a key of a plain section or of a model or agent."""
    kind: Any = Document
    for part in path:
        kind = get_args(kind)[1] if get_origin(kind) is dict else attrs.fields_dict(kind)[part].type
    return kind


def _keys(tables: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for section in attrs.fields(Document):
        if isinstance(section.type, type) and attrs.has(section.type):
            yield from _keys_below((section.name,), section.type)
        elif section.name != "workflows":  # a workflow is a graph, replaced whole: none of it is one value
            table = get_args(section.type)[1]
            named = tables.get(section.name)
            for name in named if isinstance(named, dict) else ():
                for key in attrs.fields(table):
                    yield (section.name, name, key.name), key.type


def _keys_below(path: tuple[str, ...], table: type) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The keys of a section, and of the tables in it."""
    for key in attrs.fields(table):
        if isinstance(key.type, type) and attrs.has(key.type):
            yield from _keys_below((*path, key.name), key.type)
        else:
            yield (*path, key.name), key.type


def _plain(kind: Any) -> Any:
    if get_origin(kind) is UnionType or type(None) in get_args(kind):
        kind = next(inner for inner in get_args(kind) if inner is not NoneType)
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind
