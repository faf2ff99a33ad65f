"""The reference models on the terminal."""

from __future__ import annotations

from mobilekit.cli.render.models import model_report, models_table
from mobilekit.models.analysis.summary import summarize
from mobilekit.models.registry import find_model
from tests.snapshots import check_snapshot, on_terminal


def test_snapshot() -> None:
    digits, large = find_model("ghostnetv2_digits"), find_model("ghostnetv2")
    table = models_table([summarize(digits), summarize(large)])
    check_snapshot("models.txt", on_terminal(table, "", model_report(summarize(large, with_stages=True))))
