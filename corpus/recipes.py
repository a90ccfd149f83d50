"""A training as plain data: every choice a user makes, and so every mistake, is a field."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One short training.

    ``weights`` names how matrices are drawn; they are multiplied by ``weight_scale`` and shifted by
    ``weight_mean`` times their own standard deviation. ``layer`` limits these changes and ``bias``
    to one hidden layer. ``output`` is applied to the head's output before the loss. ``pretrain``
    steps are trained unobserved first. ``order`` is that of the calls in a step, "" the right one.
    ``score_scale`` multiplies attention's scores, which do not see words under ``mask_below``.
    ``noise`` is added to regression targets; ``in_order`` goes through the data without shuffling.
    ``own_decay`` is the share that a loop takes off the weights by hand after each step. ``loss``
    names one of `corpus.losses`; ``standardised`` puts a module before the network that divides by
    the inputs' deviation.
    """

    task: str
    network: str
    depth: int = 3
    width: int = 16
    activation: str = "relu"
    norm: str = ""
    residual: str = ""
    weights: str = "he"
    weight_scale: float = 1.0
    weight_mean: float = 0.0
    bias: float = 0.0
    layer: int | None = None
    dropout: float = 0.0
    input_scale: float = 1.0
    input_shift: float = 0.0
    target_scale: float = 1.0
    target_shift: float = 0.0
    labels: str = "true"
    optimiser: str = "adam"
    rate: float = 0.01
    momentum: float = 0.0
    clip: float = 0.0
    warmup: int = 0
    decay: bool = False
    batch: int = 64
    accumulate: int = 1
    steps: int = 240
    pretrain: int = 0
    output: str = ""
    loss: str = ""
    reduction: str = "mean"
    zero_grad: bool = True
    detach_at: int | None = None
    held: str = "all"
    frozen: str = ""
    dtype: str = "float32"
    bad_from: int | None = None
    order: str = ""
    score_scale: float = 1.0
    mask_below: int = 0
    autocast: str = ""
    loss_scaling: bool = False
    loss_scale: float = 65536.0
    loss_weight: float = 1.0
    smoothing: float = 0.0
    class_weights: bool = False
    weight_decay: float = 0.0
    cycle: int = 0
    noise: float = 0.0
    in_order: bool = False
    head_rate: float = 1.0
    checkpointed: bool = False
    standardised: bool = False
    own_decay: float = 0.0

    @property
    def choices(self) -> str:
        """The choices that are not the usual ones: a new field does not change old recipes'."""
        chosen = {field.name: getattr(self, field.name) for field in fields(self)}
        usual = {field.name: field.default for field in fields(self)}
        return ", ".join(
            f"{name}={value!r}"
            for name, value in chosen.items()
            if usual[name] is MISSING or value != usual[name]
        )
