from __future__ import annotations

import re
from html.parser import HTMLParser

from understudy.console import CONTENT_SECURITY_POLICY, assets


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "link"):
            self.open.append(tag)
        self.scripts += tag == "script" or any(name.startswith("on") or name == "style" for name, _ in attributes)
        self.addresses += [value or "" for name, value in attributes if name in ("href", "src")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_from_elsewhere() -> None:
    page, sheet = assets()
    assert (page.path, page.media_type) == ("/", "text/html; charset=utf-8")
    parser = Page()
    parser.feed(page.content.decode())
    assert parser.open == []
    assert parser.scripts == 0
    assert parser.addresses == ["data:,", sheet.path, "/health", "/ready", "/metrics", "/api/supervisors"]
    assert "understudy run" in page.content.decode()
    assert not re.search(r"url\(|@import", sheet.content.decode())


def test_the_policy_allows_no_script() -> None:
    assert "default-src 'none'" in CONTENT_SECURITY_POLICY
    assert "script-src" not in CONTENT_SECURITY_POLICY
