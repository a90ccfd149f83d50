"""What an experiment is: a claim, how to measure it, and what would refute it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Generic, TypeVar

from headwater.errors import UsageError
from headwater.lab.claims import Assertion, Verdict, judge
from headwater.lab.pictures import Style
from headwater.lab.rows import Array, Tables

S = TypeVar("S")


@dataclass(frozen=True, kw_only=True)
class Experiment(Generic[S]):
    """A claim about networks that its own assertions can refute.

    Attributes:
        name: As the command line has it.
        claim: One sentence that can be false.
        settings: A frozen dataclass; others may be put in, to see the verdict change.
        measure: From settings and seeds ``[block]`` to tables with a column ``seed``. A row
            depends on its own seed only, so that blocks may be cut anywhere.
        assertions: What must be measured for the claim to hold.
        draw: Draws the tables on a figure, in a style.
        found: What the tables say, as Markdown, with their numbers.
        literature: What was published, and where.
        fragile: What the result hangs on.
        slow: Minutes on one core: worth processes of its own, and left out of the short tests.
        exact: Nothing is drawn at random: it is measured once, whatever the seeds.
        seeds: How many are measured unless told otherwise.
        block: Seeds that are measured, and kept, together.
        size: Width and height of the picture in inches.
    """

    name: str
    claim: str
    settings: S
    measure: Callable[[S, Array], Tables]
    assertions: tuple[Assertion, ...]
    draw: Callable[[Tables, Any, Style], None]
    found: Callable[[Tables], str]
    literature: str
    fragile: str
    exact: bool = False
    slow: bool = False
    seeds: int = 100
    block: int = 50
    size: tuple[float, float] = (9.0, 4.5)

    def judge(self, tables: Tables) -> Verdict:
        """Return the verdict of these tables on the claim."""
        return judge(self.assertions, tables)

    def changed(self, **settings: Any) -> Experiment[S]:
        """Return the same claim to be measured under other settings.

        Raises:
            UsageError: It has no such setting.
        """
        known = [one.name for one in fields(self.settings)]  # type: ignore[arg-type]
        for name in settings:
            if name not in known:
                raise UsageError(
                    f"{self.name} has no setting {name!r}; it has {', '.join(known) or 'none'}"
                )
        return replace(self, settings=replace(self.settings, **settings))  # type: ignore[type-var]

    @property
    def epochs(self) -> int | None:
        """Epochs that it trains for; None where it trains nothing by epochs."""
        return getattr(self.settings, "epochs", None)
