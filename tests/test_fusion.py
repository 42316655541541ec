"""Fusion: each way by hand, what a missing sense must not change, and what is refused."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from mmlib.models.fusion import FUSIONS, Fusion, FusionConfig
from mmlib.record import record

# The branches of a model of width 2 are not used by hand, and have a layer with no channel.
pytestmark = pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")

SMALL = FusionConfig(classes=3, bands=16, width=8, heads=2)
DRAW = torch.Generator().manual_seed(0)
IMAGE, SOUND = torch.rand(5, 1, 8, 8, generator=DRAW), torch.randn(5, 16, 30, generator=DRAW)


@pytest.fixture(params=FUSIONS)
def model(request):
    return make(request.param)


def make(fusion, config=SMALL):
    """A model with no parameter at a value that hides something: zeros and ones are disturbed."""
    model = Fusion(config, fusion).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def set_by_hand(model):
    """Branches that pass on the mean of two numbers a token, and the classifier W = identity."""
    model.norm["image"], model.norm["sound"] = torch.nn.Identity(), torch.nn.Identity()
    model.classify = torch.nn.Linear(2, 2, bias=False)
    model.classify.weight = torch.nn.Parameter(torch.eye(2))
    return model


TWO = FusionConfig(classes=2, width=2, heads=1)
H_IMAGE, H_SOUND = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 1.0]])


def tokens(h):
    """Three tokens whose mean is h."""
    return torch.stack([h - 1, h, h + 1], dim=1)


# By hand, on vectors of two numbers


def test_early_by_hand():
    model = set_by_hand(Fusion(TWO, "early"))
    with torch.no_grad():
        for sense, weight in (("image", [[1.0, 0.0], [0.0, 1.0]]), ("sound", [[0.0, -3.0], [2.0, 1.0]])):
            model.join[sense].weight.copy_(torch.tensor(weight))
            model.join[sense].bias.fill_(0.5)
        model.classify_fused.weight.copy_(torch.tensor([[1.0, 1.0], [0.0, 2.0]]))
        model.classify_fused.bias.zero_()
    # joined: [2, 0] + [-3, 1] + 0.5 + 0.5 = [0, 2], no ReLU needed; then [0 + 2, 2 * 2]
    torch.testing.assert_close(model.fuse(tokens(H_IMAGE), tokens(H_SOUND)).logits, torch.tensor([[2.0, 4.0]]))


def test_late_by_hand():
    model = set_by_hand(Fusion(TWO, "late"))
    with torch.no_grad():
        model.balance.fill_(torch.tensor(3.0).log())  # alpha = 3/4
    out = model.fuse(tokens(H_IMAGE), tokens(H_SOUND))
    p_image, p_sound = 1 / (1 + torch.tensor(-2.0).exp()), 1 / (1 + torch.tensor(1.0).exp())
    p = 0.75 * p_image + 0.25 * p_sound
    torch.testing.assert_close(out.logits.exp(), torch.tensor([[p, 1 - p]]))
    torch.testing.assert_close(out.weights, torch.tensor([[0.75, 0.25]]))


def test_attention_by_hand():
    model = set_by_hand(Fusion(TWO, "attention"))
    model.score["image"] = torch.nn.Linear(2, 1)
    model.score["sound"] = torch.nn.Linear(2, 1)
    with torch.no_grad():
        for sense, weight in (("image", [[0.5, 7.0]]), ("sound", [[7.0, 0.0]])):
            model.score[sense].weight.copy_(torch.tensor(weight))
            model.score[sense].bias.zero_()
    out = model.fuse(tokens(H_IMAGE), tokens(H_SOUND))  # scores 1 and 0
    alpha = torch.tensor(1.0).sigmoid()
    torch.testing.assert_close(out.weights, torch.tensor([[alpha, 1 - alpha]]))
    torch.testing.assert_close(out.logits, torch.tensor([[2 * alpha, 1 - alpha]]))


def test_cross_against_its_equation():
    model = make("cross")
    seen, heard = torch.randn(4, 16, 8), torch.randn(4, 5, 8)
    normed = {"image": model.norm_tokens["image"](seen), "sound": model.norm_tokens["sound"](heard)}
    seen2 = seen + model.ask["image"](normed["image"], normed["sound"])
    heard2 = heard + model.ask["sound"](normed["sound"], normed["image"])
    logits = 0
    for sense, z in (("image", seen2), ("sound", heard2)):
        logits = logits + model.classify_fused[sense](model.norm_asked[sense](z.mean(dim=1)))
    torch.testing.assert_close(model.fuse(seen, heard).logits, logits)


def test_in_cross_attention_patches_ask_frames_and_frames_ask_patches():
    model = make("cross")
    with record(model) as attn:
        model(IMAGE, SOUND)
    frames = model.encode_sound(SOUND).shape[1]
    assert attn["ask.image.attend"][0].shape == (5, 2, 16, frames)
    assert attn["ask.sound.attend"][0].shape == (5, 2, frames, 16)


# Weights


@pytest.mark.parametrize("fusion", ["late", "attention"])
def test_weights_sum_to_one_over_the_senses(fusion):
    model = make(fusion)
    weights = model(IMAGE, SOUND).weights
    assert weights.shape == (5, 2) and (weights > 0).all()
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(5))
    assert model(IMAGE).weights.tolist() == [[1.0, 0.0]] * 5
    assert model(sound=SOUND).weights.tolist() == [[0.0, 1.0]] * 5


def test_attention_weighs_each_sample_by_itself_and_late_all_alike():
    assert make("attention")(IMAGE, SOUND).weights[:, 0].std() > 1e-4
    assert make("late")(IMAGE, SOUND).weights[:, 0].std() == 0
    assert make("early")(IMAGE, SOUND).weights is None and make("cross")(IMAGE, SOUND).weights is None


def test_a_sample_does_not_depend_on_its_neighbours_in_the_batch(model):
    torch.testing.assert_close(model(IMAGE, SOUND).logits[:2], model(IMAGE[:2], SOUND[:2]).logits)


# A missing sense


@pytest.mark.parametrize("given", [{"image": IMAGE}, {"sound": SOUND}], ids=["no sound", "no picture"])
def test_no_parameter_of_a_missing_sense_matters(model, given):
    missing = "sound" if "image" in given else "image"
    branch = model.hear if missing == "sound" else model.see
    before = model(**given)
    own = [*branch.parameters(), *(p for name, p in model.named_parameters() if f".{missing}." in name)]
    with torch.no_grad():
        for parameter in own:
            parameter.fill_(torch.nan)
        if model.fusion == "late":
            model.balance.fill_(5.0)
    after = model(**given)
    torch.testing.assert_close(after.logits, before.logits)
    assert getattr(after, f"{missing}_logits") is None and torch.isfinite(after.logits).all()


@pytest.mark.parametrize("fusion", ["late", "attention"])
def test_with_one_sense_the_answer_is_that_of_the_sense_alone(fusion):
    model = make(fusion)
    seen, heard = model(IMAGE), model(sound=SOUND)
    torch.testing.assert_close(seen.logits.softmax(dim=1), seen.image_logits.softmax(dim=1))
    torch.testing.assert_close(heard.logits.softmax(dim=1), heard.sound_logits.softmax(dim=1))


def test_both_senses_count_and_each_alone_answers_as_without_the_other(model):
    both = model(IMAGE, SOUND)
    torch.testing.assert_close(both.image_logits, model(IMAGE).image_logits)
    torch.testing.assert_close(both.sound_logits, model(sound=SOUND).sound_logits)
    assert not torch.allclose(both.logits, model(IMAGE.flip(0), SOUND).logits, atol=1e-3)
    assert not torch.allclose(both.logits, model(IMAGE, SOUND.flip(0)).logits, atol=1e-3)


def test_encoding_once_and_fusing_is_the_same(model):
    apart = model.fuse(model.encode_image(IMAGE), model.encode_sound(SOUND))
    torch.testing.assert_close(apart.logits, model(IMAGE, SOUND).logits)


# Learning


def test_every_parameter_gets_a_gradient(model):
    out = model.train()(IMAGE, SOUND)
    target = torch.tensor([0, 1, 2, 0, 1])
    alone = cross_entropy(out.image_logits, target) + cross_entropy(out.sound_logits, target)
    (cross_entropy(out.logits, target) + alone).backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    if model.fusion == "cross":  # a key's bias moves all scores of a query alike, and cancels
        silent = [name for name in silent if "qkv.bias" not in name]
    assert not silent


def test_a_batch_can_be_learned(model):
    model.train()
    target = torch.tensor([0, 1, 2, 0, 1])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(200):
        optimizer.zero_grad()
        loss = cross_entropy(model(IMAGE, SOUND).logits, target)
        loss.backward()
        optimizer.step()
    assert loss < 0.1


def test_sounds_may_be_shorter_or_longer():
    model = Fusion(FusionConfig(), "attention").eval()
    for frames in (9, 51, 200):
        assert model(sound=torch.randn(2, 40, frames)).logits.shape == (2, 10)


# Bad input


def test_an_unknown_fusion_is_refused_with_the_four():
    with pytest.raises(ValueError, match="Fusion: expected a fusion of early, late, attention, cross, got 'middle'"):
        Fusion(SMALL, "middle")


def test_a_model_that_is_given_nothing_refuses(model):
    with pytest.raises(ValueError, match="Fusion: expected a picture or a sound, got neither. Give image="):
        model()


@pytest.mark.parametrize(
    "image, expected",
    [
        (torch.rand(2, 8, 8, 1), r"image \(b, 1, h, w\) .*\(2, 8, 8, 1\). Channels last\? Use rearrange"),
        (torch.rand(2, 1, 9, 9), r"image \(b, c=1, h=8, w=8\), got \(2, 1, 9, 9\)"),
        (torch.rand(1, 8, 8), r"got float32 \(1, 8, 8\). One picture\? Add the batch axis"),
        (16 * torch.rand(2, 1, 8, 8), r"values in \[0, 1\]"),
        (torch.full((2, 1, 8, 8), torch.nan), "image of numbers, got NaN"),
    ],
)
def test_other_pictures_are_refused(image, expected):
    with pytest.raises(ValueError, match=f"Fusion.encode_image: expected .*{expected}|{expected}"):
        make("late").encode_image(image)


@pytest.mark.parametrize(
    "sound, expected",
    [
        (torch.randn(2, 30, 16), r"log-mel sound \(b, f=16, m\), got \(2, 30, 16\)"),
        (torch.randn(2, 8000), r"sound \(b, f, m\) of floats, .*\(2, 8000\). A wave\? Use log_mel\(wave\)"),
        (torch.full((2, 16, 30), torch.nan), "sound of finite numbers, got NaN"),
    ],
)
def test_other_sounds_are_refused(sound, expected):
    with pytest.raises(ValueError, match=f"Fusion.encode_sound: expected {expected}"):
        make("late").encode_sound(sound)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_four_pictures_and_one_sound_are_refused(fusion):
    with pytest.raises(
        ValueError, match=r"Fusion: expected sound \(b, f, m\).*\(1, 16, 30\) beside image \(4, 1, 8, 8"
    ):
        make(fusion)(torch.rand(4, 1, 8, 8), torch.randn(1, 16, 30))
