"""The documents say what the tool does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from benchmarks import commands_table, models_table, rewrites_table, sweep_table, tables
from benchmarks.command_blocks import DOCUMENTS, blocks
from mobilekit.models.registry import model_names
from tests.conftest import ROOT

DOCS = ROOT / "docs"

TABLES = {
    ("docs/models.md", "models_table"): lambda: models_table.table(models_table.list_models()),
    ("docs/commands.md", "commands_table"): commands_table.table,
    ("docs/recipes.md", "rewrites_table"): rewrites_table.full_table,
    ("docs/rewrites.md", "rewrites_table"): rewrites_table.experimental_table,
    ("docs/sweeps.md", "sweep_table"): sweep_table.table,
}


@pytest.mark.parametrize(("document", "script"), TABLES)
def test_a_table_is_what_the_code_says(document: str, script: str) -> None:
    text = (ROOT / document).read_text()
    assert tables.with_table(text, script, TABLES[document, script]()) == text, "run python -m benchmarks.tables"


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


def test_the_readmes_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for document in DOCUMENTS:
        for line in re.findall(r"(?<!:)\bmake ([a-z-]+[^`\n#]*)", document.read_text()):
            target = line.split()[0]
            if "MODEL=" in line or target in ("check", "test", "test-fast", "test-zoo", "setup", "format", "docs"):
                assert re.search(rf"^{target}:", makefile, re.MULTILINE), line


def test_the_example_recipes_of_the_docs_are_valid() -> None:
    from mobilekit.recipes.load import parse_recipe
    from mobilekit.rewrites.catalogue import steps_of

    example, several, gates = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "recipes.md").read_text(), re.DOTALL)
    loaded = parse_recipe(example, "example", "docs/recipes.md")
    assert set(parse_recipe(gates, "gates", "docs/recipes.md").recipe.gates.targets or {}) == {"gpu", "qnn:SM8650"}
    assert [step.name for step in steps_of(loaded)] == ["dfc-dense", "fold-batch-norm", "noop-slice"]
    assert several == (ROOT / "docs" / "examples" / "change.yaml").read_text()


def test_the_tutorials_job_runs_its_gate() -> None:
    files = {block.title: block.text for block in blocks(DOCS / "tutorial.md") if block.title}
    steps = yaml.safe_load(files[".github/workflows/model.yml"])["jobs"]["model"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == ["pip install './mobilekit[convert]'", "bash gate.sh"]
    for word in ("export", "diff", "bench"):
        assert f"\nmobilekit {word} " in files["gate.sh"]
    assert set(files) == {"net.py", "train.py", "recipe.yaml", "budgets.yaml", "gate.sh", ".github/workflows/model.yml"}


def test_the_readmes_output_of_an_export_is_short_and_begins_with_the_verdict() -> None:
    text = (ROOT / "README.md").read_text()
    lines = re.findall(r"```\n(.*?)```", text[text.index("and prints the verdict") :], re.DOTALL)[0].splitlines()
    assert lines[0].startswith("pass: ghostnetv2: ") and lines[-1].startswith("Next: mobilekit ")
    assert len(lines) <= 30


def test_the_readmes_figures_are_those_of_the_tables() -> None:
    readme, peers, coverage, cost = (
        (ROOT / name).read_text() for name in ("README.md", "docs/peers.md", "docs/coverage.md", "docs/cost.md")
    )
    rows = {tuple(cells[:2]): cells for line in peers.splitlines() if len(cells := cells_of(line)) == 8}
    for model, precision in (("ghostnetv2", "int8"), ("shufflenet", "int8"), ("shufflenet", "float32")):
        ours, others = (rows[model, precision][column].split()[0] for column in (2, 5))
        assert ours in readme and others in readme, (model, precision)
    shares = {cells[1]: cells for line in coverage.splitlines() if (cells := cells_of(line))[:1] == ["mobilekit"]}
    for precision in ("ONNX", "TFLite float32", "TFLite int8"):
        networks, right, wrong = (shares[precision][column] for column in (2, 5, 9))
        assert re.search(rf"\b{networks}\b", readme) and re.search(rf"\b{right}\b", readme) and wrong == "0"
    (export,) = (cells for line in cost.splitlines() if (cells := cells_of(line))[:1] == ["export, all four"])
    assert f"takes {export[4]} of the processor time" in readme


def test_the_answers_figures_are_those_of_the_tables() -> None:
    answers, arm, app = ((ROOT / "docs" / name).read_text() for name in ("how-to.md", "arm.md", "app.md"))
    figures = {tuple(cells[:2]): cells[2:] for line in arm.splitlines() if len(cells := cells_of(line)) == 7}
    float32, int8 = ([float(count) for count in figures["ghostnetv2", kind]] for kind in ("float32", "int8"))
    shares = [f"{part / whole:.2f}" for part, whole in zip(int8, float32, strict=True)]
    a53, a55, a76 = shares[:3]
    assert (
        f"has {a53} of the float32 file's\ninstructions on a Cortex-A53, {a55} on an A55 and {a76} on an A76" in answers
    )
    costs = {cells[0]: cells[3] for line in app.splitlines() if len(cells := cells_of(line)) == 9}
    for row in (
        "the int8 file, fed as the recipe says",
        "JPEG decoded by TensorFlow's default",
        "`android`, `browser`, `opencv`, `tf`",
    ):
        assert costs[row] in answers, row


def cells_of(line: str) -> list[str]:
    """Return the cells of a table's row."""
    return [cell.strip() for cell in line.strip("|").split("|")]
