"""What a node kept from its forward pass, read without disturbing it.

Reading a saved tensor runs its unpack hook, and under activation checkpointing that hook runs the
forward pass again. Such a tensor is left alone: what it would have told is then not known.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from headwater.watch.stacks import NOWHERE, STACKS

_LAYERS_DEEP = 4
_VIEWS = ("ViewBackward", "UnsafeViewBackward", "TransposeBackward", "PermuteBackward")


def saved(node: Any, name: str) -> Tensor | None:
    """Return a tensor that a node saved, or None if there is none to be had."""
    raw = getattr(node, f"_raw_saved_{name}", None)
    if raw is None or _is_hooked(node, raw):
        return None
    try:
        value = getattr(node, f"_saved_{name}")
    except RuntimeError:  # changed in place since, or freed: the user's backward will say so
        return None
    value = value.detach() if isinstance(value, Tensor) else None
    # Nested, distributed and other tensors of their own kind have not the axes that units lie on.
    plain = type(value) is Tensor and value.layout is torch.strided and not value.is_nested
    return value if plain else None


def _is_hooked(node: Any, raw: Any) -> bool:
    """Whether reading would run a hook; an older torch does not say, but where the node is from."""
    hook = getattr(raw, "unpack_hook", raw)
    if hook is not raw:
        return hook is not None
    place = STACKS.place_of(node)
    return place is NOWHERE or place.checkpointed


def rebuild(node: Any, depth: int = _LAYERS_DEEP) -> Tensor | None:
    """Compute a node's output again from what it and its inputs saved, or return None.

    Covers dense and convolution layers, batch and layer normalisation, sums and activations: what
    stands before an activation that keeps only its result. Entries may come in another shape.
    """
    if depth == 0:
        return None
    name = node.name()
    while name.startswith(_VIEWS):  # not by recursion: there may be thousands
        node = node.next_functions[0][0]
        if node is None:
            return None
        name = node.name()
    with torch.autocast(device_type="cpu", enabled=False):
        for prefix, recipe in _RECIPES.items():
            if name.startswith(prefix):
                return recipe(node, depth)
    return None


def _leaf(node: Any, index: int) -> Tensor | None:
    """Return the leaf at one of a node's edges, directly, transposed or cast (autocast does)."""
    child = node.next_functions[index][0]
    name = child.name() if child is not None else ""
    if name in ("TBackward0", "ToCopyBackward0"):
        weight = _leaf(child, 0)
        return weight.t() if weight is not None and name == "TBackward0" else weight
    variable = getattr(child, "variable", None)
    return variable.detach() if isinstance(variable, Tensor) else None


def _operand(node: Any, name: str, index: int) -> Tensor | None:
    """Return a saved operand; one that no gradient needed is not saved, but may be a leaf."""
    kept = saved(node, name)
    return kept if kept is not None else _leaf(node, index)


def _addmm(node: Any, _depth: int) -> Tensor | None:
    bias, left, right = _leaf(node, 0), _operand(node, "mat1", 1), _operand(node, "mat2", 2)
    if bias is None or left is None or right is None:
        return None
    bias, right = bias.to(left.dtype), right.to(left.dtype)
    return torch.addmm(bias, left, right, beta=node._saved_beta, alpha=node._saved_alpha)


def _mm(node: Any, _depth: int) -> Tensor | None:
    left, right = _operand(node, "self", 0), _operand(node, "mat2", 1)
    return left @ right.to(left.dtype) if left is not None and right is not None else None


def _convolution(node: Any, _depth: int) -> Tensor | None:
    images, weight = saved(node, "input"), _operand(node, "weight", 1)
    has_bias = node._saved_bias_sym_sizes_opt not in (None, (0,))
    bias = _leaf(node, 2) if has_bias else None
    if images is None or weight is None or (has_bias and bias is None):
        return None
    return torch.convolution(
        images,
        weight,
        bias.to(images.dtype) if bias is not None else None,
        node._saved_stride,
        node._saved_padding,
        node._saved_dilation,
        node._saved_transposed,
        node._saved_output_padding,
        node._saved_groups,
    )


def _batch_norm(node: Any, _depth: int) -> Tensor | None:
    images = saved(node, "input")
    if images is None:
        return None
    if node._saved_training:
        mean, scale = saved(node, "result1"), saved(node, "result2")
    else:
        mean, variance = saved(node, "running_mean"), saved(node, "running_var")
        scale = (variance + node._saved_eps).rsqrt() if variance is not None else None
    if mean is None or scale is None:
        return None
    shape = [1, -1] + [1] * (images.dim() - 2)
    output = (images - mean.view(shape)) * scale.view(shape)
    weight, bias = saved(node, "weight"), _leaf(node, 2)
    if weight is None:
        return output
    return output * weight.view(shape) + bias.view(shape) if bias is not None else None


def _layer_norm(node: Any, _depth: int) -> Tensor | None:
    values, mean, scale = saved(node, "input"), saved(node, "result1"), saved(node, "result2")
    if values is None or mean is None or scale is None:
        return None
    weight, bias = saved(node, "weight"), saved(node, "bias")
    output = (values - mean) * scale
    output = output * weight if weight is not None else output
    return output + bias if bias is not None else output


def _group_norm(node: Any, _depth: int) -> Tensor | None:
    values, mean, scale = saved(node, "input"), saved(node, "result1"), saved(node, "result2")
    if values is None or mean is None or scale is None:
        return None
    groups = values.reshape(*mean.shape, -1)
    output = ((groups - mean.unsqueeze(-1)) * scale.unsqueeze(-1)).view_as(values)
    weight, bias = saved(node, "weight"), _leaf(node, 2)
    if weight is None:
        return output
    shape = [1, -1] + [1] * (values.dim() - 2)
    return output * weight.view(shape) + bias.view(shape) if bias is not None else None


def _add(node: Any, depth: int) -> Tensor | None:
    parts: list[Tensor] = []
    for child, _ in node.next_functions:
        if child is None:
            return None
        leaf = getattr(child, "variable", None)
        part = leaf.detach() if isinstance(leaf, Tensor) else rebuild(child, depth - 1)
        if part is None:
            return None
        parts.append(part)
    if len(parts) != 2 or parts[0].shape[-1:] != parts[1].shape[-1:]:
        return None
    return torch.add(parts[0], parts[1], alpha=node._saved_alpha)


def _result(node: Any, _depth: int) -> Tensor | None:
    return saved(node, "result")


_RECIPES = {
    "AddmmBackward": _addmm,
    "MmBackward": _mm,
    "ConvolutionBackward": _convolution,
    "NativeBatchNormBackward": _batch_norm,
    "NativeLayerNormBackward": _layer_norm,
    "NativeGroupNormBackward": _group_norm,
    "AddBackward": _add,
    "ReluBackward": _result,
    "TanhBackward": _result,
    "SigmoidBackward": _result,
}
