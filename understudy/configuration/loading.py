"""From the four sources to one checked configuration."""

from __future__ import annotations

import importlib.resources
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from understudy.configuration import sources
from understudy.configuration.environment import lay_own, lay_shared
from understudy.configuration.errors import ConfigurationError, plain
from understudy.configuration.files import FileSource, parse, read
from understudy.configuration.flags import lay_flags
from understudy.configuration.settings import Settings, check, settle
from understudy.configuration.structure import Problem, line, structure
from understudy.configuration.tools import find_tools
from understudy.configuration.view import Line, lines

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE = "understudy.toml"
"""The file that is read from the working directory where none is named."""
SHIPPED = ("default.toml", "workflows/remediation.toml", "workflows/review.toml")
"""The shipped configuration: every key with its default, and two more workflows with their agents."""


@attrs.frozen
class Configuration:
    """What is in force, and where each value came from.

    `origins` may hold more than the leaves of `settings` (tables, elements of lists). Two configurations share nothing.
    """

    settings: Settings
    origins: Mapping[sources.Path, sources.Source] = attrs.field(repr=False)

    def describe(self) -> list[Line]:
        """Every value with its source, in the order of the settings; secrets are masked."""
        return lines(self.settings, self.origins)


def load(*, file: Path | None, environ: Mapping[str, str], flags: Mapping[str, object]) -> Configuration:
    """Read, merge and check the configuration.

    From low to high: the shipped defaults, OPENAI_API_KEY and OPENAI_BASE_URL, the file, UNDERSTUDY_ variables, flags.

    Parameters:
        file: the TOML file; None reads `understudy.toml` in the working directory, if there is one.
        environ: the environment, usually `os.environ`; it is not kept.
        flags: values of flags.FLAGS by name, `{"port": 12000}`; None stands for a flag that was not given.

    Raises ConfigurationError, and nothing else, with a line for each problem. Where the TOML itself is broken, that is
    the only problem told. Reads files, imports the modules of tools and may look up `localhost`; call it before trio
    starts.
    """
    layers = sources.Layers()
    for name in SHIPPED:
        layers.lay(parse(_shipped(name), name), lambda _: sources.DEFAULT)
    lay_shared(environ, layers)
    path = Path(FILE) if file is None else file
    text = read(path, required=file is not None)
    if text is not None:
        layers.lay(parse(text, str(path)), FileSource(str(path), text))
    # The variables are known by what is in the tables, so they come after the file in more than rank.
    problems = [*lay_own(environ, layers), *lay_flags(flags, layers)]
    document = structure(layers.tables)
    if isinstance(document, list):
        raise ConfigurationError([*_told(document, layers), *problems])
    settings, derived = settle(document)
    found = find_tools(document)
    settings = attrs.evolve(settings, tools=found.tools, mcp=document.mcp)
    problems = [*_told([*check(settings), *found.problems], layers), *problems]
    if problems:
        raise ConfigurationError(problems)
    return Configuration(settings=settings, origins={**layers.origins, **found.derived, **derived})


def _shipped(name: str) -> str:
    return importlib.resources.files("understudy.configuration").joinpath(name).read_text("utf-8")


def _told(problems: list[Problem], layers: sources.Layers) -> list[str]:
    return [plain(line(problem, layers)) for problem in problems]
