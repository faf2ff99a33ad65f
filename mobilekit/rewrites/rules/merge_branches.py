"""Sums of convolutions, batch norms and scaled copies of one input as the one convolution that they are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce

import torch
from torch import nn
from torch.fx import GraphModule, Node

from mobilekit.rewrites.base import Exactness, Options, Rewrite, Site
from mobilekit.rewrites.fx.graph import module_of, node_named, path_of, shape_of
from mobilekit.rewrites.fx.ops import add_module, insert_call
from mobilekit.rewrites.shared.affine import Affine, AffineReader
from mobilekit.rewrites.shared.branches import Form, form_of


@dataclass(frozen=True)
class _Group:
    """The summands of one sum that are of one input."""

    summands: list[Affine]
    total: Affine
    """They together."""
    form: Form | str
    """Of the convolution that they come to, or why they come to none."""


class MergeBranches(Rewrite[Options]):
    """Exact: convolutions of one input add up to the convolution with the sum of their kernels.

    A smaller kernel is one with zeros around it, an input that is added is a kernel of a single 1, and what scales or
    shifts channels after a convolution scales its kernels and adds to its bias: a batch norm, a layer scale. Networks
    that are trained with several branches (RepVGG and its kind) have this form for inference.
    """

    name = "merge-branches"
    exactness = Exactness.EXACT_WHEN
    summary = "Sums of convolutions, batch norms and scaled copies of one input as one convolution"

    def find(self, graph: GraphModule) -> list[Site]:
        """Return the last step of each sum with several branches of one input, one of them a convolution."""
        reader, sites = AffineReader(graph), []
        for root in reader.roots():
            groups = _groups(reader, root)
            if groups:
                sites.append(Site(root.name, path_of(root), _detail(root, groups)))
        return sites

    def why_not(self, graph: GraphModule, site: Site) -> str | None:
        """Refuse where no convolution is the sum, or the one that is has much more to do."""
        groups = _groups(AffineReader(graph), node_named(graph, site.node))
        reasons = [group.form for group in groups if isinstance(group.form, str)]
        return reasons[0] if len(reasons) == len(groups) else None

    def apply(self, graph: GraphModule, site: Site) -> None:
        """Put one convolution in the place of the branches, and add to it what else was added."""
        root = node_named(graph, site.node)
        reader = AffineReader(graph)
        groups = [(group, group.form) for group in _groups(reader, root) if isinstance(group.form, Form)]
        gone = {summand.node for group, _form in groups for summand in group.summands}
        terms = [summand.node for summand in reader.summands(root) if summand.node not in gone]
        terms += [_put(graph, root, group.total, form) for group, form in groups]
        total, *others = terms
        for other in others:
            total = insert_call(root, torch.ops.aten.add.Tensor, total, other)
            total.meta = dict(root.meta)
        root.replace_all_uses_with(total)
        graph.graph.erase_node(root)
        graph.graph.eliminate_dead_code()


def _groups(reader: AffineReader, root: Node) -> list[_Group]:
    """Return the groups of summands of one input that could be less than they are."""
    by_source: dict[Node, list[Affine]] = {}
    for summand in reader.summands(root):
        by_source.setdefault(summand.source, []).append(summand)
    groups = []
    for source, summands in by_source.items():
        total, taken, made = reduce(Affine.plus, summands), shape_of(source), shape_of(root)
        if _is_worth(reader.graph, total) and taken is not None and made is not None:
            groups.append(_Group(summands, total, form_of(total.branches, taken, made)))
    return groups


def _is_worth(graph: GraphModule, total: Affine) -> bool:
    """Return whether a sum has several branches, or scales its only one; a batch norm alone is fold-batch-norm's."""
    if all(branch.is_identity for branch in total.branches):
        return False
    if len(total.branches) > 1:
        return True
    [branch] = total.branches
    if not branch.path or all(isinstance(module_of(graph, step), nn.BatchNorm2d) for step in total.steps):
        return False
    return not bool((branch.factor == 1).all()) or not total.constant.any()


def _put(graph: GraphModule, root: Node, total: Affine, form: Form) -> Node:
    """Call the convolution before the root, under the path of the largest of its branches; return the call."""
    conv = form.merge(total.branches, total.constant)
    known = [branch for branch in total.branches if branch.path]
    if not known:
        return add_module(graph, root, conv, total.source)
    path = max(known, key=lambda branch: branch.conv.weight.numel()).path
    graph.set_submodule(path, conv)
    with graph.graph.inserting_before(root):
        node = graph.graph.call_module(path, (total.source,))
    node.meta = dict(root.meta)
    return node


def _detail(root: Node, groups: list[_Group]) -> str:
    """Return how many branches there are, and what one convolution costs more than they did."""
    shape = shape_of(root)
    assert shape is not None
    count, more = 0, 0
    for group in groups:
        if isinstance(group.form, Form):
            count += len(group.total.branches)
            more += group.form.weights
            more -= sum(branch.conv.weight.numel() for branch in group.total.branches if branch.path)
    if count < 2:
        return "scaled" if count else ""
    return f"{count} branches, {shape[0] * math.prod(shape[2:]) * more:+,} MACs"
