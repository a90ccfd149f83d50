"""The operations of one line, module by module, in the order of the forward pass."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

from headwater.records import Site
from headwater.reports.folding import Place, fold, measure
from headwater.reports.passes import Pass
from headwater.reports.view import Row

FEWEST = 6
"""Folding by module must leave at least so many rows, or the level cannot be followed."""

Label = tuple[str, str]
"""A module's path and an operation; the operation is "" once several are folded."""


def rows_of_lines(
    flow: Pass, sites: Sequence[Site], lines: Sequence[Hashable], most: int
) -> dict[Hashable, tuple[Row, ...]]:
    """Return the rows of every line, each line's at most ``most`` (0: no limit).

    Args:
        flow: The backward pass.
        sites: The run's sites.
        lines: For each node of the pass, the line that it belongs to.
        most: A line with more rows has them folded: by module, by outer module, by neighbours.
    """
    used: dict[Hashable, set[int]] = {}
    for line, site, shown in zip(lines, flow.site, flow.shown, strict=True):
        if shown:
            used.setdefault(line, set()).add(site)
    rank = {site: index for index, site in enumerate(forward_order(flow, sites))}
    labels = {
        line: labelled(sites, sorted(of, key=rank.__getitem__), most) for line, of in used.items()
    }
    keys = [
        (line, labels[line][site]) if shown else None
        for line, site, shown in zip(lines, flow.site, flow.shown, strict=True)
    ]
    rows: dict[Hashable, list[tuple[int, Row]]] = {}
    for (line, label), place in fold(flow, keys).items():
        first = min(rank[flow.site[node]] for node in place.nodes)
        rows.setdefault(line, []).append((first, _row(flow, place, sites, label)))
    return {
        line: tuple(row for _, row in sorted(of, key=lambda ranked: ranked[0]))
        for line, of in rows.items()
    }


def forward_order(flow: Pass, sites: Sequence[Site]) -> list[int]:
    """Return the sites of a pass in the order of the forward pass, modules kept together.

    Nodes are numbered as the graph's walk finds them from the loss, branch after branch, so a
    second branch (the keys of an attention) is found after all that lies below the first. What
    belongs to one module is therefore placed where the module's first node is.
    """
    used: dict[int, int] = {}
    for number, index, shown in zip(flow.number, flow.site, flow.shown, strict=True):
        if shown:
            used[index] = min(used.get(index, number), number)
    modules: dict[tuple[str, ...], int] = {}
    for index, number in used.items():
        for module in _enclosing(sites[index].module):
            modules[module] = min(modules.get(module, number), number)

    def from_loss(index: int) -> tuple[int, ...]:
        return (*(modules[module] for module in _enclosing(sites[index].module)), used[index])

    return sorted(used, key=from_loss, reverse=True)


def _enclosing(module: str) -> list[tuple[str, ...]]:
    parts = tuple(module.split(".")) if module else ()
    return [parts[: depth + 1] for depth in range(len(parts))]


def _row(flow: Pass, place: Place, sites: Sequence[Site], label: Label) -> Row:
    site = sites[flow.site[place.path.first]]
    library = bool(site.user_file) and (site.file, site.line) != (site.user_file, site.user_line)
    module, operation = label
    return Row(
        module=module,
        operation=operation,
        measure=measure(flow, place, sites),
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
    before = {index: (module, "") for index, (module, _) in finest.items()}
    for depth in range(deepest, 0, -1):
        coarse = {index: (_prefix(module, depth), "") for index, (module, _) in before.items()}
        if len(set(coarse.values())) <= most:
            enough = len(set(coarse.values())) >= min(FEWEST, most)
            return coarse if enough else _neighbours(before, most)
        before = coarse
    return _neighbours(before, most)


def _prefix(module: str, depth: int) -> str:
    return ".".join(module.split(".")[:depth])


def _neighbours(labels: Mapping[int, Label], most: int) -> dict[int, Label]:
    """Fold rows that follow each other in the forward pass, evenly."""
    order = list(dict.fromkeys(labels.values()))
    size = -(-len(order) // most)
    folded: dict[Label, Label] = {}
    for start in range(0, len(order), size):
        group = order[start : start + size]
        first, last = group[0][0], group[-1][0]
        name = first if first == last else f"{first} … {last}"
        folded.update(dict.fromkeys(group, (name, "")))
    return {index: folded[label] for index, label in labels.items()}
