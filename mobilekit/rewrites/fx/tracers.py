"""How a model's Python code becomes a graph."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.fx import Node, Proxy, Tracer
from torch.fx.node import map_aggregate
from torch.fx.proxy import TraceError

from mobilekit.models.dfc import FullyConnected
from mobilekit.rewrites.fx.lowered import Lowered

_KNOWN = ("shape", "ndim", "dtype", "device", "is_cuda", "requires_grad")
_NUMBERS = ("item", "tolist", "__bool__", "__int__", "__float__", "__index__")


class PathTracer(Tracer):
    """Keeps torch's own layers, DFC's linear maps and what rewrites made whole, and follows everything else.

    Args:
        parameters: Names of the parameters of `forward` that become inputs of the graph, in this order, the first
            parameter first. The others keep their defaults.
    """

    def __init__(self, parameters: Iterable[str]) -> None:
        super().__init__()
        self.parameters = list(parameters)

    def create_args_for_root(self, root_fn: Any, is_module: bool, concrete_args: Any = None) -> tuple[Any, list[Any]]:
        """Return what calls the model, and what to call it with: the model, and a proxy for each parameter."""
        proxies = [self.create_proxy("placeholder", name, (), {}) for name in self.parameters]

        def forward(root: nn.Module, first: Any, *further: Any) -> Any:
            return root_fn(root, first, **dict(zip(self.parameters[1:], further, strict=True)))

        return forward, [self.root, *proxies]

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Return whether the call of `m` stays one node of the graph."""
        return isinstance(m, FullyConnected | Lowered) or super().is_leaf_module(m, module_qualified_name)

    def create_proxy(self, kind: str, target: Any, args: Any, kwargs: Any, *rest: Any, **more: Any) -> Any:
        """Add a node, but not one that turns a tensor's values into Python numbers.

        Such a node would run, and torch.onnx would then write the example's number as a constant.
        """
        if kind == "call_method" and target in _NUMBERS:
            raise TraceError(f"a tensor's value is turned into a Python number by {target}()")
        return super().create_proxy(kind, target, args, kwargs, *rest, **more)


class SizedTracer(PathTracer):
    """Traces with examples at hand: sizes are plain numbers, values stay unknown.

    Each step is also carried out on the examples. A result that is no tensor (a size, a dtype) is given to the model's
    code as it is; one that was made of a tensor's values is refused, as it would be frozen at the example's.

    Args:
        examples: By the names of the parameters that take them.
    """

    def __init__(self, examples: Mapping[str, torch.Tensor]) -> None:
        super().__init__(examples)
        self.examples = examples
        self.results: dict[Node, Any] = {}
        self._is_carrying_out = False

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        """Trace a module's call, but not those inside a leaf that is being carried out."""
        if self._is_carrying_out:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """Give parameters as proxies to the model's code, and as they are to a leaf that is being carried out."""
        if self._is_carrying_out:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def proxy(self, node: Node) -> Proxy:
        """Return a proxy that knows the sizes of its node's result."""
        return SizedProxy(node, self)

    def create_proxy(self, kind: str, target: Any, args: Any, kwargs: Any, *rest: Any, **more: Any) -> Any:
        """Add a node, and carry it out on the example."""
        proxy = super().create_proxy(kind, target, args, kwargs, *rest, **more)
        node = proxy.node
        self._is_carrying_out = True
        try:
            with torch.no_grad():
                result = self._carry_out(kind, target, node)
        finally:
            self._is_carrying_out = False
        self.results[node] = result
        return proxy if kind == "output" or _holds_tensor(result) else result

    def _carry_out(self, kind: str, target: Any, node: Node) -> Any:
        args = map_aggregate(node.args, self._result_of)
        kwargs = map_aggregate(node.kwargs, self._result_of)
        if kind == "placeholder":
            return self.examples[str(target)]
        if kind == "get_attr":
            return operator.attrgetter(str(target))(self.root)
        if kind == "call_module":
            return self.root.get_submodule(target)(*args, **kwargs)
        if kind == "call_method":
            return getattr(args[0], target)(*args[1:], **kwargs)
        if kind == "call_function":
            return target(*args, **kwargs)
        return None

    def _result_of(self, value: Any) -> Any:
        if not isinstance(value, Node):
            return value
        if value.op == "get_attr":  # parameters and buffers become nodes without passing through create_proxy
            return operator.attrgetter(str(value.target))(self.root)
        return self.results[value]


class SizedProxy(Proxy):
    """A proxy whose shape, dtype and length are those of the example's result."""

    tracer: SizedTracer

    def __getattr__(self, name: str) -> Any:
        """Return what does not depend on values as it is, and everything else as a step of the graph."""
        result = self.tracer.results.get(self.node)
        if isinstance(result, torch.Tensor) and name in _KNOWN:
            return getattr(result, name)
        return super().__getattr__(name)

    def __len__(self) -> int:
        """Return the length that the example's result has."""
        return len(self.tracer.results[self.node])

    def __iter__(self) -> Any:
        """Go through the members, as many as the example's result has."""
        return iter([operator.getitem(self, index) for index in range(len(self))])


def _holds_tensor(result: Any) -> bool:
    if isinstance(result, torch.Tensor):
        return True
    return isinstance(result, tuple | list) and any(_holds_tensor(member) for member in result)
