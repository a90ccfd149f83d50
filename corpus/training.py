"""One training from its recipe: the loop a user would write, and whether it learnt."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from corpus.losses import LOSSES
from corpus.networks import NETWORKS, Gated, hidden, network
from corpus.recipes import Recipe
from corpus.tasks import Task, task

Watch = Callable[[], contextlib.AbstractContextManager[object]]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How much of what there was to learn was learnt: 0 is chance, 1 all; NaN counts as 0."""

    learnt: float
    steps: int


def train(recipe: Recipe, seed: int, watch: Watch = contextlib.nullcontext) -> Outcome:
    """Train by a recipe, the part after ``pretrain`` inside ``watch()``."""
    torch.manual_seed(seed)
    if recipe.network == "gan":
        return _train_gan(recipe, watch)
    data = task(recipe.task)
    if recipe.output == "softmax-of-one":
        data = replace(data, outputs=1)
    model = network(recipe, data).to(getattr(torch, recipe.dtype))
    if recipe.frozen:
        _freeze(model, recipe.frozen)
    if recipe.pretrain:
        _loop(model, replace(recipe, steps=recipe.pretrain), data)
    with watch():
        _loop(model, recipe, data)
    return Outcome(learnt=_learnt(model, recipe, data), steps=recipe.steps)


def _freeze(model: nn.Module, frozen: str) -> None:
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("head" in name if frozen == "backbone" else frozen not in name)


def _held(model: nn.Module, held: str) -> list[nn.Parameter]:
    if held == "frozen too":
        return list(model.parameters())
    named = [(name, one) for name, one in model.named_parameters() if one.requires_grad]
    return [one for name, one in named if held == "all" or (held == "head") == ("head" in name)]


def _optimiser(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    if recipe.head_rate != 1:
        body, head = _held(model, "body"), _held(model, "head")
        return torch.optim.Adam(
            [
                {"params": body, "lr": recipe.rate},
                {"params": head, "lr": recipe.head_rate * recipe.rate},
            ]
        )
    parameters = _held(model, recipe.held)
    if recipe.optimiser in _ADAPTIVE:
        return _ADAPTIVE[recipe.optimiser](parameters, lr=recipe.rate)
    return torch.optim.SGD(
        parameters, lr=recipe.rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )


_ADAPTIVE = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
}


def _rate_factor(recipe: Recipe, step: int) -> float:
    warm = min(1.0, (step + 1) / recipe.warmup) if recipe.warmup else 1.0
    late = 0.5 * (1 + math.cos(math.pi * step / recipe.steps)) if recipe.decay else 1.0
    again = step % recipe.cycle / recipe.cycle if recipe.cycle else 0.0
    return warm * late * (0.55 + 0.45 * math.cos(math.pi * again))


def _loop(model: nn.Module, recipe: Recipe, data: Task) -> None:
    optimiser = _optimiser(model, recipe)
    if recipe.order:
        _MISORDERED[recipe.order](model, optimiser, recipe, data)
        return
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda at: _rate_factor(recipe, at))
    scaler = torch.amp.GradScaler("cpu", init_scale=recipe.loss_scale, enabled=recipe.loss_scaling)
    half = torch.float16 if recipe.autocast == "float16" else torch.bfloat16
    for step in range(recipe.steps):
        if recipe.zero_grad:
            optimiser.zero_grad()
        for _ in range(recipe.accumulate):
            inputs, targets = _batch(recipe, data, step)
            with torch.autocast("cpu", dtype=half, enabled=bool(recipe.autocast)):
                output = model(inputs)
            output = output.float() if recipe.autocast else output
            loss = _loss(output, targets, recipe, data) / recipe.accumulate
            if recipe.loss_weight != 1:
                loss = recipe.loss_weight * loss
            scaler.scale(loss).backward()
        if recipe.clip:
            nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        scaler.step(optimiser)
        scaler.update()
        schedule.step()
        if recipe.own_decay:
            with torch.no_grad():
                for one in model.parameters():
                    one.mul_(1 - recipe.own_decay)


def _stepping_first(
    model: nn.Module, optimiser: torch.optim.Optimizer, recipe: Recipe, data: Task
) -> None:
    for step in range(recipe.steps):
        inputs, targets = _batch(recipe, data, step)
        optimiser.zero_grad()
        optimiser.step()  # site: early-step
        loss = _loss(model(inputs), targets, recipe, data) / recipe.accumulate
        loss.backward()


def _zeroing_between(
    model: nn.Module, optimiser: torch.optim.Optimizer, recipe: Recipe, data: Task
) -> None:
    for step in range(recipe.steps):
        inputs, targets = _batch(recipe, data, step)
        loss = _loss(model(inputs), targets, recipe, data) / recipe.accumulate
        loss.backward()
        optimiser.zero_grad()  # site: late-zero
        optimiser.step()


_MISORDERED = {"step-first": _stepping_first, "zero-between": _zeroing_between}


def _batch(recipe: Recipe, data: Task, step: int) -> tuple[Tensor, Tensor]:
    chosen = torch.randint(len(data.inputs), (recipe.batch,))
    if recipe.in_order:
        chosen = (torch.arange(recipe.batch) + step * recipe.batch) % len(data.inputs)
    inputs, targets = _prepared(recipe, data, chosen)
    if recipe.noise:
        targets = targets + recipe.noise * torch.randn_like(targets)
    if recipe.labels == "shuffled":
        targets = targets[torch.randperm(len(targets))]
    if recipe.bad_from is not None and step >= recipe.bad_from:
        inputs = inputs.clone()
        inputs.view(-1)[0] = math.nan
    return inputs, targets


def _prepared(recipe: Recipe, data: Task, chosen: Tensor) -> tuple[Tensor, Tensor]:
    inputs, targets = data.inputs[chosen], data.targets[chosen]
    if inputs.is_floating_point():
        inputs = inputs * recipe.input_scale + recipe.input_shift
        inputs = inputs.to(getattr(torch, recipe.dtype))
    if not data.classes:
        targets = targets * recipe.target_scale + recipe.target_shift
        targets = targets.to(getattr(torch, recipe.dtype))
    return inputs, targets


def _loss(output: Tensor, targets: Tensor, recipe: Recipe, data: Task) -> Tensor:
    if recipe.output == "softmax":
        output = output.softmax(-1)  # site: softmax
    elif recipe.output == "softmax-of-one":
        sure = output.softmax(-1)[:, 0]  # site: softmax-of-one
        return functional.binary_cross_entropy(sure, targets.float())
    elif recipe.output == "sigmoid":
        output = torch.sigmoid(output)  # site: output
    elif recipe.output == "relu":
        output = torch.relu(output)  # site: output-relu
    elif recipe.output == "tanh":
        output = torch.tanh(output)  # site: output-tanh
    if recipe.loss:
        return LOSSES[recipe.loss](output, targets)
    if data.classes:
        weights = 1 / data.targets.bincount() if recipe.class_weights else None
        return functional.cross_entropy(
            output, targets, weight=weights, reduction=recipe.reduction,
            label_smoothing=recipe.smoothing,
        )  # fmt: skip
    return functional.mse_loss(output, targets, reduction=recipe.reduction)


@torch.no_grad()
def _learnt(model: nn.Module, recipe: Recipe, data: Task) -> float:
    if any(not bool(one.isfinite().all()) for one in model.parameters()):
        return 0.0
    model.eval()
    inputs, targets = _prepared(recipe, data, torch.arange(min(512, len(data.inputs))))
    output = model(inputs).float()
    if data.classes:
        right = float((output.argmax(-1) == targets).float().mean())
        chance = float(targets.bincount().max() / len(targets))
        return max(0.0, (right - chance) / (1 - chance))
    wanted = targets.float()
    if recipe.output == "sigmoid":
        output = output.sigmoid()
    elif recipe.output == "relu":
        output = output.relu()
    spread = float((wanted - wanted.mean(0)).square().mean())
    explained = 1 - float((output - wanted).square().mean()) / spread
    return max(0.0, explained) if math.isfinite(explained) else 0.0


def _train_gan(recipe: Recipe, watch: Watch) -> Outcome:
    data = task(recipe.task)
    small = replace(recipe, network="mlp")
    made = Task(inputs=torch.zeros(1, 4), targets=data.targets, outputs=2)
    judged = Task(inputs=data.inputs, targets=data.targets, outputs=1)
    maker, judge = network(small, made), network(small, judged)
    before = _distance(maker(torch.randn(256, 4)), data.inputs[:256])
    with watch():
        _gan_loop(maker, judge, recipe, data.inputs)
    after = _distance(maker(torch.randn(256, 4)), data.inputs[:256])
    return Outcome(learnt=max(0.0, 1 - after / before), steps=2 * recipe.steps)


def _gan_loop(maker: nn.Module, judge: nn.Module, recipe: Recipe, real: Tensor) -> None:
    made, judged = (
        torch.optim.Adam(one.parameters(), lr=recipe.rate, betas=(0.5, 0.99))
        for one in (maker, judge)
    )
    with_logits = functional.binary_cross_entropy_with_logits
    for _ in range(recipe.steps):
        batch = real[torch.randint(len(real), (recipe.batch,))]
        fake = maker(torch.randn(recipe.batch, 4))
        says, of_fake = judge(batch), judge(fake.detach())
        judged.zero_grad()
        loss = with_logits(says, torch.ones_like(says))
        (loss + with_logits(of_fake, torch.zeros_like(of_fake))).backward()
        judged.step()
        made.zero_grad()
        fooled = judge(fake)
        with_logits(fooled, torch.ones_like(fooled)).backward()
        made.step()


@torch.no_grad()
def _distance(one: Tensor, other: Tensor) -> float:
    """Return the energy distance between two clouds of points."""
    across = torch.cdist(one, other).mean()
    return float(2 * across - torch.cdist(one, one).mean() - torch.cdist(other, other).mean())


def layer_names(recipe: Recipe) -> tuple[str, ...]:
    """Return the paths of the hidden layers, from the input on."""
    if recipe.network == "gan":
        return ()
    model = NETWORKS[recipe.network](recipe, 4 if recipe.network != "transformer" else 8, 2)
    return ("cell",) if isinstance(model, Gated) else tuple(name for name, _ in hidden(model))
