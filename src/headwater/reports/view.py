"""What is shown of a run, as plain data; the terminal and ``--json`` both come from it.

Levels and gains are decades: ``log10`` of a Frobenius norm, levels relative to the loss (the root
of the backward pass stands at 0). ``-inf`` is exactly zero, ``nan`` not finite, None not measured.
``docs/show-json.md`` describes each field.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from headwater.records import Kind, Severity, Verdict
from headwater.runs.info import plain

FORMAT = 1
"""Version of what ``headwater show --json`` prints."""

State = Literal["finished", "failed", "running", "killed"]


@dataclass(frozen=True, kw_only=True)
class Head:
    """What ran and how it ended; ``overhead`` is the observer's share of the script's own time."""

    run: str
    command: str
    started: str | None
    state: State
    ending: str
    device: tuple[str, ...]
    steps: int
    samples: int
    overhead: float | None
    elapsed_s: float | None
    first_loss: float | None = None
    last_loss: float | None = None
    alerts: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Measure:
    """What the gradient meets at one place: a line, or one operation of one module on it.

    ``total`` is what all calls on the main way from the loss to an input do together, ``gain`` one
    of them; ``junction`` is the part of ``total`` that other branches meeting here add.
    ``level_in`` is the level before the first call, ``level_out`` after the last.
    """

    kinds: tuple[Kind, ...]
    operations: int
    calls: int
    gain: float | None
    junction: float
    total: float | None
    level_in: float | None
    level_out: float | None
    dead: float | None = None
    saturated: float | None = None


@dataclass(frozen=True, kw_only=True)
class Row:
    """One operation of one module on a line; ``file`` and ``line`` are set in library code."""

    module: str
    operation: str
    measure: Measure
    file: str = ""
    line: int = 0


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of the user's source; without ``measure`` it is there for context only."""

    number: int
    text: str | None
    measure: Measure | None = None
    rows: tuple[Row, ...] = ()
    codes: tuple[str, ...] = ()
    severity: Severity | None = None


@dataclass(frozen=True, kw_only=True)
class Source:
    """The annotated lines of one file, in its order; a jump in the numbers is a gap."""

    file: str
    shown_as: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, kw_only=True)
class Flow:
    """One backward pass, from the loss to the inputs.

    ``low`` and ``high`` are the ends of the bars; ``alike`` how many recorded passes have the
    same loss and the same optimiser; ``not_finite`` the newest step of those passed over because
    nothing in them is finite.
    """

    title: str
    step: int
    backward: int
    alike: int
    operations: int
    low: float
    high: float
    deepest: float | None
    not_finite: int | None
    sources: tuple[Source, ...]


@dataclass(frozen=True, kw_only=True)
class ParameterRow:
    """One parameter, or ``count`` alike ones folded into a pattern such as ``blocks.*.fc.weight``.

    Of folded ones the figures are those of the parameter with the smallest update.
    """

    name: str
    count: int
    shape: tuple[int, ...]
    step: int | None
    gradient_norm: float | None
    relative_update: float | None
    lost_share: float | None
    nonfinite_share: float | None
    remark: str = ""


@dataclass(frozen=True, kw_only=True)
class FormatShares:
    """What part of the entries is 0, has lost digits, or is within 16 of the largest number."""

    zero: float
    subnormal: float
    near_largest: float


@dataclass(frozen=True, kw_only=True)
class FormatRow:
    """One number format: as it is ``used``, or as a forecast of all that was sampled."""

    format: str
    used: bool
    gradients: FormatShares | None
    outputs: FormatShares | None


@dataclass(frozen=True, kw_only=True)
class Precision:
    """Number formats at one sample; gradients with the loss scale taken out."""

    step: int
    parameters: int
    outputs: int
    rows: tuple[FormatRow, ...]
    said: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ExpressionRow:
    """An expression on the user's line, and the stable call to type instead."""

    expression: str
    stable: str
    file: str
    line: int


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that ``headwater show`` says about a run."""

    head: Head
    verdicts: tuple[Verdict, ...] = ()
    flows: tuple[Flow, ...] = ()
    parameters: tuple[ParameterRow, ...] = ()
    precision: Precision | None = None
    expressions: tuple[ExpressionRow, ...] = ()
    notes: tuple[str, ...] = ()
    format: int = field(default=FORMAT)

    def to_json(self) -> dict[str, Any]:
        """Return plain data; numbers that JSON lacks become ``"nan"``, ``"inf"`` and ``"-inf"``."""
        data: dict[str, Any] = plain(asdict(self))
        return data
