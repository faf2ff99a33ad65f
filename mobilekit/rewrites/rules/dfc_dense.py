"""DFC's dense linear maps, approximated by 1xK and Kx1 depthwise convolutions."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import nn
from torch.fx import GraphModule
from torch.nn import functional as F

from mobilekit.models.dfc import Axis, DenseFullyConnected
from mobilekit.models.inputs import Tensors
from mobilekit.rewrites.base import Exactness, Options, Rewrite, Site
from mobilekit.rewrites.fx.graph import input_node, module_of, node_named
from mobilekit.rewrites.fx.record import record_values
from mobilekit.rewrites.shared.dfc import depthwise_along


class DFCDenseOptions(Options):
    """Parameters of `dfc-dense`."""

    kernel_size: Annotated[int, Field(ge=1, multiple_of=1)] = Field(5, description="Taps K of the kernels, odd.")
    fit: Literal["projection", "least-squares"] = Field(
        "least-squares", description="Mean of each diagonal, or least squares on the calibration activations."
    )

    def model_post_init(self, context: object) -> None:
        """Refuse an even kernel: it has no center."""
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size is {self.kernel_size}, not odd")


def project_diagonals(matrix: torch.Tensor, kernel_size: int) -> torch.Tensor:
    """Return the taps nearest to `matrix` in the Frobenius norm: the mean of each diagonal in the band.

    Args:
        matrix: (C, L, L), row = output position.
        kernel_size: K, odd.

    Returns:
        (C, K); a diagonal outside the matrix gives 0.
    """
    length, half = matrix.shape[-1], kernel_size // 2
    means = [
        matrix.diagonal(offset, 1, 2).mean(-1) if abs(offset) < length else matrix.new_zeros(matrix.shape[0])
        for offset in range(-half, half + 1)
    ]
    return torch.stack(means, 1)


def fit_least_squares(matrix: torch.Tensor, rows: torch.Tensor, kernel_size: int) -> torch.Tensor:
    """Return the taps whose convolution is nearest to `matrix` on measured activations.

    Minimizes, for each channel, the sum over `rows` x of |F x - taps * x|^2 through the normal equations; a direction
    that the activations never show keeps the value of the diagonal projection.

    Args:
        matrix: F, (C, L, L).
        rows: Activations (C, M, L), M vectors a channel.
        kernel_size: K, odd.

    Returns:
        (C, K).
    """
    start = project_diagonals(matrix, kernel_size)
    windows = F.pad(rows, (kernel_size // 2, kernel_size // 2)).unfold(2, kernel_size, 1)
    design = windows.flatten(1, 2)
    target = (rows @ matrix.transpose(1, 2)).flatten(1)
    residual = target - (design @ start.unsqueeze(2)).squeeze(2)
    normal = design.transpose(1, 2) @ design
    correction = torch.linalg.pinv(normal, hermitian=True, rtol=1e-10) @ (
        design.transpose(1, 2) @ residual.unsqueeze(2)
    )
    taps: torch.Tensor = start + correction.squeeze(2)
    return taps


class DFCDense(Rewrite[DFCDenseOptions]):
    """Approximate: a dense matrix is not shift-invariant, so its best K taps are another function.

    Random matrices lose everything (relative error near 1); trained ones, and ones that started as a Toeplitz matrix,
    lose less. The drift is measured on the calibration inputs and held to `max_drift`.
    """

    name = "dfc-dense"
    exactness = Exactness.APPROXIMATE
    summary = "DFC attention with dense weights: the nearest 1xK and Kx1 depthwise convolutions"
    experimental = (
        "In the digits' GhostNetV2 trained dense maps drift by 0.14 with 3 taps and training brings the top-1 "
        "back, while random maps lose everything; right for weights that were trained with dense maps."
    )
    options_type = DFCDenseOptions

    def __init__(self, options: DFCDenseOptions) -> None:
        super().__init__(options)
        self._activations: dict[str, torch.Tensor] = {}

    def find(self, graph: GraphModule) -> list[Site]:
        """Return DFC's maps with dense weights."""
        return [
            Site(node.name, str(node.target))
            for node in graph.graph.nodes
            if isinstance(module_of(graph, node), DenseFullyConnected)
        ]

    def prepare(self, graph: GraphModule, sites: list[Site], calibration: Tensors | None) -> None:
        """Record what flows into each map on the calibration inputs."""
        if self.options.fit == "least-squares" and calibration is not None and sites:
            wanted = {site.node: input_node(node_named(graph, site.node)) for site in sites}
            values = record_values(graph, calibration, nodes=wanted.values())
            self._activations = {node: values[source] for node, source in wanted.items()}

    def apply(self, graph: GraphModule, site: Site) -> None:
        """Put the nearest convolution in the map's place."""
        module = module_of(graph, node_named(graph, site.node))
        if isinstance(module, nn.Conv2d):
            return  # the model calls the map more than once, and the first site has replaced it
        assert isinstance(module, DenseFullyConnected)
        with torch.no_grad():
            taps = self._taps(module, self._activations.get(site.node))
        shape = (len(taps), 1, 1, -1) if module.axis == "horizontal" else (len(taps), 1, -1, 1)
        graph.set_submodule(site.path, depthwise_along(module.axis, nn.Parameter(taps.reshape(shape))))

    def _taps(self, module: DenseFullyConnected, activations: torch.Tensor | None) -> torch.Tensor:
        if activations is None:
            return project_diagonals(module.weight, self.options.kernel_size)
        return fit_least_squares(module.weight, _vectors(activations, module.axis), self.options.kernel_size)


def _vectors(activations: torch.Tensor, axis: Axis) -> torch.Tensor:
    """Return (N, C, H, W) activations as the vectors along one axis, (C, M, L)."""
    order = (1, 0, 2, 3) if axis == "horizontal" else (1, 0, 3, 2)
    return activations.permute(order).flatten(1, 2)
