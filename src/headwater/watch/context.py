"""What stands around an operation says more of its kind than its name can.

A ``Mul`` may be the loss scale, a part of ``torch.nn.functional.gaussian_nll_loss``, or of an RMS
norm written by hand; a ``Mean`` may be the loss's reduction or the network's last pooling. The
function of torch that the script called, and the module it stands in, tell them apart.
"""

from __future__ import annotations

import re

from headwater.records import Kind
from headwater.watch.operations import ARITHMETIC
from headwater.watch.stacks import Place

_LOSS = re.compile(r"Loss|Criterion|Objective|CrossEntropy", re.IGNORECASE)
_NORM = re.compile(r"Norm", re.IGNORECASE)
_ACTIVATION = re.compile(r"Activation|GELU|Swish|SiLU|Mish")
_CERTAIN = ("parameter", "compiled", "other", "weights")
_LOSSES = frozenset({"cross_entropy", "binary_cross_entropy_with_logits", "kl_div"})
_OF_ARITHMETIC: dict[str, Kind] = {
    "scale": "precision",
    "normalize": "normalisation",
    "softsign": "activation",
    "tanhshrink": "activation",
}
"""Functions of torch that are written in others' arithmetic; ``scale`` is the gradient scaler's."""


def kind_at(place: Place, operation: str, kind: Kind, own: Kind, end: Place) -> Kind:
    """Return the kind of an operation made at ``place``.

    Args:
        place: Where it was made.
        operation: Its name.
        kind: Its kind by the graph alone.
        own: The same if the loss does not reach down to it.
        end: Where the root of the graph was made.
    """
    if operation not in ARITHMETIC and (own == "shape" or kind in _CERTAIN):
        return kind
    by_call = _kind_of_call(place.called)
    if by_call is not None or operation not in ARITHMETIC:
        return by_call or kind
    name = type(place.module()).__name__
    if _NORM.search(name) and not _LOSS.search(name):
        return "normalisation"
    if _ACTIVATION.search(name) and not _LOSS.search(name):
        return "activation"
    return own if kind == "loss" and _in_network(place, end) else kind


def _kind_of_call(called: str) -> Kind | None:
    """Return the kind of all that a function of torch does, None if that depends.

    Example:
        >>> _kind_of_call("poisson_nll_loss"), _kind_of_call("lp_pool2d"), _kind_of_call("linear")
        ('loss', 'shape', None)
    """
    if called.endswith("_loss") or called in _LOSSES:
        return "loss"
    if called.endswith("_norm"):
        return "normalisation"
    if "dropout" in called or "pool" in called:
        return "shape"
    return _OF_ARITHMETIC.get(called)


def _in_network(place: Place, end: Place) -> bool:
    """Whether a place is in a module that trains; a module may itself end in the loss."""
    module, root = place.module(), place.root()
    if module is None or root is None or module is end.module():
        return False
    is_loss = _LOSS.search(type(module).__name__)
    return not is_loss and any(parameter.requires_grad for parameter in root.parameters())
