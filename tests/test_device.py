"""Any device: models train on a GPU, data come from the CPU and results go back there, and no cell names a device.

Where there is no GPU, `stand_in.StandIn` takes its place.
"""

import os
import re
import subprocess
import sys
from collections import namedtuple
from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from run_notebook import NOTEBOOKS, code_cells
from stand_in import StandIn
from torch import nn

from mmlib import device as room
from mmlib.checkpoint import Checkpoint
from mmlib.data.digits import PICTURE_NOISES, noise_pictures
from mmlib.data.sound import SOUND_NOISES, log_mel, noise_sound, replay
from mmlib.data.text import Tokenizer
from mmlib.decode import beam_search, greedy, sample
from mmlib.device import CPU, device_of, pick_device, to_device
from mmlib.layers import Block
from mmlib.models.captioner import Captioner, CaptionerConfig
from mmlib.models.fusion import Fusion, FusionConfig
from mmlib.models.retrieval import Retrieval, RetrievalConfig
from mmlib.models.timesformer import TimeSformer, TimeSformerConfig
from mmlib.record import record
from mmlib.scale.clip import Pairs, train_clip
from mmlib.scale.processes import process_group
from mmlib.train import evaluate, train
from mmlib.widgets import (
    DecodeExplorer,
    FrameCountExplorer,
    FusionExplorer,
    NamesExplorer,
    NegativesExplorer,
    OrderExplorer,
    RetrievalExplorer,
    SayItExplorer,
    SearchExplorer,
    TemperatureExplorer,
    TreeExplorer,
    ZeroShotExplorer,
)

GPU = next((name for name in ("cuda", "mps") if getattr(torch, name).is_available()), None)


@pytest.fixture
def gpu(monkeypatch):
    """The name of a GPU, or of the device that stands in for one; training takes it by itself."""
    name = GPU or "mps"
    monkeypatch.setenv("MMLIB_DEVICE", name)
    with nullcontext() if GPU else StandIn():
        yield name


def is_on(x, name):
    return x.device.type == name


class TestStandIn:
    """It refuses what a GPU refuses: where there is a GPU, these are tests of it."""

    @pytest.mark.parametrize(
        "mix",
        [
            lambda here, there: here + there,
            lambda here, there: there @ here,
            lambda here, there: torch.stack([here, there]),
            lambda here, there: torch.cat([there, here]),
            lambda here, there: here + there.sum(),
            lambda here, there: F.linear(here, there),
            lambda here, there: F.scaled_dot_product_attention(there[None], here[None], here[None]),
            lambda here, there: there.gather(1, here.long()),
            lambda here, there: here[there[0].long()],
            lambda here, there: there.add_(here),
            lambda here, there: there.masked_fill(here > 0, 0),
            lambda here, there: torch.where(here > 0, there, there),
            lambda here, there: there.numpy(),
        ],
    )
    def test_it_refuses_a_mixture(self, gpu, mix):
        with pytest.raises((RuntimeError, TypeError)):
            mix(torch.ones(2, 2), torch.ones(2, 2).to(gpu))

    def test_it_lets_numbers_indices_and_copies_pass(self, gpu):
        here, there = torch.arange(4.0).view(2, 2), torch.zeros(2, 2, device=gpu)
        results = [there + here.sum(), there * 2, there[here[0].long()], there[:, 0], there.clone().copy_(here)]
        results += [*there, torch.zeros_like(there), there.new_ones(3), there.float().exp(), *there.max(dim=1)]
        assert all(is_on(x, gpu) for x in results)
        there[0] = here[0]
        assert there.cpu().tolist() == [[0, 1], [0, 0]] and there.sum().item() == 1
        assert is_on(torch.arange(3), "cpu") and is_on(there.cpu(), "cpu") and is_on(there.to(here), "cpu")
        assert there.cpu().numpy().shape == (2, 2)

    def test_a_model_moves_and_its_gradient_lies_beside_it(self, gpu):
        model = nn.LSTMCell(2, 2)
        before = [*model.parameters()]
        model.to(gpu)(torch.ones(1, 2, device=gpu))[0].sum().backward()
        assert all(is_on(p, gpu) and is_on(p.grad, gpu) for p in model.parameters())
        assert all(a is b for a, b in zip(before, model.parameters(), strict=True))
        with pytest.raises((RuntimeError, TypeError)):
            model(torch.ones(1, 2))
        model.cpu()(torch.ones(1, 2))


def scale_and_shift():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))


def batch_of(step):
    x = torch.randn(16, 2)
    return {"x": x, "y": x.flip(1)}


def squares(model, batch):
    return (model(batch["x"]) - batch["y"]).square().mean()


class TestTrain:
    def test_it_trains_on_the_gpu_and_brings_the_model_back(self, gpu):
        model, seen = scale_and_shift(), []
        model.register_forward_hook(lambda module, args, output: seen.append((module.training, output.device.type)))
        x = torch.randn(4, 2)
        history = train(
            model, batch_of, squares, steps=3, lr=0.01, measure=(lambda m: {"at": evaluate(m, m, x).mean()}, 3)
        )
        assert seen == [(True, gpu)] * 3 + [(False, gpu)]
        assert len(history.losses) == 3 and all(is_on(x, "cpu") for x in model.state_dict().values())

    @pytest.mark.skipif(GPU != "cuda", reason="needs a CUDA device")
    def test_float16_on_cuda_by_default(self, gpu):
        model, dtypes = scale_and_shift(), set()
        model[0].register_forward_hook(lambda module, args, output: dtypes.add((output.device.type, output.dtype)))
        losses = train(model, batch_of, squares, steps=150, lr=0.03).losses
        assert dtypes == {("cuda", torch.float16)} and losses[-1] < losses[0]

    def test_a_model_found_on_the_gpu_stays_there(self, gpu):
        model = scale_and_shift().to(gpu)
        train(model, batch_of, squares, steps=1, lr=0.01, device="cpu")
        assert device_of(model).type == gpu

    @pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
    def test_an_interrupted_model_comes_back_too(self, gpu, error):
        def on_step(record):
            raise error

        model = scale_and_shift()
        with pytest.raises(error):
            train(model, batch_of, squares, steps=3, lr=0.01, on_step=on_step)
        assert device_of(model) == CPU and model.training

    def test_a_run_goes_on_from_its_checkpoint(self, gpu, tmp_path):
        keep = {"lr": 0.01, "checkpoint": Checkpoint(tmp_path / "run", every=1), "precision": torch.float32}
        keep |= {"steps": 4}

        def killed(record):
            if record["step"] == 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(scale_and_shift(), batch_of, squares, on_step=killed, **keep)
        resumed = train(scale_and_shift(), batch_of, squares, **keep).losses
        assert resumed == pytest.approx(
            train(scale_and_shift(), batch_of, squares, **keep | {"checkpoint": None}).losses
        )


WORDS = Tokenizer(["cat", "dog", "sad"], positions=6)


def captioner(gpu, design="attend"):
    torch.manual_seed(0)
    sizes = {"channels": (8, 8, 8, 8), "word_width": 8, "state_width": 8, "attention_width": 8, "positions": 6}
    return Captioner(CaptionerConfig(len(WORDS), design, 16, **sizes)).eval().to(gpu)


class TestModelsOnTheGpu:
    """Data come from the CPU, and results are there again."""

    def test_evaluate(self, gpu):
        model = scale_and_shift().to(gpu).eval()
        x = torch.randn(5, 2)
        assert torch.allclose(evaluate(model, model, x, batch=2), model.cpu()(x), atol=1e-5)

    @pytest.mark.parametrize("design", ["attend", "tell"])
    @pytest.mark.parametrize("decode", [greedy, sample, beam_search])
    def test_decode(self, gpu, decode, design):
        model, image = captioner(gpu, design), torch.rand(3, 3, 16, 16)
        torch.manual_seed(0)
        found = decode(model, image, WORDS)
        tree = found.tree if decode is beam_search else []
        captions = found.captions if decode is beam_search else found
        parts = [part for each in (captions, *tree) for part in each if isinstance(part, torch.Tensor)]
        assert all(is_on(part, "cpu") for part in parts)
        torch.manual_seed(0)
        again = decode(model.cpu(), image, WORDS)
        assert (again.captions if decode is beam_search else again).texts == captions.texts

    def test_record(self, gpu):
        block = Block(8, 2, 16, causal=True).to(gpu)
        with record(block) as attn:
            block(torch.rand(2, 3, 8).to(gpu))
        (weights,) = attn["attention.attend"]
        assert is_on(weights, "cpu") and torch.allclose(weights.sum(dim=-1), torch.ones(2, 2, 3), atol=1e-5)

    @pytest.mark.parametrize("kind", SOUND_NOISES)
    def test_sounds(self, gpu, kind):
        waves = (0.1 * torch.randn(3, 8000)).to(gpu)
        heard = log_mel(replay(noise_sound(waves, 0.5, kind), torch.ones(3).to(gpu)))
        assert is_on(heard, gpu) and heard.shape == (3, 40, 51)

    @pytest.mark.parametrize("kind", PICTURE_NOISES)
    def test_digits(self, gpu, kind):
        assert is_on(noise_pictures(torch.rand(3, 1, 8, 8).to(gpu), 0.5, kind), gpu)

    def test_validation_and_training_at_scale(self, gpu, monkeypatch):
        pairs = Pairs(batch=16)
        model, history = train_clip(pairs, torch.device(gpu), steps=2)
        assert device_of(model).type == gpu and len(history.losses) == 2
        assert 0 <= pairs.recall(model) <= 1
        with process_group(patience=1.0) as device:
            assert device.type == ("cuda" if gpu == "cuda" else "cpu")


class TestDemosOfModelsOnTheGpu:
    """As they are while a model trains."""

    @pytest.mark.parametrize("design", ["attend", "tell"])
    def test_captions(self, gpu, design):
        model, pictures = captioner(gpu, design), torch.randint(256, (2, 3, 16, 16), dtype=torch.uint8)
        decode = DecodeExplorer(model, WORDS, pictures, [["cat"], ["dog"]])
        tree = TreeExplorer(model, WORDS, pictures, [["cat"], ["dog"]])
        decode.way.value = "sampling"
        assert_no_error(decode, tree)

    def test_videos(self, gpu):
        model = TimeSformer(TimeSformerConfig(2, image_size=16, width=8, layers=1, heads=2)).to(gpu)
        clips, motion = torch.randint(256, (4, 8, 3, 16, 16), dtype=torch.uint8), torch.tensor([0, 1, 0, 1])
        names, reverse = ["left", "right"], {"left": "right", "right": "left"}
        order = OrderExplorer(model, clips, motion, names, reverse)
        assert_no_error(order, FrameCountExplorer(model, clips, motion, names, {4: 0.5, 8: 0.5}, {4: 1, 8: 2}))

    def test_digits(self, gpu):
        model, digits = Fusion(FusionConfig(), "attention").to(gpu), torch.arange(10)
        waves, errors = 0.1 * torch.randn(10, 8000), [0.1, 0.5]
        seen, heard = (torch.rand(10, 1, 8, 8), digits), (waves, digits, ["Ada"] * 10)
        noise = noise_pictures, noise_sound, log_mel, {"noise": errors}, {"white": errors}
        fusion = FusionExplorer({"attention": model}, (model, model), *seen, *heard, *noise)
        fusion.picture_noise.value = 0.5
        say = SayItExplorer(model, lambda *how: waves, log_mel, {"English": "en"}, {"German": "de"}, ["Ada"])
        assert_no_error(fusion, say)

    def test_features(self, gpu):
        model = Retrieval(RetrievalConfig(4, 4, embed=4, hidden=4)).to(gpu)
        same = torch.eye(6, dtype=torch.bool)
        demo = NegativesExplorer(model, {}, lambda *how: model, torch.rand(6, 4), torch.rand(6, 4), same, [0.2])
        demo.train.click()
        assert_no_error(demo)
        assert demo.state()["after"] is not None

    def test_embeddings(self, gpu):
        emb = F.normalize(torch.randn(3, 4), dim=1).to(gpu)
        pictures, names = torch.zeros(3, 3, 8, 8, dtype=torch.uint8).to(gpu), ["cat", "dog", "sad"]

        def encode(texts):
            return emb[torch.arange(len(texts)) % 3]

        search = SearchExplorer(encode, WORDS, emb, pictures, names)
        search.query.value = "cat"
        by_word = RetrievalExplorer(encode, emb, pictures, {"en": [[name] for name in names]}, lambda *texts: [])
        by_word.query.value = "cat"
        demos = search, by_word, NamesExplorer(encode, emb, pictures, {"en": [[name] for name in names]})
        assert_no_error(
            *demos,
            TemperatureExplorer(emb, emb, pictures, names, learned=0.07),
            ZeroShotExplorer(encode, WORDS, emb, pictures, names, ["a {}"], 10.0, names),
        )


def assert_no_error(*demos):
    for demo in demos:
        assert 'role="status"' in demo.live.words.value, (type(demo).__name__, demo.live.words.value)


class TestPickDevice:
    @pytest.fixture(autouse=True)
    def afresh(self, monkeypatch):
        monkeypatch.delenv("MMLIB_DEVICE", raising=False)
        room._first_that_works.cache_clear()
        yield
        room._first_that_works.cache_clear()

    @pytest.fixture
    def listed(self, monkeypatch):
        def say(*names):
            monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in names)
            monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in names)

        return say

    @pytest.mark.parametrize("names, best", [(("cuda", "mps"), "cuda"), (("mps",), "mps"), ((), "cpu")])
    def test_the_best_device_is_picked(self, monkeypatch, listed, capsys, names, best):
        listed(*names)
        monkeypatch.setattr(room, "_failure", lambda device: "")
        assert pick_device().type == best and capsys.readouterr().out == ""

    @pytest.mark.skipif(GPU is not None, reason="needs a machine without a GPU")
    def test_a_device_that_cannot_compute_is_passed_over_with_one_line(self, listed, capsys):
        listed("cuda", "mps")
        assert pick_device() == pick_device() == CPU
        said = capsys.readouterr().out.splitlines()
        assert [line.split(" (")[0] for line in said] == [
            f"The device {name} is there but cannot compute" for name in ("cuda", "mps")
        ]

    def test_a_device_that_computes_is_taken(self, listed, gpu, monkeypatch):
        monkeypatch.delenv("MMLIB_DEVICE")
        listed(gpu)
        assert pick_device().type == gpu

    def test_an_argument_comes_before_the_environment_and_that_before_the_best(self, listed, gpu, monkeypatch):
        listed(gpu)
        monkeypatch.setenv("MMLIB_DEVICE", "cpu")
        assert pick_device() == CPU and pick_device(gpu).type == gpu
        assert pick_device(torch.device(gpu)).type == gpu

    @pytest.mark.parametrize("name", ["gpu", "meta", "xpu"])
    def test_what_cannot_compute_is_refused(self, monkeypatch, name):
        with pytest.raises(ValueError, match=f"pick_device: expected a device that can compute, got '{name}'"):
            pick_device(name)
        monkeypatch.setenv("MMLIB_DEVICE", name)
        with pytest.raises(ValueError, match=f"MMLIB_DEVICE: expected a device that can compute, got '{name}'"):
            train(scale_and_shift(), batch_of, squares, steps=1, lr=0.01)

    def test_every_tensor_of_a_batch_moves(self):
        batch = {"pair": Pair(torch.zeros(1), "a"), "list": [torch.zeros(2), (torch.zeros(3), None)]}
        moved = to_device(batch, torch.device("meta"))
        assert type(moved["pair"]) is Pair and moved["pair"].image.is_meta and moved["pair"].name == "a"
        assert moved["list"][0].is_meta and moved["list"][1][0].is_meta and moved["list"][1][1] is None

    def test_what_has_no_parameters_is_on_the_cpu(self):
        assert device_of(nn.Identity()) == device_of(object()) == CPU


Pair = namedtuple("Pair", "image name")


class TestNotebooks:
    @pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
    def test_no_cell_names_a_device(self, path):
        named = re.compile(r"\.(cpu|cuda|mps)\(|\bdevice\b(?!\(.meta.\))|[\"'](cpu|cuda|mps)[\"']")
        assert not [(n, named.search(source).group()) for n, source, _ in code_cells(path) if named.search(source)]

    @pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
    def test_it_trains_on_a_gpu_and_every_cell_can_be_interrupted_and_run_again(self, root, path):
        """In a process of its own, in which signatures are not checked: a reader may hand on what they do not name."""
        command = [sys.executable, "tests/run_notebook.py", str(path)]
        done = subprocess.run(
            command, cwd=root, env=os.environ | {"PYTHONPATH": str(root)}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-3000:]
