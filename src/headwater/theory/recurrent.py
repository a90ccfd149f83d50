r"""Recurrence: what is left of the gradient after T time steps.

A vanilla network multiplies the gradient by the same matrix at every step; a gated one has a path
on which it is multiplied by a gate. Both are a factor to the power T.

Source: Pascanu, Mikolov and Bengio (2013), arXiv:1211.5063; Gers, Schmidhuber and Cummins (2000);
Tallec and Ollivier (2018), arXiv:1804.11188.
"""

from __future__ import annotations

import math

import numpy as np

from headwater.theory.activations import Activation, moment, steepest
from headwater.theory.catalogue import find_activation
from headwater.theory.gaussian import Array
from headwater.theory.linear import depth_for, signal_after


def recurrent_gradient(
    radius: float, steps: int, activation: str | Activation = "identity", variance: float = 0.0
) -> float:
    r"""Size of :math:`\partial h_T / \partial h_0` of a vanilla network, mean field.

    :math:`(\rho \sqrt{E[\phi'^2]})^T`: exact for the identity with a scaled orthogonal matrix, an
    estimate for random ones, whose spectral radius :math:`\rho` takes the place of
    :math:`\sigma_w`.

    Args:
        radius: Spectral radius of the recurrent matrix.
        steps: T.
        activation: Its name.
        variance: q, of the pre-activations; 0 linearises.

    Example:
        >>> round(recurrent_gradient(0.9, 10), 10)
        0.3486784401
    """
    slope = math.sqrt(moment(find_activation(activation), "slope2", variance))
    return signal_after(radius * slope, steps)


def vanishing_radius(activation: str | Activation) -> float:
    r"""Largest singular value of the recurrent matrix below which gradients must vanish.

    :math:`1 / \gamma` with :math:`\gamma = \max|\phi'|`: sufficient for vanishing, and exceeding
    it is necessary for exploding. 1 for tanh, 4 for sigmoid.

    Source: Pascanu, Mikolov and Bengio (2013), arXiv:1211.5063, section 2.1.

    Example:
        >>> vanishing_radius("sigmoid")
        4.0
    """
    return 1 / steepest(find_activation(activation))[0]


def default_radius() -> float:
    r"""Spectral radius of torch's recurrent matrices at the start, H to infinity: 1/sqrt(3).

    ``nn.RNN``, ``nn.LSTM`` and ``nn.GRU`` draw U(±1/sqrt(H)), of variance 1/(3H); by the circular
    law the eigenvalues fill a disc of radius sqrt(H Var(W)).

    Source: torch/nn/modules/rnn.py, ``reset_parameters``; Ginibre (1965) for the law.

    Example:
        >>> round(default_radius(), 6)
        0.57735
    """
    return math.sqrt(1 / 3)


def memory_steps(radius: float, ratio: float = 10.0) -> float:
    """Steps over which a gradient changes by ``ratio``: ln(ratio) / |ln(radius)|.

    Example:
        >>> round(memory_steps(0.99), 4)
        229.1053
    """
    return depth_for(radius, ratio)


def forget_path(forget_bias: float, steps: int) -> float:
    r"""Gradient along an LSTM's cell, :math:`\prod f_t = \sigma(b)^T`, with gates at their bias.

    torch adds two biases, ``bias_ih`` and ``bias_hh``; ``forget_bias`` is their sum: to set 1 in
    both is to set 2. A lower estimate: gates that vary, and the path through the hidden state,
    add to it (``lstm_radius``).

    Example:
        >>> forget_path(0.0, 10)
        0.0009765625
    """
    # log sigma(b) T, so that neither sigma(b) rounds to 1 nor the power underflows early.
    return math.exp(-float(np.logaddexp(0.0, -forget_bias)) * steps)


def forget_memory(forget_bias: float) -> float:
    r"""Time constant of an LSTM's cell, :math:`-1 / \ln \sigma(b)`, in steps.

    Example:
        >>> round(forget_memory(1.0), 6)
        3.192219
    """
    return 1 / float(np.logaddexp(0.0, -forget_bias))


def chrono_bias(horizon: float) -> float:
    r"""Forget bias for a memory of T steps, :math:`\ln(T - 1)`, so that :math:`\sigma(b) = 1-1/T`.

    The sum of torch's two biases. The input gate gets the negative of it.

    Source: Tallec and Ollivier (2018), arXiv:1804.11188.

    Example:
        >>> round(chrono_bias(50), 6)
        3.89182
    """
    if not horizon > 1:
        raise ValueError(f"a horizon is longer than 1 step, got {horizon!r}")
    return math.log(horizon - 1)


def chrono_biases(longest: float, units: int, seed: int) -> Array:
    r"""Forget biases of a layer whose memories spread over all lengths up to ``longest``.

    :math:`b_f = \ln U(1, T_{max} - 1)`, :math:`b_i = -b_f`; give it to one of torch's two biases
    and 0 to the other.

    Returns:
        ``[units]``, the biases of the forget gates.

    Source: Tallec and Ollivier (2018), arXiv:1804.11188.

    Example:
        >>> chrono_biases(100, 4, seed=0).shape
        (4,)
    """
    if not longest > 2:
        raise ValueError(f"the longest memory must be over 2 steps, got {longest!r}")
    return np.log(np.random.default_rng(seed).uniform(1, longest - 1, units))


def update_path(update_bias: float, steps: int) -> float:
    r"""Gradient along a GRU's state, :math:`\sigma(b)^T`, with gates at their bias.

    For torch's form h' = (1 - z) n + z h, where an open update gate keeps; in Cho's paper z and
    1 - z change places.

    Example:
        >>> update_path(0.0, 10)
        0.0009765625
    """
    return forget_path(update_bias, steps)


def lstm_radius(forget_bias: float, radius: float | None = None) -> float:
    r"""Spectral radius of an LSTM's one-step Jacobian at the zero state, H to infinity.

    :math:`\sigma(b_f) + \sigma(0)^2 \rho(W_{hg})`: at zero state the cell feeds back through
    c -> h = o tanh(c) -> g, with the input and output gates half open. Above 1 the zero state is
    not stable, and gradients grow at first.

    Args:
        forget_bias: The sum of torch's two biases.
        radius: Spectral radius of the candidate's recurrent matrix; torch's default if not given.

    Example:
        >>> round(lstm_radius(1.0), 9)
        0.875396146
    """
    rho = default_radius() if radius is None else radius
    return forget_path(forget_bias, 1) + rho / 4


def gru_radius(
    update_bias: float = 0.0, reset_bias: float = 0.0, radius: float | None = None
) -> float:
    r"""Spectral radius of a GRU's one-step Jacobian at the zero state, H to infinity.

    :math:`\sigma(b_z) + (1 - \sigma(b_z)) \sigma(b_r) \rho(W_{hn})`, for torch's form.

    Example:
        >>> round(gru_radius(), 9)
        0.644337567
    """
    rho = default_radius() if radius is None else radius
    keep, reset = forget_path(update_bias, 1), forget_path(reset_bias, 1)
    return keep + (1 - keep) * reset * rho


def identity_recurrence(steps: int) -> float:
    """Gradient of an IRNN (recurrent matrix I, ReLU) through units that stay open: 1 for ever.

    Source: Le, Jaitly and Hinton (2015), arXiv:1504.00941.

    Example:
        >>> identity_recurrence(1000)
        1.0
    """
    return signal_after(1.0, steps)
