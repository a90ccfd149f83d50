"""What is shown of a place: kinds, calls, gains, levels, dead and saturated shares."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from headwater.records import Kind, Site
from headwater.reports.folding import Place
from headwater.reports.passes import Pass
from headwater.reports.view import Measure

NEGLIGIBLE = 0.005
"""Decades that print as 0.00: a change of about one per cent."""

_LISTS = frozenset({"ModuleList", "ModuleDict"})
_MINOR = frozenset({"shape", "junction", "precision"})


@dataclass(frozen=True, kw_only=True)
class Network:
    """What the measures need to know of a run: its sites, and which modules hold others.

    ``lists`` are the modules that only hold others: the user's loop calls what they hold.
    """

    sites: Sequence[Site]
    containers: frozenset[str]
    lists: frozenset[str]

    @classmethod
    def of(cls, sites: Sequence[Site], modules: Iterable[Mapping[str, str]]) -> Network:
        """Take a run's sites and its modules, each with its ``path`` and ``type``."""
        modules = tuple(modules)
        paths = [module["path"] for module in modules if module["path"]]
        return cls(
            sites=sites,
            containers=frozenset(path.rpartition(".")[0] for path in paths),
            lists=frozenset(m["path"] for m in modules if m["type"] in _LISTS),
        )

    def own_name(self, module: str) -> str:
        """Return what tells a module from its neighbours that the same call of a line runs."""
        holder, _, name = module.rpartition(".")
        return "" if module in self.containers or holder in self.lists else name


def measure(flow: Pass, place: Place, network: Network) -> Measure:
    """Sum up a place as it is shown."""
    path = place.path
    says = path.passes_on or not abs(path.junction) < NEGLIGIBLE  # true for nan
    calls = min(_counts(flow, place.above, network))
    level_in, level_out = _levels(flow, place)
    return Measure(
        kinds=_kinds(flow, place, network.sites),
        operations=len(place.above),
        calls=calls,
        gain=path.total / _calls_on_path(flow, place, calls, network) if says else None,
        junction=path.junction,
        total=path.total if says else None,
        level_in=level_in,
        level_out=level_out,
        dead=_worst(flow.dead, place),
        saturated=_worst(flow.saturated, place),
    )


def _counts(flow: Pass, nodes: Iterable[int], network: Network) -> list[int]:
    """How often each operation of a place ran; views, casts and sums count only alone.

    ``blocks.0.fc`` and ``blocks.1.fc`` on one line are two calls of it, as are ``layers.0`` and
    ``layers.1`` of an ``nn.ModuleList``; those of an ``nn.Sequential`` are one call of two.
    """
    counts: Counter[tuple[str, str, bool]] = Counter()
    for node in nodes:
        site = network.sites[flow.site[node]]
        counts[network.own_name(site.module), site.operation, site.kind in _MINOR] += 1
    major = [count for (_, _, minor), count in counts.items() if not minor]
    return major or list(counts.values())


def _calls_on_path(flow: Pass, place: Place, calls: int, network: Network) -> int:
    """How many of a place's calls the path goes through: not those side by side with it."""
    return 1 if calls == 1 else min(calls, max(_counts(flow, place.path_nodes(), network)))


def _kinds(flow: Pass, place: Place, sites: Sequence[Site]) -> tuple[Kind, ...]:
    """Return the kinds at a place, the one that changes the gradient most along the path first."""
    change: dict[Kind, float] = {}
    for node in place.path_nodes():
        kind = sites[flow.site[node]].kind
        change[kind] = change.get(kind, 0.0) + (flow.gain[node] or 0.0)
    for node in place.above:
        change.setdefault(sites[flow.site[node]].kind, 0.0)
    if len(change) > 1 and abs(change.get("shape", math.inf)) < NEGLIGIBLE:
        del change["shape"]
    if not abs(place.path.junction) < NEGLIGIBLE:
        change["junction"] = change.get("junction", 0.0) + place.path.junction
    size = {kind: abs(v) if math.isfinite(v) else math.inf for kind, v in change.items()}
    return tuple(sorted(size, key=lambda kind: -size[kind]))


def _levels(flow: Pass, place: Place) -> tuple[float | None, float | None]:
    """Return the level before a place and after it, over all its calls.

    Where calls stand side by side, these are the highest that arrives and the lowest that leaves;
    but where the place makes the gradient grow, the lowest and the highest.
    """
    entries, total = place.entries(), place.path.total
    if len(entries) == 1 or not math.isfinite(total):
        return _before(flow, place.path_nodes()[-1]), _after(flow, place.path.last)
    arriving = _known(_before(flow, node) for node in entries)
    leaving = _known(_after(flow, node) for node in place.exits())
    if not arriving or not leaving:
        return None, None
    if any(map(math.isnan, leaving)):
        return max(arriving), math.nan
    grows = total > 0 and total >= (max(leaving) - min(arriving)) / 2
    return (min(arriving), max(leaving)) if grows else (max(arriving), min(leaving))


def _known(levels: Iterable[float | None]) -> list[float]:
    """Leave out side branches that receive exactly nothing, unless there is nothing else."""
    measured = [level for level in levels if level is not None]
    return [level for level in measured if level != -math.inf] or measured


def _before(flow: Pass, node: int) -> float | None:
    level = flow.level[node]
    return level if level is None or math.isinf(level) else level - flow.junction[node]


def _after(flow: Pass, node: int) -> float | None:
    level, gain = flow.level[node], flow.gain[node]
    return level if level is None or gain is None or math.isinf(level) else level + gain


def _worst(shares: Sequence[float | None], place: Place) -> float | None:
    return max((s for n in place.above if (s := shares[n]) is not None), default=None)
