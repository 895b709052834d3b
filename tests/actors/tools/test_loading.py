"""Where tools come from: `module:function`, and entry points of packages that are installed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from actors.tools.definitions import BadTool
from actors.tools.loading import entry_point_tools, find_function
from tests.support import plugin_tools
from understudy.configuration import Configuration, ConfigurationError, load


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution with tools, as an installer leaves it."""
    site = tmp_path / "site"
    info = site / "acme_tools-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-tools\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[understudy.tools]\nacme_add = acme_tools:add\nacme_bad = acme_tools:none\n"
    )
    (site / "acme_tools.py").write_text('def add(a: int, b: int = 1) -> int:\n    """Add."""\n    return a + b\n')
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delitem(sys.modules, "acme_tools", raising=False)


def configured(tmp_path: Path, text: str) -> Configuration:
    file = tmp_path / "u.toml"
    file.write_text(text)
    return load(file=file, environ={}, flags={})


def refused(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as error:
        configured(tmp_path, text)
    return [problem.partition("u.toml, ")[2] for problem in error.value.problems]


def test_a_function_is_found_by_its_path() -> None:
    assert find_function("tests.support.plugin_tools:block") is plugin_tools.block


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("no_such_module:x", "no module no_such_module"),
        ("tests.support.plugin_tools:nothing", "has no nothing"),
        ("tests.support.plugin_tools:annotations", "is no function"),
        ("tests.support.plugin_tools", "module:function"),
        (":x", "module:function"),
    ],
)
def test_what_is_not_there_is_said(path: str, says: str) -> None:
    with pytest.raises(BadTool, match=says):
        find_function(path)


def test_a_module_that_fails_is_told_and_not_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "failing_tools.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(BadTool, match="ZeroDivisionError"):
        find_function("failing_tools:x")


@pytest.mark.usefixtures("installed")
def test_an_entry_point_is_a_tool_by_its_name_and_imported_only_when_it_is_named(tmp_path: Path) -> None:
    assert entry_point_tools()["acme_add"].value == "acme_tools:add"
    assert "acme_tools" not in sys.modules
    configured(tmp_path, "")
    assert "acme_tools" not in sys.modules
    made = configured(
        tmp_path, '[agents.tester]\ntools = ["acme_add", "search_memory"]\n[tools.acme_add]\ntimeout = 2\n'
    )
    tool = made.settings.tools["acme_add"]
    assert (tool.function, tool.timeout, tool.description) == ("acme_tools:add", 2.0, "Add.")
    assert made.settings.agents["tester"].tools == ("acme_add", "search_memory")
    assert made.settings.tools["search_memory"].timeout == 30.0
    shown = {line.key: str(line.source) for line in made.describe()}
    assert shown["tools.acme_add.function"] == "derived: an entry point of understudy.tools"
    assert shown["tools.acme_add.timeout"].startswith("file")
    assert refused(tmp_path, "[tools.acme_bad]") == [
        'line 1: tools.acme_bad is the tool "acme_tools:none", which cannot be found: acme_tools has no none'
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            '[agents.tester]\ntools = ["serch_memory"]',
            'line 2: agents.tester.tools#1 names the unknown tool "serch_memory"; did you mean "search_memory"?',
        ),
        (
            "[tools.mine]\ntimeout = 3",
            (
                "line 1: tools.mine has no function, and names no tool that there is; "
                "known: list_artifacts, read_artifact, remember, search_memory, start_agent, write_artifact"
            ),
        ),
        (
            '[tools.mine]\nfunction = "here"',
            'line 2: tools.mine.function is "here"; allowed: a function as "module:function"',
        ),
        (
            '[tools.mine]\nfunction = "tests.support.plugin_tools:unannotated"',
            (
                'line 2: tools.mine.function is "tests.support.plugin_tools:unannotated", which has no annotation '
                'for "city"; every parameter needs one'
            ),
        ),
        (
            '[tools.mine]\nfunction = "tests.support.plugin_tools:undocumented"',
            (
                'line 2: tools.mine.function is "tests.support.plugin_tools:undocumented", which has no docstring, '
                "which tells the model what it does; give it one, or a description"
            ),
        ),
        ("[tools.mine]\ntimeot = 1", 'line 2: tools.mine.timeot is not a known key; did you mean "timeout"?'),
        (
            "[tools.remember]\ntimeout = 0",
            "line 2: tools.remember.timeout is 0; allowed: a number from 0.01 to 86400 (seconds)",
        ),
        ("[agents.tester]\napproval = 1", "line 2: agents.tester.approval is 1; allowed: true or false"),
        (
            "[agents.tester]\nmax_concurrent_tasks = 0",
            "line 2: agents.tester.max_concurrent_tasks is 0; allowed: a whole number from 1 to 100000",
        ),
        (
            '[agents.tester]\ncapabilities = ["a b", " "]',
            'line 2: agents.tester.capabilities#2 is " "; allowed: a text of 1 to 100 characters',
        ),
        (
            f"[agents.tester]\ncapabilities = {[str(number) for number in range(51)]}",
            "line 2: agents.tester.capabilities has 51 texts; allowed: at most 50",
        ),
    ],
)
def test_a_mistake_names_key_value_and_what_is_allowed(tmp_path: Path, text: str, line: str) -> None:
    assert refused(tmp_path, text) == [line]


def test_a_server_of_tools_is_named_as_a_tool_is(tmp_path: Path) -> None:
    made = configured(tmp_path, '[mcp.files]\ncommand = "x"\nargs = ["-r"]\n[agents.tester]\ntools = ["files"]')
    assert made.settings.mcp["files"].args == ("-r",)
    assert made.settings.agents["tester"].tools == ("files",)
    assert refused(tmp_path, '[mcp.remember]\ncommand = "x"\n[tools.remember]\ntimeout = 1') == [
        'line 1: mcp.remember has the name of a tool, "remember"; give it another'
    ]
