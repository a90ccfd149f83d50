"""Blocks as tasks of a Ray cluster on this machine; where ray is not installed, nothing is tested.

Ray warns of things that are not ours (deprecated environment variables, unclosed sockets).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from toy_experiment import TOY

from headwater.errors import ResultsNotKeptError, UsageError
from headwater.lab.runner import run
from headwater.lab.workers import Ray

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Ray]:
    ray = pytest.importorskip("ray")
    # Workers import the toy experiment from here, as a cluster's would an installed package.
    paths = {"PYTHONPATH": str(Path(__file__).parent)}
    ray.init(num_cpus=2, include_dashboard=False, runtime_env={"env_vars": paths},
             log_to_driver=False, logging_level="ERROR")  # fmt: skip
    yield Ray()
    ray.shutdown()


def test_a_cluster_gives_the_same_numbers(cluster: Ray, tmp_path: Path) -> None:
    here = run(TOY, out=tmp_path / "here")
    there = run(TOY, out=tmp_path / "there", workers=cluster)
    for column in ("seed", "x"):
        assert here.tables["members"][column].tobytes() == there.tables["members"][column].tobytes()


def test_a_killed_worker_costs_nothing_but_its_block(cluster: Ray, tmp_path: Path) -> None:
    log = tmp_path / "log"
    toy = TOY.changed(die_once=str(tmp_path / "died"), log=str(log))
    outcome = run(toy, out=tmp_path, workers=cluster)
    assert (tmp_path / "died").exists()
    assert sorted(log.read_text().split()) == ["0-3", "4-7", "4-7", "8-11"]
    undisturbed = run(TOY, out=tmp_path / "here")
    assert outcome.tables["members"]["x"].tobytes() == undisturbed.tables["members"]["x"].tobytes()


def test_an_error_keeps_the_blocks_that_are_done(cluster: Ray, tmp_path: Path) -> None:
    toy = TOY.changed(fail_at=11)
    with pytest.raises(ResultsNotKeptError, match="No space left on device"):
        run(toy, out=tmp_path, workers=cluster)
    assert run(toy, seeds=8, out=tmp_path, workers=cluster).resumed >= 1


def test_no_cluster_at_an_address_is_said() -> None:
    ray = pytest.importorskip("ray")
    if ray.is_initialized():
        ray.shutdown()
    with pytest.raises(UsageError, match=r"no Ray cluster at '127\.0\.0\.1:1'"):
        Ray("127.0.0.1:1")
