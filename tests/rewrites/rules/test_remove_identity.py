"""Steps that do nothing go, and no others."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from mobilekit.rewrites.base import Options
from mobilekit.rewrites.rules.fold_batch_norm import FoldBatchNorm
from mobilekit.rewrites.rules.remove_identity import RemoveIdentity
from tests.rewriting import (
    Model,
    assert_exact,
    assert_refused_for_a_reason,
    normal,
    reasons,
)

FOLD = FoldBatchNorm(Options())
REMOVE = RemoveIdentity(Options())
X = normal(1, 2, 3, 8, 7)


def test_dropouts_go() -> None:
    made = {"conv": nn.Conv2d(3, 3, 1), "drop": nn.Dropout(0.5), "bn": nn.BatchNorm2d(3)}

    def forward(m: Model, x: torch.Tensor) -> torch.Tensor:
        x = m.bn(m.drop(m.conv(x)))
        return F.dropout(m.drop(x), 0.3, training=m.training)

    model = Model(made, forward)
    assert reasons(FOLD, model, X) == ["what comes before is Dropout, not a convolution or linear layer"]
    graph = assert_exact(REMOVE, model, X, sites=3)
    assert [node.target for node in graph.graph.nodes] == ["x", "conv", "bn", "output"]
    assert reasons(FOLD, graph, X) == [None]


def test_a_dropout_of_evaluation_too_stays() -> None:
    model = Model({}, lambda m, x: F.dropout(x, 0.5, training=True))
    assert_refused_for_a_reason(REMOVE, model, X, "it drops values in evaluation too")
