"""Handwritten digits, real ones, and the noise that may cover them.

The 1,797 pictures of 8x8 pixels come with scikit-learn: the test part of "Optical Recognition of Handwritten Digits"
(Alpaydin and Kaynak 1998), written by 13 people on a form that dictates which digits to write. The file names no
writer, but form after form begins "0 1 2 3 4 5 6 7 8 9" three times over: there are 14 of them, so that all but one
person filled one. Whole forms are set aside, and nobody's hand is both in training and in the test, unless the one who
filled two filled one of each.
"""

from typing import NamedTuple

import torch
from einops import einsum, rearrange
from jaxtyping import Float, Int
from torch import Tensor

from mmlib.check import check_floats, check_level, check_unit_range, refuse

FORMS = (0, 130, 256, 386, 516, 646, 776, 906, 1029, 1157, 1287, 1415, 1545, 1667)  # where each begins
PIXEL_NOISE, BLUR, OCCLUSION = 1.0, 0.3, 0.9  # at level 1: standard deviation; share of the side, twice
PICTURE_NOISES = ("noise", "blur", "occlusion")


class Digits(NamedTuple):
    """Pictures of digits, and the forms that they stood on."""

    image: Float[Tensor, "n 1 h w"]  # 0 is paper, 1 is ink
    digit: Int[Tensor, " n"]  # 0 to 9
    form: Int[Tensor, " n"]  # 0 to 13

    def take(self, index: Int[Tensor, " m"]) -> "Digits":
        """The digits at these places, in this order."""
        return Digits(*(part[index] for part in self))


class FormSplit(NamedTuple):
    """Places of the digits of each part."""

    train: Int[Tensor, " a"]  # 9 forms
    validation: Int[Tensor, " b"]  # 2 forms, for choices made while the course was written
    test: Int[Tensor, " c"]  # 3 forms


def load_digits() -> Digits:
    """Load the 1,797 pictures, in the order of the file."""
    from sklearn import datasets  # here, since it takes a second

    bunch = datasets.load_digits()
    image = rearrange(torch.from_numpy(bunch.images).float() / 16, "n h w -> n 1 h w")
    form = torch.bucketize(torch.arange(len(image)), torch.tensor(FORMS), right=True) - 1
    return Digits(image, torch.from_numpy(bunch.target).long(), form)


def split_forms(digits: Digits) -> FormSplit:
    """Set the last three forms aside for the test, and the two before them for validation."""
    form = digits.form
    return FormSplit(*(part.nonzero()[:, 0] for part in (form < 9, (form >= 9) & (form < 11), form >= 11)))


def noise_pictures(
    image: Float[Tensor, "b 1 h w"], level: float | Float[Tensor, " b"], kind: str = "noise"
) -> Float[Tensor, "b 1 h w"]:
    """Disturb pictures; random numbers come from torch.

    Args:
        image: pictures with values in [0, 1].
        level: 0 (clean) to 1 (worst), for all or for each.
        kind: `noise` on each pixel; `blur`, as with the wrong glasses; `occlusion` by a grey square.

    Raises:
        ValueError: a level outside [0, 1], an unknown kind, whole numbers, values outside [0, 1].

    >>> noise_pictures(torch.ones(1, 1, 8, 8), level=0.0).min().item()
    1.0
    """
    check_floats("noise_pictures", image, "pictures", "Use image.float() / 255.")
    check_unit_range("noise_pictures", image, "image")
    level = check_level("noise_pictures", level, image)
    if kind == "noise":
        return (image + PIXEL_NOISE * rearrange(level, "b -> b 1 1 1") * torch.randn_like(image)).clamp(0, 1)
    if kind == "blur":
        return _blur(image, BLUR * level)
    if kind == "occlusion":
        return _occlude(image, OCCLUSION * level)
    refuse("noise_pictures", f"a kind of {', '.join(PICTURE_NOISES)}", repr(kind))


def _blur(image: Float[Tensor, "b 1 h w"], width: Float[Tensor, " b"]) -> Float[Tensor, "b 1 h w"]:
    """Each pixel becomes a mean of its surroundings, weighted by a bell of this width (share of the side)."""

    def bell(side: int) -> Float[Tensor, "b to from"]:
        places = torch.arange(side, device=image.device) / side
        distance = (places[:, None] - places) / rearrange(width.clamp(min=1e-3), "b -> b 1 1")
        return (-distance.square() / 2).softmax(dim=-1)

    rows, columns = bell(image.shape[2]), bell(image.shape[3])
    return einsum(rows, image, columns, "b i h, b c h w, b j w -> b c i j")


def _occlude(image: Float[Tensor, "b 1 h w"], side: Float[Tensor, " b"]) -> Float[Tensor, "b 1 h w"]:
    """A square of this side (share of the picture's) lies somewhere in the picture, and within it."""

    def covered(length: int) -> Float[Tensor, "b length"]:
        edges = torch.arange(length + 1, device=image.device) / length
        start = rearrange(torch.rand(len(image), device=image.device) * (1 - side), "b -> b 1")
        inside = edges.clamp(min=start, max=start + rearrange(side, "b -> b 1"))
        return inside.diff(dim=1) * length

    rows, columns = covered(image.shape[2]), covered(image.shape[3])
    cover = einsum(rows, columns, "b h, b w -> b h w")[:, None]
    return image * (1 - cover) + 0.5 * cover
