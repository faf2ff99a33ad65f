"""The documents say what the tool does."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from benchmarks import models_table
from mobilekit.cli.app import COMMANDS
from mobilekit.models.registry import model_names
from tests.conftest import ROOT, Cli

DOCS = ROOT / "docs"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md")])


def test_both_tables_of_models_are_what_the_script_writes() -> None:
    models = models_table.list_models()
    for path, make in ((ROOT / "README.md", models_table.short_table), (DOCS / "models.md", models_table.long_table)):
        text = path.read_text()
        assert models_table.with_table(text, make(models)) == text, "run benchmarks/models_table.py"


def test_ci_exports_a_model_of_each_family() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    exported = workflow["jobs"]["parity"]["strategy"]["matrix"]["model"]
    assert (
        {"ghostnet", "ghostnetv2", "shufflenet", "efficientvit", "efficientvit_b1"}
        <= set(exported)
        <= set(model_names())
    )


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", document.read_text())
    missing = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    assert missing == []


def test_the_readmes_commands_exist(cli: Cli) -> None:
    section = (ROOT / "README.md").read_text().split("## Commands")[1]
    commands = re.findall(r"^mobilekit ([\w-]+)", section, re.MULTILINE)
    assert set(commands) == set(COMMANDS)
    for command in commands:
        assert cli(command, "--help").returncode == 0


def test_the_readmes_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for document in DOCUMENTS:
        for line in re.findall(r"`?make ([a-z-]+[^`\n#]*)", document.read_text()):
            target = shlex.split(line)[0]
            if "MODEL=" in line or target in ("check", "test", "test-fast", "test-zoo", "setup"):
                assert re.search(rf"^{target}:", makefile, re.MULTILINE), line


def test_the_example_recipes_of_the_docs_are_valid() -> None:
    from mobilekit.recipes.load import parse_recipe
    from mobilekit.rewrites.catalogue import steps_of

    example, several = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "recipes.md").read_text(), re.DOTALL)
    loaded = parse_recipe(example, "example", "docs/recipes.md")
    assert [step.name for step in steps_of(loaded)] == ["dfc-dense", "fold-batch-norm", "noop-slice"]
    assert several == (ROOT / "docs" / "examples" / "change.yaml").read_text()


def test_every_rewrite_is_documented() -> None:
    from mobilekit.rewrites.catalogue import REWRITES

    text = (ROOT / "docs" / "recipes.md").read_text()
    for rewrite in REWRITES.values():
        assert f"| `{rewrite.name}` | {rewrite.exactness.value} |" in text
