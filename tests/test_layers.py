"""Attention against loops; the block and the stems by what they must and must not do."""

import math

import pytest
import torch

from mmlib.layers import Attend, Attention, Block, ConvStem, PatchEmbedding


def attention_by_loop(q, k, v, allowed):
    out = torch.zeros_like(q)
    for i in range(len(q)):
        seen = [j for j in range(len(k)) if allowed(i, j)]
        exps = [math.exp(float(q[i] @ k[j]) / math.sqrt(q.shape[-1])) for j in seen]
        for weight, j in zip(exps, seen, strict=True):
            out[i] += weight / sum(exps) * v[j]
    return out


@pytest.mark.parametrize("causal", [False, True])
def test_attend_equals_a_loop(causal):
    q, k, v = torch.randn(3, 2, 4, 5, 6, dtype=torch.float64)
    got = Attend()(q, k, v, causal=causal)
    for b in range(2):
        for head in range(4):
            expected = attention_by_loop(*(x[b, head] for x in (q, k, v)), lambda i, j: j <= i or not causal)
            torch.testing.assert_close(got[b, head], expected)


def test_a_mask_is_true_where_attention_is_allowed():
    q, k, v = torch.randn(3, 1, 1, 4, 6, dtype=torch.float64)
    mask = torch.tensor([[[True, True, False, False]] * 4])
    got = Attend()(q, k, v, mask=mask)
    torch.testing.assert_close(got[0, 0], attention_by_loop(q[0, 0], k[0, 0], v[0, 0], lambda i, j: j < 2))


def test_attention_equals_torch():
    ours = Attention(d=8, heads=2)
    theirs = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    theirs.load_state_dict(
        {
            "in_proj_weight": ours.qkv.weight,
            "in_proj_bias": ours.qkv.bias,
            "out_proj.weight": ours.out.weight,
            "out_proj.bias": ours.out.bias,
        }
    )
    x = torch.randn(3, 5, 8)
    torch.testing.assert_close(ours(x), theirs(x, x, x)[0])


def test_causal_attention_does_not_see_what_comes_later():
    block = Block(d=8, heads=2, hidden=16, causal=True).eval()
    x = torch.randn(1, 6, 8)
    later = x.clone()
    later[:, 4:] = torch.randn(1, 2, 8)
    torch.testing.assert_close(block(x)[:, :4], block(later)[:, :4])
    assert not torch.allclose(block(x)[:, 4:], block(later)[:, 4:])


@pytest.mark.parametrize("causal", [False, True])
def test_one_token_may_be_computed_alone(causal):
    block = Block(d=8, heads=2, hidden=16, causal=causal).eval()
    x = torch.randn(2, 6, 8)
    past = torch.arange(6) <= 3 if causal else torch.ones(6, dtype=torch.bool)
    alone = block(x[:, 3:4], context=x, mask=past.expand(2, 1, 1, 6))
    torch.testing.assert_close(alone, block(x)[:, 3:4])


def test_a_block_without_causality_does_not_mind_the_order():
    block = Block(d=8, heads=2, hidden=16).eval()
    x, order = torch.randn(1, 6, 8), torch.randperm(6)
    torch.testing.assert_close(block(x)[:, order], block(x[:, order]))


def test_a_block_whose_branches_are_silent_is_the_identity():
    block = Block(d=8, heads=2, hidden=16)
    for layer in (block.attention.out, block.mlp[-1]):
        torch.nn.init.zeros_(layer.weight), torch.nn.init.zeros_(layer.bias)
    x = torch.randn(2, 3, 8)
    torch.testing.assert_close(block(x), x)


def test_patches_do_not_overlap_and_the_stem_does():
    image = torch.rand(1, 3, 16, 16)
    touched = image.clone()
    touched[:, :, :8, 7] = 0  # the last column of the first patch
    plain, stem = PatchEmbedding(d=8, patch=8), ConvStem(d=8, patch=8).eval()
    assert plain(image).shape == stem(image).shape == (1, 8, 2, 2)
    changed_plain = (plain(image) - plain(touched)).abs().amax(dim=1)[0] > 1e-6
    changed_stem = (stem(image) - stem(touched)).abs().amax(dim=1)[0] > 1e-6
    assert changed_plain.tolist() == [[True, False], [False, False]]
    assert changed_stem[0].tolist() == [True, True]


def test_plain_patches_equal_a_linear_map_of_each_patch():
    plain, image = PatchEmbedding(d=5, patch=4), torch.rand(1, 3, 8, 8)
    weight = plain.convolution.weight.reshape(5, -1)
    expected = weight @ image[0, :, 4:, :4].reshape(-1)
    torch.testing.assert_close(plain(image)[0, :, 1, 0], expected)


def test_refusals():
    with pytest.raises(ValueError, match="multiple of heads=3, got d=8"):
        Attention(d=8, heads=3)
    with pytest.raises(ValueError, match=r"Attention: expected a mask \(b, 1, i, j=3\), got \(2, 1, 3, 1\)"):
        Attention(d=8, heads=2)(torch.randn(2, 3, 8), mask=torch.ones(2, 1, 3, 1, dtype=torch.bool))
    with pytest.raises(ValueError, match="power of two, got 6"):
        ConvStem(d=8, patch=6)
