"""The page on ensembles shows a call that runs, and what it says of it is so."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import numpy as np

from headwater.demo.two_circles import circles
from headwater.lab import ensemble

PAGE = Path(__file__).parents[2] / "docs" / "ensembles.md"


def test_the_pages_example_trains_a_hundred_networks_that_all_learn() -> None:
    text = PAGE.read_text(encoding="utf-8")
    example = textwrap.dedent("\n".join(re.findall(r"^    .*$", text, flags=re.MULTILINE)))
    x, y = circles(1000, noise=0.1, seed=1)
    names: dict[str, Any] = {"x": x.double().numpy(), "y": y.double().numpy()}
    exec(example, names)
    history = names["history"]
    assert len(history) == 100
    assert history.learns(0.75).mean() > 0.95
    assert np.nanmedian(history.first_epoch_over(0.75)) < 100
    assert history.relative_change().shape == (100, 6)


def test_every_choice_that_the_page_names_is_public() -> None:
    text = PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|", text, flags=re.MULTILINE)
    assert rows
    assert set(rows) <= set(ensemble.__all__)
