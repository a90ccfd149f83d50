"""The line that cuts the gradient's path: found where the graph is made from it, and only there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import headwater
from headwater.rules import judge
from headwater.rules.detachment import cuts_before

FORWARD = """
def forward(self, x):
    h = self.body(x)
    {cut}
    return self.head(h)
"""


@pytest.mark.parametrize(
    ("cut", "by"),
    [
        ("h = h.detach()", "detach"),
        ("h = h.data", "data"),
        ("h = h.relu().detach().clone()", "detach"),
        ("h = self.norm(h).flatten(1).detach()", "detach"),
        ("h = h.detach()[:, 0]", "detach"),
    ],
)
def test_a_cut_that_the_next_operation_reads_is_found(cut: str, by: str) -> None:
    found = cuts_before(FORWARD.format(cut=cut), frozenset({5}))
    assert [(one.line, one.by) for one in found] == [(4, by)]


@pytest.mark.parametrize(
    "cut",
    [
        "self.seen = h.detach()",
        "log(h.norm().item())",
        "h = h + self.mean.detach()",
        "h = torch.where(mask.detach(), h, h)",
        "h = h.view(-1)",
        "norms.append(h.data.norm())",
    ],
)
def test_what_leaves_a_part_in_the_graph_or_feeds_a_log_is_no_cut(cut: str) -> None:
    assert cuts_before(FORWARD.format(cut=cut), frozenset({5})) == ()


def test_a_cut_in_an_argument_and_a_block_without_gradients_are_found() -> None:
    source = (
        "with torch.no_grad():\n    h = body(x)\n"
        "loss = head(h).sum()\nloss = head(body(x).detach())\n"
    )
    found = cuts_before(source, frozenset({3, 4}))
    assert [(one.line, one.by) for one in found] == [(1, "no_grad"), (4, "detach")]


def test_a_block_whose_results_the_graph_does_not_use_is_none() -> None:
    source = "with torch.no_grad():\n    accuracy = measure(x)\nloss = head(x).sum()\n"
    assert cuts_before(source, frozenset({3})) == ()


def test_a_source_that_does_not_parse_has_none() -> None:
    assert cuts_before("def broken(:\n", frozenset({1})) == ()


class _Cut(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(4, 8), nn.Linear(8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.body(x).relu()
        kept = h.detach()
        result: torch.Tensor = self.head(kept)
        return result


def test_the_finding_names_the_line_with_the_detach(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = _Cut()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    with headwater.watch(model, optimiser, every=4, out=tmp_path / "run") as run:
        for _ in range(12):
            optimiser.zero_grad()
            model(torch.randn(8, 4)).square().mean().backward()
            optimiser.step()
    (found,) = next(v for v in judge(run.record) if v.code == "HW105").findings
    line = _Cut.forward.__code__.co_firstlineno + 2
    at = found.where[0]
    assert (Path(at.file).name, at.line, at.module) == (Path(__file__).name, line, "body")
    assert f"It is cut off at {Path(__file__).name}:{line}" in found.message
