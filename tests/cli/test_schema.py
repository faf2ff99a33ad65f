"""The JSON Schemas that `mobilekit schema` prints, and real output against them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from mobilekit.cli.schema import INPUTS, TYPES, schema_of
from mobilekit.errors import UsageError
from tests.conftest import ROOT, Cli
from tests.old_bundle import OLD_BUNDLE

LAB = Path(__file__).parents[1] / "data" / "lab_session"


def check(name: str, content: Any) -> None:
    """Hold a JSON document to its published schema."""
    Draft202012Validator(schema_of(name)).validate(content)


def check_closely(name: str, content: Any) -> None:
    """Hold a JSON document to its published schema, with no key beside those that it has."""
    Draft202012Validator(closed(schema_of(name))).validate(content)


def closed(schema: Any) -> Any:
    """Return a schema in which no object has other keys than those it names."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: closed(each) for key, each in schema.items()}
    return {**inner, "additionalProperties": False} if isinstance(schema.get("properties"), dict) else inner


@pytest.mark.parametrize("name", [*TYPES, *INPUTS])
def test_each_is_a_schema(name: str) -> None:
    schema = schema_of(name)
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    assert schema.get("type") in ("object", "array") or "anyOf" in schema


def test_another_name_is_refused() -> None:
    with pytest.raises(UsageError, match="There is no schema manifst"):
        schema_of("manifst")


def test_the_command_lists_and_prints(cli: Cli) -> None:
    assert cli("schema").stdout.split() == sorted([*TYPES, *INPUTS])
    assert json.loads(cli("schema", "manifest").stdout) == schema_of("manifest")


def test_a_bundles_manifest(digits_bundle: Path) -> None:
    check("manifest", json.loads((digits_bundle / "manifest.json").read_text()))


def test_a_bench(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "budgets.yaml").write_text("budgets: [{latency_ms: 1, size_mb: 1}]")
    words = (
        "small.tflite",
        "large.tflite",
        "--rounds",
        "6",
        "--runs",
        "3",
        "--device",
        "replay:recording",
        "--profile",
    )
    done = cli("bench", *words, "--budgets", tmp_path / "budgets.yaml", "--json", cwd=LAB)
    content = json.loads(done.stdout)
    assert content["profiles"] and content["budgets"] and content["comparisons"]
    check_closely("bench", content)
    check_closely("bench", {"devices": [content, content], "failed": ["adb:1 was lost."]})
    for lacking in ("results", "notes"):
        with pytest.raises(ValidationError):
            check("bench", {key: value for key, value in content.items() if key != lacking})


@pytest.mark.parametrize("name", ["small.tflite", "model.int8.tflite", "model.onnx"])
def test_what_is_in_a_file(cli: Cli, name: str) -> None:
    folder = LAB if name == "small.tflite" else OLD_BUNDLE
    check_closely("inspect", json.loads(cli("inspect", folder / name, "--json").stdout))
    check_closely("inspect", json.loads(cli("inspect", folder / name, "--ops", "--json").stdout))


@pytest.mark.parametrize("words", [(), ("ghostnetv2_digits",)])
def test_models(cli: Cli, words: tuple[str, ...]) -> None:
    check_closely("models", json.loads(cli("models", *words, "--json").stdout))


def test_a_bundles_ledger_and_what_diff_and_export_print(digits_bundle: Path, cli: Cli) -> None:
    check("ledger", json.loads((digits_bundle / "ledger.json").read_text()))
    diffed = cli("diff", digits_bundle, "--baseline", digits_bundle / "ledger.json", "--json")
    assert diffed.returncode == 0, diffed.stderr
    content = json.loads(diffed.stdout)
    check("diff", content)
    assert content["findings"] == [] and content["baseline"]["verdict"] == "pass"
    exported = json.loads(cli("export", "ghostnetv2_digits", "-o", digits_bundle, "--json").stdout)
    check("export", exported)
    assert exported["up_to_date"] is True


def test_what_0_1_wrote_is_as_the_schemas_say() -> None:
    """A field that came later has a default, and so is not asked for."""
    from mobilekit.parity.ledger.result import Ledger

    written = json.loads((ROOT / "tests/data/written_by_0_1/ghostnetv2_digits.ledger.json").read_text())
    check("ledger", Ledger.from_json(written).to_json())
