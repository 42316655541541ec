"""One way to refuse bad input: where it happened, what was expected, what came, and the likely fix."""

from typing import NoReturn

import torch
from torch import Tensor


def refuse(where: str, expected: str, got: str, fix: str = "", error: type[Exception] = ValueError) -> NoReturn:
    """Raise the error that every function of mmlib raises for bad input.

    Args:
        where: who refuses, as the caller would write it (`CLIP.encode_image`).
        expected: what would have been right.
        got: what came.
        fix: the likely mend, a whole sentence.
        error: what to raise; bad input is a ValueError, a file that is not there a FileNotFoundError.

    Raises:
        ValueError: always, unless `error` says otherwise.

    >>> refuse("clip_loss", "a batch of 2 or more", "1", "Add pairs.")
    Traceback (most recent call last):
    ValueError: clip_loss: expected a batch of 2 or more, got 1. Add pairs.
    """
    raise error(f"{where}: expected {expected}, got {got}. {fix}".rstrip())


def check_image(where: str, image: Tensor, height: int, width: int) -> None:
    """Refuse anything but a batch of RGB pictures (b, 3, h, w) with values in [0, 1].

    Raises:
        ValueError: channels last, another size, another number of axes, integers, values in [0, 255], NaN.
    """
    expected = f"image (b, c=3, h={height}, w={width})"
    shape = tuple(image.shape)
    if shape[-3:] != (3, height, width) or len(shape) != 4:
        refuse(where, expected, str(shape), _fix_for_shape(shape, height, width))
    if not image.is_floating_point():
        refuse(where, "image of floats in [0, 1]", str(image.dtype), "Use image.float() / 255.")
    check_unit_range(where, image, "image")


def _fix_for_shape(shape: tuple[int, ...], height: int, width: int) -> str:
    if len(shape) == 3:
        return "One picture? Add the batch axis: x[None]."
    if len(shape) == 4 and shape[-1] == 3:
        return 'Channels last? Use rearrange(x, "b h w c -> b c h w").'
    if len(shape) == 4 and shape[1] == 1:
        return 'Grey pictures? Use repeat(x, "b 1 h w -> b 3 h w").'
    if len(shape) == 4 and shape[1] == 4:
        return "A fourth channel for transparency? Use x[:, :3]."
    return f"Resize with torchvision.transforms.v2.functional.resize(x, [{height}, {width}])."


def check_video(where: str, video: Tensor, size: int) -> None:
    """Refuse anything but a batch of RGB videos (b, t, 3, size, size) with values in [0, 1] and one frame or more.

    Raises:
        ValueError: time behind channels, channels last, no frame, another size, integers, values in [0, 255], NaN.
    """
    expected, shape = f"video (b, t, c=3, h={size}, w={size})", tuple(video.shape)
    if len(shape) != 5 or shape[2:] != (3, size, size):
        refuse(where, expected, str(shape), _fix_for_video(shape, size))
    if shape[1] == 0:
        refuse(where, "a video of one frame or more", f"none in {shape}", "Was it cut behind its end?")
    if not video.is_floating_point():
        refuse(where, "video of floats in [0, 1]", str(video.dtype), "Use video.float() / 255.")
    check_unit_range(where, video, "video")


def _fix_for_video(shape: tuple[int, ...], size: int) -> str:
    if len(shape) == 4:
        return "One video? Add the batch axis: x[None]. One frame of each? Add the time axis: x[:, None]."
    if len(shape) == 5 and shape[1] == 3:
        return 'Time behind channels? Use rearrange(x, "b c t h w -> b t c h w").'
    if len(shape) == 5 and shape[4] == 3:
        return 'Channels last? Use rearrange(x, "b t h w c -> b t c h w").'
    return f"Resize with torchvision.transforms.v2.functional.resize(x, [{size}, {size}])."


def check_patches(where: str, image_size: int, patch: int) -> None:
    """Refuse pictures that cannot be cut into whole patches.

    >>> check_patches("CLIP", image_size=224, patch=32)

    Raises:
        ValueError: the picture's side is no multiple of the patch's.
    """
    if image_size % patch:
        got = f"image_size={image_size}, patch={patch}"
        refuse(where, "an image size that is a multiple of the patch", got, "Resize the pictures, or change the patch.")


def check_unit_range(where: str, x: Tensor, name: str) -> None:
    """Refuse values outside [0, 1] and values that are not numbers.

    Raises:
        ValueError: NaN, infinite, below 0 or above 1.
    """
    if x.is_meta or x.numel() == 0:
        return
    low, high = (value.item() for value in x.detach().aminmax())
    if low != low or high != high:
        refuse(where, f"{name} of numbers", "NaN", "Look for a division by zero before this call: x.isnan().nonzero().")
    if low < -1e-3 or high > 1 + 1e-3:
        fix = "Values in [0, 255]? Use x / 255." if high > 2 else "Already normalised? The model does that itself."
        refuse(where, f"{name} with values in [0, 1]", f"[{low:.3g}, {high:.3g}]", fix)


def check_text_ids(where: str, text_ids: Tensor, vocabulary: int, positions: int, eot_id: int) -> None:
    """Refuse anything but token ids (b, s) of the vocabulary, each row with an end-of-text token.

    Raises:
        ValueError: another number of axes, floats, a text too long, an id outside the vocabulary, no end-of-text.
    """
    if text_ids.ndim != 2:
        refuse(where, "text_ids (b, s)", str(tuple(text_ids.shape)), "One text? Add the batch axis: text_ids[None].")
    if text_ids.dtype not in (torch.int64, torch.int32):
        refuse(where, "text_ids of whole numbers", str(text_ids.dtype), "Use the ids that Tokenizer.encode gives.")
    if text_ids.shape[1] > positions:
        refuse(where, f"at most {positions} tokens a text", str(text_ids.shape[1]), "Shorten the texts.")
    if text_ids.is_meta or text_ids.numel() == 0:
        return
    low, high = (value.item() for value in text_ids.aminmax())
    if low < 0 or high >= vocabulary:
        fix = "Encode with the tokenizer that the model was built for."
        refuse(where, f"token ids from 0 to {vocabulary - 1}", f"ids from {low} to {high}", fix)
    if not (text_ids == eot_id).any(dim=1).all():
        row = (~(text_ids == eot_id).any(dim=1)).nonzero()[0].item()
        refuse(where, f"an end-of-text token ({eot_id}) in each row", f"none in row {row}", "Encode with Tokenizer.")


def check_features(where: str, features: Tensor, width: int) -> None:
    """Refuse anything but rows of finite floats (b, width).

    Raises:
        ValueError: another number of axes, another width, whole numbers, NaN, infinite values.
    """
    shape = tuple(features.shape)
    if len(shape) == 1:
        refuse(where, f"features (b, {width})", str(shape), "One row? Add the batch axis: x[None].")
    if len(shape) != 2 or shape[1] != width:
        refuse(where, f"features (b, {width})", str(shape), "Build the model for the width that your features have.")
    if not features.is_floating_point():
        refuse(where, "features of floats", str(features.dtype), "Use features.float().")
    # The two ends tell of NaN and of infinity in one pass; to look at each number takes seven times as long.
    if not features.is_meta and features.numel() and not torch.stack(features.aminmax()).isfinite().all():
        refuse(where, "features of finite numbers", "NaN or infinity", "Look for a division by zero before this call.")


def check_captions(where: str, text_ids: Tensor, vocabulary: int, positions: int, end_id: int) -> None:
    """Refuse captions to learn from that hold no word, or a word that the tokenizer does not know.

    Raises:
        ValueError: as `check_text_ids`; a row whose end follows the start at once; the unknown token, id 1.
    """
    check_text_ids(where, text_ids, vocabulary, positions, end_id)
    if text_ids.is_meta or text_ids.numel() == 0:
        return
    empty, unknown = text_ids[:, 1] == end_id, (text_ids == 1).any(dim=1)
    if empty.any():
        row = empty.nonzero()[0].item()
        refuse(where, "a word or more in each caption", f"none in row {row}", "Leave pictures without a caption out.")
    if unknown.any():
        fix = "Collect the vocabulary from all captions to learn from, or the model learns to say <unknown>."
        refuse(where, "words of the vocabulary", f"<unknown> in row {unknown.nonzero()[0].item()}", fix)


def check_positive(where: str, name: str, value: float, fix: str = "") -> None:
    """Refuse zero, negative numbers, infinity and NaN.

    >>> check_positive("softmax", "temperature", 0.07)

    Raises:
        ValueError: the value is not a positive finite number.
    """
    if not 0 < value < float("inf"):
        refuse(where, f"{name} above 0", f"{value:.4g}", fix)


def check_floats(where: str, x: Tensor, name: str, fix: str) -> None:
    """Refuse whole numbers: to add noise to them changes nothing, or the wrong thing.

    Raises:
        ValueError: x does not hold floats.
    """
    if not x.is_floating_point():
        refuse(where, f"{name} of floats", str(x.dtype), fix)


def check_level(where: str, level: float | Tensor, batch: Tensor) -> Tensor:
    """The level of noise for each of a batch, from one for all or one for each.

    >>> check_level("noise_sound", 0.5, torch.zeros(2, 8000))
    tensor([0.5000, 0.5000])

    Raises:
        ValueError: another number of levels, one outside [0, 1], NaN.
    """
    level = torch.as_tensor(level, dtype=batch.dtype, device=batch.device)
    if level.shape not in ((), batch.shape[:1]):
        refuse(where, f"one level, or one for each of {len(batch)}", f"levels {tuple(level.shape)}")
    if not ((level >= 0) & (level <= 1)).all():
        refuse(where, "a level from 0 to 1", f"{level.min():.3g} to {level.max():.3g}")
    return level.expand(len(batch))
