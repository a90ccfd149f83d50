"""The examples of the pages: which training of the corpus, and its picture beside its twin's."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from corpus.cases import Case, all_cases
from corpus.faults import BY_NAME
from corpus.judging import Judged, judge_all
from corpus.recording import folder_of
from fill_pages import Example

from headwater.lab.pictures import LIGHT
from headwater.records import Finding
from headwater.rules import RULES
from headwater.rules.causes import EXPLANATIONS
from headwater.rules.facts import Facts
from headwater.rules.loops import by_lag
from headwater.rules.passes import Floats, Pass, numbers
from headwater.rules.series import largest_series
from headwater.runs.reader import Run

SIZE, DPI = (8.2, 3.0), 110
MOST_MARKERS = 60
SHOWN_AS = {"saturation": "HW104", "dead-units": "HW103", "vanishing-gradient": "HW101"}
"""Causes that name another symptom, with its code."""
COLOURS = 64
"""A palette of so many holds all that is drawn, in a third of the bytes."""


class Curve(NamedTuple):
    """One line of a panel."""

    x: Floats
    y: Floats


class Panel(NamedTuple):
    """What the right half of a picture shows, of one run."""

    title: str
    x: str
    y: str
    log: bool
    curve: Callable[[Facts, Finding], Curve]


def make_examples(folder: Path) -> Mapping[str, Example]:
    """Judge the tune half, draw a picture for each code and cause it has, and describe them."""
    pictures = folder / "pictures"
    shutil.rmtree(pictures, ignore_errors=True)
    pictures.mkdir(parents=True)
    judged = judge_all(case for case in all_cases().values() if case.split == "tune")
    chosen = dict(_chosen(judged))
    return {name: _example(folder, name, one, told) for name, (one, told) in chosen.items()}


def _chosen(judged: list[Judged]) -> Iterator[tuple[str, tuple[Judged, Finding]]]:
    fitting = [
        (one, told)
        for one in judged
        if len(one.case.faults) == 1
        for told in one.alarms
        if told.code in one.codes and told.causes and _right(one, told)
    ]
    for name in (*RULES, *EXPLANATIONS):
        found = [(one, told) for one, told in fitting if name in (told.code, told.causes[0].cause)]
        if found:
            yield name, max(found, key=lambda pair: _shows(*pair))


def _right(one: Judged, told: Finding) -> bool:
    """Whether a finding's first cause is what was injected, or a symptom that it shows as."""
    fault = BY_NAME[one.case.faults[0]]
    cause = told.causes[0].cause
    return cause in fault.causes or SHOWN_AS.get(cause) in fault.codes


def _shows(one: Judged, told: Finding) -> tuple[bool, bool, bool, float, str]:
    """Rank the examples: harm done, the evidence in the message, nothing worse beside it, first."""
    says = told.causes[0].evidence in told.message
    return one.harmed, says, told == one.alarms[0], told.confidence, one.case.name


def _example(folder: Path, name: str, one: Judged, told: Finding) -> Example:
    picture = f"pictures/{name}.png"
    panel = OF_CAUSES.get(name) or PANELS[told.code]
    caption = (
        f"Loss (left) and {panel.title.lower()} (right) of {one.case.name} and of its healthy twin."
    )
    _draw(folder / picture, one.case, told, panel)
    fault = BY_NAME[one.case.faults[0]]
    twin, changed = (all_cases()[case].recipe for case in (one.case.twin, one.case.name))
    changes = [
        f"`{field} = {getattr(changed, field)!r}`"
        for field in twin.__dataclass_fields__
        if getattr(twin, field) != getattr(changed, field)
    ]
    return Example(
        case=one.case.twin.rsplit("/", 2)[0],
        injected=f"{fault.name} ({', '.join(changes)})",
        message=told.message,
        picture=picture,
        caption=caption,
    )


def _draw(path: Path, case: Case, told: Finding, panel: Panel) -> None:
    import matplotlib as mpl
    from matplotlib import pyplot as plt
    from PIL import Image

    runs = {"healthy twin": Facts(Run.open(folder_of(all_cases()[case.twin])))}
    runs["this training"] = Facts(Run.open(folder_of(case)))
    with mpl.rc_context(LIGHT.settings()):
        figure, (left, right) = plt.subplots(1, 2, figsize=SIZE, layout="constrained")
        left.set(title="Loss", xlabel="step")
        right.set(title=panel.title, xlabel=panel.x, ylabel=panel.y)
        for (name, facts), colour, style in zip(
            runs.items(), LIGHT.palette, ("--", "-"), strict=False
        ):
            losses = facts.pulse.loss[facts.pulse.has_loss]
            left.plot(facts.pulse.step[facts.pulse.has_loss], losses, style, color=colour, lw=1.2)
            curve = panel.curve(facts, told)
            marker = "." if len(curve.x) <= MOST_MARKERS else ""
            right.plot(*curve, style, color=colour, lw=1.5, marker=marker, label=name)
        _scale(left, log=_spans(left))
        _scale(right, log=panel.log)
        if told.code == "HW301":
            for axes in (left, right):
                axes.axvline(told.first_step, color=LIGHT.ink, lw=1, ls=":")
            right.plot([], [], color=LIGHT.ink, lw=1, ls=":", label="not finite from here")
        figure.legend(
            *right.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False
        )
        figure.savefig(path, dpi=DPI)
        plt.close(figure)
    with Image.open(path) as image:
        image.convert("RGB").quantize(COLOURS).save(path, optimize=True)


def _spans(axes: Any) -> bool:
    values = np.concatenate([line.get_ydata() for line in axes.lines])
    values = values[np.isfinite(values)]
    above = values[values > 0]
    # A loss that reached its end is 0 here and there; one that has no end is below for long.
    return len(above) > 0.95 * len(values) and bool(above.max() > 30 * above.min())


def _scale(axes: Any, *, log: bool) -> None:
    values = [line.get_ydata() for line in axes.lines]
    if log and any((np.isfinite(one) & (one > 0)).any() for one in values):
        axes.set_yscale("log", nonpositive="mask")


def _over_steps(values: Callable[[Pass], Floats]) -> Callable[[Facts, Finding], Curve]:
    def curve(facts: Facts, _told: Finding) -> Curve:
        passes = facts.flows[0].passes if facts.flows else ()
        found = [values(one) for one in passes]
        means = [float(np.nanmean(one)) if np.isfinite(one).any() else np.nan for one in found]
        return Curve(np.array([float(one.step) for one in passes]), np.array(means))

    return curve


def _levels(facts: Facts, told: Finding) -> Curve:
    """Return the gradient's root mean square at each layer's output, from the loss on."""
    passes = facts.flows[0].passes
    one = min(passes, key=lambda each: abs(each.step - told.first_step))
    rows = np.flatnonzero((one.kind == "weights") & np.isfinite(one.rms))
    order = rows[np.argsort(one.weights_above[rows], kind="stable")]
    return Curve(np.arange(1.0, len(order) + 1), one.rms[order])


def _lags(facts: Facts, told: Finding) -> Curve:
    """Return the gradient at each call of a loop, against that at its last call."""
    passes = facts.flows[0].passes
    levels = by_lag(min(passes, key=lambda each: abs(each.step - told.first_step)))
    return Curve(np.arange(float(len(levels))), levels - levels[0] if len(levels) else levels)


def _moved(facts: Facts, _told: Finding) -> Curve:
    updates = np.where(facts.matrices, facts.movement.relative_update, np.nan)
    known = np.isfinite(updates).any(axis=1)
    largest = np.full(len(updates), np.nan)
    largest[known] = np.nanmax(updates[known], axis=1)
    return Curve(facts.movement.step.astype(float), largest)


def _smallest_move(facts: Facts, told: Finding) -> Curve:
    names = {at.parameter for at in told.where}
    mine = [index for index, info in enumerate(facts.parameters) if info.name in names]
    updates = facts.movement.relative_update[:, mine]
    means = [float(np.nanmean(row)) if np.isfinite(row).any() else 0.0 for row in updates]
    return Curve(facts.movement.step.astype(float), np.array(means))


def _spread(facts: Facts, _told: Finding) -> Curve:
    spread = facts.unit_spread
    known = np.isfinite(spread).any(axis=1)
    least = np.full(len(spread), np.nan)
    least[known] = np.nanmin(spread[known], axis=1)
    return Curve(facts.movement.step.astype(float), least)


def _norms(facts: Facts, _told: Finding) -> Curve:
    known = np.isfinite(facts.pulse.total_norm)
    return Curve(facts.pulse.step[known].astype(float), facts.pulse.total_norm[known])


def _largest(facts: Facts, _told: Finding) -> Curve:
    """Return the largest magnitude that any activation was given or gave, sample by sample."""
    tops: dict[int, float] = {}
    for column in ("input_largest", "output_largest"):
        for series in largest_series(facts.run, column):
            for step, top in zip(series.step.tolist(), series.largest.tolist(), strict=True):
                tops[step] = max(top, tops.get(step, 0.0))
    return Curve(np.array(sorted(tops), dtype=float), np.array([tops[one] for one in sorted(tops)]))


def _zeros(facts: Facts, _told: Finding) -> Curve:
    table = facts.run.parameter_rows
    step, share = numbers(table, "step"), numbers(table, "zero_share")
    steps = np.unique(step)
    return Curve(steps, np.array([float(np.nanmean(share[step == one])) for one in steps]))


def _of_kind(kind: str, column: str) -> Callable[[Facts, Finding], Curve]:
    return _over_steps(lambda one: np.where(one.kind == kind, one.columns[column], np.nan))


_UPDATES = Panel("Largest update of a matrix", "step", "change / weight", True, _moved)
_LEVELS = Panel("Gradient at the layers' outputs", "layers of weights from the loss",
                "log10 rms", False, _levels)  # fmt: skip
PANELS: Mapping[str, Panel] = {
    "HW101": _LEVELS,
    "HW102": _LEVELS,
    "HW103": Panel("Dead units", "step", "share", False, _of_kind("activation", "dead")),
    "HW104": Panel("Saturated entries", "step", "share", False,
                   _of_kind("activation", "saturated")),
    "HW105": Panel("Updates of what is named", "step", "change / weight", False, _smallest_move),
    "HW106": Panel("Least difference between units", "step", "share of largest", False, _spread),
    "HW107": Panel("Variance in one direction", "step", "share", False,
                   _of_kind("activation", "first_direction")),
    "HW201": _UPDATES,
    "HW202": _UPDATES,
    "HW203": _UPDATES,
    "HW301": Panel("Norm of the gradient", "step", "Frobenius norm", True, _norms),
    "HW302": Panel("Entries of the gradient that are 0", "step", "share", False, _zeros),
    "HW303": Panel("Largest number in a layer", "step", "magnitude", True, _largest),
}  # fmt: skip
_LAGS = Panel("Gradient by lag", "calls before the last", "log10 of its norm there", False, _lags)
OF_CAUSES: Mapping[str, Panel] = dict.fromkeys(
    ("recurrent-contraction", "recurrent-expansion"), _LAGS
)
"""Causes that are seen better in another panel than their code's."""
