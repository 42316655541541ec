"""The captioner: its parts by hand, what it must not depend on, what it must learn, and what it refuses."""

import math
from dataclasses import replace

import pytest
import torch

from mmlib.losses import caption_loss
from mmlib.models.captioner import Captioner, CaptionerConfig, Regions

SMALL = CaptionerConfig(
    vocabulary=20,
    image_size=16,
    channels=(4, 4, 8, 8),
    word_width=12,
    state_width=10,
    attention_width=6,
    dropout=0.0,
    positions=10,
)
DESIGNS = {"attend": SMALL, "tell": replace(SMALL, design="tell")}
IDS = torch.tensor([[2, 5, 6, 3, 0, 0], [2, 7, 3, 0, 0, 0], [2, 8, 9, 10, 11, 3]])


def random(config):
    """A model whose parameters are all far from their gentle start, so that nothing hides behind a zero."""
    model = Captioner(config).eval()
    for parameter in model.parameters():
        parameter.data.normal_(std=0.5)
    return model


@pytest.fixture(params=DESIGNS)
def model(request):
    return random(DESIGNS[request.param])


@pytest.fixture
def attend():
    return random(SMALL)


def regions_of(model, b=3):
    return model.encode_image(torch.rand(b, 3, 16, 16))


# The parts, by hand


@torch.no_grad()
def test_soft_attention_equals_a_loop(attend):
    hidden, regions = torch.randn(3, 10), regions_of(attend)
    context, attn = attend.attention(hidden, regions)
    w_k, w_q, b_q, u = (
        attend.attention.key.weight,
        attend.attention.query.weight,
        attend.attention.query.bias,
        attend.attention.score.weight[0],
    )
    for row in range(3):
        scores = [float(u @ torch.tanh(w_k @ r + w_q @ hidden[row] + b_q)) for r in regions.values[row]]
        exps = [math.exp(score) for score in scores]
        shares = torch.tensor(exps) / sum(exps)
        torch.testing.assert_close(attn[row], shares)
        mean = sum(share * r for share, r in zip(shares, regions.values[row], strict=True))
        torch.testing.assert_close(context[row], mean)


def test_several_rows_may_ask_about_one_picture(attend):
    hidden, regions = torch.randn(6, 10), regions_of(attend, 2)
    copied = Regions(*(x.repeat_interleave(3, dim=0) for x in regions))
    for together, apart in zip(attend.attention(hidden, regions), attend.attention(hidden, copied), strict=True):
        torch.testing.assert_close(together, apart)


def test_the_gates_and_the_deep_output_by_hand(attend):
    regions = regions_of(attend)
    state = attend.start(regions)
    word = torch.randn(3, 12)
    after, said, _ = attend.hear(state, word, regions)

    context, _ = attend.attention(state.hidden, regions)
    beta = (state.hidden @ attend.gate.weight.T + attend.gate.bias).sigmoid()
    heard = torch.cat([word, beta * context], dim=1)
    lstm = attend.lstm
    blocks = heard @ lstm.weight_ih.T + lstm.bias_ih + state.hidden @ lstm.weight_hh.T + lstm.bias_hh
    enter, forget, candidate, leave = blocks.split(10, dim=1)
    cell = forget.sigmoid() * state.cell + enter.sigmoid() * candidate.tanh()
    torch.testing.assert_close(after.cell, cell)
    torch.testing.assert_close(after.hidden, leave.sigmoid() * cell.tanh())
    torch.testing.assert_close(said, word + attend.say_state(after.hidden) + attend.say_seen(beta * context))


def test_a_closed_gate_shuts_the_picture_out(attend):
    regions, others = regions_of(attend), regions_of(attend)
    state, word = attend.start(regions), torch.randn(3, 12)
    assert not torch.allclose(attend.hear(state, word, regions)[1], attend.hear(state, word, others)[1])
    attend.gate.bias.data.fill_(-1e4)
    torch.testing.assert_close(attend.hear(state, word, regions)[1], attend.hear(state, word, others)[1])


def test_show_and_tell_sees_the_picture_once():
    tell = random(DESIGNS["tell"])
    regions, others = regions_of(tell), regions_of(tell)
    state, words = tell.start(regions), torch.tensor([4, 5, 6])
    torch.testing.assert_close(tell.step(state, words, regions)[1], tell.step(state, words, others)[1])
    assert not torch.allclose(state.hidden, tell.start(others).hidden, atol=1e-4)
    empty = torch.zeros(3, 10)
    picture_as_word = tell.lstm(tell.as_word(regions.values.mean(dim=1)), (empty, empty))
    torch.testing.assert_close(tuple(state), picture_as_word)


@torch.no_grad()
def test_words_are_scored_by_their_vectors(model):
    said = torch.randn(2, 12)
    expected = [[float(said[row] @ model.word.weight[w] + model.bias[w]) for w in range(20)] for row in range(2)]
    torch.testing.assert_close(model.score(said), torch.tensor(expected))


# The whole


def test_attention_sums_to_1(attend):
    attn = attend(torch.rand(3, 3, 16, 16), IDS).attn
    assert attn.shape == (3, 5, 4) and (attn > 0).all()
    torch.testing.assert_close(attn.sum(dim=2), torch.ones(3, 5))


def test_teacher_forcing_is_hearing_the_right_words_step_by_step(model):
    image = torch.rand(3, 3, 16, 16)
    regions = model.encode_image(image)
    state, out = model.start(regions), model(image, IDS)
    for place in range(5):
        state, logits, attn = model.step(state, IDS[:, place], regions)
        torch.testing.assert_close(logits, out.logits[:, place])
        assert attn is None and out.attn is None or torch.allclose(attn, out.attn[:, place])


def test_a_word_changes_nothing_before_it_and_something_behind_it(model):
    image, changed = torch.rand(3, 3, 16, 16), IDS.clone()
    changed[:, 2] = torch.tensor([12, 13, 14])
    changed[:, 5] = 3
    before, after = model(image, IDS).logits, model(image, changed).logits
    torch.testing.assert_close(before[:, :2], after[:, :2])
    assert not torch.isclose(before[:, 2:], after[:, 2:]).all(dim=-1).any()


def test_padding_changes_no_loss(model):
    image = torch.rand(3, 3, 16, 16)
    longer = torch.nn.functional.pad(IDS, (0, 4))
    losses = []
    for ids in (IDS, longer):
        out = model(image, ids)
        losses.append(caption_loss(out.logits, ids[:, 1:], smoothing=0.1, attn=out.attn))
    torch.testing.assert_close(*losses)
    assert losses[0] > 0


def test_a_picture_does_not_depend_on_its_neighbours_in_the_batch(model):
    image = torch.rand(3, 3, 16, 16)
    torch.testing.assert_close(model(image, IDS).logits[1:2], model(image[1:2], IDS[1:2]).logits)


def test_the_picture_counts(model):
    logits = model(torch.rand(3, 3, 16, 16), IDS).logits
    assert not torch.isclose(logits, model(torch.rand(3, 3, 16, 16), IDS).logits).all(dim=-1).any()


def test_regions_have_places(attend):
    alike = attend.encode_image(torch.full((1, 3, 16, 16), 0.5)).values
    inner = Captioner(replace(SMALL, image_size=56)).eval().encode_image(torch.full((1, 3, 56, 56), 0.5)).values[0]
    grid = inner.unflatten(0, (7, 7))[3:5, 3:5].flatten(0, 1)  # far from the border, where a convolution sees no place
    assert alike.shape == (1, 4, 8) and torch.pdist(grid).min() > 1e-3


@pytest.mark.parametrize("config", DESIGNS.values(), ids=DESIGNS)
def test_every_parameter_gets_a_gradient(config):
    model = Captioner(config)
    out = model(torch.rand(3, 3, 16, 16), IDS)
    caption_loss(out.logits, IDS[:, 1:], attn=out.attn).backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


@pytest.mark.parametrize("config", DESIGNS.values(), ids=DESIGNS)
def test_one_batch_can_be_learned_by_heart(config):
    model = Captioner(replace(config, word_width=32, state_width=32))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-2)
    image = torch.rand(3, 3, 16, 16)
    first = None
    for _ in range(60):
        loss = caption_loss(model(image, IDS).logits, IDS[:, 1:])
        first = first or loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.05 and first == pytest.approx(math.log(20), abs=0.5)


def test_dropout_is_for_training_only():
    model = Captioner(replace(SMALL, dropout=0.5))
    image = torch.rand(3, 3, 16, 16)
    model.train()
    model.grid.eval()
    assert not torch.allclose(model(image, IDS).logits, model(image, IDS).logits)
    model.eval()
    torch.testing.assert_close(model(image, IDS).logits, model(image, IDS).logits)


# Refusals


@pytest.mark.parametrize(
    "ids, words",
    [
        ([[2, 3]], "a word or more in each caption, got none in row 0. Leave pictures without a caption out"),
        ([[2, 4, 3], [2, 3, 0]], "none in row 1"),
        ([[2, 4, 3], [2, 1, 3]], "words of the vocabulary, got <unknown> in row 1. Collect the vocabulary"),
        ([[2, 20, 3]], "Captioner: expected token ids from 0 to 19, got ids from 2 to 20"),
        ([[2, *[4] * 9, 3]], "at most 10 tokens a text, got 11"),
        ([[2, 4, 5]], "an end-of-text token (3) in each row, got none in row 0"),
    ],
)
def test_captions_that_cannot_be_learned_are_refused(attend, ids, words):
    with pytest.raises(ValueError) as error:
        attend(torch.rand(len(ids), 3, 16, 16), torch.tensor(ids))
    assert words in str(error.value)


def test_other_bad_input_is_refused(attend):
    with pytest.raises(ValueError, match=r"Captioner.encode_image: expected image \(b, c=3, h=16, w=16\).*Resize"):
        attend(torch.rand(3, 3, 32, 32), IDS)
    with pytest.raises(ValueError, match='design "attend" or "tell", got \'shout\''):
        Captioner(replace(SMALL, design="shout"))
    with pytest.raises(ValueError, match="an image size that is a multiple of 8, got 20"):
        Captioner(replace(SMALL, image_size=20))
