"""The operations of one line, module by module, in the order of the forward pass."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

from headwater.records import Site
from headwater.reports.folding import Place, fold
from headwater.reports.measures import Network, measure
from headwater.reports.passes import Pass
from headwater.reports.view import Row

FEWEST = 6
"""Folding by module must leave at least so many rows, or the level cannot be followed."""

MOST_IN_ALL = 400
"""Rows under all lines together: a report that scrolls for minutes is not read."""

LOSS = "loss"
"""Stands for the operations of a loss that no module computed, once rows are folded."""

Label = tuple[str, str]
"""A module's path and an operation; the operation is "" once several are folded."""


def rows_of_lines(
    flow: Pass, network: Network, lines: Sequence[Hashable], most: int
) -> dict[Hashable, tuple[Row, ...]]:
    """Return the rows of every line, each line's at most ``most`` (0: no limit).

    Args:
        flow: The backward pass.
        network: The run's sites and modules.
        lines: For each node of the pass, the line that it belongs to.
        most: A line with more rows has them folded: by module, by outer module, by neighbours.
    """
    used: dict[Hashable, dict[int, int]] = {}
    for line, site, rank, shown in zip(lines, flow.site, flow.rank, flow.shown, strict=True):
        if shown:
            first = used.setdefault(line, {})
            first[site] = min(first.get(site, rank), rank)
    if most and used:
        most = min(most, max(MOST_IN_ALL // len(used), 3))
    orders = {line: sorted(first, key=first.__getitem__) for line, first in used.items()}
    labels = {line: labelled(network.sites, order, most) for line, order in orders.items()}
    keys = [
        (line, labels[line][site]) if shown else None
        for line, site, shown in zip(lines, flow.site, flow.shown, strict=True)
    ]
    places = fold(flow, keys)
    return {
        line: tuple(
            _row(flow, places[line, label], network, label)
            for label in dict.fromkeys(labels[line][site] for site in order)
        )
        for line, order in orders.items()
    }


def _row(flow: Pass, place: Place, network: Network, label: Label) -> Row:
    site = network.sites[flow.site[place.path.last]]
    library = bool(site.user_file) and (site.file, site.line) != (site.user_file, site.user_line)
    module, operation = label
    return Row(
        module=module,
        operation=operation,
        measure=measure(flow, place, network),
        file=site.file if library and operation else "",
        line=site.line if library and operation else 0,
    )


def labelled(sites: Sequence[Site], order: Sequence[int], most: int) -> dict[int, Label]:
    """Return each site's row on its line, so that there are at most ``most`` rows.

    Args:
        sites: The run's sites.
        order: The line's sites in the order of the forward pass.
        most: Rows allowed; 0 for no limit.

    Example:
        >>> sites = [Site(operation="relu", kind="activation", module=f"net.{i}") for i in range(4)]
        >>> labelled(sites, range(4), 2)[0]
        ('net.0 … net.1', '')
    """
    finest = {index: (sites[index].module, sites[index].operation) for index in order}
    if not most or len(set(finest.values())) <= most:
        return finest
    deepest = max(module.count(".") + 1 for module, _ in finest.values())
    before = {index: _outer(sites[index], deepest) for index in order}
    for depth in range(deepest, 0, -1):
        coarse = {index: _outer(sites[index], depth) for index in order}
        if len(set(coarse.values())) <= most:
            enough = len(set(coarse.values())) >= min(FEWEST, most)
            return coarse if enough else _neighbours(before, most)
        before = coarse
    return _neighbours(before, most)


def _outer(site: Site, depth: int) -> Label:
    """Return the module ``depth`` levels deep that a site belongs to; the loss stays apart."""
    module = ".".join(site.module.split(".")[:depth])
    return module, LOSS if site.kind == "loss" and not module else ""


def _neighbours(labels: Mapping[int, Label], most: int) -> dict[int, Label]:
    """Fold rows that follow each other in the forward pass, evenly."""
    order = list(dict.fromkeys(labels.values()))
    size = -(-len(order) // most)
    folded: dict[Label, Label] = {}
    for start in range(0, len(order), size):
        group = order[start : start + size]
        first, last = group[0][0], group[-1][0]
        name = first if first == last or not last else f"{first} … {last}"
        folded.update(dict.fromkeys(group, (name, "")))
    return {index: folded[label] for index, label in labels.items()}
