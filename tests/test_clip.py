"""CLIP: what it must not depend on, what it must learn, and what it refuses."""

import math

import pytest
import torch

from mmlib.layers import PatchEmbedding
from mmlib.losses import clip_loss
from mmlib.models.clip import CLIP, CLIPConfig, zero_shot_classifier

SMALL = CLIPConfig(vocabulary=20, text_width=16, image_size=16, image_width=16, patch=8, embed=8, positions=10)
IDS = torch.tensor([[2, 5, 6, 3, 0, 0], [2, 7, 3, 0, 0, 0], [2, 8, 9, 10, 11, 3]])


@pytest.fixture
def model():
    return CLIP(SMALL).eval()


def test_embeddings_are_of_unit_length(model):
    out = model(torch.rand(3, 3, 16, 16), IDS)
    torch.testing.assert_close(out.image_emb.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(out.text_emb.norm(dim=1), torch.ones(3))


def test_padding_changes_nothing(model):
    emb = model.encode_text(IDS)
    longer = torch.cat([IDS, torch.zeros(3, 4, dtype=torch.int64)], dim=1)
    other = torch.where(IDS == 0, 13, IDS)
    torch.testing.assert_close(model.encode_text(longer), emb)
    torch.testing.assert_close(model.encode_text(other), emb)
    torch.testing.assert_close(model.encode_text(IDS[1:2, :3]), emb[1:2])


def test_every_word_before_the_end_counts_and_none_behind(model):
    emb = model.encode_text(IDS)
    for position in (1, 2):
        changed = IDS.clone()
        changed[0, position] = 12
        assert not torch.allclose(model.encode_text(changed)[0], emb[0], atol=1e-4)


def test_word_order_counts(model):
    assert not torch.allclose(*model.encode_text(torch.tensor([[2, 5, 6, 3], [2, 6, 5, 3]])), atol=1e-4)


def test_a_picture_does_not_depend_on_its_neighbours_in_the_batch(model):
    image = torch.rand(4, 3, 16, 16)
    torch.testing.assert_close(model.encode_image(image)[:1], model.encode_image(image[:1]))


def test_patches_have_places(model):
    image = torch.zeros(1, 3, 16, 16)
    image[:, :, :8, :8] = 1
    moved = image.roll(8, dims=-1)
    assert not torch.allclose(model.encode_image(image), model.encode_image(moved), atol=1e-4)


@pytest.mark.parametrize("stem", [CLIPConfig.stem, PatchEmbedding])
def test_every_parameter_gets_a_gradient(stem):
    model = CLIP(CLIPConfig(**{**SMALL.__dict__, "stem": stem}))
    clip_loss(*model(torch.rand(3, 3, 16, 16), IDS)).backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


def test_one_batch_can_be_learned_by_heart():
    torch.manual_seed(0)
    model = CLIP(SMALL)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    image = torch.rand(3, 3, 16, 16)
    for _ in range(40):
        loss = clip_loss(*model(image, IDS))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.05 < math.log(3)


def test_the_scale_starts_at_the_papers_and_is_kept_below_100(model):
    torch.testing.assert_close(model.log_scale.item(), 2.6592, rtol=0, atol=1e-4)
    image = torch.rand(3, 3, 16, 16)
    for wild, kept in ((9.0, math.log(100)), (-3.0, 0.0)):
        model.log_scale.data.fill_(wild)
        assert model(image, IDS).log_scale.item() == pytest.approx(kept)


def test_bad_input_is_refused(model):
    with pytest.raises(ValueError, match="CLIP.encode_image: .*Channels last"):
        model.encode_image(torch.rand(3, 16, 16, 3))
    with pytest.raises(ValueError, match="CLIP.encode_text: expected token ids from 0 to 19, got ids from 2 to 20"):
        model.encode_text(torch.tensor([[2, 20, 3]]))
    with pytest.raises(ValueError, match="multiple of the patch, got image_size=20, patch=8"):
        CLIP(CLIPConfig(vocabulary=20, image_size=20))
    for temperature in (0.0, -0.07):
        with pytest.raises(ValueError, match="CLIP: expected temperature above 0"):
            CLIP(CLIPConfig(vocabulary=20, temperature=temperature))


def planted(texts):
    """Embeds a text by what it says: a class each axis, and a little of the template."""
    rows = [[float("cat" in t), float("dog" in t), 0.5 * t.startswith("a picture")] for t in texts]
    return torch.nn.functional.normalize(torch.tensor(rows), dim=-1)


def test_zero_shot_classifier_is_the_mean_over_templates():
    templates = ["{}", "a picture of a {}"]
    weights = zero_shot_classifier(planted, ["cat", "dog"], templates)
    for row, name in zip(weights, ["cat", "dog"], strict=True):
        mean = sum(planted([t.format(name)])[0] for t in templates) / 2
        torch.testing.assert_close(row, mean / mean.norm())


@pytest.mark.parametrize(
    "names, templates, words",
    [
        ([], ["{}"], "at least one class"),
        (["cat", " "], ["{}"], "each with a name"),
        (["cat", "dog", "cat"], ["{}"], "each class once, got cat more than once"),
        (["cat"], [], "templates with {}"),
        (["cat"], ["a picture"], "templates with {}"),
    ],
)
def test_zero_shot_refusals(names, templates, words):
    with pytest.raises(ValueError) as error:
        zero_shot_classifier(planted, names, templates)
    assert words in str(error.value)
