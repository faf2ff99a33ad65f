"""The rewrites that there are, by name."""

from __future__ import annotations

from typing import Any

from mobilekit.errors import UsageError, nearest
from mobilekit.recipes.load import LoadedRecipe, check_options
from mobilekit.recipes.schema import RewriteStep
from mobilekit.rewrites.base import Rewrite
from mobilekit.rewrites.plugins import installed_names, load_installed
from mobilekit.rewrites.rules.activations import GeluHardSwish, HardSigmoid, HardSwish, TanhGelu
from mobilekit.rewrites.rules.channel_shuffle import ShuffleForm
from mobilekit.rewrites.rules.concat_into_sum import ConcatIntoSum
from mobilekit.rewrites.rules.dense_grouped import DenseGrouped
from mobilekit.rewrites.rules.dfc_dense import DFCDense
from mobilekit.rewrites.rules.dfc_shared import DFCShared
from mobilekit.rewrites.rules.drop_identity import RemoveIdentity
from mobilekit.rewrites.rules.explicit_padding import ExplicitPadding
from mobilekit.rewrites.rules.fold_batch_norm import FoldBatchNorm
from mobilekit.rewrites.rules.fuse_hard_swish import FuseHardSwish
from mobilekit.rewrites.rules.gate_before_upsample import GateBeforeUpsample
from mobilekit.rewrites.rules.logits_head import LogitsHead
from mobilekit.rewrites.rules.matmul_order import MatmulOrder
from mobilekit.rewrites.rules.max_pool_padding import MaxPoolPadding
from mobilekit.rewrites.rules.merge_depthwise import MergeDepthwise
from mobilekit.rewrites.rules.modes import PoolMode, UpsampleMode
from mobilekit.rewrites.rules.noop_slice import NoopSlice
from mobilekit.rewrites.rules.ones_to_sum import OnesToSum
from mobilekit.rewrites.rules.pool_as_depthwise import PoolAsDepthwise
from mobilekit.rewrites.rules.pool_before_pointwise import PoolBeforePointwise
from mobilekit.rewrites.rules.relu6_gate import ReLU6Gate
from mobilekit.rewrites.rules.relu_into_concat import ReLUIntoConcat
from mobilekit.rewrites.rules.safe_denominator import SafeDenominator
from mobilekit.rewrites.rules.shuffle_after_stride import ShuffleAfterStride
from mobilekit.rewrites.rules.shuffle_into_weights import ShuffleIntoWeights
from mobilekit.rewrites.rules.upsample_broadcast import UpsampleBroadcast

REWRITES: dict[str, type[Rewrite[Any]]] = {
    rewrite.name: rewrite
    for rewrite in (
        RemoveIdentity,
        FoldBatchNorm,
        NoopSlice,
        DFCShared,
        DFCDense,
        MergeDepthwise,
        GateBeforeUpsample,
        UpsampleBroadcast,
        ReLU6Gate,
        FuseHardSwish,
        ShuffleAfterStride,
        ShuffleIntoWeights,
        ShuffleForm,
        DenseGrouped,
        MaxPoolPadding,
        ExplicitPadding,
        PoolBeforePointwise,
        PoolAsDepthwise,
        ReLUIntoConcat,
        ConcatIntoSum,
        MatmulOrder,
        OnesToSum,
        HardSwish,
        HardSigmoid,
        TanhGelu,
        GeluHardSwish,
        UpsampleMode,
        SafeDenominator,
        LogitsHead,
        PoolMode,
    )
}


def rewrite_names() -> list[str]:
    """Return the names of all rewrites: mobilekit's own, then those of installed packages."""
    return [*REWRITES, *(name for name in installed_names() if name not in REWRITES)]


def find_rewrite(name: str) -> type[Rewrite[Any]]:
    """Return the rewrite of this name; mobilekit's own comes before an installed package's.

    Raises:
        UsageError: There is none, or its package cannot be used.
    """
    if name in REWRITES:
        return REWRITES[name]
    if name in installed_names():
        return load_installed(name)
    raise UsageError(f"There is no rewrite {name}.", nearest(name, rewrite_names()))


def steps_of(loaded: LoadedRecipe) -> list[tuple[RewriteStep, Rewrite[Any]]]:
    """Return the recipe's steps with their rewrites made.

    Raises:
        UsageError: A step names no rewrite, or gives it wrong options; with file and line.
    """
    steps = []
    for index, step in enumerate(loaded.recipe.rewrites):
        if step.name not in rewrite_names():
            place = loaded.where(("rewrites", index, "name"))
            raise UsageError(f"{place}: there is no rewrite {step.name}.", nearest(step.name, rewrite_names()))
        kind = find_rewrite(step.name)
        steps.append((step, kind(check_options(kind.options_type, step, loaded))))
    return steps
