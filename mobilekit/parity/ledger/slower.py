"""Whether an int8 file will be slower than the float32 one, told by how XNNPACK runs both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from mobilekit.artifacts.delegate import Delegation
from mobilekit.artifacts.float_regions import word_keeping
from mobilekit.artifacts.inspect import Inspection
from mobilekit.recipes.schema import FloatPart
from mobilekit.store.stages import tflite_stage

_KINDS = 3  # of ops, in a sentence


def slower_int8(artifacts: Mapping[str, Inspection], kept: Sequence[FloatPart] = ()) -> tuple[str, ...]:
    """Return a sentence where XNNPACK runs the int8 file in more parts than the float32 one and leaves more of its ops.

    What it leaves runs in LiteRT's own kernels, and at each border values are handed over: such a file is often slower
    in int8 than in float32. The sentence names the recipe's setting that leaves those ops in float, where it has one.

    Args:
        artifacts: What is in the files, by their names.
        kept: The recipe's `keep_float`.
    """
    names = [tflite_stage(precision).file for precision in ("float32", "int8")]
    float32, int8 = (artifacts[name].delegate if name in artifacts else None for name in names)
    if float32 is None or int8 is None or not _is_worse(int8, float32):
        return ()
    left = Counter(each.op for each in int8.undelegated)
    left.subtract(each.op for each in float32.undelegated)
    more = [(op, count) for op, count in left.most_common() if count > 0]
    ops = ", ".join(f"{count} {op}" for op, count in more[:_KINDS])
    rest = f" and {len(more) - _KINDS} kinds more" if len(more) > _KINDS else ""
    return (
        f"{names[1]} may be slower than {names[0]}: XNNPACK runs it in {int8.partitions} parts, not "
        f"{float32.partitions}, and leaves {ops}{rest}. {_cure([op for op, _ in more], kept)}",
    )


def _is_worse(int8: Delegation, float32: Delegation) -> bool:
    return int8.partitions > float32.partitions and len(int8.undelegated) > len(float32.undelegated)


def _cure(ops: Sequence[str], kept: Sequence[FloatPart]) -> str:
    """Say what leaves these ops in float; of those that stay quantized under words of the recipe, none does."""
    words = dict.fromkeys(word for op in ops if (word := word_keeping(op)) and word not in kept)
    if not words:
        return "`mobilekit bench` tells how slow, and `mobilekit inspect` which ops."
    named = [op for op in ops if word_keeping(op) in words]
    which = "them" if len(named) == len(ops) else f"the {' and '.join(named)} of these"
    return f"In a recipe, `int8: {{keep_float: [{', '.join([*kept, *words])}]}}` keeps {which} in float."
