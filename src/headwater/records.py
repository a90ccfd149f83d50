"""The shared vocabulary: what every part says to every other part. Plain data, no torch.

Units: gradients' sizes are *decades*, ``log10`` of a Frobenius norm; a gain of -0.3 decades halves
the gradient. ``-inf`` is a gradient of exactly zero, ``nan`` one that is not finite.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

Kind = Literal[
    "weights",
    "activation",
    "normalisation",
    "attention",
    "junction",
    "loss",
    "precision",
    "shape",
    "compiled",
    "parameter",
    "other",
]
"""What an operation is, because the kinds are the causes the literature argues about.

``compiled`` is a region of ``torch.compile`` that is not seen inside, ``parameter`` the leaf where
a gradient arrives, ``other`` an operation this version does not know.
"""
KINDS: tuple[Kind, ...] = get_args(Kind)

Severity = Literal["info", "warning", "error"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)


@dataclass(frozen=True, kw_only=True)
class Site:
    """Where an operation stands: source line, module path, operation and kind.

    ``file`` and ``line`` are the innermost line outside torch (it may be a library's, such as
    timm's); ``user_file`` and ``user_line`` the innermost line outside installed packages. A line
    of 0 means that no line is known. ``parameter`` is set on the leaves only.
    """

    operation: str
    kind: Kind
    file: str = ""
    line: int = 0
    function: str = ""
    module: str = ""
    user_file: str = ""
    user_line: int = 0
    parameter: str = ""


@dataclass(frozen=True, kw_only=True)
class ParameterInfo:
    """A parameter of the observed network.

    ``module`` is the path of the module that owns it; ``optimiser`` the index of the optimiser
    that holds it, or None; ``module_called`` whether its module ran while being traced (None: not
    known); ``got_gradient`` whether any observed backward pass reached it.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    requires_grad: bool
    module: str = ""
    module_type: str = ""
    optimiser: int | None = None
    module_called: bool | None = None
    got_gradient: bool = False

    @property
    def elements(self) -> int:
        """Number of entries."""
        count = 1
        for size in self.shape:
            count *= size
        return count


@dataclass(frozen=True, kw_only=True)
class Expression:
    """An expression of the user's that loses numbers, and the call that would not.

    ``site`` is the index of the operation that ends it.
    """

    expression: str
    site: int
    stable: str


@dataclass(frozen=True, kw_only=True)
class OptimiserInfo:
    """An optimiser that took at least one step, with the settings of its first group."""

    type: str
    settings: Mapping[str, float | bool | str | None] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class LedgerEntry:
    """One operation's part in the account from the loss to a parameter.

    ``calls`` operations of one site are folded into one entry, whose ``decades`` is their sum and
    whose ``each`` lists them from the loss on.
    """

    site: Site
    kind: Kind
    decades: float
    calls: int = 1
    each: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Spectrum:
    """Counts of a tensor's entries by exponent.

    Attributes:
        first: Exponent of the first count.
        counts: Entries with exponent ``first``, ``first + 1``, …
        zeros: Entries that are 0.
        nonfinite: Entries that are NaN or infinite.
        largest: The largest magnitude of all, where known; 0 if not.

    Example:
        >>> Spectrum.of([0.0, 0.75, 1.0, -1.5, 4.0])
        Spectrum(first=-1, counts=(1, 2, 0, 1), zeros=1, nonfinite=0, largest=4.0)
    """

    first: int = 0
    counts: tuple[int, ...] = ()
    zeros: int = 0
    nonfinite: int = 0
    largest: float = 0.0

    @staticmethod
    def of(values: Iterable[float]) -> Spectrum:
        """Count plain numbers."""
        zeros = nonfinite = 0
        largest = 0.0
        found: dict[int, int] = {}
        for value in values:
            if not math.isfinite(value):
                nonfinite += 1
            elif value == 0:
                zeros += 1
            else:
                largest = max(largest, abs(value))
                exponent = math.frexp(value)[1] - 1
                found[exponent] = found.get(exponent, 0) + 1
        first = min(found, default=0)
        counts = tuple(found.get(e, 0) for e in range(first, max(found, default=first - 1) + 1))
        return Spectrum(
            first=first, counts=counts, zeros=zeros, nonfinite=nonfinite, largest=largest
        )

    @property
    def finite(self) -> int:
        """Entries that are finite and not 0."""
        return sum(self.counts)

    @property
    def total(self) -> int:
        """All entries counted."""
        return self.finite + self.zeros + self.nonfinite

    @property
    def top(self) -> float:
        """The largest magnitude, or where only the counts are known the end of its binade."""
        if self.largest > 0 or not self.counts:
            return self.largest
        return math.ldexp(1.0, self.first + len(self.counts))

    def below(self, exponent: int) -> int:
        """How many entries that are not 0 have a smaller exponent."""
        return sum(self.counts[: max(0, exponent - self.first)])

    def from_on(self, exponent: int) -> int:
        """How many entries have that exponent or a larger one."""
        return self.finite - self.below(exponent)

    def at(self, exponent: int) -> int:
        """How many entries have an exponent."""
        return self.from_on(exponent) - self.from_on(exponent + 1)

    def scaled(self, log2_scale: int) -> Spectrum:
        """Return the spectrum of the same tensor times 2^k, without rounding."""
        return Spectrum(
            first=self.first + log2_scale,
            counts=self.counts,
            zeros=self.zeros,
            nonfinite=self.nonfinite,
            largest=math.ldexp(self.largest, log2_scale),
        )


@dataclass(frozen=True, kw_only=True)
class Where:
    """A place a finding points to; empty strings and line 0 where not known."""

    module: str = ""
    parameter: str = ""
    file: str = ""
    line: int = 0


@dataclass(frozen=True, kw_only=True)
class Cause:
    """Why: a cause's code, its share of the fault (0 to 1), and the evidence in words."""

    cause: str
    share: float
    evidence: str


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A symptom at sites, since a step, with evidence; an entry of ``findings.json``."""

    code: str
    symptom: str
    severity: Severity
    confidence: float
    first_step: int
    step: int
    where: tuple[Where, ...]
    message: str
    causes: tuple[Cause, ...] = ()
    evidence: Mapping[str, float | str] = field(default_factory=dict)
    remedies: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain data for ``findings.json``.

        Example:
            >>> finding = Finding(code="HW101", symptom="vanishing-gradient", severity="error",
            ...     confidence=0.9, first_step=0, step=8, where=(Where(line=3),), message="...")
            >>> finding.to_json()["where"]
            [{'module': '', 'parameter': '', 'file': '', 'line': 3}]
        """
        data = asdict(self)
        for name in ("where", "causes", "remedies"):
            data[name] = list(data[name])
        return data


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A rule's answer: healthy, wrong (then with findings), or cannot say (then why).

    ``cannot say`` is an answer of its own: a run too short, or without what the rule reads, must
    not pass for a healthy one.
    """

    code: str
    symptom: str
    answer: Literal["healthy", "wrong", "cannot say"]
    reason: str = ""
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What one tensor of an operation held: extremes of its finite entries, and how many are not.

    ``name`` is its place among the operation's arguments, or a parameter's name; ``least`` and
    ``most`` are None where no entry is finite.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    least: float | None = None
    most: float | None = None
    elements: int = 0
    nans: int = 0
    infinities: int = 0
    zeros: int = 0
    negatives: int = 0
    first_bad: tuple[int, ...] | None = None


Phase = Literal["forward", "backward", "update", "data"]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """The operation at which numbers of one step stopped being finite; an entry of ``run.json``.

    ``seen_in`` says what gave it away, ``how`` where it was looked for: in a process of its own
    that ran the step again (``forked``), or in the step itself (``live``, ``rewound``).
    ``reproduced`` is whether that gave the same graph, loss and bad gradients. ``note`` says why
    ``confidence`` is low where it is.
    """

    step: int
    seen_in: Literal["loss", "gradient", "weight"]
    phase: Phase | None = None
    operation: str = ""
    cause: str = ""
    reason: str = ""
    where: Where = field(default_factory=Where)
    inputs: tuple[Figures, ...] = ()
    parameters: tuple[str, ...] = ()
    confidence: float = 0.0
    how: Literal["forked", "live", "rewound"] = "forked"
    reproduced: bool = False
    replay_ms: float | None = None
    plain_step_ms: float | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class CheckedLayer:
    """One layer of a network before training: what theory says of it, and what was measured.

    ``square`` is the mean square of the layer's output; ``gradient`` the norm of the gradient
    there over that at the network's end, in decades, where that of a forecast is a band that
    holds 95 % of draws. Measured figures are medians over draws, with the least and the largest.
    None: theory does not cover it, or it was not measured. ``inside`` says whether at least half
    of the draws lie in the band.
    """

    name: str
    what: str
    file: str = ""
    line: int = 0
    square: float | None = None
    square_forecast: float | None = None
    gain: float | None = None
    gain_forecast: float | None = None
    gradient: float | None = None
    gradient_ends: tuple[float, float] | None = None
    gradient_forecast: tuple[float, float, float] | None = None
    inside: bool | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class CriticalGain:
    """What the weights that read one activation are, and what would keep the gradient.

    Both are fan-in times the variance of a weight, square root taken; ``depth`` is how deep a
    network of such layers can train by mean field (None: without limit), if it is ``plain``: with
    norms or residual sums it can be deeper.
    """

    activation: str
    layers: int
    sigma_w: float
    critical: float | None
    depth: float | None
    plain: bool = True
    low_confidence: bool = False


@dataclass(frozen=True, kw_only=True)
class Check:
    """A network before training: layer by layer, and what follows from it.

    ``formats`` tells for each number format the layer from which on, towards the input, the
    gradient's entries are exactly 0 or infinite (``""``: nowhere). Without findings the network is
    healthy only if it could be ``judged``.
    """

    model: str
    draws: int
    batch: tuple[int, ...]
    made_up: bool
    loss: float
    own_loss: bool
    layers: tuple[CheckedLayer, ...]
    gains: tuple[CriticalGain, ...] = ()
    formats: Mapping[str, str] = field(default_factory=dict)
    judged: bool = True
    leaves_band: str = ""
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain data; figures that are not finite become None, as JSON has none."""
        return {key: _finite(value) for key, value in asdict(self).items()}


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    if isinstance(value, float) and value - value != 0:
        return None
    return value
