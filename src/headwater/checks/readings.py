"""A network measured once: its layers as theory reads them, and the account of one gradient."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from headwater.checks.descriptions import Stage, describe
from headwater.checks.feeds import Feed
from headwater.errors import UsageError
from headwater.runs.ledger import Ledger, Row
from headwater.watch.forward import Forward
from headwater.watch.single import single_pass


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One pass through a network.

    Attributes:
        stages: Its layers, from the input on.
        ledger: The account of the gradient.
        loss: The loss.
        input_square: Mean square of the input's entries, None for words.
    """

    stages: tuple[Stage, ...]
    ledger: Ledger
    loss: float
    input_square: float | None

    def row(self, node: int) -> Row | None:
        """Return the ledger's row of a node, None where the gradient did not come by."""
        return self.ledger.nodes.get(node)

    def level(self, node: int) -> float:
        """Return the gradient's norm at a node's output, in decades; nan where there is none."""
        row = self.row(node)
        return float(row["level"]) if row is not None else float("nan")


def read(model: nn.Module, feed: Feed) -> Reading:
    """Measure a network as it stands; it is left as it was.

    Raises:
        UsageError: The loss has no graph.

    Example:
        >>> from headwater.checks.feeds import feed
        >>> net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
        >>> [stage.layer.name or stage.layer.activation for stage in read(net, feed(net)).stages]
        ['0', 'tanh', '2']
    """
    forward = Forward()

    def run() -> tuple[Tensor, Tensor]:
        with forward:
            return feed.forward(model)

    try:
        seen = single_pass(model, run, lambda made: describe(made, forward.outputs()))
    except RuntimeError as error:
        if str(error) != "the loss does not depend on the network's output":
            raise
        raise UsageError(f"{error}; give a loss function of what the network returns") from error
    return Reading(
        stages=seen.seen, ledger=seen.ledger, loss=seen.loss, input_square=feed.mean_square
    )
