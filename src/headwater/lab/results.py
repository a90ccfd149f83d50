"""An experiment's results on disk: blocks of seeds as they finish, and the whole as Parquet.

::

    OUT/NAME/blocks-DIGEST/0-50/members.parquet    kept as soon as the block is measured
    OUT/NAME/members.parquet, verdict.json, NAME-light.png, NAME-dark.png

The digest is of the settings, the code that measures and the libraries' versions, so that results
of two settings or two versions never meet in a table.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from headwater.lab.experiment import Experiment
from headwater.lab.rows import Rows, Tables

LIBRARIES = ("headwater", "numpy", "scipy", "torch", "numba", "scikit-learn")

# Parts of the laboratory, and definitions of an experiment's file, that measure nothing: a better
# picture or another band needs no new training, nor does a change in what it does not import.
SHOWS_ONLY = (
    "claims",
    "experiment",
    "gallery",
    "intervals",
    "pictures",
    "results",
    "rows",
    "runner",
    "workers",
)
SHOWING = ("draw", "found", "_draw", "_found", "EXPERIMENT", "ASSERTIONS")


class Store:
    """Where one experiment under one set of settings keeps what it measured."""

    def __init__(self, out: Path, experiment: Experiment[Any]) -> None:
        self.folder = out / experiment.name
        self.blocks = self.folder / f"blocks-{digest(experiment)}"

    def load(self, block: range) -> Tables | None:
        """Return a finished block; None if there is none, or it cannot be read."""
        folder = self._place(block)
        try:
            files = sorted(folder.glob("*.parquet"))
            tables = {file.stem: Rows.from_arrow(pq.read_table(file)) for file in files}
        except (OSError, pa.ArrowException):
            return None  # damaged: measured again
        return tables or None

    def keep(self, block: range, tables: Tables) -> None:
        """Write a block so that it is there whole or not at all.

        Raises:
            OSError: The disk is full or the folder cannot be written.
        """
        place = self._place(block)
        draft = place.with_name(f".{place.name}.{os.getpid()}")
        draft.mkdir(parents=True, exist_ok=True)
        try:
            _write(draft, tables)
            shutil.rmtree(place, ignore_errors=True)
            draft.replace(place)
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def finish(self, tables: Tables, verdict: dict[str, Any]) -> None:
        """Write the joined tables and the verdict.

        Raises:
            OSError: The disk is full or the folder cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        _write(self.folder, tables)
        text = json.dumps(verdict, indent=1) + "\n"
        draft = self.folder / f".verdict.{os.getpid()}"
        try:
            draft.write_text(text, encoding="utf-8")
            draft.replace(self.folder / "verdict.json")
        finally:
            draft.unlink(missing_ok=True)

    def _place(self, block: range) -> Path:
        return self.blocks / f"{block.start}-{block.stop}"


def digest(experiment: Experiment[Any]) -> str:
    """Return ten hexadecimal digits of all that decides what is measured."""
    told = hashlib.sha256()
    told.update(repr(sorted(asdict(experiment.settings).items())).encode())
    told.update(repr([(name, _version(name)) for name in LIBRARIES]).encode())
    for file in _sources(experiment):
        told.update(_measuring(file).encode())
    return told.hexdigest()[:10]


def _write(folder: Path, tables: Tables) -> None:
    for name, rows in tables.items():
        draft = folder / f".{name}.{os.getpid()}"
        try:
            pq.write_table(rows.to_arrow(), draft)
            draft.replace(folder / f"{name}.parquet")
        finally:
            draft.unlink(missing_ok=True)


def _sources(experiment: Experiment[Any]) -> Iterator[Path]:
    own = getattr(sys.modules[experiment.measure.__module__], "__file__", None)
    waiting, seen = [Path(own)] if own else [], set()
    while waiting:
        file = waiting.pop()
        if file not in seen:
            seen.add(file)
            waiting += _imported(file)
    yield from sorted(seen)


def _imported(file: Path) -> Iterator[Path]:
    """Go through the files of the laboratory that a file imports, at its top or in a function."""
    lab = Path(__file__).parent
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or node.module is None:
            continue
        parts = node.module.split(".")
        if parts[:2] != ["headwater", "lab"]:
            continue
        # A name may be a module's own or a module of the package.
        for tail in (parts[2:], *([*parts[2:], alias.name] for alias in node.names)):
            found = lab.joinpath(*tail).with_suffix(".py") if tail else lab / "__init__.py"
            if found.is_file() and found.stem not in SHOWS_ONLY:
                yield found


def _measuring(file: Path) -> str:
    """Return a file's code without comments, layout, and what only shows results."""
    module = ast.parse(file.read_text(encoding="utf-8"))
    kept = [node for node in module.body if not _shows(node)]
    for node in ast.walk(ast.Module(body=kept, type_ignores=[])):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_words(body[0]):
            body[0] = ast.Pass()
    return "\n".join(ast.dump(node) for node in kept if not _is_words(node))


def _shows(node: ast.stmt) -> bool:
    if isinstance(node, ast.FunctionDef):
        return node.name.startswith(SHOWING)
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return any(isinstance(one, ast.Name) and one.id in SHOWING for one in targets)


def _is_words(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "absent"
