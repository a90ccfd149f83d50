"""Which public function answers which quantity of the table of published numbers.

Patterns are tried in order against the quantity's words; parameters come from the row, so that
rows with other values of the same quantities are answered too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from itertools import islice

import numpy as np
from expected_rows import Answer, Row

from headwater.theory import thresholds
from headwater.theory.activations import flattest, moment, output_variance, steepest
from headwater.theory.catalogue import find_activation
from headwater.theory.correlation import correlation_map, settle_correlation
from headwater.theory.criticality import (
    CriticalPoint,
    critical_points,
    half_stable_points,
)
from headwater.theory.deadness import born_dead_bounds, dead_for_one_input, width_to_live
from headwater.theory.fluctuation import (
    linear_layer,
    relu_fourth_moment_ratio,
    relu_layer,
    relu_second_moment,
)
from headwater.theory.initialisation import (
    gain,
    glorot,
    kaiming_uniform_variance,
    torch_default,
    truncated_normal_variance,
    unit_output_gain,
)
from headwater.theory.linear import transmitted_kurtosis
from headwater.theory.meanfield import (
    FixedPoint,
    chi_1,
    log10_gradient_ratio,
    settle,
    trajectory,
)
from headwater.theory.precision import (
    depth_limit,
    first_subnormal_depth,
    first_zero_depth,
    last_finite_depth,
    number_format,
)
from headwater.theory.recurrent import (
    chrono_bias,
    default_radius,
    forget_memory,
    forget_path,
    gru_radius,
    identity_recurrence,
    lstm_radius,
    memory_steps,
    recurrent_gradient,
    update_path,
    vanishing_radius,
)
from headwater.theory.residual import batch_norm_factor, layer_norm_factor, residual_growth

Answers = Callable[[Row], Answer]


def at_q(which: str) -> Answers:
    return lambda row: moment(find_activation(row.act), which, row.number("q", 1.0))  # type: ignore[arg-type]


def gained(keeps: str) -> Answers:
    return lambda row: gain(row.act, keeps=keeps, variance=row.number("q", 1.0))  # type: ignore[arg-type]


def settled(read: Callable[[FixedPoint], float]) -> Answers:
    def answer(row: Row) -> float:
        return read(settle(row.act, row.number("sigma_w^2"), row.number("sigma_b^2", 0.0)))

    return answer


def critical(read: Callable[[CriticalPoint], float], bias: float | None = None) -> Answers:
    """The critical point of a bias variance, the one at the row's q* if there are several."""

    def answer(row: Row) -> float:
        given = row.number("sigma_b^2", bias)
        points = critical_points(row.act, given)
        near = row.number("q*", 1e-300 if given == 0 else 1.0)
        return read(min(points, key=lambda p: abs(math.log(max(p.variance, 1e-300) / near))))

    return answer


def in_words(row: Row) -> float:
    """A critical point whose bias variance stands in the quantity itself."""
    bias = row.in_quantity(r"sigma_b\^2=([\d.e-]+)")
    return critical(lambda p: p.weight_variance, bias)(row)  # type: ignore[return-value]


def lively(read: Callable[[CriticalPoint], float]) -> Answers:
    """The critical point without bias that is not the origin."""
    return lambda row: read(next(p for p in critical_points(row.act, 0.0) if p.variance > 0))


def half_stable(read: Callable[[CriticalPoint], float]) -> Answers:
    return lambda row: read(half_stable_points(row.act)[0])


def random_slope(row: Row) -> str:
    found = re.search(r"U\(([\d/.]+),([\d/.]+)\)", row.parameters)
    assert found is not None, row.parameters
    low, high = (float(a) / float(b or 1) for a, _, b in (t.partition("/") for t in found.groups()))
    return f"rrelu(train, {low!r}, {high!r})"


def rrelu_moment(row: Row) -> float:
    phi = find_activation(random_slope(row))
    square, slope2 = moment(phi, "square", 1.0), moment(phi, "slope2", 1.0)
    assert square == slope2
    return square


def closed_form(row: Row) -> float:
    """``E[gelu'^2]``, ``Var[relu]`` and the like: the activation's name is in the quantity."""
    found = re.match(r"(E|Var)\[(\w+?)('?)(?:\(z\))?(\^2)?\]", row.quantity)
    assert found is not None
    over, name, prime, square = found.groups()
    name, prime = ("sin", "'") if name == "cos" else (name, prime)
    phi, q = find_activation(name), row.number("q", 1.0)
    if over == "Var":
        return output_variance(phi, q)
    if prime:
        return moment(phi, "slope2" if square else "slope", q)
    return moment(phi, "square" if square else "mean", q)


def steepest_there(row: Row) -> float:
    value, where = steepest(find_activation(row.act))
    said = row.given.get("argmax", "None").rstrip("+-")
    if said != "None":
        assert where == float(said) or abs(abs(where) - abs(float(said))) < 1e-4, (where, said)
    return value


def final_factor(row: Row) -> float:
    """The factor where the variance settles; where it does not, that of the depth the row names."""
    weight, bias = row.number("sigma_w^2"), row.number("sigma_b^2")
    layers = trajectory(row.act, weight, bias)
    if drift := re.search(r"after (\d+) layers", row.parameters):
        return math.sqrt(next(islice(layers, int(drift[1]), None))[1])
    return settle(row.act, weight, bias).gradient_factor


def layer_variance(row: Row) -> float:
    layer = int(row.in_quantity(r"q_(\d+)"))
    weight = row.number("sigma_w^2")  # inputs have mean square 1, so it is the first variance
    return next(islice(trajectory(row.act, weight, start=weight), layer - 1, None))[0]


def tanh_decay(row: Row) -> float:
    """q_l from q_0, as the quantity spells out the network."""
    found = re.search(r"for (\w+) sigma_w\^2=(\S+) sigma_b=(\S+) from q0=(\S+)", row.quantity)
    assert found is not None
    name, weight, bias, start = found[1], *map(float, found.groups()[1:])
    layers = trajectory(name, weight, bias**2, start)
    return next(islice(layers, int(row.number("l")), None))[0]


def iterated_correlation(row: Row) -> float:
    c = row.in_quantity(r"from c0=([\d.]+)")
    for _ in range(int(row.number("l"))):
        c = correlation_map("relu", c, 1.0, 2.0)
    return c


def dead_layers(row: Row) -> list[int]:
    layers = row.given.get("hidden ReLU layers") or str(int(row.number("L")) - 1)
    return [int(row.number("width"))] * int(layers)


def forget(row: Row) -> tuple[float, int]:
    found = re.search(r"bias b?=?\s*(-?[\d.]+)", row.parameters)
    assert found is not None
    return float(found[1]), int(row.number("T", 1))


def fate(wanted: str) -> Answers:
    def answer(row: Row) -> Answer:
        found = re.search(r"factor ([\d.e-]+)", row.parameters)
        assert found is not None
        kind, depth = depth_limit(float(found[1]), row.dtype)
        assert kind == wanted
        return depth

    return answer


def by_depth(count: Callable[[float, str], int | None]) -> Answers:
    def answer(row: Row) -> Answer:
        depth = count(row.in_quantity(r"([\d.]+)\^L"), row.dtype)
        return "never" if depth is None else depth

    return answer


def of_format(read: Callable[[str], float]) -> Answers:
    return lambda row: read(row.dtype)


def symbolic(row: Row, predict: Callable[[float], float], name: str) -> str:
    """Rows whose value is a formula: equal at many values of its one variable, or not."""
    formula = row.value.replace("^", "**")
    assert set(re.findall(r"[A-Za-z_]+", formula)) == {name}, formula
    for value in (1.0, 2.5, 37.0, 512.0):
        want = eval(formula, {"__builtins__": {}}, {name: value})
        assert math.isclose(predict(value), want, rel_tol=1e-14)
    return row.value


def homogeneous_products(row: Row) -> float:
    """Largest relative difference of <W_l, dL/dW_l> between the layers of a bias-free ReLU net.

    Exact by Euler's theorem, which needs the catalogue's word that ReLU is homogeneous.
    """
    phi = find_activation("relu")
    assert phi.homogeneous
    generator = np.random.default_rng(0)
    weights = [generator.normal(0, 32**-0.5, (32, 32)) for _ in range(10)]
    outputs = [generator.normal(size=32)]
    for weight in weights:
        outputs.append(phi.function(weight @ outputs[-1]))
    gradient, products = generator.normal(size=32), []
    for weight, before in zip(weights[::-1], outputs[-2::-1], strict=True):
        gradient = gradient * phi.derivative(weight @ before)
        products.append(float(np.sum(weight * np.outer(gradient, before))))
        gradient = weight.T @ gradient
    return float(np.ptp(products) / abs(products[0]))


def truncated(row: Row) -> float:
    # "its variance" is that of the row above it, cut at 2: the id ends with the bound.
    variance = truncated_normal_variance(float(row.id.rpartition("_")[2]))
    return math.sqrt(variance) if row.quantity.startswith("std") else variance


PREDICTIONS: tuple[tuple[str, Answers], ...] = (
    (r"max\|phi'\(x\)\|$", steepest_there),
    (r"min phi'\(x\)$", lambda row: flattest(find_activation(row.act))[0]),
    (r"E\[phi\(z\)\^2\]$", at_q("square")),
    (r"E\[phi\(z\)\]$", at_q("mean")),
    (r"E\[phi'\(z\)\]$", at_q("slope")),
    (r"E\[phi'\(z\)\^2\]$", at_q("slope2")),
    (r"E\[phi'\(z\)\^4\]$", at_q("slope4")),
    (r"E\[phi'\^4\]/E\[phi'\^2\]\^2$", lambda r: transmitted_kurtosis(r.act, r.number("q", 1.0))),
    (r"Var\[phi\(z\)\]$", lambda r: output_variance(find_activation(r.act), r.number("q", 1.0))),
    (r"backward-preserving gain", gained("gradient")),
    (r"forward-preserving gain", gained("signal")),
    (r"std-preserving gain", gained("spread")),
    (
        r"chi1 when sigma_w = forward gain",
        lambda r: chi_1(r.act, 1.0, gain(r.act, keeps="signal") ** 2),
    ),
    (r"gradient variance factor per BN layer", lambda r: batch_norm_factor(r.act)),
    (r"gradient variance factor per Linear-BN", lambda r: batch_norm_factor(r.act)),
    (r"gradient variance factor per Linear-LayerNorm", lambda r: layer_norm_factor(r.act)),
    (r"pi/\(pi-1\)$", lambda r: batch_norm_factor("relu")),
    (r"sqrt\(pi/\(pi-1\)\)", lambda r: math.sqrt(batch_norm_factor("relu"))),
    (r"E\[phi\^2\]=E\[phi'\^2\]=\(1\+E\[a\^2\]\)/2$", rrelu_moment),
    (r"forward gain$", lambda r: gain(random_slope(r), keeps="signal")),
    (r"backward gain$", lambda r: gain(random_slope(r), keeps="gradient")),
    (
        r"E\[f\(z\)\^2\] for f=1.7159 tanh",
        lambda r: moment(find_activation("lecun_tanh"), "square", 1),
    ),
    (r"E\[r\^2\]=1\+5/n", lambda r: relu_second_moment(int(r.number("n")))),
    (r"(E|Var)\[\w+'?(\(z\))?(\^2)?\]", closed_form),
    (r"2Phi\(1\)-1$", lambda r: moment(find_activation("hardtanh"), "slope2", 1.0)),
    (r"2\(1-Phi\(1\)\)\+2Phi", lambda r: moment(find_activation("hardtanh"), "square", 1.0)),
    (r"std relu", lambda r: math.sqrt(output_variance(find_activation("relu"), 1.0))),
    (
        r"LeCun 1998.*f\(1\)$",
        lambda r: float(find_activation("lecun_tanh").function(np.ones(1))[0]),
    ),
    (r"f'\(0\)=", lambda r: float(find_activation("lecun_tanh").derivative(np.zeros(1))[0])),
    (r"sigma_w with E\[phi\(sigma_w z\)\^2\]=1", lambda r: unit_output_gain(r.act)),
    (
        r"chi1=sigma_w\^2 E\[phi'\(sigma_w z\)\^2\] at that point",
        lambda r: chi_1(r.act, unit_output_gain(r.act) ** 2, unit_output_gain(r.act) ** 2),
    ),
    (r"critical sigma_w\^2 at sigma_b\^2=", in_words),
    (r"critical sigma_w\^2 on edge of chaos", critical(lambda p: p.weight_variance)),
    (r"critical sigma_w\^2 = pi\*sqrt\(1\+4q\)/4", critical(lambda p: p.weight_variance)),
    (r"q\* at that (critical )?point$", critical(lambda p: p.variance)),
    (r"critical sigma_w\^2 with sigma_b=0 and q\*>0", lively(lambda p: p.weight_variance)),
    (r"chi_parallel=dq'/dq there", lively(lambda p: p.chi_parallel)),
    (r"K\* where chi_par=chi_perp=1", half_stable(lambda p: p.variance)),
    (r"sigma_w\^2 there$", half_stable(lambda p: p.weight_variance)),
    (r"sigma_b\^2 there$", half_stable(lambda p: p.bias_variance)),
    (r"q\*=sigma_b\^2/\(1-sigma_w\^2/2\)", settled(lambda p: p.variance)),
    (r"chi1=sigma_w\^2/2$", settled(lambda p: p.chi_1)),
    (r"gradient NORM factor per layer sqrt\(chi1\)$", settled(lambda p: p.gradient_factor)),
    (r"gradient depth scale 1/\|log chi1\|$", settled(lambda p: p.gradient_depth)),
    (r"chi1=sigma_w\^2 E\[phi'\(sqrt\(q\*\)z\)\^2\]", settled(lambda p: p.chi_1)),
    (r"dq'/dq at q\*", settled(lambda p: p.chi_parallel)),
    (r"q\* \(fixed point", settled(lambda p: p.variance)),
    (r"1/\|log\(chi1\+sigma_w\^2 E\[phi phi''\]\)\|", settled(lambda p: p.variance_depth)),
    (
        r"c\* \(stable",
        lambda r: (
            settle_correlation(r.act, r.number("sigma_w^2"), r.number("sigma_b^2")).correlation
        ),
    ),
    (
        r"correlation depth scale",
        lambda r: settle_correlation(r.act, r.number("sigma_w^2"), r.number("sigma_b^2")).depth,
    ),
    (r"gradient norm factor per layer sqrt\(chi1\) at depth->inf", final_factor),
    (
        r"sqrt\(prod_\{l=1\}",
        lambda r: (
            10
            ** log10_gradient_ratio(
                r.act,
                r.number("sigma_w^2"),
                start=r.number("sigma_w^2"),
                depth=int(r.number("depth")),
            )
        ),
    ),
    (r"q_\d+$", layer_variance),
    (r"q_l for tanh", tanh_decay),
    (r"ReLU correlation after l layers", iterated_correlation),
    (
        r"(ReLU normalised correlation map at )?c=[\d.]+",
        lambda r: correlation_map("relu", r.in_quantity(r"c=([\d.]+)"), 1.0, 2.0),
    ),
    (r"E\[ln r\] per He-ReLU", lambda r: relu_layer(int(r.number("n"))).mean),
    (r"Var\[ln r\] per He-ReLU", lambda r: relu_layer(int(r.number("n"))).variance),
    (r"E\[ln r\] per linear", lambda r: linear_layer(int(r.number("n"))).mean),
    (r"Var\[ln r\] per linear", lambda r: linear_layer(int(r.number("n"))).variance),
    (
        r"Var ln\|J u\|\^2",
        lambda r: relu_layer(int(r.number("n"))).over(int(r.number("L"))).variance,
    ),
    (r"E ln\|J u\|\^2", lambda r: relu_layer(int(r.number("n"))).over(int(r.number("L"))).mean),
    (
        r"E\|Ju\|\^4/\(E\|Ju\|\^2\)\^2",
        lambda r: relu_fourth_moment_ratio(int(r.number("n")), int(r.number("L"))),
    ),
    (r"P\(output constant 0 hidden state", lambda r: dead_for_one_input(dead_layers(r))),
    (r"upper bound 1-\(1-2\^-N\)", lambda r: dead_for_one_input(dead_layers(r))),
    (
        r"smallest width N with",
        lambda r: width_to_live(int(r.number("hidden layers")), r.number("p")),
    ),
    (
        r"Lu et al. lower bound",
        lambda r: born_dead_bounds(int(r.number("width")), int(r.number("L")))[0],
    ),
    (
        r"\|d h_T/d h_0\|_2 for W_hh=rho",
        lambda r: recurrent_gradient(r.number("rho"), int(r.number("T"))),
    ),
    (
        r"steps for the gradient norm to change by factor 10",
        lambda r: memory_steps(r.number("rho")),
    ),
    (r"sufficient condition for vanishing", lambda r: vanishing_radius(r.act)),
    (r"spectral radius of nn.RNN", lambda r: default_radius()),
    (r"cell-path gradient sigmoid\(b\)\^T", lambda r: forget_path(*forget(r))),
    (r"direct path sigmoid\(b\)\^T for torch GRU", lambda r: update_path(*forget(r))),
    (r"memory time constant", lambda r: forget_memory(r.number("b"))),
    (r"forget bias for memory T", lambda r: chrono_bias(r.number("T"))),
    (r"\|dh_T/dh_0\| for IRNN", lambda r: identity_recurrence(1000)),
    (r"spectral radius of one-step LSTM", lambda r: lstm_radius(forget(r)[0])),
    (r"spectral radius of one-step torch GRU", lambda r: gru_radius()),
    (
        r"x\+W relu\(x\), He branch",
        lambda r: residual_growth(
            int(r.number("L")), r.number("sigma_w^2") * moment(find_activation("relu"), "slope2", 1)
        ),
    ),
    (
        r"x\+L\^-1/2 W relu\(x\)",
        lambda r: residual_growth(int(r.number("L")), branch_scale=r.number("L") ** -0.5),
    ),
    (
        r"\(x\+W relu\(x\)\)/sqrt2",
        lambda r: round(
            residual_growth(int(r.number("L")), branch_scale=0.5**0.5, skip_scale=0.5**0.5), 12
        ),
    ),
    (r"smallest normal$", of_format(lambda d: number_format(d).smallest_normal)),
    (r"machine eps$", of_format(lambda d: number_format(d).epsilon)),
    (r"largest finite$", of_format(lambda d: number_format(d).largest)),
    (r"smallest subnormal$", of_format(lambda d: number_format(d).smallest)),
    (r"largest depth L with [\d.]+\^L finite", by_depth(last_finite_depth)),
    (r"first depth where [\d.]+\^L is exactly 0", by_depth(first_zero_depth)),
    (r"first depth where [\d.]+\^L is subnormal", by_depth(first_subnormal_depth)),
    (r"exp\(x\)=inf for x above", of_format(lambda d: thresholds.exp_limits(d)["overflow"])),
    (r"exp\(x\)=0 for x below", of_format(lambda d: thresholds.exp_limits(d)["zero"])),
    (r"exp\(x\) subnormal below", of_format(lambda d: thresholds.exp_limits(d)["subnormal"])),
    (r"smallest representable x with torch.exp\(x\)=inf", of_format(thresholds.exp_overflows_at)),
    (r"largest representable x with torch.exp\(x\)=0", of_format(thresholds.exp_vanishes_at)),
    (r"smallest x with torch.tanh\(x\)==1", of_format(thresholds.tanh_saturates_at)),
    (r"smallest x with torch.sigmoid\(x\)==1", of_format(thresholds.sigmoid_saturates_at)),
    (r"largest x with torch.sigmoid\(x\)==0", of_format(thresholds.sigmoid_vanishes_at)),
    (r"smallest logit x where naive", of_format(thresholds.exp_overflows_at)),
    (r"smallest gap d where log\(softmax", of_format(lambda d: -thresholds.exp_vanishes_at(d))),
    (r"first depth L with factor\^L < min_subnormal/2", fate("underflow")),
    (r"largest depth L with factor\^L <= max finite", fate("overflow")),
    (
        r"(std of N\(0,1\)|its variance|variance) ?\(?.*truncat",
        truncated,
    ),
    (r"sigma_w\^2 = fan_in\*Var\(W\) of nn.Linear", lambda r: kaiming_uniform_variance(5**0.5)),
    (
        r"Var\(b\)=1/\(3 fan_in\)",
        lambda r: symbolic(r, lambda n: torch_default(n).bias_variance, "fan_in"),
    ),
    (
        r"sigma_w\^2 of xavier",
        lambda r: symbolic(r, lambda g: glorot(g, 64, 64).weight_variance, "g"),
    ),
    (r"<W_l, dL/dW_l> is equal", homogeneous_products),
)


def answers_to(row: Row, table: tuple[tuple[str, Answers], ...]) -> Answers | None:
    return next((answer for pattern, answer in table if re.match(pattern, row.quantity)), None)
