"""The documentation as a site: every page is in its navigation, it builds without a warning, and asks no other host."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT

CONFIG = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href", "object": "data"}
"""What a page loads by itself, by element; what a reader may click on is none of it."""


def pages(entries: list[Any]) -> Iterator[str]:
    """Yield the pages of the navigation."""
    for entry in entries:
        for value in entry.values():
            yield from pages(value) if isinstance(value, list) else [value]


def test_every_page_is_in_the_navigation_once() -> None:
    listed = list(pages(CONFIG["nav"]))
    assert len(listed) == len(set(listed))
    missing = {path.name for path in (ROOT / "docs").glob("*.md")} - set(listed)
    assert not missing, f"give {sorted(missing)} a line each under `nav` of mkdocs.yml"


def test_every_picture_is_in_the_gallery() -> None:
    gallery = (ROOT / "docs" / "gallery.md").read_text()
    pictures = [path for path in (ROOT / "docs").rglob("*") if path.suffix in (".svg", ".png")]
    assert pictures
    assert [path.name for path in pictures if f"({path.relative_to(ROOT / 'docs')})" not in gallery] == []


class Loads(HTMLParser):
    """Collects what a page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        if tag in LOADS and found.get("rel") not in ("canonical", "next", "prev"):
            self.urls.append(found.get(LOADS[tag]) or "")


def elsewhere(text: str) -> list[str]:
    """Return what a page or a style sheet loads from other hosts."""
    parser = Loads()
    parser.feed(text)
    sheets = re.findall(r"url\(\s*['\"]?([^'\")]+)", text) + re.findall(r"@import\s+['\"]([^'\"]+)", text)
    return [url for url in (*parser.urls, *sheets) if re.match(r"(\w+:)?//", url)]


def test_a_request_to_another_host_would_be_found() -> None:
    assert elsewhere('<a href="https://a.example/">a</a> <img src="a.svg"> <link rel="next" href="//a.example">') == []
    for text in (
        '<script src="https://a.example/a.js"></script>',
        '<link rel="stylesheet" href="//a.example/a.css">',
        "@font-face {src: url('https://a.example/a.woff2')}",
    ):
        assert len(elsewhere(text)) == 1, text


@pytest.mark.slow
@pytest.mark.skipif(not (find_spec("mkdocs") or "CI" in os.environ), reason="the extra `docs` is not installed")
def test_the_site_builds_without_a_warning_and_asks_no_other_host(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(build, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr
    sheets = [*tmp_path.rglob("*.html"), *tmp_path.rglob("*.css")]
    assert {str(path.relative_to(tmp_path)): found for path in sheets if (found := elsewhere(path.read_text()))} == {}

    for page in pages(CONFIG["nav"]):
        assert (tmp_path / page).with_suffix(".html").is_file(), page
    text = (tmp_path / "commands" / "export.html").read_text()
    assert "--input-size" in text and "mobilekit export ghostnetv2" in text
    assert "correct_bias" in (tmp_path / "reference" / "recipe.html").read_text()
    assert "fold-batch-norm" in (tmp_path / "reference" / "rewrites.html").read_text()
    assert "load_model" in (tmp_path / "reference" / "python.html").read_text()
    assert (tmp_path / "reference" / "schemas" / "ledger.json").is_file()
    assert (tmp_path / "findings" / "litert-sqrt-floor.sh").is_file()
