"""Short trainings that break in the middle and go on; each returns all that it leaves behind.

Each does something that a second run of the same statements could be noticed by.
"""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from programs import Left, Program, left_by
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, Dataset

BREAKS_AT = 3
NAN, INF = float("nan"), float("inf")


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.3), nn.Linear(6, 1))


def a_loss_that_is_nan() -> Left:
    model = network()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.1)
    losses = []
    for step in range(7):
        optimiser.zero_grad()
        loss = model(torch.randn(5, 4)).square().mean()
        loss = (loss * (step != BREAKS_AT)).log() if step == BREAKS_AT else loss
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        losses.append(loss.item())
    return left_by(model, optimiser, losses=losses)


def a_gradient_that_is_infinite() -> Left:
    model = network()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for step in range(6):
        optimiser.zero_grad()
        out = model(torch.randn(5, 4))
        out = (out - out.detach()).abs().sqrt() if step == BREAKS_AT else out
        out.mean().backward()
        optimiser.step()
    return left_by(model, optimiser)


class Counting(nn.Module):
    """Counts, draws and prints in its forward pass, and changes its input in place."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network()
        self.calls: list[float] = []
        self.own = torch.Generator().manual_seed(5)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        x.mul_(2).add_(torch.rand(x.shape, generator=self.own))
        self.seen += len(x)
        self.calls.append(x.detach().sum().item())
        print("forward", len(self.calls))
        out: Tensor = self.inner(x)
        return out


def a_forward_pass_with_effects() -> Left:
    model = Counting()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    inputs = []
    for step in range(6):
        optimiser.zero_grad()
        x = torch.randn(5, 4)
        inputs.append(x)
        loss = (model(x).square() * (step < BREAKS_AT)).sum().log()
        loss.backward()
        optimiser.step()
    return left_by(model, optimiser, calls=model.calls, own=model.own.get_state(), inputs=inputs)


class Rows(Dataset[Tensor]):
    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> Tensor:
        row = torch.full((4,), float(index))
        row[1] = NAN if index == 4 * BREAKS_AT + 2 else 0.5
        return row


def batches_asked_from_worker_processes() -> Left:
    """Data that is not finite is asked for again: from queues that are shared with the workers."""
    model = network()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    iterator = iter(DataLoader(Rows(), 4, num_workers=2, multiprocessing_context="fork"))
    seen = []
    for _ in range(6):
        optimiser.zero_grad()
        x = next(iterator)
        seen.append(x[:, 0].tolist())
        model(x).square().mean().backward()
        optimiser.step()
    return left_by(model, optimiser, seen=seen)


def batches_in_shared_memory_changed_in_place() -> Left:
    model = Counting()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    seen = []
    for x in DataLoader(Rows(), 4, num_workers=1, multiprocessing_context="fork"):
        optimiser.zero_grad()
        model(x).square().mean().backward()
        seen.append(x.clone())
        optimiser.step()
    return left_by(model, optimiser, seen=seen)


def batches_read_from_an_open_file() -> Left:
    model = network()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    seen = []
    with TemporaryDirectory() as folder:
        path = Path(folder, "rows")
        lines = [f"{n:2d} {'nan' if n == BREAKS_AT else '1.0'}\n" for n in range(7)]
        path.write_text("".join(lines))
        with path.open("rb", buffering=0) as rows:
            for _ in range(7):
                optimiser.zero_grad()
                x = torch.tensor([float(each) for each in rows.read(len(lines[0])).split()])
                x = x.repeat(5, 2)
                seen.append(x[0, 0].item())
                model(x).square().mean().backward()
                optimiser.step()
    return left_by(model, optimiser, seen=seen)


def a_file_that_is_opened_around_the_step() -> Left:
    """The statements that make the loss stand within the block that empties the file."""
    model, found = network(), []
    with TemporaryDirectory() as folder:
        log = Path(folder, "log")
        for step in range(5):
            _step_with_a_log(model, log, step)
            found.append((log.read_text(), sorted(path.name for path in Path(folder).iterdir())))
    return left_by(model, found=found)


def _step_with_a_log(model: nn.Module, log: Path, step: int) -> None:
    before = log.read_text() if log.exists() else ""
    with log.open("w") as file:
        print(before, "step", step, file=file, flush=True)
        x = torch.ones(3, 4)
        torch.save(x, log.with_suffix(f".{step}"))
        x = model(x)
        (x.square().sum() * (step < BREAKS_AT)).log().backward()


def a_loop_in_a_function_whose_batch_is_replaced() -> Left:
    """The frame of the loop has lost the batch, so its caller is the next to be asked."""
    model = network()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    with TemporaryDirectory() as folder:
        _loop(model, optimiser, Path(folder))
        left = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    return left_by(model, optimiser, left=left)


def _loop(model: nn.Module, optimiser: torch.optim.Optimizer, folder: Path) -> None:
    for step, x in enumerate(torch.arange(60.0).view(5, 3, 4)):
        optimiser.zero_grad()
        (folder / f"batch{step}").write_text(str(len(list(folder.iterdir()))))
        x = model(x)  # noqa: PLW2901
        x = x * (step < BREAKS_AT)  # noqa: PLW2901
        x.square().sum().log().backward()
        optimiser.step()


def a_generative_pair() -> Left:
    one, other = nn.Linear(3, 4), nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 1))
    optimisers = [torch.optim.Adam(net.parameters(), lr=0.01) for net in (one, other)]
    for step in range(5):
        fake = one(torch.randn(6, 3))
        optimisers[1].zero_grad()
        (other(torch.randn(6, 4)).mean() - other(fake.detach()).mean()).backward()
        optimisers[1].step()
        optimisers[0].zero_grad()
        score = torch.sigmoid(other(fake) - (200 if step == BREAKS_AT else 0))
        score.log().mean().neg().backward()
        optimisers[0].step()
    return left_by(nn.ModuleList([one, other]), *optimisers)


def a_checkpointed_block() -> Left:
    first, block, last = nn.Linear(4, 6), nn.Sequential(nn.Tanh(), nn.Dropout(0.4)), nn.Linear(6, 1)
    optimiser = torch.optim.SGD([*first.parameters(), *last.parameters()], lr=0.1)
    for step in range(5):
        optimiser.zero_grad()
        hidden = checkpoint(block, first(torch.randn(3, 4)), use_reentrant=False)
        F.softplus(last(hidden)).div(step != BREAKS_AT).sum().backward()
        optimiser.step()
    return left_by(nn.ModuleList([first, last]), optimiser)


def a_closure() -> Left:
    model = nn.Linear(3, 1)
    optimiser = torch.optim.LBFGS(model.parameters(), max_iter=3)
    calls: list[float] = []

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = model(torch.ones(4, 3)).square().mean()
        loss = loss / (len(calls) != 2)
        loss.backward()
        calls.append(loss.item())
        return loss

    for _ in range(3):
        optimiser.step(closure)
    return left_by(model, optimiser, calls=calls)


def threads_that_work_meanwhile() -> Left:
    """One holds a lock that the forward pass takes: a copy of the process would wait for ever."""
    model, lock, over = network(), threading.RLock(), threading.Event()
    ready = threading.Event()

    def hold() -> None:
        while not over.wait(0.001):
            with lock:
                ready.set()

    threads = [threading.Thread(target=hold) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        ready.wait()
        for step in range(5):
            with lock:
                loss = (model(torch.randn(3, 4)).square() * (step < BREAKS_AT)).sum().log()
            loss.backward()
    finally:
        over.set()
        for thread in threads:
            thread.join()
    return left_by(model, alive=threading.active_count())


def a_script_that_listens_for_the_ends_of_its_children() -> Left:
    """Hears of every child of its own that ends, and of no other."""
    model, heard = nn.Linear(4, 1), []
    before = signal.signal(signal.SIGCHLD, lambda number, _: heard.append(number))
    own: list[int] = []
    try:
        for step in range(4):
            (model(torch.ones(3, 4)).square() * (step < 2)).sum().log().backward()
        alone = len(heard)
        own.append(os.fork())
        if own[0] == 0:
            os._exit(7)
        ended = os.waitpid(own[0], 0)[1]
    finally:
        signal.signal(signal.SIGCHLD, before)
    return left_by(model, alone=alone, heard=heard, ended=ended)


class Awkward(nn.Module):
    """Does something else in another process than the one that made it."""

    def __init__(self, what: Any) -> None:
        super().__init__()
        self.inner, self.what, self.home = nn.Linear(4, 1), what, os.getpid()

    def forward(self, x: Tensor) -> Tensor:
        if os.getpid() != self.home:
            self.what()
        out: Tensor = self.inner(x)
        return out


def awkward(what: Any) -> Left:
    model = Awkward(what)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(5):
        optimiser.zero_grad()
        (model(torch.randn(3, 4)).square() * (step < BREAKS_AT)).sum().log().backward()
        optimiser.step()
    return left_by(model.inner, optimiser)


FAULTY: tuple[Program, ...] = (
    a_loss_that_is_nan,
    a_gradient_that_is_infinite,
    a_forward_pass_with_effects,
    batches_asked_from_worker_processes,
    batches_in_shared_memory_changed_in_place,
    batches_read_from_an_open_file,
    a_file_that_is_opened_around_the_step,
    a_loop_in_a_function_whose_batch_is_replaced,
    a_generative_pair,
    a_checkpointed_block,
    a_closure,
    threads_that_work_meanwhile,
    a_script_that_listens_for_the_ends_of_its_children,
)
