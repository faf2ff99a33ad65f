"""What is wrong as SARIF 2.1.0, which code scanning services show at the file at fault.

Source: OASIS, Static Analysis Results Interchange Format (SARIF) Version 2.1.0.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mobilekit import __version__
from mobilekit.cli.findings import Finding, Rule, by_place, texts_of

_RULES: dict[Rule, str] = {
    "parity": "A stage's outputs are farther from what it was made from, or from the reference, than its limit.",
    "gate": "A file is not as the recipe's gates want it: its partitions, its ops, or its size.",
    "labels": "The reference itself is right no more often than guessing is.",
    "baseline": "A stage's outputs are farther off than in an earlier ledger, by more than the error of its format.",
    "layers": "The error of a value inside the model is more than the stage's number format explains.",
    "stage": "A file could not be made, opened or run.",
    "cost": "A file takes more time, memory or instructions than in an earlier bench, or than its budget.",
}
_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def findings_sarif(findings: Sequence[Finding], measured: Path) -> str:
    """Return findings as SARIF: a result for each place.

    Args:
        findings: All that is wrong.
        measured: The bundle's directory, or the file that was measured; files are named relative to the working
            directory where they are inside it.
    """
    rules = [{"id": name, "shortDescription": {"text": text}} for name, text in _RULES.items()]
    run = {
        "tool": {"driver": {"name": "mobilekit", "version": __version__, "rules": rules}},
        "results": [_result(members, measured) for members in by_place(findings)],
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False) + "\n"


def _result(members: Sequence[Finding], measured: Path) -> dict[str, Any]:
    first = members[0]
    name = first.module or first.stage or first.file
    location = {
        "physicalLocation": {
            "artifactLocation": {"uri": _uri(measured / first.file if first.file else measured)},
            "region": {"startLine": 1},  # code scanning services want one, though the file has no lines
        },
        **({"logicalLocations": [{"name": name, "kind": "module"}]} if name else {}),
    }
    return {
        "ruleId": first.rule,
        "ruleIndex": list(_RULES).index(first.rule),
        "level": first.level,
        "message": {"text": f"{first.place}: {texts_of(members)}."},
        "locations": [location],
        "partialFingerprints": {"comparison/v1": _fingerprint(first)},
    }


def _fingerprint(finding: Finding) -> str:
    """Return what the same result has in another run, whatever its figures."""
    parts = (finding.stage, finding.against, finding.output) if finding.against else (finding.file or finding.stage,)
    if finding.gate and finding.gate.startswith("app-"):
        parts = (*parts, finding.gate)
    return "/".join([finding.rule, *(part for part in (*parts, finding.module) if part)])


def _uri(path: Path) -> str:
    """Return the URI of a file, relative where it is below the working directory."""
    path, here = path.resolve(), Path.cwd()
    return quote(path.relative_to(here).as_posix()) if path.is_relative_to(here) else path.as_uri()
