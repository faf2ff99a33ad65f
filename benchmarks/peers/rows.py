"""One row for each model, precision and tool, of the records of conversions and the last timings."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from benchmarks.peers import conversions, timings
from benchmarks.peers.tools import OURS, PRECISIONS, TOOLS

Json = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """What is known of one tool's file; None where it is not."""

    model: str
    precision: str
    tool: str
    record: Json
    """Of the conversion."""
    latency: Json | None
    """Its median, low and high in ms."""
    comparison: Json | None
    """Its ratio to mobilekit's file, with low, high and verdict."""
    problem: str
    """Why its figures are none, or not those of the model; empty where all is well."""

    @property
    def median(self) -> float:
        """Its latency in ms; infinite where there is none."""
        return float(self.latency["median"]) if self.latency else float("inf")


@dataclass(frozen=True)
class Group:
    """All tools on one model in one precision."""

    model: str
    precision: str
    rows: list[Row]
    limit_ms: float
    """What the multiply-accumulates alone take at the best rate."""

    @property
    def ours(self) -> Row:
        """The row of mobilekit."""
        return self.rows[0]

    @property
    def best_peer(self) -> Row | None:
        """The fastest of the others; of those that give the model's outputs, where there is one."""
        ran = [row for row in self.rows[1:] if row.latency]
        right = [row for row in ran if not row.problem]
        return min(right or ran, key=lambda row: row.median, default=None)


def problem_of(record: Json, result: Json | None, facts: Json, float32: Json | None = None) -> str:
    """Say what is wrong with a file: it is not there, does not run, or computes something else.

    Args:
        record: Of its conversion.
        result: Of the bench.
        facts: What `prepare` wrote.
        float32: Of the same tool's conversion to float32: an int8 file of a wrong network is wrong.
    """
    if "why_not" in record:
        return str(record["why_not"])
    metrics = record["metrics"]
    if not metrics["finite"]:
        return "wrong: not all outputs are finite"
    if record["precision"] == "float32" and metrics["max_abs"] > facts["max_abs"]:
        return f"wrong: max abs above {facts['max_abs']:.1e}"
    if float32 and "metrics" in float32 and float32["metrics"]["max_abs"] > facts["max_abs"]:
        return "wrong: so is its float32 file"
    if record["precision"] != "float32" and metrics["cosine"] < facts["cosine"]:
        return f"of no use: cosine below {facts['cosine']}"
    if result is None:
        return "not timed"
    return "" if result["accepted"] else f"refused: {result['why_not']}"


def groups_of(model: str, timed: Json, facts: Json, records: dict[tuple[str, str], Json]) -> list[Group]:
    """Return the groups of one model.

    Args:
        model: Its name.
        timed: What `timings.time_all` wrote.
        facts: What `prepare` wrote.
        records: Of the conversions, by tool and precision.
    """
    results = {result["file"]: result for result in timed["bench"]["results"]}
    comparisons = {each["file"]: each for each in timed["bench"]["comparisons"]}
    groups = []
    for precision in PRECISIONS:
        rows = []
        for tool in TOOLS:
            record = records.get((tool.name, precision), {"why_not": "not converted"})
            result = results.get(timings.title(tool, precision))
            comparison = comparisons.get(timings.title(tool, precision))
            is_ours = comparison is not None and comparison["against"] == timings.title(OURS, precision)
            rows.append(
                Row(
                    model,
                    precision,
                    tool.name,
                    record,
                    result["latency_ms"] if result else None,
                    comparison if is_ours else None,
                    problem_of(record, result, facts, records.get((tool.name, PRECISIONS[0]))),
                )
            )
        limit = 1e3 * facts["macs"] / timed["rates"][precision]
        groups.append(Group(model, precision, rows, limit))
    return groups


def read_all(models: tuple[str, ...]) -> tuple[list[Group], dict[str, Json]]:
    """Return the groups of all models that were timed, and what was written of each model's timing."""
    groups, seen = [], {}
    for model in models:
        path = timings.TIMED / f"{model}.json"
        if not path.exists():
            continue
        seen[model] = json.loads(path.read_text())
        found = {(tool.name, each): conversions.record_of(tool, model, each) for tool in TOOLS for each in PRECISIONS}
        records = {key: record for key, record in found.items() if record}
        groups += groups_of(model, seen[model], conversions.facts_of(model), records)
    return groups, seen
