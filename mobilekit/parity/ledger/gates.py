"""Gates on an artifact's form: how it runs on the delegate, which ops it has, how large it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mobilekit.artifacts.delegate import UndelegatedOp
from mobilekit.artifacts.inspect import Inspection
from mobilekit.parity.ledger.result import GateResult
from mobilekit.recipes.gates import FormGate, Gate

_REASONS = 3  # why ops are not delegated, in a sentence
_MEGABYTE = 1e6


def check_gate(artifact: str, found: Inspection, gate: FormGate) -> tuple[GateResult, ...]:
    """Hold an artifact to a gate of the recipe.

    Args:
        artifact: Its file name.
        found: What is in it.
        gate: What it must be like.
    """
    results = []
    if gate.max_partitions is not None:
        delegate = found.delegate if found.delegate and found.delegate.name else None
        # Without a delegate the whole graph is outside one, and so is what a delegate leaves.
        partitions = delegate.partitions if delegate else 0
        whole = delegate is not None and partitions > 0 and (gate.max_partitions > 1 or not delegate.undelegated)
        passed = whole and partitions <= gate.max_partitions
        why = _undelegated(delegate.undelegated) if delegate else "no delegate took anything"
        results.append(_result(artifact, "max_partitions", gate.max_partitions, partitions, passed, why))
    if isinstance(gate, Gate) and gate.forbid_ops:
        forbidden = {op: found.ops[op] for op in gate.forbid_ops if op in found.ops}
        why = ", ".join(f"{count} {op}" for op, count in forbidden.items())
        results.append(_result(artifact, "forbid_ops", 0, sum(forbidden.values()), not forbidden, why))
    if gate.max_size_mb is not None:
        size = found.size_bytes / _MEGABYTE
        results.append(_result(artifact, "max_size_mb", gate.max_size_mb, size, size <= gate.max_size_mb, ""))
    return tuple(results)


def _result(artifact: str, gate: str, limit: float, value: float, passed: bool, why: str) -> GateResult:
    return GateResult(artifact, gate, limit, value, "pass" if passed else "fail", "" if passed else why)


def _undelegated(ops: Sequence[UndelegatedOp]) -> str:
    """Say what ends partitions, the most frequent first."""
    counts = Counter((each.op, each.reason) for each in ops).most_common()
    parts = [f"{count} {op} not delegated ({reason})" for (op, reason), count in counts[:_REASONS]]
    return "; ".join([*parts, *([f"and {len(counts) - _REASONS} kinds more"] if len(counts) > _REASONS else [])])
