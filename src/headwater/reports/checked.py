"""A network before training, for the terminal: layer by layer, forecast beside measurement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from headwater.records import Check, CheckedLayer, CriticalGain
from headwater.reports.cells import clean, fit, pad, paragraph
from headwater.reports.numbers import decades
from headwater.reports.screen import finding_lines

MOST_LAYERS = 24
"""Layers shown before those in the middle are left out."""

_WHERE, _NUMBER, _GAIN, _BAND = 5, 7, 6, 15


def check_lines(check: Check, width: int = 80, most_layers: int = MOST_LAYERS) -> Iterator[Text]:
    """Return the table of layers, what follows from it, and what is wrong.

    Example:
        >>> layer = CheckedLayer(name="0", what="dense 8→8, relu", square=1.0, gradient=0.0)
        >>> found = Check(model="Sequential", draws=1, batch=(4, 8), made_up=True, loss=0.5,
        ...               own_loss=False, layers=(layer,))
        >>> print(list(check_lines(found))[0])
        Sequential: 1 draw on a made-up batch of 4 × 8
    """
    yield from _head(check, width)
    yield Text()
    yield from _table(check, width, most_layers)
    yield Text()
    yield from _forecast(check, width)
    yield Text()
    if not check.findings and check.judged:
        yield Text("healthy: the gradient reaches every layer", style="bold green")
    elif not check.findings:
        yield Text("nothing found, but nothing could be judged either", style="bold")
    for place, finding in enumerate(check.findings):
        if place:
            yield Text()
        yield from finding_lines(finding, width)
    for note in check.notes:
        yield from paragraph(f"· {note}", width, hang=2)


def _head(check: Check, width: int) -> Iterator[Text]:
    draws = "1 draw" if check.draws == 1 else f"{check.draws} draws"
    batch = " × ".join(map(str, check.batch)) or "unknown shape"
    made_up = "a made-up batch" if check.made_up else "the batch"
    title = f"{clean(check.model)}: {draws} on {made_up} of {batch}"
    yield Text(fit(title, width), style="bold")
    start = (
        f"the loss, {check.loss:.4g}"
        if check.own_loss
        else "a random direction at the output, as no loss was given"
    )
    yield from paragraph(
        f"The gradient starts from {start}. Its norm is in decades over that at the output; the "
        "band holds 95 % of draws of one sample, and more of a batch; the step is what a layer "
        "adds on the way to the one before.",
        width,
        style="dim",
    )


def _table(check: Check, width: int, most: int) -> Iterator[Text]:
    room = width - _WHERE - 3 * _NUMBER - _GAIN - _BAND - 6
    above = f"{'':{_WHERE + room + 1}} {'mean square':>{2 * _NUMBER + 1}} {'step':>{_GAIN}} "
    yield Text(above + f"{'gradient [decades]':>{_BAND + _NUMBER + 1}}", style="dim")
    heads = [pad("line", _WHERE), pad("layer, from the input on", room)]
    for name, size in (("theory", _NUMBER), ("net", _NUMBER), ("net", _GAIN)):
        heads.append(pad(name, size, align="right"))
    heads += [pad("theory, 95 %", _BAND, align="right"), pad("net", _NUMBER, align="right")]
    yield Text(" ".join(heads), style="dim")
    for row in _chosen(check.layers, most):
        yield _row(row, room) if row is not None else Text(f"{'⋮':>4}", style="dim")


def _chosen(rows: Sequence[CheckedLayer], most: int) -> Iterator[CheckedLayer | None]:
    """Yield the first and the last layers, and those that leave the band; None for a gap."""
    kept = set(range(len(rows)))
    if most and len(rows) > most:
        ends = set(range(most // 2)) | set(range(len(rows) - most // 2, len(rows)))
        kept = ends | {place for place, row in enumerate(rows) if row.inside is False}
        kept = set(sorted(kept)[:most]) | set(range(len(rows) - most // 3, len(rows)))
    before = -1
    for place in sorted(kept):
        if place != before + 1:
            yield None
        yield rows[place]
        before = place


def _row(row: CheckedLayer, room: int) -> Text:
    style, mark = ("bold yellow", "!") if row.inside is False else ("", " ")
    where = f":{row.line}" if row.line else ""
    name = row.what if row.name in row.what else f"{row.name}  {row.what}"
    text = Text.assemble((pad(where, _WHERE), "dim"), " ")
    text.append(pad(clean(name), room), "" if not row.note else "dim")
    for value in (row.square_forecast, row.square):
        text.append(f" {pad(_size(value), _NUMBER, align='right')}")
    text.append(f" {pad(decades(row.gain), _GAIN, align='right')}")
    band = ""
    if row.gradient_forecast is not None:
        low, _, high = row.gradient_forecast
        band = f"{decades(low) or '0'} … {decades(high) or '0'}"
    text.append(f" {pad(band, _BAND, align='right')}")
    text.append(f" {pad(_level(row.gradient), _NUMBER - 1, align='right')}{mark}", style)
    return text


def _size(value: float | None) -> str:
    """Return a mean square in at most seven cells.

    Example:
        >>> _size(0.0123), _size(3.2e-11), _size(123456.0), _size(None)
        ('0.0123', '3.2e-11', '1.2e+05', '')
    """
    if value is None:
        return ""
    return f"{value:.3g}" if value == 0 or 1e-3 <= abs(value) < 1e4 else f"{value:.1e}"


def _level(value: float | None) -> str:
    return "nan" if value is None else decades(value)


def _forecast(check: Check, width: int) -> Iterator[Text]:
    first = check.layers[0] if check.layers else None
    if first is not None:
        ends = first.gradient_ends
        spread = f" ({ends[0]:+.2f} to {ends[1]:+.2f})" if ends and check.draws > 1 else ""
        said = f"measured {_level(first.gradient)}{spread} decades"
        if first.gradient_forecast is not None:
            low, middle, high = first.gradient_forecast
            said += f", forecast {middle:+.2f} ({low:+.2f} to {high:+.2f})"
        yield from _labelled("first layer", said, width)
    if check.leaves_band:
        yield from _labelled(
            "leaves band",
            f"first, from the output, at {check.leaves_band}: theory's "
            "assumptions (independent weights of mean 0, units alike) do not hold there",
            width,
        )
    for gain in check.gains:
        yield from _labelled(f"after {gain.activation}", _gain(gain), width)
    lost = [f"{name} {fate}" for name, fate in check.formats.items() if fate]
    held = [name for name, fate in check.formats.items() if not fate]
    said = "; ".join([*lost, f"held by {', '.join(held)}"] if held else lost)
    yield from _labelled("gradient in", said, width)


def _gain(gain: CriticalGain) -> str:
    wanted = (
        "no gain keeps the gradient"
        if gain.critical is None
        else f"{gain.critical:.3g} keeps the gradient"
    )
    depth = "at any depth" if gain.depth is None else f"to depth {max(1, round(gain.depth)):,}"
    depth = f"; as it is, trains {depth}" if gain.plain else ""
    doubt = "; low confidence: a half-stable point is near" if gain.low_confidence else ""
    return f"gain {gain.sigma_w:.3g} now, {wanted}{depth}{doubt}"


def _labelled(label: str, text: str, width: int) -> Iterator[Text]:
    for index, line in enumerate(paragraph(text, width - 18)):
        head = pad(label if index == 0 else "", 15)
        yield Text.assemble("  ", (head, "dim"), " ", line)
