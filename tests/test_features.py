"""Frozen features: the same in every process, what they promise about shape, colour, letters, and bad input."""

import inspect
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from mmlib.data import features
from mmlib.data.features import (
    PICTURE_FEATURES,
    TEXT_FEATURES,
    grams_of,
    matched_grams,
    mistype,
    picture_features,
    text_features,
)

GRADIENTS, MEANS, SHARES = slice(0, 576), slice(576, 768), slice(768, 1792)


def noise(n=2, size=48):
    return torch.randint(256, (n, 3, size, size), dtype=torch.uint8)


def plain(*rgb, size=48):
    return torch.tensor(rgb, dtype=torch.uint8)[None, :, None, None].expand(1, 3, size, size)


def hog_by_hand(picture, cells, orientations):
    """The histograms as section 6 of the paper has them, pixel by pixel; each cell is a block, L2-Hys."""
    side = picture.shape[0]
    across, down = np.zeros(picture.shape), np.zeros(picture.shape)
    across[:, 1:-1], down[1:-1] = picture[:, 2:] - picture[:, :-2], picture[2:] - picture[:-2]
    histogram = np.zeros((cells, cells, orientations))
    for y in range(side):
        for x in range(side):
            length = np.hypot(across[y, x], down[y, x])
            c = length.argmax()  # the channel with the steepest gradient
            angle = np.degrees(np.arctan2(down[y, x, c], across[y, x, c])) % 180
            share = length[c] / (side // cells) ** 2
            histogram[y * cells // side, x * cells // side, int(angle * orientations / 180)] += share
    length = np.sqrt((histogram**2).sum(axis=2, keepdims=True) + 1e-10)
    cut = np.minimum(histogram / length, 0.2)
    return (cut / np.sqrt((cut**2).sum(axis=2, keepdims=True) + 1e-10)).ravel()


def test_gradients_equal_a_loop_over_pixels():
    image = noise(1, 16)
    expected = hog_by_hand(image[0].permute(1, 2, 0).numpy().astype(float), features.CELLS, features.ORIENTATIONS)
    np.testing.assert_allclose(picture_features(image)[0, GRADIENTS].numpy(), expected, atol=0.51 / 255)


def test_shares_of_colours_equal_a_loop_over_pixels():
    image = noise(1, 16)
    counts = torch.zeros(4, 4, 4, 4, 4)
    for y in range(16):
        for x in range(16):
            red, green, blue = (image[0, :, y, x] // 64).tolist()
            counts[y // 4, x // 4, red, green, blue] += 1
    expected = (counts / 16).sqrt().flatten()
    torch.testing.assert_close(picture_features(image)[0, SHARES], expected, atol=0.51 / 255, rtol=0)


def test_a_plain_picture_has_no_gradients_and_one_colour():
    row = picture_features(plain(255, 0, 0))[0]
    assert not row[GRADIENTS].any()
    lab = torch.tensor([53.24 / 100, (80.09 + 128) / 255, (67.20 + 128) / 255])  # red, by any table of CIELAB
    assert torch.allclose(row[MEANS].reshape(-1, 3), lab, atol=0.003)
    assert row[SHARES].reshape(16, 64)[:, 48].tolist() == [1] * 16 and row[SHARES].sum() == 16


def test_the_mosaic_knows_where_a_colour_is():
    left = torch.cat([plain(255, 255, 255), plain(0, 0, 0)], dim=3)  # a white half and a black one
    lightness = picture_features(left)[0, MEANS].reshape(8, 8, 3)[..., 0]
    assert torch.equal(lightness, torch.tensor([1.0] * 4 + [0.0] * 4).expand(8, 8))


def test_brightness_changes_the_colours_more_than_the_gradients():
    image = noise()
    change = (picture_features(image) - picture_features((image.float() / 2).to(torch.uint8))).abs()
    assert change[:, GRADIENTS].mean() < 0.01 < 0.05 < change[:, MEANS].mean()


def test_pictures_are_described_one_by_one_and_sizes_give_one_width():
    image = noise(3, 32)
    alone = torch.cat([picture_features(image[i : i + 1]) for i in range(3)])
    assert torch.equal(picture_features(image), alone)
    assert alone.shape == picture_features(noise(3, 48)).shape == (3, PICTURE_FEATURES)
    assert picture_features(noise(0)).shape == (0, PICTURE_FEATURES)


def test_many_pictures_are_described_once(tmp_path, monkeypatch):
    monkeypatch.setenv("MMLIB_CACHE", str(tmp_path))
    monkeypatch.setattr(features, "MANY", 2)
    first, second = noise(2, 16), noise(2, 16)
    rows = picture_features(first), picture_features(second)
    assert len(list(tmp_path.iterdir())) == 2
    monkeypatch.setattr(features, "_describe", lambda _: pytest.fail("described again"))
    assert torch.equal(picture_features(first), rows[0]) and torch.equal(picture_features(second), rows[1])


@pytest.mark.parametrize("height, width", [(48, 44), (44, 48), (0, 16)])
def test_pictures_of_other_sizes_are_refused(height, width):
    with pytest.raises(ValueError, match=f"multiples of 8, got {height} x {width}.*size=48"):
        picture_features(torch.zeros(1, 3, height, width, dtype=torch.uint8))


def test_floats_are_no_pixels():
    with pytest.raises(ValueError, match="picture_features: expected pixels from 0 to 255.*got torch.float32"):
        inspect.unwrap(picture_features)(torch.rand(1, 3, 16, 16))


# Texts


def test_grams_by_hand():
    assert grams_of("Cat") == ["c", "a", "t", "<c", "ca", "at", "t>", "<ca", "cat", "at>", "<cat", "cat>", "<cat>"]
    assert grams_of("法官") == ["法", "官", "<法", "法官", "官>", "<法官", "法官>", "<法官>"]
    assert grams_of("dragons")[-1] == "<dragons>"
    assert grams_of("a, b c") == [*grams_of("a"), *grams_of("b"), *grams_of("c"), "<a> <b>", "<b> <c>"]


def test_texts_become_unit_vectors_and_nothing_becomes_zeros():
    rows = text_features(["gato", "法官", "a " * 5000, "", " :-) ", "\U0001f600"])
    torch.testing.assert_close(rows.norm(dim=1), torch.tensor([1.0, 1, 1, 0, 0, 0]))
    assert rows.shape == (6, TEXT_FEATURES) and rows.dtype == torch.float32
    assert text_features([]).shape == (0, TEXT_FEATURES)


def test_a_gram_adds_its_sign_at_its_place():
    a, twice, apart = text_features(["a", "aa", "a-a"])  # a <a a> <a>; a a <a aa a> <aa aa> <aa>; ...
    assert sorted(a[a != 0].abs().tolist()) == pytest.approx([0.5] * 4)
    assert sorted(twice[twice != 0].abs().tolist()) == pytest.approx([0.1**0.5] * 6 + [0.4**0.5])
    assert torch.equal((twice.abs() > 0.5) & (a != 0), twice.abs() > 0.5)  # what counts twice is the letter itself
    assert not torch.equal(twice, apart)


def test_a_typo_and_another_ending_change_little_and_another_word_all():
    right, typo, ending, other = text_features(["firefighter", "firefigther", "firefighters", "mosquito"])
    assert right @ ending > 0.8 and 0.4 < right @ typo < 0.9 and (right @ other).abs() < 0.3


def test_upper_case_and_commas_do_not_matter_and_the_order_of_words_does_a_little():
    rows = text_features(["woman dark skin", "Woman, DARK skin", "skin dark woman"])
    torch.testing.assert_close(rows[0], rows[1])
    assert 0.8 < rows[0] @ rows[2] < 0.99


def test_words_that_differ_in_a_mark_alone_are_told_apart():
    boy, girl, composed, apart = text_features(["लड़का", "लड़की", "café", "cafe\u0301"])
    assert 0.3 < boy @ girl < 0.95 and torch.equal(composed, apart)


def test_one_string_is_refused():
    with pytest.raises(
        ValueError, match=r"text_features: expected texts: a list of texts, got str 'gato'. Use \['gato'\]"
    ):
        text_features("gato")
    with pytest.raises(ValueError, match="mistype: expected texts: a list of texts, got str 'gato'"):
        mistype("gato")


def test_features_are_the_same_in_another_process(capsys):
    code = (
        "import torch, hashlib; from mmlib.data.features import *\n"
        "image = (torch.arange(3 * 48 * 48) * 37 % 251).to(torch.uint8).reshape(1, 3, 48, 48)\n"
        "rows = picture_features(image), text_features(['bombera', '法官', 'a dark cat'])\n"
        "print(*(hashlib.sha256(row.numpy().tobytes()).hexdigest() for row in rows))"
    )
    there = {**os.environ, "PYTHONHASHSEED": "7"}
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True, env=there).stdout
    exec(code, {})
    assert said == capsys.readouterr().out and len(said.split()) == 2


def test_matched_grams_are_shared_whole_and_longest_first():
    assert matched_grams("dragn", "dragon face") == ["<dra", "drag", "n>"]
    assert matched_grams("cat dog", "dog bird") == ["<dog>"]
    assert matched_grams("red cat", "a red cat") == ["<red> <cat>"]
    assert matched_grams("法官", "女法官") == ["法官>"]
    assert matched_grams("", "cat") == matched_grams("xyz", "cat") == []


def test_a_typo_changes_one_letter_into_another():
    texts = ["woman: dark", "gesturing NO", "法官"] * 40
    for text, typo in zip(texts, mistype(texts), strict=True):
        (place,) = [i for i in range(len(text)) if text[i] != typo[i]]
        assert text[place].isalpha() and typo[place] in "abcdefghijklmnopqrstuvwxyz" and len(text) == len(typo)
        assert typo.lower() != text.lower()
    places = {i for typo in mistype(["abcd"] * 200) for i in range(4) if typo[i] != "abcd"[i]}
    assert places == {0, 1, 2, 3}


def test_the_share_of_typos_and_texts_without_letters():
    assert mistype(["12:30 !", ""]) == ["12:30 !", ""]
    assert mistype(["cat"] * 50, share=0.0) == ["cat"] * 50
    changed = sum(text != "cat" for text in mistype(["cat"] * 1000, share=0.3))
    assert 230 < changed < 370


def test_typos_are_drawn_by_torch():
    torch.manual_seed(5)
    first = mistype(["woman firefighter"] * 9)
    torch.manual_seed(5)
    assert mistype(["woman firefighter"] * 9) == first
