"""The JSON Schemas that `mobilekit schema` prints, and real output against them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from mobilekit.cli.schema import TYPES, schema_of
from mobilekit.errors import UsageError
from tests.conftest import Cli


def check(name: str, content: Any) -> None:
    """Hold a JSON document to its published schema."""
    Draft202012Validator(schema_of(name)).validate(content)


@pytest.mark.parametrize("name", TYPES)
def test_each_is_a_schema(name: str) -> None:
    schema = schema_of(name)
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    assert schema["type"] == "object" or "anyOf" in schema


def test_another_name_is_refused() -> None:
    with pytest.raises(UsageError, match="There is no schema manifst"):
        schema_of("manifst")


def test_the_command_lists_and_prints(cli: Cli) -> None:
    assert cli("schema").stdout.split() == list(TYPES)
    assert json.loads(cli("schema", "manifest").stdout) == schema_of("manifest")


def test_a_bundles_manifest(digits_bundle: Path) -> None:
    check("manifest", json.loads((digits_bundle / "manifest.json").read_text()))
