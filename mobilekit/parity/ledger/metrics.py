"""How far two sets of outputs are apart."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilekit.parity.ledger.task import topk_agreement

HIGHER_IS_BETTER = ("cosine", "top1_agreement", "topk_agreement", "top1")
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Metrics:
    """The distance of a candidate's outputs from a reference's, over all inputs."""

    max_abs: float
    """Largest absolute difference."""
    mean_abs: float
    """Mean absolute difference."""
    relative_l2: float
    """L2 norm of the difference over that of the reference."""
    cosine: float
    """Smallest cosine of an input's two outputs."""
    psnr_db: float | None
    """20 log10(max |reference| / root mean square difference); None where there is no difference."""
    top1_agreement: float
    """Share of inputs whose largest output is the same one."""
    top1: float | None = None
    """Share of inputs whose largest output is the label's, where there are labels."""
    finite: bool = True
    """Whether every output of the candidate is a finite number."""
    top_k: int | None = None
    """k of top-k; None where the outputs are no (N, classes), or have few classes."""
    topk_agreement: float | None = None
    """Share of the reference's first k classes that are among the candidate's first k."""
    float64_ulps: float | None = None
    """Largest distance from the reference's float64 run, in units of 2^-24 of the largest output there; of float32
    stages against the reference."""

    def to_json(self) -> dict[str, Any]:
        """Return the metrics as JSON data."""
        return plain_figures(asdict(self))


def plain_figures(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values with None, JSON's null, for each figure that is not finite: JSON has no others."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in values.items()
    }


def compare(
    reference: Floats, candidate: Floats, labels: NDArray[np.int64] | None = None, k: int | None = None
) -> Metrics:
    """Measure outputs of shape (N, ...) against each other, in float64; class numbers (N,) and k of top-k perhaps.

    Raises:
        ValueError: The shapes differ.
    """
    if reference.shape != candidate.shape:
        raise ValueError(f"outputs have the shapes {reference.shape} and {candidate.shape}")
    count = len(reference)
    truth = reference.reshape(count, -1).astype(np.float64)
    other = candidate.reshape(count, -1).astype(np.float64)
    error = other - truth
    rms = float(np.sqrt(np.mean(error**2)))
    norms = np.linalg.norm(truth, axis=1) * np.linalg.norm(other, axis=1)
    cosines = np.divide((truth * other).sum(1), norms, out=np.full(count, float("nan")), where=norms > 0)
    scale = float(np.abs(truth).max())
    return Metrics(
        max_abs=float(np.abs(error).max()),
        mean_abs=float(np.abs(error).mean()),
        relative_l2=float(np.linalg.norm(error) / np.linalg.norm(truth)) if scale else math.inf,
        cosine=float(np.nan_to_num(cosines, nan=-1.0).min()),
        psnr_db=20 * math.log10(scale / rms) if rms > 0 and scale > 0 and math.isfinite(rms) else None,
        top1_agreement=float((truth.argmax(1) == other.argmax(1)).mean()),
        top1=float((other.argmax(1) == labels).mean()) if labels is not None else None,
        finite=bool(np.isfinite(other).all()),
        top_k=k,
        topk_agreement=None if k is None else topk_agreement(truth, other, k),
    )
