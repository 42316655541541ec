"""What must be fast in notebook 2: a step of training against a peer's and against loops, cost by frames, the clips."""

import dataclasses
import math
import time

import pytest
import torch
from einops import rearrange
from torch.nn.functional import cross_entropy

from mmlib.data.motion import make_clips
from mmlib.layers import Attention
from mmlib.models.timesformer import BASE, TimeSformer
from mmlib.train import make_optimizer

PEER_RATIO = 0.8  # of the time of transformers' class of the same configuration
LOOP_RATIO = 0.1  # of the same attention, one frame and one patch at a time
EXPONENT = 1.2  # of the time of divided attention against frames
CLIP_SECONDS = 3  # 4,096 clips
CONFIG = dataclasses.replace(BASE, width=256, layers=4, heads=4, centre=False)  # as the peer

pytestmark = pytest.mark.bench


def step_of(model, logits_of, video):
    optimizer, target = make_optimizer(model.train(), weight_decay=0.1), torch.randint(CONFIG.classes, (len(video),))

    def step():
        optimizer.zero_grad()
        cross_entropy(logits_of(model, video), target).backward()
        optimizer.step()

    return step


def peer():
    from transformers import TimesformerConfig, TimesformerForVideoClassification

    config = TimesformerConfig(
        image_size=CONFIG.image_size,
        patch_size=CONFIG.patch,
        num_frames=CONFIG.frames,
        hidden_size=CONFIG.width,
        num_hidden_layers=CONFIG.layers,
        num_attention_heads=CONFIG.heads,
        intermediate_size=4 * CONFIG.width,
        num_labels=CONFIG.classes,
    )
    return TimesformerForVideoClassification(config)


def seconds(step):
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def test_a_training_step_against_transformers(side_by_side, compare):
    video = torch.rand(8, 8, 3, 224, 224)
    ours = step_of(TimeSformer(CONFIG), lambda model, video: model(video), video)
    theirs = step_of(peer(), lambda model, video: model(video).logits, video)
    what = "TimeSformer, a step of 8 videos of 8 frames of 224 x 224"
    assert compare(what, *side_by_side(ours, theirs, rounds=8), "transformers") <= PEER_RATIO


class DividedAttention(torch.nn.Module):
    """Both attentions of a block, in two calls."""

    def __init__(self):
        super().__init__()
        self.temporal, self.spatial = Attention(CONFIG.width, CONFIG.heads), Attention(CONFIG.width, CONFIG.heads)

    def forward(self, patches):
        b, t, _, _ = patches.shape
        seen = self.temporal(rearrange(patches, "b t n d -> (b n) t d"))
        seen = self.spatial(rearrange(seen, "(b n) t d -> (b t) n d", b=b))
        return rearrange(seen, "(b t) n d -> b t n d", t=t)


def by_loops(attention, patches):
    """The same, one frame and one patch after the other, as equations (2.3) and (2.4) are read."""
    frames, places = range(patches.shape[1]), range(patches.shape[2])
    q, k, v = parts(attention.temporal, patches)
    seen = [torch.stack([ask(q[:, f, p], k[:, :, p], v[:, :, p]) for p in places], dim=1) for f in frames]
    seen = attention.temporal.out(torch.stack(seen, dim=1))
    q, k, v = parts(attention.spatial, seen)
    seen = [torch.stack([ask(q[:, f, p], k[:, f], v[:, f]) for p in places], dim=1) for f in frames]
    return attention.spatial.out(torch.stack(seen, dim=1))


def parts(attention, tokens):
    return rearrange(attention.qkv(tokens), "b t n (three heads k) -> three b t n heads k", three=3, heads=CONFIG.heads)


def ask(q, k, v):
    """One token of each clip asks some: (b heads k) and (b j heads k) to (b heads*k)."""
    weights = (torch.einsum("bhk,bjhk->bhj", q, k) / q.shape[-1] ** 0.5).softmax(dim=-1)
    return torch.einsum("bhj,bjhk->bhk", weights, v).flatten(1)


def test_attention_against_loops_over_frames_and_patches(capsys):
    attention = DividedAttention()
    patches = torch.randn(8, 8, (CONFIG.image_size // CONFIG.patch) ** 2, CONFIG.width)
    torch.testing.assert_close(attention(patches), by_loops(attention, patches))
    times = {"ours": [], "loops": []}
    for _ in range(5):
        times["loops"].append(seconds(lambda: by_loops(attention, patches).sum().backward()))
        times["ours"].append(seconds(lambda: attention(patches).sum().backward()))
    ratio = sorted(times["ours"])[2] / sorted(times["loops"])[2]
    with capsys.disabled():
        print(f"\n{ratio:.3f} of the time of the same attention as loops")
    assert ratio <= LOOP_RATIO


def test_the_time_of_divided_attention_grows_linearly_with_frames(capsys):
    model = TimeSformer(dataclasses.replace(CONFIG, image_size=64, patch=8, width=128, layers=2)).eval()
    counts, best = [4, 8, 16, 32, 64], {}
    with torch.inference_mode():
        for _ in range(7):
            for t in counts:
                video = torch.rand(2, t, 3, 64, 64)
                best[t] = min(best.get(t, math.inf), seconds(lambda video=video: model(video)))
    x = torch.tensor(counts).log2()
    y = torch.tensor([best[t] for t in counts]).log2()
    exponent = (((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum()).item()
    with capsys.disabled():
        print(f"\ntime grows as frames to the power {exponent:.2f}")
    assert exponent <= EXPONENT


def test_clips_are_rendered_fast(capsys, slower):
    sprites = torch.randint(0, 256, (500, 3, 24, 24), dtype=torch.uint8)
    took = min(seconds(lambda: make_clips(sprites, 4096)) for _ in range(3))
    with capsys.disabled():
        print(f"\n4,096 clips of 8 frames: {took:.2f} s")
    assert took <= CLIP_SECONDS * slower
