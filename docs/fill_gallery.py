"""Run every experiment and write docs/gallery; `make gallery` calls it, nothing else writes there.

Results are kept in headwater-lab, so a second call goes on where the first was stopped.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from headwater.lab.experiments import EXPERIMENTS
from headwater.lab.gallery import write_gallery
from headwater.lab.runner import OUT, run
from headwater.lab.workers import Here, Processes

FOLDER = Path(__file__).parent / "gallery"


def main() -> None:
    """Run all experiments, a line each on stderr, and write the pages."""
    jobs = os.cpu_count() or 1
    outcomes = []
    for one in EXPERIMENTS.values():
        start = time.monotonic()
        blocks = -(-one.seeds // one.block)
        # To start processes costs seconds each, which short experiments do not earn back.
        workers = Processes(jobs=jobs) if one.slow and blocks > 1 and jobs > 1 else Here()
        outcomes.append(run(one, out=OUT, workers=workers))
        took = time.monotonic() - start
        print(f"{one.name}: {outcomes[-1].verdict.answer}, {took:.0f} s", file=sys.stderr)
    write_gallery(outcomes, FOLDER)


if __name__ == "__main__":
    main()
