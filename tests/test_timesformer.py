"""TimeSformer: against its peer, against loops, what looks at what, what order changes, what is refused."""

import dataclasses
import math

import pytest
import torch
from einops import rearrange
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from mmlib.layers import PatchEmbedding
from mmlib.models.timesformer import BASE, DividedBlock, TimeSformer, TimeSformerConfig, count_macs, unread_macs
from mmlib.record import record

SCHEMES = ["divided", "joint", "space"]
SMALL = TimeSformerConfig(classes=5, image_size=16, patch=8, frames=4, width=16, layers=2, heads=2)


def randomised(model):
    """Every parameter drawn anew: what starts at zero, such as the temporal projection, would hide its mistakes."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * torch.randn_like(parameter))
    return model.eval()


def small(scheme, **changes):
    return randomised(TimeSformer(dataclasses.replace(SMALL, attention=scheme, **changes)))


# Against transformers, where one is as published

PEER_NAMES = {  # ours -> theirs, in a block
    "norm_time": "temporal_layernorm",
    "temporal.qkv": "temporal_attention.attention.qkv",
    "temporal.out": "temporal_attention.output.dense",
    "project": "temporal_dense",
    "norm_space": "layernorm_before",
    "spatial.qkv": "attention.attention.qkv",
    "spatial.out": "attention.output.dense",
    "norm_mlp": "layernorm_after",
    "norm1": "layernorm_before",
    "attention.qkv": "attention.attention.qkv",
    "attention.out": "attention.output.dense",
    "norm2": "layernorm_after",
    "mlp.0": "intermediate.dense",
    "mlp.2": "output.dense",
}


def peer(config):
    from transformers import TimesformerConfig, TimesformerForVideoClassification

    theirs = TimesformerConfig(
        image_size=config.image_size,
        patch_size=config.patch,
        num_frames=config.frames,
        hidden_size=config.width,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        intermediate_size=4 * config.width,
        layer_norm_eps=1e-5,
        attention_type={"divided": "divided_space_time", "joint": "joint_space_time", "space": "space_only"}[
            config.attention
        ],
        num_labels=config.classes,
    )
    return TimesformerForVideoClassification(theirs)


def ours_from(theirs, config):
    """Our model with the peer's weights; fails if a weight of either side is left over."""
    weights = dict(theirs.state_dict())
    take = weights.pop
    ours = {
        "class_token": take("timesformer.embeddings.cls_token")[0, 0],
        "position": take("timesformer.embeddings.position_embeddings")[0],
        "patches.convolution.weight": take("timesformer.embeddings.patch_embeddings.projection.weight"),
        "patches.convolution.bias": take("timesformer.embeddings.patch_embeddings.projection.bias"),
    }
    if config.attention != "space":
        ours["time"] = take("timesformer.embeddings.time_embeddings")[0]
    for kind in ("weight", "bias"):
        ours[f"norm.{kind}"] = take(f"timesformer.layernorm.{kind}")
        ours[f"classify.{kind}"] = take(f"classifier.{kind}")
    model = TimeSformer(config)
    for name in model.state_dict():
        if name.startswith("blocks."):
            _, layer, *part, kind = name.split(".")
            ours[name] = take(f"timesformer.encoder.layer.{layer}.{PEER_NAMES['.'.join(part)]}.{kind}")
    assert not weights
    model.load_state_dict(ours)
    return model.eval()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_logits_equal_those_of_transformers(scheme):
    stem = BASE.stem
    config = dataclasses.replace(SMALL, attention=scheme, image_size=24, frames=5, layers=3, stem=stem)
    theirs = randomised(peer(config))
    video = torch.rand(2, 5, 3, 24, 24)
    with torch.inference_mode():
        expected = theirs(video - video.mean(dim=(3, 4), keepdim=True)).logits  # ours does so itself
        if scheme == "space":  # theirs gives logits of each frame, and leaves the mean to the caller
            video = rearrange(video, "b t c h w -> (b t) 1 c h w")
        torch.testing.assert_close(ours_from(theirs, config)(video), expected, atol=1e-5, rtol=1e-4)


# Sizes and costs


@pytest.mark.parametrize(
    "scheme, parameters, gigamacs",
    [("divided", 121_566_352, 195.83), ("joint", 86_112_400, 179.56), ("space", 86_106_256, 140.50)],
)
def test_base_has_the_published_size_and_cost(scheme, parameters, gigamacs):
    config = dataclasses.replace(BASE, attention=scheme)
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        model = TimeSformer(config)
        model(torch.empty(1, 8, 3, 224, 224))
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert count_macs(config, 8) - unread_macs(config, 8) == counter.get_total_flops() / 2
    assert round(count_macs(config, 8) / 1e9, 2) == gigamacs


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("stem", [TimeSformerConfig.stem, PatchEmbedding])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_formula_counts_what_is_computed(scheme, stem, frames):
    config = dataclasses.replace(SMALL, attention=scheme, stem=stem, image_size=32)
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        TimeSformer(config)(torch.empty(2, frames, 3, 32, 32))
    assert 2 * (count_macs(config, frames) - unread_macs(config, frames)) == counter.get_total_flops() / 2


def test_counting_draws_no_random_number():
    before = torch.get_rng_state()
    count_macs(SMALL, 4)
    assert torch.equal(torch.get_rng_state(), before)


# The block, written out with loops


def layer_norm(norm, x):
    return (x - x.mean()) / (x.var(correction=0) + norm.eps).sqrt() * norm.weight + norm.bias


def attention_by_loop(attention, rows):
    """What each row of a list sees in all the rows; one query, one head and one key at a time."""
    d = len(rows[0])
    k = d // attention.heads
    weight, bias = attention.qkv.weight, attention.qkv.bias
    qkv = [weight @ row + bias for row in rows]
    out = []
    for mine in qkv:
        mixed = []
        for head in range(attention.heads):
            q = mine[head * k : (head + 1) * k]
            scores = [math.exp(q @ other[d + head * k :][:k] / math.sqrt(k)) for other in qkv]
            values = [other[2 * d + head * k :][:k] for other in qkv]
            mixed.append(sum(score / sum(scores) * value for score, value in zip(scores, values, strict=True)))
        out.append(attention.out.weight @ torch.cat(mixed) + attention.out.bias)
    return out


def block_by_loop(block, class_token, patches):
    t, n, _ = patches.shape
    patches = patches.clone()
    for p in range(n):
        seen = attention_by_loop(block.temporal, [layer_norm(block.norm_time, patches[f, p]) for f in range(t)])
        for f in range(t):
            patches[f, p] += block.project.weight @ seen[f] + block.project.bias
    seen_by_class = []
    for f in range(t):
        rows = [layer_norm(block.norm_space, row) for row in [class_token, *patches[f]]]
        first, *rest = attention_by_loop(block.spatial, rows)
        seen_by_class.append(first)
        patches[f] += torch.stack(rest)
    tokens = torch.stack([class_token + sum(seen_by_class) / t, *patches.flatten(0, 1)])
    return torch.stack([row + block.mlp(layer_norm(block.norm_mlp, row)) for row in tokens])


def run(block, tokens, t):
    """The block on tokens in one row: the class token, then the patches frame by frame."""
    class_token, patches = block(tokens[:, :1], rearrange(tokens[:, 1:], "b (t n) d -> b n t d", t=t))
    return torch.cat([class_token, rearrange(patches, "b n t d -> b (t n) d")], dim=1)


@torch.no_grad()
def test_a_divided_block_equals_loops_over_frames_and_patches():
    block = randomised(DividedBlock(d=8, heads=2, hidden=16)).double()
    t, n = 3, 4
    tokens = torch.randn(2, 1 + t * n, 8, dtype=torch.float64)
    got = run(block, tokens, t)
    for row, of_row in zip(tokens, got, strict=True):
        expected = block_by_loop(block, row[0], row[1:].reshape(t, n, 8))
        torch.testing.assert_close(of_row, expected)


def changed(before, after):
    return (before - after).abs().amax(dim=-1) > 1e-5


def half(block, which):
    """The block with one of its two attentions silent, and no MLP: what is left shows where the other one looks."""
    silent = {"time": block.spatial.out, "space": block.project}[which]
    for layer in (silent, block.mlp[2]):
        torch.nn.init.zeros_(layer.weight), torch.nn.init.zeros_(layer.bias)
    return block


@torch.no_grad()
def test_temporal_attention_never_mixes_patches_and_spatial_never_frames():
    t, n, d = 3, 4, 8
    tokens = torch.randn(1, 1 + t * n, d)
    touched = tokens.clone()
    touched[0, 1 + 1 * n + 2] = torch.randn(d)  # frame 1, patch 2
    for which in ("time", "space"):
        block = half(randomised(DividedBlock(d=d, heads=2, hidden=16)), which)
        class_token, patches = changed(run(block, tokens, t), run(block, touched, t))[0].split([1, t * n])
        patches = patches.reshape(t, n)
        expected = torch.zeros(t, n, dtype=torch.bool)
        if which == "time":
            expected[:, 2] = True
        else:
            expected[1, :] = True
        assert torch.equal(patches, expected)
        assert class_token.item() == (which == "space")


def test_the_recorded_weights_have_the_shapes_of_their_scheme():
    b, t, n = 2, 3, 4
    video = torch.rand(b, t, 3, 16, 16)
    shapes = {
        "divided": {"temporal": (b * n, 2, t, t), "spatial": (b * t, 2, 1 + n, 1 + n)},
        "joint": {"attention": (b, 2, 1 + t * n, 1 + t * n)},
        "space": {"attention": (b * t, 2, 1 + n, 1 + n)},
    }
    for scheme, of_part in shapes.items():
        model = small(scheme)
        with record(model) as attn:
            model(video)
        got = {name: tuple(weights.shape) for name, (weights,) in attn.items()}
        expected = {f"blocks.{i}.{part}.attend": shape for i in range(2) for part, shape in of_part.items()}
        *_, reads = of_part  # in the last block, only the class token attends there
        expected[f"blocks.1.{reads}.attend"] = (*of_part[reads][:2], 1, of_part[reads][3])
        assert got == expected


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_last_block_gives_the_class_token_that_a_whole_one_would(scheme):
    model, video = small(scheme), torch.rand(2, 3, 3, 16, 16)
    tokens = model.embed(video)
    if scheme == "divided":
        tokens = tokens[:, :1], rearrange(tokens[:, 1:], "b (t n) d -> b n t d", t=3)
        for block in model.blocks:
            tokens = block(*tokens)
        class_token = tokens[0][:, 0]
    else:
        for block in model.blocks:
            tokens = block(tokens)
        class_token = rearrange(tokens[:, 0], "(b t) d -> b t d", b=2).mean(dim=1)
    torch.testing.assert_close(model(video), model.classify(model.norm(class_token)))


# Order, frame counts, and what training needs


@torch.no_grad()
def test_the_order_of_frames_changes_divided_and_joint_and_leaves_space_only():
    video, order = torch.rand(2, 6, 3, 16, 16), torch.tensor([3, 0, 5, 1, 2, 4])
    for scheme in SCHEMES:
        model = small(scheme)
        same = torch.allclose(model(video), model(video[:, order]), atol=1e-5)
        assert same == (scheme == "space")


@torch.no_grad()
def test_the_colour_of_the_background_says_nothing():
    model, video = small("divided"), 0.5 * torch.rand(2, 3, 3, 16, 16)
    tinted = video + 0.5 * torch.rand(2, 3, 3, 1, 1)
    torch.testing.assert_close(model(video), model(tinted))


@torch.no_grad()
@pytest.mark.parametrize("scheme", ["divided", "joint"])
def test_without_time_embeddings_no_scheme_knows_the_order(scheme):
    model = small(scheme)
    video, order = torch.rand(2, 6, 3, 16, 16), torch.tensor([3, 0, 5, 1, 2, 4])
    assert not torch.allclose(model(video), model(video[:, order]), atol=1e-5)
    model.time.zero_()
    torch.testing.assert_close(model(video), model(video[:, order]))


@torch.no_grad()
def test_a_new_divided_block_knows_no_time():
    block = DividedBlock(d=8, heads=2, hidden=16)
    tokens = torch.randn(1, 1 + 3 * 4, 8)
    touched = tokens.clone()
    touched[0, 1 + 4 :] = torch.randn(2 * 4, 8)  # all frames but the first
    patches = slice(1, 1 + 4)
    torch.testing.assert_close(run(block, tokens, 3)[0, patches], run(block, touched, 3)[0, patches])


def test_time_embeddings_are_interpolated():
    model = small("divided")
    assert torch.equal(model.time_of(4), model.time)
    with torch.no_grad():
        model.time.copy_(torch.arange(4.0).unsqueeze(1).expand(4, 16))
    expected = {1: [1.5], 2: [0.5, 2.5], 8: [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]}
    for t, row in expected.items():
        torch.testing.assert_close(model.time_of(t)[:, 0], torch.tensor([float(x) for x in row]))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_any_number_of_frames_and_any_neighbours_in_the_batch(scheme):
    model = small(scheme)
    for t in (1, 2, 7, 32):
        video = torch.rand(3, t, 3, 16, 16)
        scores = model(video)
        assert scores.shape == (3, 5) and scores.isfinite().all()
        torch.testing.assert_close(model(video[:1]), scores[:1])


@pytest.mark.parametrize("stem", [TimeSformerConfig.stem, BASE.stem])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_parameter_gets_a_gradient(scheme, stem):
    model = small(scheme, stem=stem).train()
    cross_entropy(model(torch.rand(3, 4, 3, 16, 16)), torch.arange(3)).backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


def test_one_batch_can_be_learned_by_heart_backward_clips_included():
    model = TimeSformer(SMALL)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    video = torch.rand(2, 4, 3, 16, 16)
    video, target = torch.cat([video, video.flip(1)]), torch.tensor([0, 1, 2, 3])
    for _ in range(60):
        loss = cross_entropy(model(video), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.05 < math.log(5)


# What is refused

BAD_VIDEOS = [
    (torch.rand(2, 3, 4, 16, 16), r"got \(2, 3, 4, 16, 16\)\. Time behind channels\?"),
    (torch.rand(2, 4, 16, 16, 3), "Channels last"),
    (torch.rand(4, 3, 16, 16), "One video"),
    (torch.rand(2, 0, 3, 16, 16), r"video that is not empty, got \(2, 0, 3, 16, 16\)"),
    (torch.rand(2, 4, 3, 20, 16), "Resize"),
    (torch.zeros(2, 4, 3, 16, 16, dtype=torch.uint8), "video.float"),
    (255 * torch.rand(2, 4, 3, 16, 16), "x / 255"),
    (torch.full((2, 4, 3, 16, 16), torch.nan), "got NaN"),
]


@pytest.mark.parametrize("video, words", BAD_VIDEOS, ids=[words[:12] for _, words in BAD_VIDEOS])
def test_videos_that_are_refused(video, words):
    with pytest.raises(ValueError, match=f"^TimeSformer: expected .*{words}"):
        small("divided")(video)


def test_sizes_that_are_refused():
    with pytest.raises(ValueError, match="multiple of the patch, got image_size=20, patch=8"):
        TimeSformer(dataclasses.replace(SMALL, image_size=20))
    with pytest.raises(ValueError, match="divided, joint or space, got 'time'"):
        TimeSformer(dataclasses.replace(SMALL, attention="time"))
    with pytest.raises(ValueError, match="multiple of heads=3, got d=16"):
        TimeSformer(dataclasses.replace(SMALL, heads=3))
