"""The training loop: it learns, repeats itself to the last bit, stops, resumes, and refuses what cannot work."""

import math
import threading
import time
from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmlib import train as loop
from mmlib.checkpoint import Checkpoint
from mmlib.train import evaluate, held, learning_rate, make_optimizer, train


def tiny_model():
    """Dropout, a norm and a scalar, so that random numbers, decay groups and modes all matter."""
    torch.manual_seed(7)
    return nn.Sequential(nn.Linear(6, 16), nn.LayerNorm(16), nn.GELU(), nn.Dropout(0.2), nn.Linear(16, 3))


def random_batch(step):
    x = torch.randn(8, 6)
    return x, x[:, :3].argmax(dim=1)


def cross_entropy(model, batch):
    x, target = batch
    return F.cross_entropy(model(x), target)


def run(model=None, batch_of=random_batch, loss_of=cross_entropy, **options):
    options = {"steps": 12, "lr": 0.01, "device": "cpu"} | options
    return train(model or tiny_model(), batch_of, loss_of, **options)


def same_weights(a, b):
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


class TestLearning:
    def test_one_batch_is_overfitted(self):
        batch = random_batch(0)
        losses = run(batch_of=lambda step: batch, steps=200, lr=0.03, weight_decay=0.0).losses
        assert losses[0] > 0.8 and min(losses[-10:]) < 0.05

    def test_same_seed_same_losses_to_the_last_bit(self):
        assert run(seed=3).losses == run(seed=3).losses

    def test_another_seed_other_losses(self):
        assert run(seed=3).losses[0] != run(seed=4).losses[0]

    def test_every_step_draws_anew(self):
        batches = []
        run(steps=3, loss_of=lambda model, batch: batches.append(batch[0]) or cross_entropy(model, batch))
        assert not torch.equal(batches[0], batches[1]) and not torch.equal(batches[1], batches[2])

    def test_a_step_depends_on_nothing_drawn_elsewhere(self):
        assert run(on_step=lambda record: torch.randn(3)).losses == run().losses

    def test_history_has_one_entry_a_step(self):
        history = run(steps=5)
        assert len(history.losses) == len(history.lrs) == 5
        assert history.seconds > 0 and not history.stopped and history.metrics == []

    def test_gradients_left_over_are_not_followed(self):
        fresh, used = tiny_model(), tiny_model()
        cross_entropy(used, random_batch(0)).backward()
        assert run(fresh).losses == run(used).losses

    @pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
    def test_half_precision_trains_and_is_used(self, precision):
        seen = []

        def loss_of(model, batch):
            seen.append(model(batch[0]).dtype)
            return cross_entropy(model, batch)

        losses = run(loss_of=loss_of, steps=150, lr=0.03, precision=precision).losses
        assert set(seen) == {precision}
        assert sum(losses[-20:]) / 20 < 0.6 * losses[0]


class TestOptimizer:
    @pytest.mark.parametrize(
        "step, expected", [(1, 0.2), (5, 1.0), (6, 0.5 + 0.5 * math.cos(math.pi / 46)), (28, 0.5), (50, 0.00117)]
    )
    def test_schedule_landmarks(self, step, expected):
        assert learning_rate(step, 50, 1.0, 0.1) == pytest.approx(expected, abs=1e-5)

    def test_one_step_without_warmup_is_at_the_peak(self):
        assert learning_rate(1, 1, 0.3, 0.0) == 0.3

    def test_the_schedule_reaches_the_optimizer(self):
        moves, model = [], nn.Linear(1, 1, bias=False)
        before = model.weight.item()

        def on_step(record):
            nonlocal before
            moves.append(abs(model.weight.item() - before) / record["lr"])
            before = model.weight.item()

        # Under a constant gradient Adam moves by lr.
        history = run(model, lambda step: torch.ones(1, 1), lambda m, x: m(x).sum(), weight_decay=0.0, on_step=on_step)
        assert moves == pytest.approx([1.0] * 12, rel=1e-3)
        assert max(history.lrs) == 0.01 and history.lrs[-1] < 0.001

    def test_only_matrices_decay(self):
        model = tiny_model()
        model.log_scale = nn.Parameter(torch.ones(()))
        decay = {
            id(p): group["weight_decay"] for group in make_optimizer(model, 0.3).param_groups for p in group["params"]
        }
        assert {name: decay[id(p)] for name, p in model.named_parameters()} == {
            name: 0.3 if name in ("0.weight", "4.weight") else 0.0 for name, _ in model.named_parameters()
        }

    def test_a_long_gradient_is_cut(self):
        model, cut, reported = nn.Linear(3, 1), [], []

        def on_step(record):
            cut.append(torch.stack([p.grad.norm() for p in model.parameters()]).norm().item())
            reported.append(record["grad_norm"])

        run(
            model,
            lambda step: torch.full((2, 3), 100.0),
            lambda m, x: m(x).sum(),
            clip_norm=0.5,
            on_step=on_step,
            steps=3,
        )
        assert cut == pytest.approx([0.5] * 3, rel=1e-4)
        assert reported == pytest.approx([math.hypot(2, *[200] * 3)] * 3, rel=1e-4)

    def test_a_gradient_that_overflows_under_the_scaler_is_skipped(self):
        model, steps = nn.Linear(1, 1, bias=False), []
        nn.init.ones_(model.weight)

        def on_step(record):
            steps.append((record["grad_norm"], model.weight.item()))

        # The first scale is 2**16: times 100 it is more than float16 can hold.
        run(
            model,
            lambda step: torch.ones(1, 1),
            lambda model, x: model(x).float().sum() * 100,
            precision=torch.float16,
            steps=25,
            on_step=on_step,
        )
        assert steps[0] == (math.inf, 1.0)
        assert steps[-1][0] == pytest.approx(100, rel=1e-3) and steps[-1][1] < 1.0


class TestCallbacks:
    def test_on_step_gets_a_record_after_each_step(self):
        records = []
        history = run(steps=4, measure=(lambda model: {"r1": torch.tensor(0.5)}, 3), on_step=records.append)
        assert [record["step"] for record in records] == [1, 2, 3, 4]
        assert all(
            record.keys() == {"step", "steps", "loss", "lr", "grad_norm", "seconds", "metrics"} for record in records
        )
        assert [record["loss"] for record in records] == history.losses
        assert [record["lr"] for record in records] == history.lrs
        assert [record["metrics"] for record in records] == [{}, {}, {"r1": 0.5}, {"r1": 0.5}]
        assert history.metrics == [(3, {"r1": 0.5}), (4, {"r1": 0.5})]
        assert type(history.metrics[0][1]["r1"]) is float

    @pytest.mark.parametrize("training", [True, False])
    def test_the_modes(self, training):
        model = tiny_model().train(training)
        seen = []

        def loss_of(model, batch):
            seen.append(("loss", model.training, torch.is_inference_mode_enabled()))
            return cross_entropy(model, batch)

        def measure(model):
            seen.append(("measure", model.training, torch.is_inference_mode_enabled()))
            return {}

        run(model, loss_of=loss_of, measure=(measure, 1), steps=2)
        assert seen == [("loss", True, False), ("measure", False, True)] * 2
        assert model.training is training

    @pytest.mark.parametrize("place", ["batch_of", "loss_of", "measure", "on_step"])
    def test_an_error_of_the_caller_comes_through_and_leaves_mode_and_lock(self, place):
        def broken(*_):
            raise KeyError(place)

        model = tiny_model().eval()
        with pytest.raises(KeyError, match=place):
            run(model, **{place: (broken, 1) if place == "measure" else broken})
        assert not model.training
        assert in_thread(lambda: loop.lock.acquire(blocking=False) and loop.lock.release() is None)

    def test_stop_is_honoured_within_a_step(self):
        stop, calls = threading.Event(), []

        def on_step(record):
            calls.append(record["step"])
            if record["step"] == 4:
                stop.set()

        history = run(stop=stop, on_step=on_step)
        assert calls == [1, 2, 3, 4] and len(history.losses) == 4 and history.stopped

    def test_stop_set_in_the_last_step_is_no_stop(self):
        stop = threading.Event()
        assert not run(stop=stop, steps=3, on_step=lambda record: record["step"] == 3 and stop.set()).stopped

    def test_nothing_is_printed_where_there_is_no_terminal(self, capfd):
        run()
        assert capfd.readouterr() == ("", "")


def in_thread(function):
    """The result of a function that runs in another thread."""
    results = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join(timeout=10)
    return results[0]


@contextmanager
def repeated(function):
    """Call a function again and again in another thread."""
    done = threading.Event()

    def work():
        while not done.is_set():
            function()
            time.sleep(0.002)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(timeout=10)


class TestLock:
    @pytest.mark.parametrize("place", ["batch_of", "loss_of", "measure"])
    def test_a_step_and_a_measurement_hold_it(self, place):
        free = []
        options = {"batch_of": random_batch, "loss_of": cross_entropy, "measure": (lambda model: {}, 1)}
        inner = options["measure"][0] if place == "measure" else options[place]

        def probe(*args):
            free.append(in_thread(lambda: loop.lock.acquire(blocking=False)))
            return inner(*args)

        run(steps=2, **options | {place: (probe, 1) if place == "measure" else probe})
        assert free == [False, False]

    def test_on_step_runs_without_it(self):
        free = []

        def on_step(record):
            free.append(in_thread(lambda: loop.lock.acquire(blocking=False) and loop.lock.release() is None))

        run(steps=2, on_step=on_step)
        assert free == [True, True]

    def test_evaluate_holds_it(self):
        free = []

        def encode(x):
            free.append(in_thread(lambda: loop.lock.acquire(blocking=False)))
            return x

        evaluate(tiny_model(), encode, torch.zeros(4, 6), batch=2)
        assert free == [False, False]

    def test_another_thread_sees_whole_updates(self):
        # Every weight starts equal and gets the same gradient, so any difference is a half-made update.
        model = nn.ParameterList([nn.Parameter(torch.zeros(50, 50)) for _ in range(20)])
        model.eval()
        spreads = []

        def look():
            corners = evaluate(model, lambda _: torch.stack([p[0, 0] for p in model]), torch.zeros(1))
            spreads.append((corners.max() - corners.min()).item())

        def loss_of(model, batch):
            assert model.training
            return sum(p.mean() for p in model)

        with repeated(look):
            run(model, lambda step: torch.zeros(1), loss_of, steps=200)
        assert len(spreads) > 5 and max(spreads) == 0.0
        assert not model.training

    def test_the_loop_pauses_after_each_step_without_it(self, monkeypatch):
        free = []

        def pause(seconds):
            free.append(in_thread(lambda: loop.lock.acquire(blocking=False) and loop.lock.release() is None))

        monkeypatch.setattr(loop.time, "sleep", pause)
        run(steps=3)
        assert free == [True] * 3

    def test_another_thread_gets_its_turn(self):
        step, waits = [0], []

        def wait():
            asked_at = step[0]
            with loop.lock:
                waits.append(step[0] - asked_at)

        def loss_of(model, batch):
            step[0] += 1
            for _ in range(3):
                torch.mm(batch, batch)  # longer than the way back to the lock, as in any real model
            return model.weight.sum()

        with repeated(wait):
            run(nn.Linear(2, 2), lambda step: torch.ones(300, 300), loss_of, steps=300)
        assert sorted(waits)[len(waits) // 2] <= 3


class TestCheckpoint:
    def test_a_stopped_run_goes_on_as_if_never_stopped(self, tmp_path):
        whole_model, model, stop = tiny_model(), tiny_model(), threading.Event()
        options = {"measure": (lambda model: {"bias": model[4].bias.sum()}, 5)}
        whole = run(whole_model, **options)
        options["checkpoint"] = Checkpoint(tmp_path / "new folder")

        first = run(model, stop=stop, on_step=lambda record: record["step"] == 7 and stop.set(), **options)
        assert first.stopped and len(first.losses) == 7
        resumed_model = tiny_model()
        nn.init.normal_(resumed_model[0].weight)  # the file has its own
        second = run(resumed_model, **options)
        assert (second.losses, second.lrs, second.metrics) == (whole.losses, whole.lrs, whole.metrics)
        assert not second.stopped and second.seconds > first.seconds
        assert same_weights(resumed_model, whole_model)

    def test_a_killed_run_goes_on_from_its_last_checkpoint(self, tmp_path):
        def killed(record):
            if record["step"] == 8:
                raise KeyboardInterrupt

        options = {"checkpoint": Checkpoint(tmp_path, every=5)}
        with pytest.raises(KeyboardInterrupt):
            run(on_step=killed, **options)
        steps = []
        resumed = run(on_step=lambda record: steps.append(record["step"]), **options)
        assert steps == list(range(6, 13))
        assert resumed.losses == run().losses

    def test_the_scaler_resumes_too(self, tmp_path):
        norms, stop = [], threading.Event()

        def on_step(record):
            norms.append(record["grad_norm"])
            if record["step"] == 4:
                stop.set()

        # Times 1000 the first scales overflow, so the scale has been lowered by the time of the checkpoint.
        options = {"precision": torch.float16, "loss_of": lambda model, batch: cross_entropy(model, batch) * 1000}
        run(checkpoint=Checkpoint(tmp_path), stop=stop, on_step=on_step, **options)
        resumed = run(checkpoint=Checkpoint(tmp_path), **options)
        assert not math.isfinite(norms[0])
        assert resumed.losses == run(**options).losses and resumed.losses[-1] != resumed.losses[0]

    def test_a_finished_run_returns_at_once_with_its_weights(self, tmp_path):
        trained, blank, steps = tiny_model(), tiny_model(), []
        first = run(trained, checkpoint=Checkpoint(tmp_path))
        second = run(blank, checkpoint=Checkpoint(str(tmp_path)), on_step=steps.append)
        assert steps == [] and second == first and same_weights(trained, blank)

    @pytest.mark.parametrize("change", [{"lr": 0.02}, {"steps": 13}, {"seed": 1}, {"precision": torch.bfloat16}])
    def test_other_settings_are_refused_by_name(self, tmp_path, change):
        run(checkpoint=Checkpoint(tmp_path))
        model = tiny_model()
        with pytest.raises(ValueError, match=r"expected a run with {0}=\S+, got {0}=\S+ .*[Dd]elete".format(*change)):
            run(model, checkpoint=Checkpoint(tmp_path), **change)
        assert same_weights(model, tiny_model())

    @pytest.mark.parametrize(
        "model, text",
        [
            (nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 3)), r"0.weight to be \(4, 6\), got \(16, 6\)"),
            (nn.Linear(6, 3), "expected the model's 0.weight to be absent"),
            (nn.Sequential(*tiny_model(), nn.Linear(3, 3)), "5.weight to be .3, 3., got absent"),
        ],
    )
    def test_another_model_is_refused_and_left_alone(self, tmp_path, model, text):
        run(checkpoint=Checkpoint(tmp_path))
        before = [p.clone() for p in model.parameters()]
        with pytest.raises(ValueError, match=text):
            run(model, checkpoint=Checkpoint(tmp_path))
        assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))


class TestRefusals:
    @pytest.mark.parametrize(
        "options, text",
        [
            ({"steps": 0}, "train: expected steps above 0, got 0"),
            ({"lr": -0.1}, "train: expected lr above 0, got -0.1"),
            ({"warmup": 100.0}, r"train: expected warmup in \[0, 1\), got 100.*share of the steps"),
            (
                {"measure": (lambda model: {}, 0)},
                "train: expected every above 0, got 0",
            ),
            ({"clip_norm": -1.0}, "train: expected clip_norm above 0, got -1"),
            ({"clip_norm": math.nan}, "train: expected clip_norm above 0, got nan"),
            ({"weight_decay": -1.0}, "train: expected weight_decay of 0 or more, got -1.0. Below 0 the weights grow"),
            ({"weight_decay": math.nan}, "train: expected weight_decay of 0 or more, got nan"),
            ({"warmup": math.nan}, r"train: expected warmup in \[0, 1\), got nan"),
            ({"lr": math.nan}, "train: expected lr above 0, got nan"),
            ({"loss_of": lambda model, batch: 0.5}, "expected one number from loss_of, as a tensor, got float"),
            ({"loss_of": lambda model, batch: None}, "got NoneType"),
            ({"loss_of": lambda model, batch: model(batch[0])}, r"got shape \(8, 3\). Return loss.mean"),
        ],
    )
    def test_bad_arguments(self, options, text):
        model = tiny_model()
        with pytest.raises(ValueError, match=text):
            run(model, **options)
        assert same_weights(model, tiny_model())

    def test_a_loss_that_is_not_finite_names_step_and_lr_and_spares_the_weights(self):
        model, kept = tiny_model(), {}

        def loss_of(model, batch):
            kept["weights"] = [p.detach().clone() for p in model.parameters()]
            return cross_entropy(model, batch) * (math.nan if len(lrs) == 6 else 1)

        lrs = []
        with pytest.raises(ValueError, match=r"got nan and nan at step 7, lr 0.005.* Try a third of the peak lr"):
            run(model, loss_of=loss_of, on_step=lambda record: lrs.append(record["lr"]))
        assert all(torch.equal(p, q) for p, q in zip(model.parameters(), kept["weights"], strict=True))

    def test_a_gradient_that_is_not_finite_spares_the_weights(self):
        model = nn.Linear(2, 1)
        before = model.weight.clone()
        with pytest.raises(ValueError, match="expected a finite loss and gradient, got 0 and nan at step 1"):
            run(model, lambda step: torch.zeros(1, 2), lambda m, x: (m(x) * 0).sum().abs().sqrt() * 0)
        assert torch.equal(model.weight, before)


class TestEvaluate:
    def test_pieces_equal_one_pass_and_dropout_is_off(self):
        model, x = tiny_model(), torch.randn(10, 6)
        expected = model.eval()(x)
        model.train()
        result = evaluate(model, model, x, batch=3)
        torch.testing.assert_close(result, expected)
        assert model.training and not result.requires_grad

    def test_the_result_can_be_used_in_further_training(self):
        features = evaluate(tiny_model(), tiny_model(), torch.randn(4, 6))
        probe = nn.Linear(3, 1)
        probe(features).sum().backward()
        assert probe.weight.grad is not None

    def test_several_inputs_stay_aligned(self):
        a, b = torch.arange(7.0), torch.arange(7.0) * 10
        assert evaluate(tiny_model(), torch.add, a, b, batch=3).tolist() == (a + b).tolist()

    def test_inputs_of_other_lengths_are_refused(self):
        with pytest.raises(ValueError, match=r"evaluate: expected inputs with as many rows each, got \[3, 4\]"):
            evaluate(tiny_model(), torch.add, torch.zeros(3), torch.zeros(4))

    def test_mode_and_lock_come_back_after_an_error(self):
        model = tiny_model()
        with pytest.raises(ZeroDivisionError):
            evaluate(model, lambda x: 1 / 0, torch.zeros(3))
        assert model.training
        assert in_thread(lambda: loop.lock.acquire(blocking=False) and loop.lock.release() is None)

    def test_a_frozen_part_keeps_its_own_mode(self):
        model = nn.Sequential(nn.Dropout(), nn.Dropout().eval())
        with held(model, training=True):
            assert all(part.training for part in model)
        assert [part.training for part in model] == [True, False]
        with held(model, training=False):
            assert not model.training and not any(part.training for part in model)
        assert model.training and [part.training for part in model] == [True, False]

    def test_held_can_be_nested(self):
        model = tiny_model()
        with held(model, training=False):
            with held(model, training=True):
                assert model.training
            assert not model.training
