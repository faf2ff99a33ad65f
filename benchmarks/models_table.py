"""Write the table of reference models into docs/models.md, measured beside published.

.venv/bin/python -m benchmarks.models_table
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from benchmarks.tables import DOCS, markdown, write

Entry = dict[str, Any]


def list_models() -> list[Entry]:
    """Return what `mobilekit models --json` prints."""
    listed = subprocess.run(
        [sys.executable, "-m", "mobilekit", "models", "--json"], check=True, capture_output=True, text=True
    )
    entries: list[Entry] = json.loads(listed.stdout)
    return entries


def table(models: list[Entry]) -> str:
    """Return the table as Markdown, and which phones the latencies are of."""
    head = ["model", "input", "params", "published", "off by", "MACs", "published", "off by", "top-1, %", "phone, ms"]
    rows = [
        [
            entry["name"],
            "x".join(map(str, entry["input"])),
            f"{entry['params']:,}",
            _millions(entry["published"]["params"], 1),
            _percent(entry["deviation"]["params"]),
            f"{entry['macs'] / 1e6:.1f}M",
            _millions(entry["published"]["macs"], 0),
            _percent(entry["deviation"]["macs"]),
            _known(entry["published"]["top1"]),
            _known(entry["published"]["phone_latency_ms"]),
        ]
        for entry in models
    ]
    return f"{markdown(head, rows)}\n\n{_sources(models)}"


def _sources(models: list[Entry]) -> str:
    """Return where the published figures are from, a line for each source, and its phone."""
    names: dict[tuple[str, str], list[str]] = {}
    phones = {
        entry["published"]["source"]: entry["published"]["phone"] for entry in models if entry["published"]["phone"]
    }
    for entry in models:
        source = entry["published"]["source"]
        if source:
            names.setdefault((source, phones.get(source, "")), []).append(entry["name"])
    return "\n".join(
        f"- {', '.join(group)}: {source}.{f' Phone: {phone}.' if phone else ''}"
        for (source, phone), group in names.items()
    )


def _millions(count: int | None, digits: int) -> str:
    return "-" if count is None else f"{count / 1e6:.{digits}f}M"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:+.2f} %"


def _known(figure: float | None) -> str:
    return "-" if figure is None else str(figure)


def main() -> None:
    """Write the table."""
    write(DOCS / "models.md", "models_table", table(list_models()))


if __name__ == "__main__":
    main()
