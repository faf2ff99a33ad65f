"""The rewrites that there are, by name."""

from __future__ import annotations

from typing import Any

from mobilekit.errors import UsageError, nearest
from mobilekit.recipes.load import LoadedRecipe, check_options
from mobilekit.recipes.schema import RewriteStep
from mobilekit.rewrites.activations import GeluHardSwish, HardSigmoid, HardSwish, TanhGelu
from mobilekit.rewrites.base import Rewrite
from mobilekit.rewrites.batch_norm import FoldBatchNorm
from mobilekit.rewrites.channel_shuffle import ShuffleForm
from mobilekit.rewrites.concat_into_sum import ConcatIntoSum
from mobilekit.rewrites.dense_grouped import DenseGrouped
from mobilekit.rewrites.dfc_dense import DFCDense
from mobilekit.rewrites.dfc_shared import DFCShared
from mobilekit.rewrites.explicit_padding import ExplicitPadding
from mobilekit.rewrites.fuse_hard_swish import FuseHardSwish
from mobilekit.rewrites.gate import GateBeforeUpsample
from mobilekit.rewrites.identity import RemoveIdentity
from mobilekit.rewrites.logits_head import LogitsHead
from mobilekit.rewrites.matmul_order import MatmulOrder
from mobilekit.rewrites.max_pool_padding import MaxPoolPadding
from mobilekit.rewrites.merge_depthwise import MergeDepthwise
from mobilekit.rewrites.modes import PoolMode, UpsampleMode
from mobilekit.rewrites.noop_slice import NoopSlice
from mobilekit.rewrites.ones_to_sum import OnesToSum
from mobilekit.rewrites.plugins import installed_names, load_installed
from mobilekit.rewrites.pool_as_depthwise import PoolAsDepthwise
from mobilekit.rewrites.pool_order import PoolBeforePointwise
from mobilekit.rewrites.relu6_gate import ReLU6Gate
from mobilekit.rewrites.relu_into_concat import ReLUIntoConcat
from mobilekit.rewrites.safe_denominator import SafeDenominator
from mobilekit.rewrites.shuffle_after_stride import ShuffleAfterStride
from mobilekit.rewrites.shuffle_into_weights import ShuffleIntoWeights
from mobilekit.rewrites.upsample_broadcast import UpsampleBroadcast

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
