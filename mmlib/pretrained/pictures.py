"""Pictures and clips as published models saw them in training: resized, cut to a square, colours brought to a scale."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from mmlib.check import refuse
from mmlib.layers import PatchEmbedding
from mmlib.pretrained.files import part_of, read_json

SIZES = ("size", "crop_size", "rescale_factor", "image_mean", "image_std")
FILE, FILE_OF_PROCESSOR = "preprocessor_config.json", "processor_config.json"


class Preparation(NamedTuple):
    """How to make a picture ready for a model. The model itself takes `mean` from the colours and divides by `std`."""

    shorter: int  # pixels, to which the shorter side is resized
    crop: int  # pixels, side of the square that is cut from the middle
    resample: int  # a number of PIL.Image.Resampling: 2 linear, 3 cubic
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def pictures(self, pictures: Sequence[Any] | np.ndarray | Tensor) -> Float[Tensor, "b 3 h w"]:
        """Make pictures ready: values in [0, 1], all of one size.

        Args:
            pictures: PIL pictures, arrays (h w 3) or (h w), or tensors (3 h w) with values from 0 to 255, of any size.

        Raises:
            ValueError: one picture in place of a list; something else than a picture in it.
        """
        pictures = _listed("Preparation.pictures", "pictures", pictures, axes=4)
        squares = np.stack([np.asarray(self._square(picture)) for picture in pictures])
        return rearrange(torch.from_numpy(squares), "b h w c -> b c h w") / 255

    def clips(self, clips: Sequence[Any] | np.ndarray | Tensor) -> Float[Tensor, "b t 3 h w"]:
        """Make clips ready, each a list of as many pictures, or together one tensor (b t 3 h w).

        Raises:
            ValueError: one clip in place of a list; clips of different lengths; as `pictures`.
        """
        clips = _listed("Preparation.clips", "clips", clips, axes=5)
        clips = [_listed("Preparation.clips", "pictures for each clip", clip, axes=4) for clip in clips]
        lengths = sorted({len(clip) for clip in clips})
        if len(lengths) != 1:
            refuse("Preparation.clips", "clips of as many frames each", f"lengths {lengths}", "Take frames evenly.")
        return torch.stack([self.pictures(clip) for clip in clips])

    def _square(self, picture: Any) -> Image.Image:
        picture = _as_pil(picture)
        width, height = (int(side * self.shorter / min(picture.size)) for side in picture.size)
        left, top = (width - self.crop) // 2, (height - self.crop) // 2
        resized = picture.resize((width, height), Image.Resampling(self.resample))
        return resized.crop((left, top, left + self.crop, top + self.crop))

    def settings(self) -> dict[str, Any]:
        """What preprocessor_config.json says about it."""
        switches = ("do_convert_rgb", "do_resize", "do_center_crop", "do_rescale", "do_normalize")
        size, crop = {"shortest_edge": self.shorter}, {"height": self.crop, "width": self.crop}
        colours = {"rescale_factor": 1 / 255, "image_mean": list(self.mean), "image_std": list(self.std)}
        return dict.fromkeys(switches, True) | {"size": size, "crop_size": crop, "resample": self.resample} | colours


class StandardisedPatches(PatchEmbedding):
    """A patch embedding that brings the colours to the scale of the published weights first.

    Args:
        d, patch, bias: as `PatchEmbedding`.
        mean, std: of red, green and blue in the pictures that the weights were trained on, values in [0, 1].
    """

    def __init__(self, d: int, patch: int, mean: Sequence[float], std: Sequence[float], bias: bool = False):
        super().__init__(d, patch, bias)
        self.mean, self.std = tuple(mean), tuple(std)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d rows columns"]:
        """Turn patches into tokens."""
        mean, std = (image.new_tensor(values)[:, None, None] for values in (self.mean, self.std))
        return super().forward((image - mean) / std)


def _listed(where: str, what: str, given: Any, axes: int) -> list:
    if isinstance(given, str) or not isinstance(given, Iterable) or getattr(given, "ndim", axes) != axes:
        got = str(tuple(given.shape)) if hasattr(given, "shape") else type(given).__name__
        refuse(where, f"a list of {what}", got, "One? Put it into a list.")
    if not (listed := list(given)):
        refuse(where, f"a list of {what}", "an empty list")
    return listed


def _as_pil(picture: Any) -> Image.Image:
    if isinstance(picture, Image.Image) and picture.mode[0] in "IF":
        fix = "Bring the values to 0 to 255 first: a conversion would cut them off."
        refuse("Preparation", "pictures of 8 bits a colour", f"mode {picture.mode}", fix)
    if isinstance(picture, Image.Image):
        return picture.convert("RGB")
    if isinstance(picture, Tensor) and picture.ndim == 3:
        picture = rearrange(picture, "c h w -> h w c").numpy()
    right = isinstance(picture, np.ndarray) and picture.dtype == np.uint8
    if not right or picture.shape[2:] not in ((), (3,), (4,)) or picture.ndim < 2:
        got = f"{type(picture).__name__} {getattr(picture, 'shape', '')} {getattr(picture, 'dtype', '')}".rstrip()
        fix = "Values from 0 to 1? Use (255 * x).astype(np.uint8)."
        refuse("Preparation", "PIL pictures, or arrays (h w 3) with values from 0 to 255", got, fix)
    return Image.fromarray(picture).convert("RGB")


def read_preparation(where: str, folder: Path, image_size: int) -> Preparation:
    """Read how pictures were prepared.

    Args:
        where: who asks.
        folder: holds preprocessor_config.json, or processor_config.json with the same inside.
        image_size: of the model, in pixels.

    Raises:
        FileNotFoundError: neither file is there.
        ValueError: another preparation than this one: resize the shorter side, cut a square, divide by 255, subtract
            three means, divide by three numbers above 0.
    """
    if not (folder / FILE).exists() and (folder / FILE_OF_PROCESSOR).exists():
        inside = read_json(where, folder, FILE_OF_PROCESSOR).get("image_processor")
        found = part_of(where, f"an image_processor in {folder / FILE_OF_PROCESSOR}", inside)
    else:
        found = read_json(where, folder, FILE)
    size, crop = found.get("size"), found.get("crop_size")
    shorter = size.get("shortest_edge") if isinstance(size, dict) else size
    crop = crop.get("height") if isinstance(crop, dict) else crop
    switches = ("do_resize", "do_center_crop", "do_rescale", "do_normalize")
    mean, std = (_three_numbers(found.get(key)) for key in ("image_mean", "image_std"))
    rescale, resample = found.get("rescale_factor", 1 / 255), found.get("resample", 3)
    same = all(found.get(switch, True) for switch in switches) and resample in list(Image.Resampling)
    same = same and isinstance(rescale, float) and abs(255 * rescale - 1) < 1e-4
    if not same or type(shorter) is not int or crop != image_size or crop > shorter:
        got = ", ".join(f"{key}={found.get(key)}" for key in (*SIZES, *switches))
        expected = f"pictures resized by their shorter side and cut to {image_size} pixels, rescaled by 1/255"
        refuse(where, expected, got, "Prepare the pictures yourself, with transformers.")
    if mean is None or std is None or min(std) <= 0:
        got = f"image_mean={found.get('image_mean')}, image_std={found.get('image_std')}"
        refuse(where, f"three numbers each for image_mean and, above 0, image_std in {folder}", got)
    return Preparation(shorter, crop, resample, mean, std)


def _three_numbers(values: Any) -> tuple[float, float, float] | None:
    right = isinstance(values, list) and len(values) == 3 and all(type(x) in (int, float) for x in values)
    return tuple(map(float, values)) if right and all(map(math.isfinite, values)) else None


def preparation_of(where: str, patches: nn.Module, prepare: Preparation, image_size: int, bias: bool) -> Preparation:
    """The preparation as files must tell it: with the colours that the model's own patches bring to a scale, if any.

    Args:
        where: who asks.
        patches: of the model.
        prepare: what its pictures go through.
        image_size: of the model, in pixels.
        bias: whether the layout has a place for one in the patches; it then needs one.

    Raises:
        ValueError: patches that the layout has no place for; a preparation for pictures of another size.
    """
    known = type(patches) in (PatchEmbedding, StandardisedPatches)
    if not known or (patches.convolution.bias is not None) != bias:
        expected = f"patches by one convolution (PatchEmbedding) {'with' if bias else 'without'} a bias"
        refuse(where, expected, type(patches).__name__, "The layout has no place for others.")
    if prepare.crop != image_size:
        refuse(where, f"a preparation that cuts to {image_size} pixels", str(prepare.crop), "Use prepare._replace.")
    if isinstance(patches, StandardisedPatches):
        return prepare._replace(mean=patches.mean, std=patches.std)
    return prepare._replace(mean=(0.0,) * 3, std=(1.0,) * 3)
