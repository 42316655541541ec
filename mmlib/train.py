"""The one training loop of the course, and `evaluate`, which runs a model over held-out data.

The loop is handed what it needs: a function that makes batch k, and one that gives the loss of a batch. Every random
number of step k comes from (seed, k), so a run that was stopped and taken up again repeats one that was not.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import AdamW
from tqdm import tqdm

from mmlib.check import check_positive, refuse
from mmlib.checkpoint import Checkpoint
from mmlib.device import device_of, pick_device, to_device

# Widgets answer from another thread while the model trains. Whoever holds this lock sees no half-updated model.
lock = threading.RLock()


@dataclass
class History:
    """What happened in training."""

    losses: list[float] = field(default_factory=list)  # one a step, in nats
    lrs: list[float] = field(default_factory=list)  # one a step
    metrics: list[tuple[int, dict[str, float]]] = field(default_factory=list)  # (step, what `measure` gave)
    seconds: float = 0.0  # wall clock, measuring and drawing included
    stopped: bool = False  # by the stop event, before the last step


def _brought_back(run: Callable[..., History]) -> Callable[..., History]:
    """Bring the model back to the device where it was found, also when the run is interrupted."""

    @wraps(run)
    def wrapper(model: nn.Module, *args, **options) -> History:
        found = device_of(model)
        try:
            return run(model, *args, **options)
        finally:
            with lock:
                model.to(found)

    return wrapper


@_brought_back
def train(
    model: nn.Module,
    batch_of: Callable[[int], Any],
    loss_of: Callable[[nn.Module, Any], Tensor],
    *,
    steps: int,
    lr: float,
    weight_decay: float = 0.1,
    warmup: float = 0.1,
    clip_norm: float = 1.0,
    seed: int = 0,
    precision: torch.dtype | None = None,
    device: str | torch.device | None = None,
    measure: tuple[Callable[[nn.Module], dict[str, float]], int] | None = None,
    on_step: Callable[[dict], None] | None = None,
    stop: threading.Event | None = None,
    checkpoint: Checkpoint | None = None,
) -> History:
    """Train the model in place, and give the history of all its steps, those before a checkpoint included.

    Args:
        model: moved to the device, and brought back to where it was at the end.
        batch_of: gives the batch of step k = 1, 2, ...: tensors; random choices in it must come from torch.
        loss_of: gives the loss of a batch, a scalar in nats.
        steps: how often the weights are updated.
        lr: the learning rate at its peak.
        weight_decay: pull towards zero, 0 or more, on matrices only; biases, gains and scales stay free.
        warmup: share of the steps in which the learning rate rises, in [0, 1).
        clip_norm: longest gradient that is followed; a longer one is cut to this length.
        seed: of batches, augmentation and dropout. The model's first weights are drawn before this call.
        precision: of the heavy arithmetic; None for float16 on CUDA and float32 elsewhere.
        device: to train on; see `pick_device`.
        measure: what judges the model on held-out data, and every how many steps; it also does so after the last.
        on_step: is given a dict after each step: step, steps, loss, lr, grad_norm, seconds, metrics.
        stop: set it, from any thread, and training ends before the next step.
        checkpoint: where the run is kept, also at the end and when stopped. A run that is there already goes on; a
            finished one returns at once. It holds the settings and the weights, but cannot know your data or your
            loss: delete the folder when those have changed.

    Raises:
        ValueError: a bad argument, a loss that is not finite, a checkpoint that is damaged, of another run, in use, or
            cannot be written.
    """
    judge, every = measure or (None, steps)
    _check_arguments(warmup, weight_decay, steps=steps, lr=lr, clip_norm=clip_norm, every=every)
    device = pick_device(device)
    precision = precision or (torch.float16 if device.type == "cuda" else torch.float32)
    with lock:
        optimizer = make_optimizer(model.to(device), weight_decay)
    scaler = GradScaler(device.type, enabled=precision == torch.float16)  # else small gradients round to 0

    parts = {"model": model, "optimizer": optimizer, "scaler": scaler}
    settings = dict(steps=steps, lr=lr, weight_decay=weight_decay, warmup=warmup, clip_norm=clip_norm, seed=seed)
    settings |= {"precision": str(precision)}
    with checkpoint or nullcontext():
        with lock:
            history = History(**(checkpoint.load(settings, parts) if checkpoint else {}))
        done, start = len(history.losses), time.perf_counter() - history.seconds

        for step in tqdm(range(done + 1, steps + 1), "training", initial=done, total=steps, disable=None):
            if stop is not None and stop.is_set():
                break
            with held(model, training=True):
                torch.manual_seed(seed * 1_000_003 + step)
                batch = to_device(batch_of(step), device)
                with torch.autocast(device.type, precision, enabled=precision != torch.float32):
                    loss = loss_of(model, batch)
                _check_scalar(loss)
                step_lr = learning_rate(step, steps, lr, warmup)
                for group in optimizer.param_groups:
                    group["lr"] = step_lr
                loss_value, grad_norm = update(model, loss, optimizer, scaler, clip_norm, step)
            time.sleep(0)  # so that a widget waiting for the lock has it before the loop comes back

            metrics = {}
            if judge is not None and (step % every == 0 or step == steps):
                with held(model, training=False), torch.inference_mode():
                    metrics = {name: float(value) for name, value in judge(model).items()}
                history.metrics.append((step, metrics))

            history.losses.append(loss_value)
            history.lrs.append(step_lr)
            history.seconds = time.perf_counter() - start
            if checkpoint and step % checkpoint.every == 0:
                checkpoint.save(vars(history))
            if on_step is not None:
                record = dict(step=step, steps=steps, loss=loss_value, lr=step_lr, grad_norm=grad_norm)
                on_step(record | {"seconds": history.seconds, "metrics": metrics})

        if checkpoint:
            checkpoint.save(vars(history))
    history.stopped = len(history.losses) < steps
    optimizer.zero_grad()  # their memory is free again
    return history


def update(
    model: nn.Module, loss: Tensor, optimizer: AdamW, scaler: GradScaler, clip_norm: float, step: int
) -> tuple[float, float]:
    """Move the weights one step down the gradient; give the loss, and the gradient's length uncut.

    Raises:
        ValueError: the loss or its gradient is not finite. The weights are as before.
    """
    optimizer.zero_grad()
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    norm = nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    loss_value, grad_norm = torch.stack([loss.detach().float(), norm.float()]).tolist()
    # A scaler seeks its scale by trial: it skips a step whose gradient overflows, which is no divergence.
    if not math.isfinite(loss_value) or not (math.isfinite(grad_norm) or scaler.is_enabled()):
        got = f"{loss_value:.3g} and {grad_norm:.3g} at step {step}, lr {optimizer.param_groups[0]['lr']:.2g}"
        refuse("train", "a finite loss and gradient", got, "Try a third of the peak lr; at step 1, look for NaN.")
    scaler.step(optimizer)
    scaler.update()
    return loss_value, grad_norm


def learning_rate(step: int, steps: int, peak: float, warmup: float) -> float:
    """Rise in a straight line to the peak, then fall along half a cosine, towards zero.

    Args:
        step: from 1 to `steps`, the length of the whole run.
        peak: the largest learning rate, reached at step `warmup * steps`.
        warmup: share of the steps in which it rises, in [0, 1).

    >>> [round(learning_rate(step, 5, 1.0, 0.4), 2) for step in (1, 2, 3, 4, 5)]
    [0.5, 1.0, 0.85, 0.5, 0.15]
    """
    rising = max(1, round(warmup * steps))
    if step <= rising:
        return peak * step / rising
    return peak * 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising + 1)))


def make_optimizer(model: nn.Module, weight_decay: float) -> AdamW:
    """AdamW that decays matrices only: pulling a bias, a gain or a temperature to zero would say something false."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return AdamW(groups, betas=(0.9, 0.98), fused=True)  # fused: one pass over memory, 3 times as fast


@contextmanager
def held(model: nn.Module, training: bool) -> Iterator[None]:
    """Hold the lock, with the model in training or in evaluation mode; each of its parts gets its own mode back."""
    with lock:
        others = [module for module in model.modules() if module.training != training]
        try:
            for module in others:
                module.training = training
            yield
        finally:
            for module in others:
                module.training = not training


def evaluate(model: nn.Module, encode: Callable[..., Tensor], *inputs: Tensor, batch: int = 256) -> Tensor:
    """Encode whole data sets in pieces, with one state of the model even while it trains; the result is on the CPU.

    Args:
        model: supplies the device, and is put into evaluation mode meanwhile.
        encode: what to compute, mostly a method of the model; takes one piece of each input.
        inputs: tensors with as many rows each.
        batch: rows a piece; only memory and speed depend on it.

    Raises:
        ValueError: inputs with different numbers of rows.

    >>> evaluate(nn.Linear(4, 2), torch.square, torch.arange(3.0), batch=2)
    tensor([0., 1., 4.])
    """
    rows = [len(x) for x in inputs]
    if len(set(rows)) != 1:
        refuse("evaluate", "inputs with as many rows each", str(rows), "Take them from the same split.")
    with held(model, training=False), torch.inference_mode():
        device = device_of(model)
        pieces = zip(*(x.split(batch) for x in inputs), strict=True)
        results = [encode(*to_device(piece, device)).cpu() for piece in pieces]
    return torch.cat(results)


def _check_arguments(warmup: float, weight_decay: float, **positive: int | float) -> None:
    for name, value in positive.items():
        check_positive("train", name, float(value))
    if not 0 <= warmup < 1:
        refuse("train", "warmup in [0, 1)", str(warmup), "It is a share of the steps: 0.1 is a tenth of them.")
    if not 0 <= weight_decay < math.inf:
        refuse("train", "weight_decay of 0 or more", str(weight_decay), "Below 0 the weights grow without end.")


def _check_scalar(loss: Any) -> None:
    if not isinstance(loss, Tensor) or loss.ndim:
        got = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        refuse("train", "one number from loss_of, as a tensor", got, "Return loss.mean(), and not loss.item().")
