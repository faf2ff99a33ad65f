"""How far two sets of outputs are apart."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilekit.artifacts.runtime import is_label
from mobilekit.parity.ledger.labels import compare_labels
from mobilekit.parity.ledger.result import Metrics
from mobilekit.parity.ledger.task import topk_agreement

Floats = NDArray[np.float32]
Values = NDArray[np.float64]
Outputs = NDArray[Any]
"""float32, or int64 where they are labels."""


@np.errstate(over="ignore", invalid="ignore")  # outputs that are not finite have figures that are not
def compare(
    reference: Outputs, candidate: Outputs, labels: NDArray[np.int64] | None = None, k: int | None = None
) -> Metrics:
    """Measure outputs of shape (N, ...) against each other, in float64; class numbers (N,) and k of top-k perhaps.

    Where those of the reference are labels, they are counted.

    Raises:
        ValueError: The shapes differ.
    """
    if reference.shape != candidate.shape:
        raise ValueError(f"outputs have the shapes {reference.shape} and {candidate.shape}")
    if is_label(reference):
        return compare_labels(reference, candidate, labels)
    count = len(reference)
    truth = reference.reshape(count, -1).astype(np.float64)
    other = candidate.reshape(count, -1).astype(np.float64)
    error = other - truth
    rms = float(np.sqrt(np.mean(error**2)))
    scale = float(np.abs(truth).max())
    return Metrics(
        max_abs=float(np.abs(error).max()),
        mean_abs=float(np.abs(error).mean()),
        relative_l2=float(np.linalg.norm(error) / np.linalg.norm(truth)) if scale else math.inf if error.any() else 0.0,
        cosine=_smallest_cosine(truth, other),
        psnr_db=20 * math.log10(scale / rms) if rms > 0 and scale > 0 and math.isfinite(rms) else None,
        top1_agreement=float((truth.argmax(1) == other.argmax(1)).mean()),
        top1=float((other.argmax(1) == labels).mean()) if labels is not None else None,
        finite=bool(np.isfinite(other).all()),
        top_k=k,
        topk_agreement=None if k is None else topk_agreement(truth, other, k),
    )


def _smallest_cosine(truth: Values, other: Values) -> float:
    """Return the smallest cosine of an input's two outputs, of (N, values).

    Of one number an input there is a sign and no angle: a number near 0 would have -1 for the least of errors. The
    numbers of all inputs are one vector then.
    """
    if truth.shape[1] == 1:
        truth, other = truth.T, other.T
    norms = np.linalg.norm(truth, axis=1) * np.linalg.norm(other, axis=1)
    cosines = np.divide((truth * other).sum(1), norms, out=np.full(len(truth), float("nan")), where=norms > 0)
    cosines[(truth == other).all(1)] = 1.0  # zeros, too
    return float(np.nan_to_num(cosines, nan=-1.0).min())
