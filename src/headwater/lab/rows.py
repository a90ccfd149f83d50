"""What an experiment measured: columns of equal length, which go to Parquet and come back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """A table in memory; every column is a one-dimensional array of the same length.

    Example:
        >>> rows = Rows.of(arm="tanh", seed=[0, 1], accuracy=[0.5, 0.8])
        >>> rows.where(seed=1)["accuracy"].tolist(), len(rows), rows.distinct("arm")
        ([0.8], 2, ['tanh'])
    """

    columns: Mapping[str, Array]

    @classmethod
    def of(cls, **columns: Any) -> Rows:
        """Return rows of these columns; a single value stands for a whole column.

        Raises:
            ValueError: Two columns differ in length.
        """
        arrays = {name: np.asarray(column) for name, column in columns.items()}
        lengths = {len(array) for array in arrays.values() if array.ndim}
        if len(lengths) > 1:
            shapes = {name: array.shape for name, array in arrays.items()}
            raise ValueError(f"columns must have one length, got {shapes}")
        length = lengths.pop() if lengths else 1
        return cls(
            columns={name: np.broadcast_to(array, (length,)) for name, array in arrays.items()}
        )

    @classmethod
    def joined(cls, parts: Sequence[Rows]) -> Rows:
        """Return the rows of all parts, one after another; their columns must be the same.

        Example:
            >>> Rows.joined([Rows.of(x=[1]), Rows.of(x=[2, 3])])["x"].tolist()
            [1, 2, 3]
        """
        names = list(parts[0].columns)
        if any(list(part.columns) != names for part in parts):
            raise ValueError(f"parts must have the same columns, got {[*map(list, parts)]}")
        return cls(columns={n: np.concatenate([part[n] for part in parts]) for n in names})

    @classmethod
    def from_arrow(cls, table: pa.Table) -> Rows:
        """Return what :meth:`to_arrow` made."""
        names = table.column_names
        return cls(columns={n: table[n].to_numpy(zero_copy_only=False) for n in names})

    def to_arrow(self) -> pa.Table:
        """Return the rows as an Arrow table.

        Example:
            >>> Rows.from_arrow(Rows.of(arm=["a", "b"]).to_arrow())["arm"].tolist()
            ['a', 'b']
        """
        return pa.table(
            {
                name: pa.array(column.tolist())
                if column.dtype.kind in "UO"
                else pa.array(np.ascontiguousarray(column))
                for name, column in self.columns.items()
            }
        )

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(next(iter(self.columns.values()), ()))

    def __iter__(self) -> Any:
        """Go through the columns' names."""
        return iter(self.columns)

    def __getitem__(self, name: str) -> Array:
        """Return a column."""
        return self.columns[name]

    def where(self, **equal: Any) -> Rows:
        """Return the rows whose columns have these values."""
        keep = np.ones(len(self), dtype=bool)
        for name, value in equal.items():
            keep &= self[name] == value
        return Rows(columns={name: column[keep] for name, column in self.columns.items()})

    def distinct(self, name: str) -> list[Any]:
        """Return a column's values, each once, in the order of their first appearance."""
        return list(dict.fromkeys(self[name].tolist()))

    def grid(self, value: str, across: str) -> tuple[Array, Array]:
        """Return the distinct ``across``, and ``value`` as one row a seed ``[seeds, across]``.

        Assumes that every seed has one row for each value of ``across``.

        Example:
            >>> rows = Rows.of(seed=[7, 7, 8, 8], epoch=[0, 1, 0, 1], loss=[3, 2, 5, 4])
            >>> x, curves = rows.grid("loss", "epoch")
            >>> x.tolist(), curves.tolist()
            ([0, 1], [[3, 2], [5, 4]])
        """
        order = np.lexsort((self[across], self["seed"]))
        x = np.unique(self[across])
        return x, self[value][order].reshape(-1, len(x))


Tables = Mapping[str, Rows]


def joined_tables(parts: Sequence[Tables]) -> Tables:
    """Join the tables of several blocks, name by name.

    Example:
        >>> joined_tables([{"members": Rows.of(seed=[0])}, {"members": Rows.of(seed=[1])}])[
        ...     "members"]["seed"].tolist()
        [0, 1]
    """
    return {name: Rows.joined([part[name] for part in parts]) for name in parts[0]}
