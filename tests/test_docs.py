"""The documents say what the tool does."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from mobilekit.cli.app import app
from tests.conftest import ROOT, Cli

DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def test_the_table_of_models_is_the_tools(cli: Cli) -> None:
    text = (ROOT / "docs" / "models.md").read_text()
    begin, end = "<!-- benchmarks/models_table.py -->", "<!-- end -->"
    lines = text.split(begin)[1].split(end)[0].strip().splitlines()[2:]
    rows = {cells[0]: cells for line in lines if (cells := [cell.strip() for cell in line.strip("|").split("|")])}
    models = json.loads(cli("models", "--json").stdout)
    assert set(rows) == {model["name"] for model in models}
    for model in models:
        cells = rows[model["name"]]
        assert cells[2] == f"{model['params']:,}"
        assert cells[5] == f"{model['macs'] / 1e6:.1f}M"
        assert cells[8] == str(model["published"]["top1"] or "-")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", document.read_text())
    missing = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    assert missing == []


def test_the_readmes_commands_exist(cli: Cli) -> None:
    section = (ROOT / "README.md").read_text().split("## Commands")[1]
    commands = re.findall(r"^mobilekit (\w+)", section, re.MULTILINE)
    registered = {each.name for each in app.registered_commands} | {each.name for each in app.registered_groups}
    assert set(commands) == registered
    for command in commands:
        assert cli(command, "--help").returncode == 0


def test_the_readmes_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for document in DOCUMENTS:
        for line in re.findall(r"`?make ([a-z-]+[^`\n#]*)", document.read_text()):
            target = shlex.split(line)[0]
            if "MODEL=" in line or target in ("check", "test", "test-fast", "setup"):
                assert re.search(rf"^{target}:", makefile, re.MULTILINE), line


def test_the_example_recipes_of_the_docs_are_valid() -> None:
    from mobilekit.recipes.load import parse_recipe
    from mobilekit.rewrites.catalogue import steps_of

    example, several = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "recipes.md").read_text(), re.DOTALL)
    loaded = parse_recipe(example, "example", "docs/recipes.md")
    assert [step.name for step, _ in steps_of(loaded)] == ["dfc-dense", "fold-batch-norm", "noop-slice"]
    assert several == (ROOT / "docs" / "examples" / "change.yaml").read_text()


def test_every_rewrite_is_documented() -> None:
    from mobilekit.rewrites.catalogue import REWRITES

    text = (ROOT / "docs" / "recipes.md").read_text()
    for rewrite in REWRITES.values():
        assert f"| `{rewrite.name}` | {rewrite.exactness.value} |" in text
