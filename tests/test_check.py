"""Each error says where, what was expected, what came, and what to do."""

import pytest
import torch

from mmlib.check import check_image, check_positive, check_text_ids, refuse


def test_the_sentence():
    with pytest.raises(ValueError) as error:
        refuse("f", "a", "b", "Do c.")
    assert str(error.value) == "f: expected a, got b. Do c."


@pytest.mark.parametrize(
    "image, words",
    [
        (torch.zeros(8, 48, 48, 3), 'got (8, 48, 48, 3). Channels last? Use rearrange(x, "b h w c -> b c h w").'),
        (torch.zeros(3, 48, 48), "Add the batch axis"),
        (torch.zeros(2, 1, 48, 48), "Grey"),
        (torch.zeros(2, 4, 48, 48), "transparency"),
        (torch.zeros(2, 3, 32, 48), "Resize"),
        (torch.zeros(2, 3, 48, 48, dtype=torch.uint8), "image.float() / 255"),
        (torch.full((2, 3, 48, 48), 255.0), "got [255, 255]. Values in [0, 255]? Use x / 255."),
        (torch.full((2, 3, 48, 48), -1.0), "Already normalised?"),
        (torch.full((2, 3, 48, 48), float("nan")), "got NaN"),
    ],
)
def test_images(image, words):
    with pytest.raises(ValueError) as error:
        check_image("CLIP.encode_image", image, 48, 48)
    assert str(error.value).startswith("CLIP.encode_image: expected image")
    assert words in str(error.value)


def test_one_nan_among_many_numbers_is_found():
    image = torch.rand(2, 3, 8, 8)
    image[1, 2, 3, 4] = float("nan")
    with pytest.raises(ValueError, match="NaN"):
        check_image("f", image, 8, 8)


def test_good_images_pass():
    check_image("f", torch.rand(2, 3, 8, 8), 8, 8)
    check_image("f", torch.rand(0, 3, 8, 8), 8, 8)
    check_image("f", torch.empty(2, 3, 8, 8, device="meta"), 8, 8)


@pytest.mark.parametrize(
    "ids, words",
    [
        (torch.tensor([2, 3]), "Add the batch axis"),
        (torch.tensor([[2.0, 3.0]]), "whole numbers"),
        (torch.tensor([[2, 10, 3]]), "token ids from 0 to 9, got ids from 2 to 10"),
        (torch.tensor([[2, -1, 3]]), "got ids from -1 to 3"),
        (torch.tensor([[2, 4, 4, 4, 4, 4, 3]]), "at most 6 tokens a text, got 7"),
        (torch.tensor([[2, 3], [2, 4]]), "end-of-text token (3) in each row, got none in row 1"),
    ],
)
def test_text_ids(ids, words):
    with pytest.raises(ValueError) as error:
        check_text_ids("CLIP.encode_text", ids, vocabulary=10, positions=6, eot_id=3)
    assert words in str(error.value)


@pytest.mark.parametrize("value", [0.0, -0.5, float("inf"), float("nan")])
def test_positive(value):
    with pytest.raises(ValueError, match="temperature above 0"):
        check_positive("softmax", "temperature", value)
