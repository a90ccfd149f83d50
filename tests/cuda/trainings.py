"""Trainings on a CUDA device, each a function of nothing that returns what it leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STEPS = 24
Left = Mapping[str, Tensor]
Training = Callable[[], Left]


def _left(model: nn.Module, optimiser: torch.optim.Optimizer, losses: list[Tensor]) -> Left:
    states = {
        f"optimiser {index} {name}": value
        for index, state in enumerate(optimiser.state.values())
        for name, value in state.items()
        if isinstance(value, Tensor)
    }
    stream = {"random": torch.cuda.get_rng_state(), "losses": torch.stack(losses)}
    return {**{n: v.detach().clone() for n, v in model.state_dict().items()}, **states, **stream}


def _plain(
    model: nn.Module,
    inputs: Tensor,
    optimiser: torch.optim.Optimizer,
    loss_of: Callable[[nn.Module, Tensor], Tensor],
) -> Left:
    losses = []
    for _ in range(STEPS):
        optimiser.zero_grad()
        loss = loss_of(model, inputs)
        loss.backward()
        optimiser.step()
        losses.append(loss.detach())
    return _left(model, optimiser, losses)


def _square(model: nn.Module, inputs: Tensor) -> Tensor:
    out = model(inputs)
    out = out[0] if isinstance(out, tuple) else out
    return out.float().square().mean()


def _perceptron() -> nn.Module:
    layers = [nn.Linear(32, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 64), nn.Tanh()]
    return nn.Sequential(*layers, nn.Linear(64, 8)).cuda()


def _inputs(*shape: int) -> Tensor:
    return torch.randn(*shape, device="cuda")


def perceptron() -> Left:
    model = _perceptron()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return _plain(model, _inputs(16, 32), optimiser, _square)


def convolutions_in_channels_last() -> Left:
    layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Conv2d(8, 8, 3)]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)).cuda()
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    inputs = _inputs(8, 3, 16, 16).to(memory_format=torch.channels_last)
    return _plain(model, inputs, torch.optim.Adam(model.parameters()), _square)


def transformer() -> Left:
    model = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True).cuda()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    return _plain(model, _inputs(4, 10, 32), optimiser, _square)


def _recurrent(kind: type[nn.RNNBase]) -> Left:
    model = kind(8, 16, num_layers=2, dropout=0.1).cuda()
    optimiser = torch.optim.Adam(model.parameters(), capturable=True)
    return _plain(model, _inputs(20, 4, 8), optimiser, _square)


def lstm() -> Left:
    return _recurrent(nn.LSTM)


def gru() -> Left:
    return _recurrent(nn.GRU)


def rnn() -> Left:
    return _recurrent(nn.RNN)


def float16_with_a_scaler_that_skips() -> Left:
    model = _perceptron()
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-2)
    scaler = torch.amp.GradScaler("cuda", init_scale=2.0**40)
    inputs, losses = _inputs(16, 32), []
    for _ in range(STEPS):
        optimiser.zero_grad()
        with torch.autocast("cuda", torch.float16):
            loss = _square(model, inputs)
        scaler.scale(loss).backward()
        scaler.unscale_(optimiser)
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        scaler.step(optimiser)
        scaler.update()
        losses.append(loss.detach())
    scale = {"scale": torch.tensor(scaler.get_scale())}
    return {**_left(model, optimiser, losses), **scale}


def bfloat16_by_autocast() -> Left:
    model = _perceptron()

    def loss_of(model: nn.Module, inputs: Tensor) -> Tensor:
        with torch.autocast("cuda", torch.bfloat16):
            return _square(model, inputs)

    optimiser = torch.optim.Adam(model.parameters(), foreach=True)
    return _plain(model, _inputs(16, 32), optimiser, loss_of)


def attention_by_the_fused_kernel() -> Left:
    model = nn.Linear(32, 96).cuda()

    def loss_of(model: nn.Module, inputs: Tensor) -> Tensor:
        q, k, v = model(inputs).view(2, 12, 3, 4, 8).permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(q, k, v).square().mean()

    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    return _plain(model, _inputs(2, 12, 32), optimiser, loss_of)


def a_step_captured_as_a_graph() -> Left:
    """Warm up, capture forward, backward and step once, and replay them."""
    model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 8)).cuda()
    optimiser = torch.optim.Adam(model.parameters(), capturable=True)
    inputs, losses = _inputs(16, 32), []

    def step() -> Tensor:
        optimiser.zero_grad(set_to_none=True)
        loss = _square(model, inputs)
        loss.backward()
        optimiser.step()
        return loss

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step()
    for _ in range(STEPS):
        graph.replay()
        losses.append(loss.detach().clone())
    return _left(model, optimiser, losses)


def batches_from_pinned_memory() -> Left:
    model = _perceptron()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    rows = torch.utils.data.TensorDataset(torch.randn(256, 32))
    loader = torch.utils.data.DataLoader(rows, batch_size=16, shuffle=True, pin_memory=True)
    losses = []
    for (batch,) in loader:
        optimiser.zero_grad()
        loss = _square(model, batch.cuda(non_blocking=True))
        loss.backward()
        optimiser.step()
        losses.append(loss.detach())
    return _left(model, optimiser, losses)


def compiled() -> Left:
    model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 8)).cuda()
    seen = torch.compile(model)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    left = _plain(seen, _inputs(16, 32), optimiser, _square)
    return {name.removeprefix("_orig_mod."): value for name, value in left.items()}


TRAININGS: Mapping[str, Training] = {
    one.__name__: one
    for one in (
        *(perceptron, convolutions_in_channels_last, transformer, lstm, gru, rnn),
        *(float16_with_a_scaler_that_skips, bfloat16_by_autocast, attention_by_the_fused_kernel),
        *(a_step_captured_as_a_graph, batches_from_pinned_memory, compiled),
    )
}


def run(training: Training, block: Any) -> Left:
    """Return what a training leaves from a fixed seed, within a block."""
    torch.manual_seed(5)
    with block:
        return training()
