"""Frozen features: a row of numbers for each picture and each text, made by rule and not by learning.

Pictures become histograms of gradients (shape) and a small mosaic of colours; texts become hashed n-grams, which know
no vocabulary, so that any script is welcome and a mistyped word still looks like itself.
"""

import hashlib
import string
from collections.abc import Sequence
from functools import cache, lru_cache
from importlib.metadata import version

import numpy as np
import torch
from einops import rearrange, reduce
from jaxtyping import Float, UInt8
from torch import Tensor

from mmlib.check import refuse, typechecked
from mmlib.data.cache import cached_array
from mmlib.data.files import check_pixels
from mmlib.data.text import words_of

CELLS, ORIENTATIONS = 8, 9  # of the gradients: cells along a side, directions that are told apart in each
MOSAIC = 8  # mean colours along a side
REGIONS, LEVELS = 4, 4  # of the colour histograms: regions along a side, levels of red, of green and of blue
PICTURE_FEATURES = CELLS**2 * ORIENTATIONS + MOSAIC**2 * 3 + REGIONS**2 * LEVELS**3
TEXT_FEATURES = 2048
SHORTEST, LONGEST = 1, 4  # characters of an n-gram
MANY = 256  # pictures, from which on their features are kept on disk


def picture_features(image: UInt8[Tensor, "n 3 h w"]) -> Float[Tensor, "n f"]:
    """Describe pictures by histograms of gradients, a mosaic of mean colours, and histograms of colours; 1,792 numbers.

    Equation: h_(cell, o) = sum over the cell's pixels whose gradient has direction o, of the gradient's length
    (3.11; Dalal & Triggs 2005, section 6.2); each cell is then brought to unit length

    Args:
        image: values from 0 to 255; sides that are multiples of 8. A thousand pictures take about a second the first
            time, and come from the cache after that.

    Returns:
        Values from 0 to 1, in steps of 1/255: 576 gradients, 192 mean colours in CIELAB, 1,024 shares of colours, of
        which the root is taken so that small ones count too.

    Raises:
        ValueError: sides that are no multiples of 8; floats.
    """
    check_pixels("picture_features", image)
    n, _, height, width = image.shape
    if height % CELLS or width % CELLS or not height or not width:
        fix = "make_pictures(size=48) and load_pictures(folder, size=48) give such pictures."
        refuse("picture_features", f"pictures with sides that are multiples of {CELLS}", f"{height} x {width}", fix)
    pixels = np.ascontiguousarray(rearrange(image, "n c h w -> n h w c").cpu().numpy())
    if n < MANY:
        return torch.from_numpy(_describe(pixels)).float() / 255
    digest = hashlib.sha256(pixels).hexdigest()[:16]
    name = f"features-{height}-{width}-{digest}-{version('scikit-image')}.bin"
    return torch.from_numpy(cached_array(name, (n, PICTURE_FEATURES), lambda: _describe(pixels))).float() / 255


def _describe(pixels: UInt8[np.ndarray, "n h w 3"]) -> UInt8[np.ndarray, "n f"]:
    described = np.concatenate([_gradients(pixels), _mosaic(pixels), _palette(pixels)], axis=1)
    return np.round(255 * described.clip(0, 1)).astype(np.uint8)


def _gradients(pixels: UInt8[np.ndarray, "n h w 3"]) -> Float[np.ndarray, "n _"]:
    from skimage.feature import hog  # here, since the import takes a moment

    _, height, width, _ = pixels.shape
    cell = (height // CELLS, width // CELLS)
    rows = [hog(picture, ORIENTATIONS, cell, cells_per_block=(1, 1), channel_axis=-1) for picture in pixels]
    return np.array(rows).reshape(len(pixels), CELLS**2 * ORIENTATIONS)


def _mosaic(pixels: UInt8[np.ndarray, "n h w 3"]) -> Float[np.ndarray, "n _"]:
    from skimage.color import rgb2lab

    by_tile = "n (rows h) (columns w) c -> n rows columns c"
    tiles = reduce(pixels.astype(np.float32), by_tile, "mean", rows=MOSAIC, columns=MOSAIC) / 255
    colours = (rgb2lab(tiles) + (0, 128, 128)) / (100, 255, 255)  # lightness, green to red, blue to yellow
    return rearrange(colours, "n rows columns c -> n (rows columns c)")


def _palette(pixels: UInt8[np.ndarray, "n h w 3"]) -> Float[np.ndarray, "n _"]:
    red, green, blue = np.moveaxis(pixels // (256 // LEVELS), -1, 0)
    colour = (red * LEVELS + green) * LEVELS + blue
    region = rearrange(colour, "n (rows h) (columns w) -> (n rows columns) (h w)", rows=REGIONS, columns=REGIONS)
    place = region + LEVELS**3 * np.arange(len(region))[:, None]
    counts = np.bincount(place.ravel(), minlength=len(region) * LEVELS**3)
    shares = counts.reshape(len(pixels), REGIONS**2 * LEVELS**3) / region.shape[1]
    return np.sqrt(shares)


@typechecked
def text_features(texts: Sequence[str]) -> Float[Tensor, "n j"]:
    """Describe texts by their n-grams and words, each of which adds or takes 1 where its hash says; 2,048 numbers.

    Equation: y_k = sum over the n-grams with hash(gram) = k of sign(gram), then unit length
    (3.12; Weinberger et al. 2009, section 2)

    Returns:
        Unit vectors; zeros for a text without a letter or a digit.

    Raises:
        ValueError: one string in place of a list.

    >>> text_features(["gato", ""]).norm(dim=1).round().tolist()
    [1.0, 0.0]
    """
    if len(texts) == 0:
        return torch.zeros(0, TEXT_FEATURES)
    return torch.from_numpy(_hasher().transform(texts).toarray())


@cache
def _hasher():
    from sklearn.feature_extraction.text import HashingVectorizer  # here, since the import takes a moment

    return HashingVectorizer(analyzer=grams_of, n_features=TEXT_FEATURES, dtype=np.float32)


def grams_of(text: str) -> list[str]:
    """The pieces of 1 to 4 characters of each word, each word, and each pair of neighbours; `<` and `>` mark ends.

    Without the pairs, "dark hair, light skin" and "light hair, dark skin" would be the same.

    >>> grams_of("It is")[7:]
    ['<it>', 'i', 's', '<i', 'is', 's>', '<is', 'is>', '<is>', '<it> <is>']
    """
    words = [f"<{word}>" for word in words_of(text)]
    pairs = [f"{first} {second}" for first, second in zip(words, words[1:], strict=False)]
    return [gram for word in words for gram in _grams_of_word(word)] + pairs


@lru_cache(maxsize=10_000)
def _grams_of_word(word: str) -> tuple[str, ...]:
    lengths = range(SHORTEST, LONGEST + 1)
    grams = [word[i : i + n] for n in lengths for i in range(len(word) - n + 1)]
    whole = [word] if len(word) > LONGEST else []
    return tuple(gram for gram in grams + whole if gram not in "<>")


def matched_grams(query: str, text: str) -> list[str]:
    """The n-grams that two texts share, the longest first, without those that lie inside a longer one.

    >>> matched_grams("dragn", "dragon face")
    ['<dra', 'drag', 'n>']
    """
    shared = set(grams_of(query)) & set(grams_of(text))
    apart = [gram for gram in shared if not any(gram != other and gram in other for other in shared)]
    return sorted(apart, key=lambda gram: (-len(gram), gram))


@typechecked
def mistype(texts: Sequence[str], share: float = 1.0) -> list[str]:
    """Replace one random letter, by another from a to z, in a random share of the texts; torch draws.

    Args:
        texts: of any script; a text without a letter stays as it is.
        share: of the texts that are changed, in [0, 1].

    Raises:
        ValueError: one string in place of a list.
    """
    draws = torch.rand(len(texts), 3).tolist()
    return [
        _mistype(text, where, what) if chosen < share else text
        for text, (chosen, where, what) in zip(texts, draws, strict=True)
    ]


def _mistype(text: str, where: float, what: float) -> str:
    letters = [i for i, character in enumerate(text) if character.isalpha()]
    if not letters:
        return text
    i = letters[int(where * len(letters))]
    others = [letter for letter in string.ascii_lowercase if letter != text[i].lower()]
    return text[:i] + others[int(what * len(others))] + text[i + 1 :]
