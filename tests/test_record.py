"""Recorded attention is the attention that was used, and recording leaves no trace."""

import math

import pytest
import torch
from torch import nn

from mmlib.layers import Attend, Block
from mmlib.models.clip import CLIP, CLIPConfig
from mmlib.record import attention_rollout, attention_weights, record


def qkv(i=5, j=5):
    return torch.randn(2, 3, i, 4), torch.randn(2, 3, j, 4), torch.randn(2, 3, j, 4)


def hooks(model):
    return sum(len(module._forward_hooks) for module in model.modules())


SOME = torch.tensor([[True, False, True, True, False]]).expand(5, 5) | torch.eye(5, dtype=torch.bool)


@pytest.mark.parametrize(
    "options",
    [{}, {"causal": True}, {"mask": SOME}, {"mask": SOME.expand(2, 1, 5, 5)}],
    ids=["all", "causal", "mask", "batch of masks"],
)
def test_weights_times_values_are_the_real_output(options):
    attend, (q, k, v) = Attend(), qkv()
    with record(attend) as attn:
        mixed = attend(q, k, v, **options)
    (weights,) = attn[""]
    torch.testing.assert_close(weights @ v, mixed)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 3, 5))


def test_cross_attention_has_as_many_columns_as_keys():
    q, k, v = qkv(i=2, j=6)
    torch.testing.assert_close(attention_weights(q, k, v) @ v, Attend()(q, k, v))
    torch.testing.assert_close(attention_weights(q, k, v, causal=True) @ v, Attend()(q, k, v, causal=True))


def test_weights_by_hand():
    q = torch.tensor([[[[2.0, 0, 0, 0]]]])
    k = torch.tensor([[[[1.0, 0, 0, 0], [-1.0, 0, 0, 0]]]])
    weight = math.e / (math.e + 1 / math.e)  # the scores are 2 / sqrt(4) and its opposite
    torch.testing.assert_close(attention_weights(q, k, k)[0, 0, 0], torch.tensor([weight, 1 - weight]))


def test_a_query_that_may_look_nowhere_gets_zeros_not_nan():
    q, k, v = qkv()
    mask = torch.ones(5, 5, dtype=torch.bool)
    mask[2] = False
    weights = attention_weights(q, k, v, mask=mask)
    assert (weights[:, :, 2] == 0).all()
    torch.testing.assert_close(weights[:, :, 3].sum(dim=-1), torch.ones(2, 3))


def test_values_that_are_not_numbers_stay_visible():
    q, k, v = qkv()
    q[0, 0, 0, 0] = torch.nan
    assert attention_weights(q, k, v)[0, 0, 0].isnan().all()


def test_it_names_the_modules_in_their_order_and_keeps_every_pass():
    model = nn.Sequential(Block(8, 2, 16), Block(8, 2, 16))
    with record(model) as attn:
        model(torch.randn(3, 4, 8))
        model(torch.randn(1, 6, 8))
    assert list(attn) == ["0.attention.attend", "1.attention.attend"]
    assert [weights.shape for weights in attn["1.attention.attend"]] == [(3, 2, 4, 4), (1, 2, 6, 6)]


def test_it_changes_no_output_and_no_gradient():
    block, x = Block(8, 2, 16), torch.randn(3, 4, 8)
    expected = block(x)
    with record(block) as attn:
        result = block(x)
    assert torch.equal(result, expected)
    assert not attn["attention.attend"][0].requires_grad
    result.sum().backward()
    assert block.attention.qkv.weight.grad is not None


def test_nothing_is_recorded_outside_the_block():
    block, x = Block(8, 2, 16), torch.randn(3, 4, 8)
    block(x)
    with record(block) as attn:
        block(x)
    block(x)
    assert len(attn["attention.attend"]) == 1 and hooks(block) == 0


def test_hooks_go_after_an_error():
    block = Block(8, 2, 16)
    with pytest.raises(ZeroDivisionError):
        with record(block):
            assert hooks(block) == 1
            raise ZeroDivisionError
    assert hooks(block) == 0


def test_a_model_without_attention_is_refused():
    with pytest.raises(ValueError, match="record: expected a model with mmlib.layers.Attend in it, got Linear"):
        with record(nn.Linear(2, 2)):
            pass


class TestOnCLIP:
    model = CLIP(
        CLIPConfig(
            vocabulary=12,
            text_width=16,
            text_heads=2,
            text_layers=2,
            image_size=16,
            image_width=16,
            image_heads=2,
            embed=8,
        )
    )

    def test_pictures(self):
        with record(self.model.image) as attn:
            self.model.encode_image(torch.rand(2, 3, 16, 16))
        assert list(attn) == ["blocks.0.attention.attend", "blocks.1.attention.attend"]
        rollout = attention_rollout([passes[0] for passes in attn.values()])
        assert rollout.shape == (2, 1, 1 + 4)  # of the class token alone, since the last block computes no other
        torch.testing.assert_close(rollout.sum(dim=-1), torch.ones(2, 1))

    def test_a_word_never_looks_ahead(self):
        with record(self.model.text) as attn:
            self.model.encode_text(torch.tensor([[2, 5, 6, 3, 0]]))
        (first,), (last,) = attn.values()
        assert (first.triu(1) == 0).all() and (first.tril() > 0).sum() == 2 * 15
        assert (last[..., :4] > 0).all() and (last[..., 4:] == 0).all()  # the end sees the text, and no padding


class TestRollout:
    def test_one_layer_by_hand(self):
        heads = torch.tensor([[[1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [1.0, 0.0]]])[None]  # their mean: .5 .5, 1 0
        torch.testing.assert_close(attention_rollout([heads])[0], torch.tensor([[0.75, 0.25], [0.5, 0.5]]))

    def test_the_last_layer_is_multiplied_from_the_left(self):
        first = torch.tensor([[[[1.0, 0.0], [1.0, 0.0]]]])  # both look at token 0
        last = torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]])  # both look at token 1
        # (I + A_2) / 2 (I + A_1) / 2 = [.5 .5; 0 1] [1 0; .5 .5]
        torch.testing.assert_close(attention_rollout([first, last])[0], torch.tensor([[0.75, 0.25], [0.5, 0.5]]))

    def test_the_last_layer_may_hold_the_first_tokens_alone(self):
        first, last = torch.rand(2, 1, 3, 4, 4).softmax(dim=-1)
        whole = attention_rollout([first, last])
        torch.testing.assert_close(attention_rollout([first, last[:, :, :2]]), whole[:, :2])

    def test_attention_to_oneself_alone_changes_nothing(self):
        eye = torch.eye(4).expand(3, 2, 4, 4)
        assert torch.equal(attention_rollout([eye] * 5), torch.eye(4).expand(3, 4, 4))
