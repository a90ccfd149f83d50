"""A disk that is full: the training has its own result, the record reads and says what happened."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from test_contract_faults import Training

import headwater

resource = pytest.importorskip("resource")

FULL = "OSError: [Errno 28] No space left on device"
LARGE = "OSError: [Errno 27] File too large"


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def small_disk(place: Path, size: int) -> Iterator[None]:
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    if os.name != "posix" or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def train_and_look(place: Path) -> headwater.Run:
    """Train on and on, looking at the record meanwhile; return it as it is at the end."""
    plain = Training()
    for _ in range(12):
        plain.train()
    left, training = plain.left(), Training()
    with headwater.watch(training.model, out=place / "run", every=1) as run:
        for _ in range(12):
            training.train()
            assert run.record.truncated == (), "it reads at any time"
    assert training.left() == left
    return headwater.Run.open(place / "run")


@pytest.mark.parametrize("size", [32_768, 65_536, 100_000])
def test_a_file_that_may_not_grow(
    size: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with files_up_to(size):
        record = train_and_look(tmp_path)
    said = capfd.readouterr().err
    assert said == f"headwater: stopped observing ({LARGE}); the training goes on\n"
    assert record.info.observation["status"] == "stopped"
    assert record.info.observation["reason"] == LARGE
    assert record.info.ended is not None
    assert record.site_rows.num_rows > 0


@pytest.mark.parametrize("size", [16_384, 65_536, 131_072])
def test_a_full_disk(size: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with small_disk(tmp_path / "disk", size):
        record = train_and_look(tmp_path / "disk")
        said = capfd.readouterr().err
        assert said == f"headwater: stopped observing ({FULL}); the training goes on\n"
        assert record.info.observation["status"] == "stopped"
        assert record.info.observation["reason"] == FULL
        assert record.info.ended is not None
        rows = record.pulse.num_rows
        assert record.pulse["step"].to_pylist() == list(range(rows))
