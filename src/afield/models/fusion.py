"""Convolutions of a network that compute the batch normalization and the activation after them."""

import copy
from collections import Counter
from collections.abc import Collection
from typing import Any

import torch
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.norm_act import BatchNormAct2d
from timm.layers.padding import pad_same
from timm.models import get_notrace_functions, get_notrace_modules
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

CONVOLUTIONS = (nn.Conv2d, Conv2dSame)

ACTIVATIONS: dict[type[nn.Module], tuple[str, list[float]]] = {
    nn.ReLU: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
    nn.SiLU: ("swish", []),
    nn.Hardswish: ("hardswish", []),
}
"""Activations that oneDNN computes in a convolution, with their names and arguments there."""


def fused(network: nn.Module) -> nn.Module:
    """A copy of a network in evaluation mode without batch normalization and activations after convolutions.

    Raises:
        Exception: if the network cannot be traced.
    """
    tracer = _Tracer(autowrap_functions=tuple(get_notrace_functions()))
    graph = tracer.trace(copy.deepcopy(network))
    module = fx.GraphModule(tracer.root, graph)
    for node in graph.find_nodes(op="call_module"):
        if type(_called(module, node)) is nn.Identity:
            _drop(node)
    calls = Counter(node.target for node in graph.nodes)
    once: list[Any] = [node for node in graph.nodes if node.op == "call_module" and calls[node.target] == 1]
    for node in once:
        _fold(module, node, once)
    if torch.backends.mkldnn.is_available():
        for node in once:
            _fuse(module, node)
    graph.lint()
    module.delete_all_unused_submodules()
    module.recompile()
    return module


class FusedConvolution(nn.Module):
    """A convolution followed by an activation, computed by oneDNN in one step, as TorchInductor does.

    Args:
        convolution: convolution with zero padding.
        activation: activation after it; only those in `ACTIVATIONS` are computed.
    """

    packed: Tensor | None

    def __init__(self, convolution: nn.Conv2d, activation: type[nn.Module] | None) -> None:
        super().__init__()
        self.convolution = convolution
        self.name, self.arguments = ACTIVATIONS.get(activation, ("none", []))  # type: ignore[arg-type]
        self.packed = None

    def forward(self, maps: Tensor) -> Tensor:
        """``[B, C, H, W]`` -> ``[B, C', H', W']``."""
        conv = self.convolution
        if isinstance(conv, Conv2dSame):
            maps = pad_same(maps, [*conv.kernel_size], [*conv.stride], [*conv.dilation])
        where = conv.padding, conv.stride, conv.dilation, conv.groups
        if self.packed is None:
            self.packed = torch.ops.mkldnn._reorder_convolution_weight(conv.weight, *where, list(maps.shape))
        return torch.ops.mkldnn._convolution_pointwise(
            maps, self.packed, conv.bias, *where, self.name, self.arguments, ""
        )


class _Tracer(fx.Tracer):
    """Traces into everything but convolutions, batch normalization and what timm excludes."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        kept = (nn.Conv2d, nn.BatchNorm2d, *get_notrace_modules())
        return super().is_leaf_module(module, name) or isinstance(module, kept)


def _called(module: fx.GraphModule, node: Any) -> Any:
    """The module that a node of a graph calls."""
    return module.get_submodule(node.target)


def _drop(node: Any) -> None:
    """Remove a node from its graph. Its input takes its place."""
    node.replace_all_uses_with(node.args[0])
    node.graph.erase_node(node)


def _fold(module: fx.GraphModule, node: Any, once: Collection[Any]) -> None:
    """Fold the batch normalization that a node calls into the convolution before it; `once` are nodes as in `fused`."""
    norm, before = _called(module, node), node.args[0]
    if type(norm) not in (nn.BatchNorm2d, BatchNormAct2d) or norm.running_mean is None:
        return
    if before not in once or len(before.users) > 1 or type(_called(module, before)) not in CONVOLUTIONS:
        return
    module.set_submodule(before.target, fuse_conv_bn_eval(_called(module, before), norm))
    if type(norm) is BatchNormAct2d and type(norm.act) is not nn.Identity:
        module.set_submodule(node.target, norm.act)
    else:
        _drop(node)


def _fuse(module: fx.GraphModule, node: Any) -> None:
    """Replace the convolution that a node calls, together with the activation after it."""
    convolution = _called(module, node)
    if type(convolution) not in CONVOLUTIONS or convolution.padding_mode != "zeros":
        return
    after = next(iter(node.users)) if len(node.users) == 1 else None
    activation = type(_called(module, after)) if after is not None and after.op == "call_module" else None
    if after is not None and activation in ACTIVATIONS:
        _drop(after)
    module.set_submodule(node.target, FusedConvolution(convolution, activation))
