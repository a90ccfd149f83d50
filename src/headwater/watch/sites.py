"""The table of sites: each distinct (operation, kind, place) once, named when it is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from headwater.records import Kind, ParameterInfo, Site
from headwater.watch.names import Names
from headwater.watch.stacks import Place

_LARGEST_SOURCE = 1 << 20


@dataclass(frozen=True, slots=True)
class _Draft:
    operation: str
    kind: Kind
    place: Place
    root: int
    path: str
    parameter: int | None


@dataclass(slots=True)
class SiteTable:
    """Numbers sites as they are met; weakly tied to modules, so it keeps none alive."""

    names: Names
    _drafts: list[_Draft] = field(default_factory=list)
    _numbers: dict[tuple[str, Kind, int, int | None], int] = field(default_factory=dict)
    _sources: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        """Number of sites so far."""
        return len(self._drafts)

    def number(self, operation: str, kind: Kind, place: Place, parameter: int | None) -> int:
        """Return the site's number, giving it one if it is new."""
        key = (operation, kind, id(place), parameter)
        number = self._numbers.get(key)
        if number is None:
            root, path = self.names.path_of(place.module(), place.root())
            self._drafts.append(_Draft(operation, kind, place, root, path, parameter))
            number = self._numbers[key] = len(self._drafts) - 1
        return number

    def render(self, parameters: tuple[ParameterInfo, ...]) -> tuple[Site, ...]:
        """Return all sites with the names known by now."""
        return tuple(self._render(draft, parameters) for draft in self._drafts)

    def sources(self) -> dict[str, str]:
        """Return the text of every user's file that a site points to, as first read."""
        for draft in self._drafts:
            file = draft.place.user_file
            if file and file not in self._sources:
                self._sources[file] = _read(file)
        return {file: text for file, text in self._sources.items() if text}

    def _render(self, draft: _Draft, parameters: tuple[ParameterInfo, ...]) -> Site:
        place, leaf = draft.place, draft.parameter
        owner = parameters[leaf] if leaf is not None else None
        path = self.names.full_path(draft.root, draft.path) if draft.root >= 0 else ""
        return Site(
            operation=draft.operation,
            kind=draft.kind,
            file=place.file,
            line=place.line,
            function=place.function,
            module=(owner.module or path) if owner else path,
            user_file=place.user_file,
            user_line=place.user_line,
            parameter=owner.name if owner else "",
        )


def _read(file: str) -> str:
    path = Path(file)
    try:
        if path.stat().st_size > _LARGEST_SOURCE:
            return ""
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # <stdin>, <string>, a notebook's cell
        return ""
