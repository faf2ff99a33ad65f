"""A step of its own that makes a map of int8 float for each that reads it. The Python that has ExecuTorch runs this.

ExecuTorch 1.5.1 has one for all readers. Where XNNPACK's delegate computes some of these and gives the map to others,
it gives it with its axes in another order, and the file fails when it is run, as a softplus of a convolution does.
"""

from __future__ import annotations

import torch
from executorch.exir.pass_base import ExportPass, PassResult

_DEQUANTIZE = "dequantize_per_tensor"


class EachReaderItsOwn(ExportPass):  # type: ignore[misc]
    """Gives each reader of a map that was rounded to int8 a step that makes it float."""

    def call(self, graph_module: torch.fx.GraphModule) -> PassResult:
        """Change a graph before it is divided among delegates."""
        graph, is_changed = graph_module.graph, False
        for node in [each for each in graph.nodes if _DEQUANTIZE in str(each.target)]:
            for reader in [*node.users][1:]:
                with graph.inserting_before(reader):
                    own = graph.create_node(node.op, node.target, node.args, node.kwargs)
                own.meta = dict(node.meta)
                reader.replace_input_with(node, own)
                is_changed = True
        graph_module.recompile()
        return PassResult(graph_module, is_changed)
