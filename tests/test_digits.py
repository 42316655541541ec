"""Handwritten digits: whole forms are set aside, and each kind of noise does what its name says."""

import inspect

import pytest
import torch
from einops import reduce

from mmlib.data.digits import FORMS, PICTURE_NOISES, load_digits, noise_pictures, split_forms


@pytest.fixture(scope="module")
def digits():
    return load_digits()


def test_all_pictures_are_there_with_ink_from_0_to_1(digits):
    assert digits.image.shape == (1797, 1, 8, 8) and digits.image.aminmax() == (0, 1)
    assert digits.digit.bincount().min() >= 170
    assert digits.image[:, :, 3:5, 3:5].mean() > 4 * digits.image[:, :, :, 0].mean()  # ink is in the middle


def test_every_form_begins_with_the_ten_digits(digits):
    """Two forms lack a digit near their start, so eight of the first ten must fit, wherever a form begins."""
    for start in FORMS:
        first = digits.digit[start : start + 9]
        assert max((first == torch.arange(shift, shift + 9) % 10).sum() for shift in (0, 1)) >= 8, start
    assert digits.form.bincount().tolist() == [b - a for a, b in zip(FORMS, (*FORMS[1:], 1797), strict=True)]


def test_parts_share_no_form(digits):
    split = split_forms(digits)
    forms = [set(digits.take(part).form.tolist()) for part in split]
    assert [len(form) for form in forms] == [9, 2, 3]
    assert set.union(*forms) == set(range(14)) and sum(map(len, split)) == 1797


@pytest.mark.parametrize("kind", PICTURE_NOISES)
def test_no_noise_changes_nothing_and_more_changes_more(digits, kind):
    image = digits.image[:200]
    torch.testing.assert_close(noise_pictures(image, 0.0, kind), image)
    changes = [(noise_pictures(image, level, kind) - image).square().mean() for level in (0.25, 0.5, 0.75, 1.0)]
    assert changes == sorted(changes) and changes[0] > 1e-4
    assert 0 <= noise_pictures(image, 1.0, kind).min() and noise_pictures(image, 1.0, kind).max() <= 1


@pytest.mark.parametrize("kind", PICTURE_NOISES)
def test_each_picture_has_its_own_level(digits, kind):
    image = digits.image[:2]
    noisy = noise_pictures(image, torch.tensor([0.0, 1.0]), kind)
    torch.testing.assert_close(noisy[0], image[0])
    assert (noisy[1] - image[1]).abs().max() > 0.1


def test_noise_is_drawn_for_each_pixel():
    noisy = noise_pictures(torch.full((2, 1, 8, 8), 0.5), 0.1, "noise")
    assert noisy.unique().numel() > 100


def test_blur_keeps_the_ink_and_spreads_it():
    dot = torch.zeros(1, 1, 8, 8)
    dot[..., 4, 4] = 1
    blurred = noise_pictures(dot, 0.5, "blur")[0, 0]
    assert blurred[4, 4] == blurred.max() < 0.5
    torch.testing.assert_close(blurred[4, 3], blurred[4, 5], atol=0.005, rtol=0)  # the edges are not as far away
    torch.testing.assert_close(blurred, blurred.T)
    torch.testing.assert_close(noise_pictures(torch.ones(1, 1, 8, 8), 1.0, "blur"), torch.ones(1, 1, 8, 8))


def test_occlusion_is_one_grey_square_inside_the_picture():
    white = torch.ones(50, 1, 8, 8)
    hidden = 2 * (1 - noise_pictures(white, 0.5, "occlusion"))
    area = reduce(hidden, "b 1 h w -> b", "sum")
    torch.testing.assert_close(area, torch.full((50,), (8 * 0.9 * 0.5) ** 2))
    assert hidden.unique(dim=0).shape[0] == 50  # each somewhere else


def test_bad_input_is_refused():
    image = torch.rand(2, 1, 8, 8)
    with pytest.raises(ValueError, match=r"noise_pictures: expected a level from 0 to 1, got 1.5 to 1.5"):
        noise_pictures(image, 1.5)
    with pytest.raises(ValueError, match=r"a kind of noise, blur, occlusion, got 'fog'"):
        noise_pictures(image, 0.5, "fog")
    with pytest.raises(ValueError, match=r"values in \[0, 1\].*Use x / 255"):
        noise_pictures(255 * image, 0.5)
    with pytest.raises(ValueError, match="pictures of floats, got torch.int64"):
        inspect.unwrap(noise_pictures)(image.round().long(), 0.5)
