"""Write the table of reference models into docs/models.md, measured beside published.

.venv/bin/python benchmarks/models_table.py
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1] / "docs" / "models.md"
BEGIN, END = "<!-- benchmarks/models_table.py -->", "<!-- end -->"


def make_table() -> str:
    """Return the table as Markdown."""
    listed = subprocess.run(
        [sys.executable, "-m", "mobilekit", "models", "--json"], check=True, capture_output=True, text=True
    )
    lines = [
        "| model | input | params | published | off by | MACs | published | off by | top-1, % | phone, ms |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for entry in json.loads(listed.stdout):
        published: dict[str, Any] = entry["published"]
        cells = [
            entry["name"],
            "x".join(map(str, entry["input"])),
            f"{entry['params']:,}",
            *_compare(entry["params"], published["params"], 1),
            f"{entry['macs'] / 1e6:.1f}M",
            *_compare(entry["macs"], published["macs"], 0),
            str(published["top1"] or "-"),
            str(published["phone_latency_ms"] or "-"),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _compare(measured: int, published: int | None, digits: int) -> tuple[str, str]:
    if published is None:
        return "-", "-"
    return f"{published / 1e6:.{digits}f}M", f"{100 * (measured / published - 1):+.2f} %"


def with_table(text: str, table: str) -> str:
    """Return the document with the table between its marks."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


if __name__ == "__main__":
    DOCS.write_text(with_table(DOCS.read_text(), make_table()))
