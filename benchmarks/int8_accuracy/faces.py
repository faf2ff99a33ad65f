"""What is measured of MTCNN's networks, whose outputs are boxes and, for each place or picture, whether it is a face.

`boxes` are float32 (N, 4, ...), and `faces` (N, 2, ...) probabilities of which the second counts: above a network's
threshold MTCNN takes the place for a face. Nearly all of thousands of places are none, so that agreement is that of
places which either file takes for one. The share of outputs at an end is left out: probabilities may well be 0 and 1.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmarks.int8_accuracy.measure import MARGIN, Arrays, Judge, Pictures, relative_errors, worst_cosine

_OUTPUTS = ("boxes", "faces")
_HEAD = (
    "relative L2 of boxes",
    "of faces",
    "worst cosine of boxes",
    "of faces",
    "worst channel, dB",
    "same faces, %",
    f"where clear by {MARGIN}, %",
    "faces kept, %",
)


def judge(threshold: float) -> Judge:
    """Return how a network is judged that takes for a face what scores above this."""

    def float32(wanted: Mapping[str, Arrays], _pictures: Pictures) -> list[str]:
        found = int((wanted["faces"][:, 1] > threshold).sum())
        return [*[""] * 7, f"of {found}"]

    def figures(
        made: Mapping[str, Arrays], wanted: Mapping[str, Arrays], pictures: Pictures, _at_ends: float | None
    ) -> list[str]:
        pairs = [(made[name], wanted[name]) for name in _OUTPUTS]
        before, after = (each["faces"][:, 1].reshape(len(pictures.photos), -1) for each in (wanted, made))
        is_face, stays = before > threshold, after > threshold
        either, both = is_face | stays, is_face & stays
        is_clear = np.abs(_logits(before) - _logits(np.array(threshold))) > MARGIN
        share, deviation = share_of(both.sum(1), either.sum(1), pictures.photos)
        return [
            *(f"{relative_errors(*pair).mean():.3f}" for pair in pairs),
            *(f"{worst_cosine(*pair):.3f}" for pair in pairs),
            f"{min(_worst_channel(*pair) for pair in pairs):.1f}",
            f"{share * 100:.1f} ± {deviation * 100:.1f}",
            f"{both[is_clear].sum() / either[is_clear].sum() * 100:.1f}",
            f"{both.sum() / is_face.sum() * 100:.1f}",
        ]

    return Judge(_HEAD, float32, figures)


def _logits(scores: Arrays) -> Arrays:
    """Return by what the second of two logits leads the first, of its probability."""
    exact = np.clip(scores.astype(np.float64), 1e-12, 1 - 1e-12)
    leads: Arrays = np.log(exact / (1 - exact))
    return leads


def _worst_channel(made: Arrays, wanted: Arrays) -> float:
    """Return the smallest of the channels' signals to noise, both without their means, in decibel."""
    axes = (0, *range(2, wanted.ndim))
    signal, noise = wanted.var(axes, dtype=np.float64), np.square(made - wanted, dtype=np.float64).mean(axes)
    return float((10 * np.log10(signal / np.maximum(noise, 1e-30))).min())


def share_of(counted: Arrays, of: Arrays, photos: Arrays) -> tuple[float, float]:
    """Return a share and its standard error, clustered by photo.

    Source: Cochran, Sampling Techniques, 3rd edition, equation 2.46, of a ratio of two sums over clusters.

    Args:
        counted: How many of each picture have it, (N,).
        of: How many there are, (N,).
        photos: The number of the photo that each picture is of, (N,).
    """
    share = counted.sum() / of.sum()
    residuals = np.array([(counted - share * of)[photos == photo].sum() for photo in np.unique(photos)])
    clusters = len(residuals)
    return float(share), float(np.sqrt(clusters / (clusters - 1) * np.square(residuals).sum()) / of.sum())
