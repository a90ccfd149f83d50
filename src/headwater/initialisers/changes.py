"""What an initialiser did: plain records, and the table that it prints."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

_COLUMNS = 80
_NAME, _FOLLOWS = 28, 16  # columns of the table; longer words are cut in front


@dataclass(frozen=True, kw_only=True)
class Change:
    r"""One parameter, before and after.

    Attributes:
        parameter: Its name.
        follows: What stands between it and the weights before it.
        fan_in: Entries that are summed for one unit; 1 for a factor of a normalisation.
        before: :math:`\sigma_w`, the root of fan-in times the mean square of an entry.
        after: The same, now.
        note: What is particular about it, empty where nothing is.
    """

    parameter: str
    follows: str
    fan_in: int
    before: float
    after: float
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Changes:
    """All that an initialiser did; as text, a table of at most 80 columns.

    Attributes:
        title: Which initialiser, and what it keeps.
        changes: One a parameter, from the input on.
        remarks: What holds for the whole network.

    Example:
        >>> change = Change(
        ...     parameter="2.weight", follows="relu", fan_in=256, before=0.577, after=1.414)
        >>> print(Changes(title="critical_", changes=(change,)))
        critical_
        parameter                    after            fan-in   sigma: was     now
        2.weight                     relu                256        0.577    1.41
    """

    title: str
    changes: tuple[Change, ...]
    remarks: tuple[str, ...] = ()

    def __getitem__(self, parameter: str) -> Change:
        """Return what was done to a parameter.

        Raises:
            KeyError: Nothing is said of it.
        """
        for change in self.changes:
            if change.parameter == parameter:
                return change
        raise KeyError(parameter)

    def __str__(self) -> str:
        """Return the table; notes stand below it, each once."""
        notes = list(dict.fromkeys(change.note for change in self.changes if change.note))
        head = f"{'parameter':{_NAME}} {'after':{_FOLLOWS}} {'fan-in':>6}"
        lines = [*textwrap.wrap(self.title, _COLUMNS), f"{head} {'sigma: was':>12} {'now':>7}"]
        for change in self.changes:
            mark = f" [{notes.index(change.note) + 1}]" if change.note else ""
            name, follows = _cut(change.parameter, _NAME), _cut(change.follows, _FOLLOWS)
            lines.append(
                f"{name:{_NAME}} {follows:{_FOLLOWS}} {change.fan_in:>6} "
                f"{change.before:>12.3g} {change.after:>7.3g}{mark}"
            )
        for number, note in enumerate(notes, start=1):
            lines += textwrap.wrap(f"[{number}] {note}", _COLUMNS, subsequent_indent="    ")
        for remark in self.remarks:
            lines += textwrap.wrap(remark, _COLUMNS)
        return "\n".join(lines)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else "…" + text[1 - width :]
