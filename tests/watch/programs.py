"""Short trainings of every kind, each returning all that it leaves behind; none knows Headwater."""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

Left = dict[str, Any]
Program = Callable[[], Left]


def left_by(model: nn.Module, *optimisers: torch.optim.Optimizer, **more: Any) -> Left:
    states = [copy.deepcopy(optimiser.state_dict()) for optimiser in optimisers]
    return {
        "weights": model.state_dict(),
        "gradients": {name: parameter.grad for name, parameter in model.named_parameters()},
        "optimisers": states,
        **more,
    }


def small() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 1))


def dropout_and_batch_norm_with_validation_between() -> Left:
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout2d(0.2),
        nn.Flatten(), nn.Linear(64, 3),
    )  # fmt: skip
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.01)
    losses = []
    for _ in range(5):
        model.train()
        optimiser.zero_grad()
        F.cross_entropy(model(torch.randn(6, 1, 6, 6)), torch.randint(3, (6,))).backward()
        optimiser.step()
        model.eval()
        with torch.no_grad():
            losses.append(model(torch.randn(2, 1, 6, 6)).sum())
        with torch.inference_mode():
            losses.append(model(torch.randn(2, 1, 6, 6)).sum().item())
    return left_by(model, optimiser, losses=losses)


def a_transformer_s_fast_path_in_validation() -> Left:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = nn.TransformerEncoder(layer, 2)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    for _ in range(4):
        model.train()
        optimiser.zero_grad()
        model(torch.randn(2, 5, 8)).square().mean().backward()
        optimiser.step()
        model.eval()
        mask = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
        with torch.inference_mode():
            losses.append(model(torch.randn(2, 5, 8), src_key_padding_mask=mask).nan_to_num())
    return left_by(model, optimiser, losses=losses)


def accumulation() -> Left:
    model = small()
    optimiser = torch.optim.Adam(model.parameters())
    for number in range(12):
        (model(torch.randn(4, 6)).square().mean() / 3).backward()
        if number % 3 == 2:
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            optimiser.step()
            optimiser.zero_grad(set_to_none=number % 2 == 0)
    return left_by(model, optimiser)


def a_gradient_scaler_that_skips_steps() -> Left:
    model = small()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, growth_interval=2)
    for _ in range(8):
        optimiser.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(torch.randn(4, 6)).square().mean()
        scaler.scale(1e4 * loss).backward()
        scaler.unscale_(optimiser)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimiser)
        scaler.update()
    return left_by(model, optimiser, scaler=scaler.state_dict())


def _checkpointed(reentrant: bool) -> Left:
    first, block, last = nn.Linear(6, 8), nn.Sequential(nn.Tanh(), nn.Dropout(0.4)), nn.Linear(8, 1)
    model = nn.ModuleList([first, block, last])
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    for keep in (True, True, False, True):
        optimiser.zero_grad()
        hidden = checkpoint(
            block, first(torch.randn(4, 6)), use_reentrant=reentrant, preserve_rng_state=keep
        )
        last(hidden).square().mean().backward()
        optimiser.step()
    return left_by(model, optimiser)


def checkpointing_by_reentry() -> Left:
    return _checkpointed(True)


def checkpointing_by_saved_tensor_hooks() -> Left:
    return _checkpointed(False)


def a_gradient_penalty() -> Left:
    model = nn.Sequential(nn.Linear(6, 8), nn.Softplus(), nn.Linear(8, 1))
    optimiser = torch.optim.Adam(model.parameters())
    penalties = []
    for _ in range(4):
        optimiser.zero_grad()
        inputs = torch.randn(4, 6, requires_grad=True)
        score = model(inputs).sum()
        (slope,) = torch.autograd.grad(score, inputs, create_graph=True)
        penalty = (slope.norm(dim=1) - 1).square().mean()
        (score + 10 * penalty).backward()
        optimiser.step()
        penalties.append(penalty)
    return left_by(model, optimiser, penalties=penalties)


def backward_that_creates_a_graph() -> Left:
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        optimiser.zero_grad()
        model(torch.randn(4, 3)).square().mean().backward(create_graph=True)
        size = sum(p.grad.square().sum() for p in model.parameters() if p.grad is not None)
        assert isinstance(size, Tensor)
        size.backward()
        for parameter in model.parameters():  # the cycle of gradient and graph
            assert parameter.grad is not None
            parameter.grad = parameter.grad.detach()
        optimiser.step()
    return left_by(model, optimiser)


def a_second_order_optimiser_with_closure() -> Left:
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    optimiser = torch.optim.LBFGS(model.parameters(), max_iter=4, line_search_fn="strong_wolfe")
    inputs = torch.randn(8, 3)
    losses = []

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = (model(inputs) - 1).square().mean()
        loss.backward()
        losses.append(loss.item())
        return loss

    for _ in range(3):
        losses.append(optimiser.step(closure))
    return left_by(model, optimiser, losses=losses)


def averaged_weights() -> Left:
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    averaged = torch.optim.swa_utils.AveragedModel(model)
    decayed = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9)
    )
    snapshots = []
    for _ in range(4):
        optimiser.zero_grad()
        model(torch.randn(5, 6)).square().mean().backward()
        optimiser.step()
        averaged.update_parameters(model)
        decayed.update_parameters(model)
        snapshots.append(copy.deepcopy(model).state_dict())
    torch.optim.swa_utils.update_bn([torch.randn(5, 6)], averaged)
    return left_by(model, optimiser, both=[averaged.state_dict(), decayed.state_dict(), snapshots])


class InPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(6, 6) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.layers[0](x)
        x.relu_()
        y = self.layers[1](x)
        y += x
        y[:, 0].mul_(2)
        y.view(2, -1).add_(1)
        z = self.layers[2](y).sigmoid_()
        return (z * 1).clamp_(0.1, 0.9).masked_fill_(z > 0.8, 0.5)


def operations_in_place() -> Left:
    model = InPlace()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
        optimiser.zero_grad()
        model(torch.randn(4, 6)).square().mean().backward()
        optimiser.step()
    return left_by(model, optimiser)


def a_sparse_embedding() -> Left:
    embedding, head = nn.Embedding(20, 4, sparse=True), nn.Linear(4, 1)
    bag = nn.EmbeddingBag(20, 4, sparse=True, mode="sum")
    sparse = torch.optim.SparseAdam([embedding.weight, bag.weight], lr=0.1)
    dense = torch.optim.Adam(head.parameters())
    flags = []
    for size in (3, 1, 7, 3):
        sparse.zero_grad()
        dense.zero_grad()
        words = torch.randint(20, (size, 2))
        head(embedding(words).mean(1) + bag(words)).square().mean().backward()
        assert embedding.weight.grad is not None
        flags.append((embedding.weight.grad.is_coalesced(), embedding.weight.grad._nnz()))
        sparse.step()
        dense.step()
    return left_by(nn.ModuleList([embedding, bag, head]), sparse, dense, flags=flags)


def hooks_of_the_user_s() -> Left:
    model = small()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    seen: list[Any] = []
    for parameter in model.parameters():
        parameter.register_hook(lambda gradient: gradient * 0.5)
        parameter.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad.clone()))
    model[0].register_full_backward_hook(lambda m, i, o: seen.append(len(o)))
    model[3].register_forward_hook(lambda m, i, o: o * 2)
    for _ in range(4):
        optimiser.zero_grad()
        hidden = model[:2](torch.randn(4, 6))
        hidden.register_hook(lambda gradient: gradient.clamp(-0.01, 0.01))
        hidden.retain_grad()
        hidden.grad_fn.register_hook(lambda i, o: seen.append(len(i)))
        hidden.grad_fn.register_prehook(lambda o: (o[0] * 3,))
        model[2:](hidden).square().mean().backward()
        seen.append(hidden.grad)
        optimiser.step()
    return left_by(model, optimiser, seen=seen)


def an_optimiser_within_backward() -> Left:
    model = small()
    optimisers = {p: torch.optim.Adam([p], lr=0.01) for p in model.parameters()}

    def step(parameter: nn.Parameter) -> None:
        optimisers[parameter].step()
        optimisers[parameter].zero_grad()

    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(step)
    for _ in range(4):
        model(torch.randn(4, 6)).square().mean().backward()
    return left_by(model, *optimisers.values())


def several_passes_over_one_graph() -> Left:
    model = small()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(3):
        optimiser.zero_grad()
        outputs = model(torch.randn(4, 6))
        outputs.mean().backward(retain_graph=True)
        torch.autograd.backward([outputs, outputs.square().mean()], [torch.ones(4, 1), None])
        optimiser.step()
    return left_by(model, optimiser)


class Doubling(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, unused: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x)
        ctx.set_materialize_grads(False)
        return x * 2, unused * 1

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, other: Any) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        with torch.enable_grad():
            inner = x.detach().requires_grad_()
            (slope,) = torch.autograd.grad(inner.mul(2).sum(), inner)
        return gradient.mul_(slope), None


def a_function_of_the_user_s_own() -> Left:
    model = small()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
        optimiser.zero_grad()
        doubled, _ = Doubling.apply(model[0](torch.randn(4, 6)), torch.ones(2, requires_grad=True))
        model[1:](doubled).square().mean().backward()
        optimiser.step()
    return left_by(model, optimiser)


def saved_tensors_packed_by_the_user() -> Left:
    model = small()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    calls: list[str] = []

    def pack(tensor: Tensor) -> Tensor:
        calls.append("pack")
        return tensor.double()

    def unpack(tensor: Tensor) -> Tensor:
        calls.append("unpack")
        return tensor.float()

    for _ in range(3):
        optimiser.zero_grad()
        with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
            loss = model(torch.randn(4, 6)).square().mean()
        with torch.autograd.graph.save_on_cpu():
            loss = loss + model(torch.randn(4, 6)).square().mean()
        loss.backward()
        optimiser.step()
    return left_by(model, optimiser, calls=calls)


def operations_counted_by_the_user() -> Left:
    model = nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 1), nn.Tanh())
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    counts = []
    for _ in range(3):
        optimiser.zero_grad()
        with FlopCounterMode(display=False) as counted:
            model(torch.randn(4, 2, 6)).square().mean().backward()
            optimiser.step()
        counts.append(counted.get_total_flops())
    return left_by(model, optimiser, counts=counts)


class _Worker(torch.utils.data.Dataset[Tensor]):
    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> Tensor:
        leaf = torch.randn(6, requires_grad=True)
        (leaf.square().sum()).backward()  # a child that trains is no affair of the parent's
        assert leaf.grad is not None
        return leaf.grad + index


def data_from_worker_processes() -> Left:
    model = small()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    order = torch.Generator().manual_seed(4)
    loader = DataLoader(
        _Worker(), 4, shuffle=True, num_workers=1, generator=order, multiprocessing_context="fork"
    )
    losses = []
    for _ in range(2):
        for batch in loader:
            optimiser.zero_grad()
            loss = model(batch).square().mean()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
    return left_by(model, optimiser, losses=losses, order=order.get_state())


def functional_transforms_in_the_loop() -> Left:
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    found = []
    for _ in range(3):
        optimiser.zero_grad()
        weights = {name: p.detach() for name, p in model.named_parameters()}

        def loss_of(weights: dict[str, Tensor], x: Tensor) -> Tensor:
            return torch.func.functional_call(model, weights, (x,)).square().mean()

        inputs = torch.randn(4, 3)
        found.append(torch.func.vmap(torch.func.grad(loss_of), (None, 0))(weights, inputs))
        found.append(torch.func.jacrev(torch.tanh)(inputs[0]))
        found.append(torch.autograd.functional.jacobian(torch.tanh, inputs[0], vectorize=True))
        outputs = model(inputs)
        (rows,) = torch.autograd.grad(
            outputs, model[2].bias, torch.eye(4).view(4, 4, 1), True, is_grads_batched=True
        )
        found.append(rows)
        outputs.square().mean().backward()
        optimiser.step()
    return left_by(model, optimiser, found=found)


def gradients_asked_for_in_every_way() -> Left:
    model = small()[:2]
    found: list[Any] = []
    for number in range(6):
        loss = model(torch.randn(4, 6)).square().mean()
        hidden = loss * 2
        edge = torch.autograd.graph.get_gradient_edge(hidden)
        ways: list[Callable[[], Any]] = [
            lambda loss=loss: torch.autograd.grad(loss, model.parameters()),
            lambda loss=loss: torch.autograd.grad((x for x in [loss]), iter(model.parameters())),
            lambda loss=loss: torch.autograd.grad(loss, dict(model.named_parameters())),
            lambda edge=edge: torch.autograd.grad(edge, [model[0].weight], torch.ones(())),
            lambda edge=edge: torch.autograd.backward(edge, torch.ones(())),
            lambda loss=loss: torch.autograd.backward(
                tensors=[loss], grad_tensors=(g for g in [torch.ones(())]), inputs=model[0].weight
            ),
        ]
        gradients = ways[number]()
        found.append(gradients)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.sub_(0.1 if parameter.grad is None else 0.1 * parameter.grad)
    return left_by(model, found=found)


def recurrence() -> Left:
    parts = nn.ModuleList([nn.GRU(3, 4), nn.LSTM(4, 4, dropout=0.2, num_layers=2), nn.RNN(4, 2)])
    optimiser = torch.optim.RMSprop(parts.parameters())
    for _ in range(3):
        optimiser.zero_grad()
        x = torch.randn(5, 2, 3)
        for part in parts:
            x, _ = part(x)
        x.square().mean().backward()
        optimiser.step()
    return left_by(parts, optimiser)


def gradients_of_odd_strides() -> Left:
    weight = nn.Parameter(torch.randn(5, 4).t())
    tall, wide = nn.Parameter(torch.randn(7, 1)), nn.Parameter(torch.randn(3))
    kernel = nn.Parameter(torch.randn(4, 2, 3, 3).to(memory_format=torch.channels_last))
    held = nn.ParameterList([weight, tall, wide, kernel])
    optimiser = torch.optim.SGD(held, lr=0.01)
    strides = []
    for _ in range(4):
        optimiser.zero_grad()
        images = torch.randn(2, 2, 5, 5).to(memory_format=torch.channels_last)
        loss = (torch.randn(6, 4) @ weight).sum() + tall.expand(7, 5).sum() + weight.t()[0].sum()
        loss = loss + (wide * wide.flip(0)).sum() + wide.sum() + F.conv2d(images, kernel).sum()
        loss.backward()
        strides.append([p.grad.stride() for p in held if p.grad is not None])
        optimiser.step()
    return left_by(held, optimiser, strides=strides)


def a_parametrised_layer() -> Left:
    model = nn.Sequential(
        torch.nn.utils.parametrizations.spectral_norm(nn.Linear(6, 6)),
        nn.Tanh(),
        torch.nn.utils.parametrizations.weight_norm(nn.Linear(6, 1)),
    )
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
        optimiser.zero_grad()
        model(torch.randn(4, 6)).square().mean().backward()
        optimiser.step()
    return left_by(model, optimiser)


def warnings_and_words() -> Left:
    model = small()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.StepLR(optimiser, 2)
    for number in range(5):
        optimiser.zero_grad()
        loss = model(torch.randn(4, 6)).square().mean()
        torch.autograd.backward(loss, grad_variables=torch.ones(()))
        print(f"step {number}: {loss.item()}")
        if number == 0:
            schedule.step()  # too early: torch warns
        optimiser.step()
        schedule.step()
    return left_by(model, optimiser)


def numbers_that_are_not_there() -> Left:
    from torch._subclasses.fake_tensor import FakeTensorMode

    shapes = []
    for _ in range(2):
        with FakeTensorMode():
            model = small()
            model(torch.ones(4, 6)).square().mean().backward()
            shapes.append([p.grad.shape for p in model.parameters() if p.grad is not None])
        meta = small().to("meta")
        meta(torch.ones(4, 6, device="meta")).square().mean().backward()
        shapes.append([p.grad.shape for p in meta.parameters() if p.grad is not None])
    return left_by(small(), shapes=shapes)


def scripted_code() -> Left:
    model = small()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    found = []
    for _ in range(3):
        optimiser.zero_grad()
        x = torch.randn(4, 6, requires_grad=True)
        traced = torch.jit.trace(model[0], x.detach())
        model[1:](traced(x)).square().mean().backward()
        found.append(x.grad)
        optimiser.step()
    return left_by(model, optimiser, found=found)


def losses_of_every_form() -> Left:
    model = nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 3))
    optimiser = torch.optim.NAdam(model.parameters())
    for number in range(5):
        optimiser.zero_grad()
        outputs = model(torch.randn(4, 6))
        if number == 0:
            outputs.backward(gradient=torch.randn(4, 3))
        elif number == 1:
            (outputs.sum() * 1j).backward(torch.tensor(1.0 + 2j))
        elif number == 2:
            outputs.log_softmax(1).double().mean().backward()
        elif number == 3:
            (outputs.log().sum() + outputs.sum() / 0).backward()
        else:
            model[2].bias.sum().backward()
            leaf = torch.ones((), requires_grad=True)
            leaf.backward()
        optimiser.step()
    return left_by(model, optimiser)


def data_parallel_in_one_process() -> Left:
    # Without a named interface gloo asks the network for this machine's name, and waits for it.
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        return trained_in_parallel()
    finally:
        # The model is gone by now: torch's reducer, were it the last to hold the group, would wait
        # for gloo's threads without letting go of the interpreter, and they may be waiting for it.
        dist.destroy_process_group()


def trained_in_parallel() -> Left:
    model = nn.parallel.DistributedDataParallel(small())
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    strides = []
    for number in range(4):
        optimiser.zero_grad(set_to_none=number % 2 == 0)
        with model.no_sync() if number == 1 else nullcontext():
            model(torch.randn(4, 6)).square().mean().backward()
        strides.append([p.grad.stride() for p in model.parameters() if p.grad is not None])
        optimiser.step()
    return left_by(model, optimiser, strides=strides)


class Failing(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        raise ValueError("the user's own")


def anomaly_mode_of_the_user_s() -> Left:
    """Every way to switch it on, around passes that fail in every way; torch warns of each."""
    model = nn.Sequential(nn.Linear(2, 2), nn.Tanh())
    told: list[Any] = []

    def forward(fails: str) -> Tensor:
        y = model(torch.ones(3, 2))
        if fails == "by a nan":
            y = (y * 0).sqrt() * 0
        if fails == "by itself":
            y = Failing.apply(y)
        if fails == "by a change in place":
            y = y.exp()
            y.detach().add_(1)
        return y.sum()

    def around_all(fails: str) -> None:
        with torch.autograd.detect_anomaly():
            forward(fails).backward()

    def around_backward(fails: str) -> None:
        loss = forward(fails)
        with torch.autograd.set_detect_anomaly(True):
            loss.backward()

    def twice(fails: str) -> None:
        with torch.autograd.detect_anomaly(check_nan=False):
            gradients = torch.autograd.grad(forward(""), model.parameters(), create_graph=True)
            size = sum(gradient.square().sum() for gradient in gradients)
            assert isinstance(size, Tensor)
            (Failing.apply(size) if fails else size).backward()

    def without(fails: str) -> None:
        torch.autograd.grad(forward(fails), model.parameters(), create_graph=True)

    for way in (without, around_all, around_backward, twice, without):
        for fails in ("", "by a nan", "by itself", "by a change in place"):
            try:
                way(fails)
            except (RuntimeError, ValueError) as error:
                told.append(str(error))
            told.append((torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()))
            forward("").backward()
            model.zero_grad()
    torch.autograd.set_detect_anomaly(True, check_nan=False)
    around_all("")
    told.append((torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()))
    torch.autograd.set_detect_anomaly(False)
    return left_by(model, told=told)


PROGRAMS: tuple[Program, ...] = (
    dropout_and_batch_norm_with_validation_between,
    a_transformer_s_fast_path_in_validation,
    accumulation,
    a_gradient_scaler_that_skips_steps,
    checkpointing_by_reentry,
    checkpointing_by_saved_tensor_hooks,
    a_gradient_penalty,
    backward_that_creates_a_graph,
    a_second_order_optimiser_with_closure,
    averaged_weights,
    operations_in_place,
    a_sparse_embedding,
    hooks_of_the_user_s,
    an_optimiser_within_backward,
    several_passes_over_one_graph,
    a_function_of_the_user_s_own,
    saved_tensors_packed_by_the_user,
    operations_counted_by_the_user,
    data_from_worker_processes,
    functional_transforms_in_the_loop,
    gradients_asked_for_in_every_way,
    recurrence,
    gradients_of_odd_strides,
    a_parametrised_layer,
    warnings_and_words,
    numbers_that_are_not_there,
    scripted_code,
    losses_of_every_form,
    anomaly_mode_of_the_user_s,
    data_parallel_in_one_process,
)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every leaf of nested containers with its path."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for place, inner in enumerate(value):
            yield from leaves(inner, f"{path}[{place}]")
    else:
        yield path, value


def bits(value: Any) -> Any:
    """Return a leaf as something to compare: a tensor's every bit, its layout and its strides."""
    if not isinstance(value, Tensor):
        return repr(value)
    tensor = value.detach()
    if tensor.layout is not torch.strided:
        parts = [tensor._indices(), tensor._values()]
        return ("sparse", tuple(tensor.shape), tensor.is_coalesced(), [bits(p) for p in parts])
    plain = tensor.contiguous().reshape(-1).view(torch.uint8) if tensor.numel() else tensor
    shape = (str(tensor.dtype), tuple(tensor.shape), tensor.stride(), value.requires_grad)
    return (*shape, plain.numpy().tobytes())
