"""What a bench of one device says, as the JSON that `mobilekit bench --json` prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from mobilekit.bench.artifacts import Artifact, printable
from mobilekit.bench.devices.base import DeviceFacts
from mobilekit.bench.session import Outcome, Plan
from mobilekit.bench.statistics import compare, summarise

EMULATED = "This device's instructions are translated by another machine: its latencies mean nothing."


def to_json(
    facts: DeviceFacts, engine: dict[str, Any], artifacts: Sequence[Artifact], plan: Plan, outcome: Outcome
) -> dict[str, Any]:
    """Return the result of one device: figures of each file, comparisons within each group, and all raw data."""
    results = [_result(artifact, plan, outcome) for artifact in artifacts]
    notes = [note for note in (EMULATED if facts.emulated else None, outcome.note) if note]
    return {
        "device": facts.to_json(),
        "engine": engine,
        "settings": {**asdict(plan.settings), "rounds": plan.rounds, "seed": plan.seed},
        "results": results,
        "comparisons": _comparisons(artifacts, outcome),
        "rounds": [
            {
                "index": each.index,
                "rejected": each.rejected,
                "before": each.before.to_json(),
                "after": each.after.to_json(),
                "runs": {
                    artifact.name: asdict(each.runs[artifact.path])
                    for artifact in artifacts
                    if artifact.path in each.runs
                },
            }
            for each in outcome.rounds
        ],
        "notes": notes,
    }


def _result(artifact: Artifact, plan: Plan, outcome: Outcome) -> dict[str, Any]:
    runs = outcome.figures(artifact.path)
    figures = [run.latency_ms for run in runs if run.latency_ms is not None]
    memory = [run.memory_mb for run in runs if run.memory_mb is not None]
    why_not = outcome.refused.get(artifact.path) or (None if figures else outcome.note)
    accepted = why_not is None and bool(figures)
    return {
        "file": artifact.name,
        "path": printable(str(artifact.path)),
        "sha256": artifact.sha256,
        "precision": artifact.precision,
        "size_mb": artifact.path.stat().st_size / 1e6,
        "threads": plan.settings.threads,
        "latency_ms": summarise(figures).to_json() if accepted else None,
        "statistic": runs[0].statistic if runs else None,
        "rounds": len(figures),
        "raw_ms": figures,
        "memory_mb": max(memory) if accepted and memory else None,
        "delegates": list(runs[0].delegates) if runs else [],
        "accepted": accepted,
        "why_not": why_not,
    }


def _comparisons(artifacts: Sequence[Artifact], outcome: Outcome) -> list[dict[str, Any]]:
    """Compare each file with the first of its group that was accepted, by the rounds in which both ran."""
    found = []
    for group in dict.fromkeys(artifact.group for artifact in artifacts):
        accepted = [
            artifact
            for artifact in artifacts
            if artifact.group == group and artifact.path not in outcome.refused and outcome.figures(artifact.path)
        ]
        for artifact in accepted[1:]:
            pairs = [
                (each.runs[accepted[0].path].latency_ms, each.runs[artifact.path].latency_ms)
                for each in outcome.accepted
                if accepted[0].path in each.runs and artifact.path in each.runs
            ]
            if not pairs:
                continue
            first, second = (
                [float(value) for value in column if value is not None] for column in zip(*pairs, strict=True)
            )
            comparison = compare(first, second)
            found.append({"file": artifact.name, "against": accepted[0].name, **comparison.to_json()})
    return found
