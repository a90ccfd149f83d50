"""Critical initialisation from theory: which weights keep the gradient, for any activation."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from headwater.checks.descriptions import flat
from headwater.checks.feeds import feed
from headwater.checks.readings import Reading
from headwater.errors import NotCoveredError, UsageError
from headwater.initialisers.access import first_reading, plain_weights, seed_here, thawed
from headwater.initialisers.changes import Change, Changes
from headwater.initialisers.draws import draw
from headwater.initialisers.plans import Planner, Wish
from headwater.theory.criticality import critical_point
from headwater.theory.layers import Activate
from headwater.watch.single import undisturbed

_STARTS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
_LOUD = 2.0  # mean square of a loud sample over the mean; of 32 normal features 1 in 10,000 has it
_APART = 2.3  # logarithm of a mean square: half a decade of the gradient's norm
_ROUNDS = 4  # of the walk, until tied weights and the variances that they give agree
_SAME = 0.01  # relative; wishes of tied weights nearer than this are one


@torch.no_grad()
def critical_(
    model: nn.Module,
    batch: Any = None,
    loss_fn: Callable[..., Any] | None = None,
    *,
    variance: float | None = None,
    bias_variance: float = 0.0,
    orthogonal: bool = False,
    frozen: bool = False,
    generator: torch.Generator | None = None,
    quiet: bool = False,
) -> Changes:
    r"""Draw the weights of a network anew, so that its gradient neither vanishes nor explodes.

    One pass shows which activation stands before each weight, functional calls included. Mean
    field then walks along the signal: after an activation whose inputs have variance q a weight
    is drawn with fan-in times its variance :math:`\sigma_w^2 = 1 / E[\phi'^2]`, so the
    gradient's norm is kept through both at every layer, at any shape
    (:math:`E|W^T g|^2 = \sigma_w^2 |g|^2`). The forward variance follows,
    :math:`q' = \sigma_w^2 E[\phi^2]`. Where that would drive it away, as behind sigmoid and
    softplus, whose outputs are all positive, rows are centred: then
    :math:`q' = \sigma_w^2 Var[\phi]`, which is near q. The first weight gives ``variance``, by
    the batch's own mean square. Biases become 0.

    A weight that is normalised afterwards gets 1. The last weight of each of L residual
    branches of a stream (or the factor of the norm that ends it) gets :math:`1/\sqrt L` of its
    gain, so the gradient's mean square grows by e at most. Behind pooling and what else theory
    has no exact formula for, the gain is measured. Transposed convolutions, weights whose
    outputs meet in a product (gates, queries and keys of their own), embeddings and recurrent
    weights are left as they were. Tied weights are drawn once.

    Args:
        model: Changed in place; parameters stay the same objects.
        batch: As it is trained on; made up where the first layer tells what it takes.
        loss_fn: Not needed; for a network whose output alone gives no loss.
        variance: q of the first layer's outputs. By default the largest of 1, 0.3, 0.1, ... at
            which a sample of twice the mean square has a gradient within half a decade of the
            others', as activations like GELU drive samples apart; with biases the one at which
            the network is critical.
        bias_variance: :math:`\sigma_b^2`, of biases drawn along the critical line.
        orthogonal: Draw semi-orthogonal weights of the same mean square; kernels taken flat.
        frozen: Also draw parameters that require no gradient.
        generator: Of the draws.
        quiet: Print nothing.

    Returns:
        What was done, parameter by parameter.

    Raises:
        UsageError: The network has no weights, or does not take the batch.

    Source:
        Schoenholz et al. (2017), arXiv:1611.01232, for the critical line; Brock et al. (2021),
        arXiv:2101.08692, for centred rows; Zhang et al. (2019), arXiv:1901.09321, for branches.

    Example:
        >>> net = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        >>> done = critical_(net, quiet=True)
        >>> round(done["2.weight"].after, 1), net[2].bias.abs().max().item()
        (1.4, 0.0)
    """
    _refuse(variance, bias_variance)
    with undisturbed(model), thawed(model) as cold:
        untouched = _untouched(model, frozenset() if frozen else cold)
        with plain_weights(model, frozenset(untouched)), torch.enable_grad():
            seed_here(model)
            reading = first_reading(model, feed(model, batch, loss_fn), "critical_")
        remarks: list[str] = []
        task = _Task(reading=reading, bias_variance=bias_variance, untouched=untouched)
        if variance is None and bias_variance:
            variance = _critical_variance(reading, bias_variance, remarks)
        planner = _planned(task, variance) if variance else _steady(task)
    wishes = _merged(planner.wishes)
    before = {wish.weights.name: wish.weights.variance for wish in wishes}
    for wish in wishes:
        if wish.variance is not None:
            _draw(model, wish, bias_variance, orthogonal, generator)
    changes = [_change(wish, before[wish.weights.name]) for wish in wishes]
    changes += _scale_factors(model, planner, untouched)
    done = Changes(
        title="critical_: weights that keep the gradient's norm, by theory",
        changes=tuple(changes),
        remarks=(*planner.remarks, *remarks, *_left(model, changes)),
    )
    if not quiet:
        print(done)
    return done


def _refuse(variance: float | None, bias_variance: float) -> None:
    if variance is not None and not 0 < variance < math.inf:
        raise UsageError(f"variance got {variance!r}; it takes a number above 0, such as 1.0")
    if not 0 <= bias_variance < math.inf:
        raise UsageError(f"bias_variance got {bias_variance!r}; it takes 0 or more, such as 0.05")


def _untouched(model: nn.Module, frozen: frozenset[str]) -> Mapping[str, str]:
    """Return the parameters that are not drawn, and why."""
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    why = dict.fromkeys(frozen, "left as it was: it is frozen")
    for name, parameter in model.named_parameters():
        if id(parameter) in tables:
            why[name] = "left as it was: it is an embedding's table, too"
    return why


@dataclass(frozen=True, kw_only=True)
class _Task:
    reading: Reading
    bias_variance: float
    untouched: Mapping[str, str]


def _critical_variance(reading: Reading, bias_variance: float, remarks: list[str]) -> float:
    """Return the variance at which a network with such biases is critical."""
    activations = (s.layer for s in flat(reading.stages) if isinstance(s.layer, Activate))
    first = next(activations, None)
    if first is not None:
        try:
            return critical_point(first.activation, bias_variance).variance
        except NotCoveredError as error:
            remarks.append(f"{error}. Begun at variance {max(1.0, 2 * bias_variance):g}.")
    return max(1.0, 2 * bias_variance)


def _steady(task: _Task) -> Planner:
    """Take the largest variance at which a loud sample's gradient stays with the others'.

    An activation that grows faster than its input, as GELU does, spreads samples further apart
    with every layer, and the loudest soon have all of the gradient. The smaller the variance, the
    nearer to linear it is, and the less it does.
    """
    for start in _STARTS:
        planner = _planned(task, start)
        wishes = _merged(planner.wishes)
        fixed = {w.weights.name: (w.variance, w.centred) for w in wishes if w.variance is not None}
        loud = _planner(task, start, fixed, louder=_LOUD)
        loud.plan()
        if abs(loud.growth - planner.growth) <= _APART:
            break
    return planner


def _planned(task: _Task, start: float) -> Planner:
    """Walk until the variances are those that tied weights give."""
    fixed: Mapping[str, tuple[float, bool]] = {}
    for _ in range(_ROUNDS):
        planner = _planner(task, start, fixed)
        planner.plan()
        merged = _merged(planner.wishes)
        if len(merged) == len(planner.wishes):
            break
        fixed = {w.weights.name: (w.variance, w.centred) for w in merged if w.variance is not None}
    return planner


def _planner(
    task: _Task, start: float, fixed: Mapping[str, tuple[float, bool]], louder: float = 1.0
) -> Planner:
    return Planner(
        reading=task.reading,
        start=start,
        bias_variance=task.bias_variance,
        fixed=fixed,
        untouched=task.untouched,
        louder=louder,
    )


def _merged(wishes: Sequence[Wish]) -> list[Wish]:
    """Bring the wishes of all uses of one weight to one: the geometric mean, and the first's rows.

    The product of the gains is then what it would be if each use had its own.
    """
    uses: dict[str, list[Wish]] = {}
    for wish in wishes:
        uses.setdefault(wish.weights.name, []).append(wish)
    return [_one_of(each) for each in uses.values()]


def _one_of(uses: Sequence[Wish]) -> Wish:
    wanted = [wish.variance for wish in uses if wish.variance is not None]
    if len(uses) == 1 or len(wanted) < len(uses):
        return next((wish for wish in uses if wish.variance is None), uses[0])
    mean = math.exp(sum(map(math.log, wanted)) / len(wanted))
    low, high = math.sqrt(min(wanted)), math.sqrt(max(wanted))
    note = f"used {len(uses)} times and drawn once"
    if high > low * (1 + _SAME):
        note += f", though its uses want {low:.3g} to {high:.3g}: their geometric mean"
    middle = uses[len(uses) // 2]
    parts = [part for part in (middle.note, note) if part]
    return Wish(
        weights=uses[0].weights,
        follows=middle.follows,
        variance=mean,
        centred=middle.centred,
        note="; ".join(parts),
    )


def _draw(
    model: nn.Module,
    wish: Wish,
    bias_variance: float,
    orthogonal: bool,
    generator: torch.Generator | None,
) -> None:
    weights = wish.weights
    assert wish.variance is not None
    weights.tensor.copy_(
        draw(
            weights.tensor,
            wish.variance,
            units_first=weights.units_first,
            centred=wish.centred,
            orthogonal=orthogonal,
            generator=generator,
        )
    )
    bias = dict(model.named_parameters()).get(weights.bias)
    if bias is None:
        return
    if bias_variance:
        row = draw(bias[None], bias_variance * bias.numel(), generator=generator)
        bias.copy_(row[0])
    else:
        bias.zero_()


def _change(wish: Wish, before: float) -> Change:
    weights = wish.weights
    return Change(
        parameter=weights.name,
        follows=wish.follows,
        fan_in=weights.fan_in,
        before=math.sqrt(before),
        after=math.sqrt(weights.variance),
        note=wish.note,
    )


def _scale_factors(
    model: nn.Module, planner: Planner, untouched: Mapping[str, str]
) -> list[Change]:
    """Give the norms that end residual branches their share; one that is smaller already stays."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    changes = []
    for factor in planner.factors:
        tensor = factor.tensor
        assert isinstance(tensor, Tensor)
        name = names.get(id(tensor), "")
        before = math.sqrt(float(tensor.double().square().mean()))
        if not name or name in untouched or before**2 <= factor.square:
            continue
        tensor.mul_(math.sqrt(factor.square) / before)
        note = f"closes one of {factor.branches} branches: 1/sqrt({factor.branches})"
        changes.append(
            Change(
                parameter=name,
                follows="norm",
                fan_in=1,
                before=before,
                after=math.sqrt(factor.square),
                note=note,
            )
        )
    return changes


def _left(model: nn.Module, changes: Sequence[Change]) -> list[str]:
    """Name the weights that no layer of the reading uses."""
    told = {change.parameter for change in changes}
    missed = [n for n, p in model.named_parameters() if p.dim() > 1 and n not in told]
    if not missed:
        return []
    more = f" and {len(missed) - 6} more" if len(missed) > 6 else ""
    return [f"Left as they were, as theory does not cover them: {', '.join(missed[:6])}{more}."]
