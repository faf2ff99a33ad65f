"""Failed comparisons as SARIF 2.1.0, which code scanning services show at the file at fault.

Source: OASIS, Static Analysis Results Interchange Format (SARIF) Version 2.1.0.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mobilekit import __version__
from mobilekit.cli.render.terminal import misses
from mobilekit.store.stages import Stage

_RULES = {
    "parity": "A stage's outputs are farther from what it was made from, or from the reference, than its limit.",
    "baseline": "A stage's outputs are farther off than in an earlier ledger, by more than the noise of its format.",
}


def diff_sarif(ledger: dict[str, Any], bundle: Path) -> str:
    """Return the failures of a ledger, and of its `baseline` where it has one: a result for each comparison.

    Args:
        ledger: As `mobilekit diff --json` prints it.
        bundle: Its folder; artifacts are named relative to the working directory where they are inside it.
    """
    rules = [{"id": name, "shortDescription": {"text": text}} for name, text in _RULES.items()]
    run = {
        "tool": {"driver": {"name": "mobilekit", "version": __version__, "rules": rules}},
        "results": [*_parity_results(ledger, bundle), *_baseline_results(ledger, bundle)],
    }
    schema = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
    return json.dumps({"$schema": schema, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False) + "\n"


def _parity_results(ledger: dict[str, Any], bundle: Path) -> Iterator[dict[str, Any]]:
    for row in ledger["stages"]:
        if row["verdict"] != "pass":
            yield _result("parity", row, misses(row), bundle)


def _baseline_results(ledger: dict[str, Any], bundle: Path) -> Iterator[dict[str, Any]]:
    for row in (ledger.get("baseline") or {}).get("stages", ()):
        if row["verdict"] == "regressed":
            yield _result("baseline", row, f"relative L2 {row['why']}", bundle)


def _result(rule: str, row: dict[str, Any], problem: str, bundle: Path) -> dict[str, Any]:
    place = f"{row['stage']} against {row['against']} ({row['output']})"
    return {
        "ruleId": rule,
        "ruleIndex": list(_RULES).index(rule),
        "level": "error",
        "message": {"text": f"{place}: {problem}."},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": _uri(bundle, row["stage"])},
                    "region": {"startLine": 1},  # code scanning services want one, though the file has no lines
                },
                "logicalLocations": [{"name": row["stage"], "kind": "module"}],
            }
        ],
        "partialFingerprints": {"comparison/v1": f"{rule}/{row['stage']}/{row['against']}/{row['output']}"},
    }


def _uri(bundle: Path, stage: str) -> str:
    """Return the URI of a stage's file, relative where the bundle is below the working directory."""
    path = (bundle / Stage(stage).file).resolve()
    here = Path.cwd()
    return quote(path.relative_to(here).as_posix()) if path.is_relative_to(here) else path.as_uri()
