"""The workflows are YAML, and each command of mobilekit in them is one that the command line takes."""

from __future__ import annotations

import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from mobilekit.cli.app import application
from mobilekit.parity.baseline import FLOAT32_SPREAD
from tests.conftest import ROOT

EXAMPLE, COST = (ROOT / "docs" / "examples" / name for name in ("parity.yml", "cost.yml"))
# Models, recipes and files are looked for where the words are read.
VARIABLES = {
    "$CORE": "a55",
    "$MODEL": "ghostnetv2",
    "$RECIPE": "ghostnetv2",
    "$WEIGHTS": __file__,
    "$CALIBRATION": __file__,
}
OURS = ROOT / ".github" / "workflows" / "ci.yml"


def steps_of(path: Path) -> list[dict[str, Any]]:
    jobs = yaml.safe_load(path.read_text())["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


def commands_of(text: str) -> list[list[str]]:
    """Return the words after `mobilekit` of each command in a shell script, with values for the shell's variables."""
    joined = re.sub(r"\$\{\{.*?\}\}", "value", text.replace("\\\n", " "))
    lines = re.sub(r"\$[A-Z_]+", lambda name: VARIABLES.get(name[0], "value"), joined).splitlines()
    found = [re.search(r"(?:^|[ /])mobilekit (?!is )([a-z].*?)(?:>|\|\||$)", line.strip()) for line in lines]
    return [shlex.split(match[1]) for match in found if match]


@cache
def command_line() -> Any:
    return typer.main.get_command(application())


def parse(words: list[str]) -> dict[str, Any]:
    """Parse a command line as the tool does, run nothing, and return the options; a wrong one raises."""
    command: Any = command_line()
    context, rest = command.make_context("mobilekit", list(words)), list(words)
    while hasattr(command, "resolve_command") and rest:
        name, command, rest = command.resolve_command(context, rest)
        context = command.make_context(name, list(rest), parent=context)
    return dict(context.params)


@pytest.mark.parametrize(
    ("path", "needed"),
    [(EXAMPLE, {"diff", "verify"}), (OURS, {"diff", "verify"}), (COST, {"export", "devices", "bench"})],
    ids=lambda value: value.name if isinstance(value, Path) else "",
)
def test_each_command_of_a_workflow_is_valid(path: Path, needed: set[str]) -> None:
    commands = [words for step in steps_of(path) if "run" in step for words in commands_of(step["run"])]
    assert needed <= {words[0] for words in commands}
    for words in commands:
        assert parse(words)


def test_a_wrong_command_would_be_found() -> None:
    with pytest.raises(Exception, match="No such option"):
        parse(["diff", "artifacts/x", "--no-such-option"])
    with pytest.raises(Exception, match="No such command"):
        parse(["difff", "artifacts/x"])


def test_both_workflows_gate_in_the_same_way() -> None:
    def gate(path: Path) -> dict[str, Any]:
        runs = [words for step in steps_of(path) for words in commands_of(step.get("run", ""))]
        return parse(next(words for words in runs if words[0] == "diff"))

    example, ours = gate(EXAMPLE), gate(OURS)
    for option in ("junit", "markdown", "sarif", "as_json"):
        assert example[option] == ours[option] and example[option]
    uses = [{step["uses"] for step in steps_of(path) if "uses" in step} for path in (EXAMPLE, OURS)]
    assert uses[1] <= uses[0], "the same versions of the same actions"


def test_the_spread_of_float32_is_what_the_document_says() -> None:
    assert f"it is {FLOAT32_SPREAD} times the reference's distance" in (ROOT / "docs" / "ci.md").read_text()
