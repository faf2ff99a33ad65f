"""Whether a quantized file will be slower than the float32 one, told by how XNNPACK runs both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from mobilekit.artifacts.delegate import Delegation
from mobilekit.artifacts.dynamic_cost import dynamic_ratio
from mobilekit.artifacts.float_regions import word_keeping
from mobilekit.artifacts.inspect import Inspection
from mobilekit.recipes.schema import FloatPart
from mobilekit.store.stages import Precision, tflite_stage

_KINDS = 3  # of ops, in a sentence
_FLOAT32 = tflite_stage("float32").file
_DYNAMIC = tflite_stage("dynamic").file
_QUANTIZED: tuple[Precision, ...] = ("dynamic", "int8")


def slower_files(
    artifacts: Mapping[str, Inspection], kept: Sequence[FloatPart] = (), folder: Path | None = None
) -> tuple[str, ...]:
    """Return a sentence for each quantized file that is likely to be slower than the float32 one.

    It is where XNNPACK runs it in more parts and leaves more of its ops: these run in LiteRT's own kernels, and at each
    border values are handed over. The sentence names the recipe's setting that leaves those ops in float, where it has
    one. A dynamic-range file is as well where rounding its layers' inputs costs more than it saves, as estimated.

    Args:
        artifacts: What is in the files, by their names.
        kept: The recipe's `keep_float`.
        folder: Where the files are; without, nothing is estimated.
    """
    found = [_parts(artifacts, tflite_stage(precision).file, precision, kept) for precision in _QUANTIZED]
    if found[0] is None and folder and {_FLOAT32, _DYNAMIC} <= artifacts.keys():
        found[0] = _estimate(folder)
    return tuple(sentence for sentence in found if sentence)


def without_int8(artifacts: Mapping[str, Inspection], folder: Path) -> tuple[str, ...]:
    """Return a sentence where the dynamic-range file is the float32 one again.

    Args:
        artifacts: What is in the files, by their names.
        folder: Where the files are.
    """
    if not {_FLOAT32, _DYNAMIC} <= artifacts.keys():
        return ()
    if (folder / _DYNAMIC).read_bytes() != (folder / _FLOAT32).read_bytes():
        return ()
    return (
        f"{_DYNAMIC} holds no int8 weights, and is {_FLOAT32} byte for byte: each of its layers has too few weights to "
        "gain by them, or is depthwise.",
    )


def _parts(
    artifacts: Mapping[str, Inspection], name: str, precision: Precision, kept: Sequence[FloatPart]
) -> str | None:
    float32, other = (artifacts[each].delegate if each in artifacts else None for each in (_FLOAT32, name))
    if float32 is None or other is None or not _is_worse(other, float32):
        return None
    left = Counter(each.op for each in other.undelegated)
    left.subtract(each.op for each in float32.undelegated)
    more = [(op, count) for op, count in left.most_common() if count > 0]
    ops = ", ".join(f"{count} {op}" for op, count in more[:_KINDS])
    rest = f" and {len(more) - _KINDS} kinds more" if len(more) > _KINDS else ""
    cure = _cure([op for op, _ in more], kept) if precision == "int8" else None
    return (
        f"{name} may be slower than {_FLOAT32}: XNNPACK runs it in {other.partitions} parts, not "
        f"{float32.partitions}, and leaves {ops}{rest}. {cure or _ASK}"
    )


def _estimate(folder: Path) -> str | None:
    ratio = dynamic_ratio((folder / _DYNAMIC).read_bytes())
    if ratio is None or ratio <= 1:
        return None
    return (
        f"{_DYNAMIC} may be slower than {_FLOAT32}: by an estimate, its quantized layers take {ratio:.2f} times as "
        "many instructions on a Cortex-A76, as rounding their inputs costs more than it saves. "
        "`mobilekit bench --device emulated --core a76` counts them."
    )


def _is_worse(other: Delegation, float32: Delegation) -> bool:
    return other.partitions > float32.partitions and len(other.undelegated) > len(float32.undelegated)


_ASK = "`mobilekit bench` tells how slow, and `mobilekit inspect` which ops."


def _cure(ops: Sequence[str], kept: Sequence[FloatPart]) -> str | None:
    """Say what leaves these ops in float; of those that stay quantized under words of the recipe, none does."""
    words = dict.fromkeys(word for op in ops if (word := word_keeping(op)) and word not in kept)
    if not words:
        return None
    named = [op for op in ops if word_keeping(op) in words]
    which = "them" if len(named) == len(ops) else f"the {' and '.join(named)} of these"
    return f"In a recipe, `int8: {{keep_float: [{', '.join([*kept, *words])}]}}` keeps {which} in float."
