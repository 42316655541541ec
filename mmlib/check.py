"""One way to refuse bad input: where it happened, what was expected, what came, and the likely fix."""

import inspect
import numbers
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from functools import wraps
from itertools import chain, repeat
from typing import Any, NoReturn, TypeVar, get_args, get_origin, no_type_check

import torch
from beartype import BeartypeConf, FrozenDict
from beartype.door import is_bearable
from jaxtyping import Bool, Float, Int, jaxtyped
from torch import Tensor, nn

Function = TypeVar("Function", bound=Callable[..., Any])

NUMBERS = BeartypeConf(hint_overrides=FrozenDict({int: numbers.Integral, float: numbers.Real}))
KINDS = {Float: "floats", Int: "whole numbers", Bool: "booleans"}
FIX_FOR_KIND = {Float: "Use {}.float().", Int: "Use {}.long().", Bool: "Write a condition, such as {} > 0."}

# An argument's name says what it is, everywhere in the course; so the likely mistake goes by the name.
FIX_FOR_DTYPE = {
    "image": "Use image.float() / 255.",
    "video": "Use video.float() / 255.",
    "text_ids": "Use the ids that Tokenizer.encode gives.",
    "mask": "A mask is True where attention is allowed: mask > 0, or mask == 0 for one that is added.",
}
FIX_FOR_AXES = {
    "image": "One picture? Add the batch axis: x[None].",
    "video": "One video? Add the batch axis: x[None]. One frame of each? Add the time axis: x[:, None].",
    "text_ids": "One text? Add the batch axis: text_ids[None].",
    "sound": "A wave? Use log_mel(wave). One spectrogram? Add the batch axis: x[None].",
}
FIX_FOR_LENGTHS = {
    "image": 'Channels last? Use rearrange(x, "b h w c -> b c h w").',
    "text_emb": "Row i of both must be a pair.",
    "text_ids": "Row i of both must be a pair.",
    "right": "One row a query in both.",
    "same": "One row a picture, one column a text.",
    "sims": "All searches rank one gallery for the same queries.",
    "target_ids": "The targets are text_ids[:, 1:].",
}

_thread = threading.local()  # where each thread remembers that it is inside a model


def refuse(where: str, expected: str, got: str, fix: str = "", error: type[Exception] = ValueError) -> NoReturn:
    """Raise the error that every function of mmlib raises for bad input.

    Args:
        where: who refuses, as the caller would write it (`CLIP.encode_image`).
        expected: what would have been right.
        got: what came.
        fix: what to do about it, a whole sentence.
        error: what to raise; bad input is a ValueError, a file that is not there a FileNotFoundError.

    Raises:
        ValueError: always, unless `error` says otherwise.

    >>> refuse("clip_loss", "a batch of 2 or more", "1", "Add pairs.")
    Traceback (most recent call last):
    ValueError: clip_loss: expected a batch of 2 or more, got 1. Add pairs.
    """
    raise error(f"{where}: expected {expected}, got {got}. {fix}".rstrip())


def typechecked(function: Function) -> Function:
    """Make a function refuse what its signature does not allow, in the form of `refuse`.

    It is for the functions that a user calls, and checks types, the number of axes, and that axes of one name have
    one length. Besides, no tensor may be empty, no string stands for a list of strings, and floats that go into a
    model must be as long as its weights. What no signature says (values, channels last) the function checks itself.
    Layers that a model calls are not checked again, so that a training step loses well under 1 %.

    >>> @typechecked
    ... def dot(x: Float[Tensor, " n"], y: Float[Tensor, " n"]) -> Float[Tensor, ""]:
    ...     return x @ y
    >>> dot(torch.ones(3), torch.ones(2))
    Traceback (most recent call last):
    ValueError: dot: expected y (n) of floats, got float32 (2,) beside x (3,).
    """
    parameters = inspect.signature(function).parameters.values()
    hints = {p.name: p.annotation for p in parameters if p.annotation is not p.empty}
    names = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    others = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), "")
    where = function.__qualname__.removesuffix(".forward").removesuffix(".__init__")

    @wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        is_model = bool(args) and names[:1] == ["self"] and isinstance(args[0], nn.Module)
        if is_model and getattr(_thread, "in_model", False):
            return function(*args, **kwargs)
        given = [*zip(chain(names, repeat(others)), args, strict=False), *kwargs.items()]
        with jaxtyped("context"):  # in which an axis that has a name has one length
            for place, (name, value) in enumerate(given):
                if name in hints and not _fits(value, hints[name]):
                    _refuse_type(where, name, value, hints[name], given[:place])
                if isinstance(value, Tensor):
                    _check_tensor(where, name, value, args[0])
        if not is_model:
            return function(*args, **kwargs)
        _thread.in_model = True
        try:
            return function(*args, **kwargs)
        finally:
            _thread.in_model = False

    return checked  # pyright: ignore[reportReturnType]


@no_type_check  # for a hook that checks annotations gives each function axes of its own
def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is what an annotation says, where a string is no sequence of letters."""
    if get_origin(hint) not in (Sequence, Iterable):
        return is_bearable(value, hint, conf=NUMBERS)
    if isinstance(value, str) or not isinstance(value, get_origin(hint)):
        return False
    return not isinstance(value, Sequence) or all(_fits(item, get_args(hint)[0]) for item in value)


def _check_tensor(where: str, name: str, value: Tensor, owner: Any) -> None:
    if value.numel() == 0:
        refuse(where, f"{name} that is not empty", _shape(value), "Was everything filtered out, or cut away?")
    weight = next(owner.parameters(), None) if isinstance(owner, nn.Module) and value.is_floating_point() else None
    if weight is None or value.dtype == weight.dtype:
        return
    if value.dtype == torch.float64 or not torch.is_autocast_enabled(value.device.type):
        dtype = str(weight.dtype)
        refuse(where, f"{name} of {_short(weight)}, as the weights are", _short(value), f"Use {name}.to({dtype}).")


def _refuse_type(where: str, name: str, value: Any, hint: Any, before: list[tuple[str, Any]]) -> NoReturn:
    array = next((part for part in (hint, *get_args(hint)) if hasattr(part, "dim_str")), None)
    if array is None:
        fix = ""
        if get_origin(hint) in (Sequence, Iterable):
            fix = f"Use [{value[:20]!r}]." if isinstance(value, str) else "Use [text] for one text."
        refuse(where, f"{name}: {_written(hint)}", f"{type(value).__name__} {value!r:.60}", fix)
    axes = ", ".join(array.dim_str.split())
    expected = f"{name} ({axes}) of {KINDS[array.dtype]}"
    if not isinstance(value, Tensor):
        refuse(where, expected, f"{type(value).__name__} {value!r:.60}", "Use torch.as_tensor(x).")
    beside = ", ".join(f"{other} {_shape(x)}" for other, x in before if isinstance(x, Tensor))
    got = f"{_short(value)} {_shape(value)}" + (f" beside {beside}" if beside else "")
    refuse(where, expected, got, _fix_for_tensor(name, value, array))


def _fix_for_tensor(name: str, value: Tensor, array: Any) -> str:
    if not isinstance(value, array.dtype[Tensor, "..."]):
        return FIX_FOR_DTYPE.get(name, FIX_FOR_KIND[array.dtype].format(name))
    axes = array.dim_str.split()
    if value.ndim + 1 == len(axes) and "*" not in array.dim_str:
        one = "One row? Add the batch axis: x[None]." if axes[0] == "b" else ""
        return FIX_FOR_AXES.get(name, one)
    return FIX_FOR_LENGTHS.get(name, "")


def _written(hint: Any) -> str:
    if get_origin(hint) in (Sequence, Iterable):
        inner = get_args(hint)[0]
        return "a list of " + ("texts" if inner is str else _written(inner).replace("a list", "lists"))
    return hint.__name__ if isinstance(hint, type) else str(hint).replace("collections.abc.", "")


def _short(x: Tensor) -> str:
    return str(x.dtype).removeprefix("torch.")


def _shape(x: Tensor) -> str:
    return str(tuple(x.shape))


def check_image(where: str, image: Tensor, height: int, width: int) -> None:
    """Refuse anything but RGB pictures (b, 3, h, w) with values in [0, 1].

    Raises:
        ValueError: channels last, another size, values in [0, 255], NaN.
    """
    if image.shape[1:] != (3, height, width):
        refuse(where, f"image (b, c=3, h={height}, w={width})", _shape(image), _fix_for_image(image, height, width))
    check_unit_range(where, image, "image")


def _fix_for_image(image: Tensor, height: int, width: int) -> str:
    if image.shape[-1] == 3:
        return 'Channels last? Use rearrange(x, "b h w c -> b c h w").'
    if image.shape[1] == 1:
        return 'Grey pictures? Use repeat(x, "b 1 h w -> b 3 h w").'
    if image.shape[1] == 4:
        return "A fourth channel for transparency? Use x[:, :3]."
    return f"Resize with torchvision.transforms.v2.functional.resize(x, [{height}, {width}])."


def check_video(where: str, video: Tensor, size: int) -> None:
    """Refuse anything but RGB videos (b, t, 3, size, size) with values in [0, 1].

    Raises:
        ValueError: time behind channels, channels last, another size, values in [0, 255], NaN.
    """
    if video.shape[2:] != (3, size, size):
        refuse(where, f"video (b, t, c=3, h={size}, w={size})", _shape(video), _fix_for_video(video, size))
    check_unit_range(where, video, "video")


def _fix_for_video(video: Tensor, size: int) -> str:
    if video.shape[1] == 3:
        return 'Time behind channels? Use rearrange(x, "b c t h w -> b t c h w").'
    if video.shape[4] == 3:
        return 'Channels last? Use rearrange(x, "b t h w c -> b t c h w").'
    return f"Resize with torchvision.transforms.v2.functional.resize(x, [{size}, {size}])."


def check_config(where: str, config: Any) -> None:
    """Refuse a dataclass of sizes whose fields are not what their annotations say, or whose whole numbers are below 1.

    An id (`end_id`) may be 0, but has to be one of the vocabulary.

    Raises:
        ValueError: with the name of the first such field.
    """
    for field in fields(config):
        value = getattr(config, field.name)
        if not _fits(value, field.type):
            refuse(where, f"{field.name}: {_written(field.type)}", repr(value))
        if field.name.endswith("_id"):
            check_range(where, f"{field.name}s", torch.tensor(value), config.vocabulary)
        elif field.type is int:
            check_sizes(where, **{field.name: value})


def check_sizes(where: str, **sizes: int) -> None:
    """Refuse sizes below 1.

    >>> check_sizes("Attention", d=64, heads=4)

    Raises:
        ValueError: with the name of the first such size.
    """
    for name, size in sizes.items():
        if size < 1:
            refuse(where, f"{name} of 1 or more", str(size))


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


def check_finite(where: str, x: Tensor, name: str, fix: str = "Look for a division by zero before this call.") -> None:
    """Refuse NaN and infinity.

    Raises:
        ValueError: one of the values is not a finite number.
    """
    # The two ends tell of NaN and of infinity in one pass; to look at each number takes seven times as long.
    if not x.is_meta and not torch.stack(x.detach().aminmax()).isfinite().all():
        refuse(where, f"{name} of finite numbers", "NaN or infinity", fix)


def check_numbers(where: str, values: Tensor, name: str) -> None:
    """Refuse NaN, which would have no place in an order; infinities have one.

    Raises:
        ValueError: NaN.
    """
    if values.isnan().any():
        refuse(where, f"{name} of numbers", "NaN", "Did the training diverge?")


def check_range(where: str, name: str, ids: Tensor, size: int, fix: str = "") -> None:
    """Refuse whole numbers that are not places in a list of `size`.

    Raises:
        ValueError: one of them is below 0, or `size` or more.
    """
    if ids.is_meta:
        return
    low, high = (value.item() for value in ids.aminmax())
    if low < 0 or high >= size:
        refuse(where, f"{name} from 0 to {size - 1}", f"{name.split()[-1]} from {low} to {high}", fix)


def check_text_ids(where: str, text_ids: Tensor, vocabulary: int, positions: int, end_id: int) -> None:
    """Refuse anything but token ids (b, s) of the vocabulary, each row with an end-of-text token.

    Raises:
        ValueError: a text too long, an id outside the vocabulary, no end-of-text.
    """
    if text_ids.dtype not in (torch.int64, torch.int32):
        refuse(where, "text_ids of int64 or int32", _short(text_ids), "Use text_ids.long().")
    if text_ids.shape[1] > positions:
        refuse(where, f"at most {positions} tokens a text", str(text_ids.shape[1]), "Shorten the texts.")
    check_range(where, "token ids", text_ids, vocabulary, "Encode with the tokenizer that the model was built for.")
    _check_rows(
        where, f"an end-of-text token ({end_id}) in each row", (text_ids == end_id).any(dim=1), "Encode with Tokenizer."
    )


def check_captions(where: str, text_ids: Tensor, vocabulary: int, positions: int, end_id: int, unknown_id: int) -> None:
    """Refuse captions to learn from that hold no word, or a word that the tokenizer does not know.

    Raises:
        ValueError: as `check_text_ids`; a row whose end follows the start at once, or that holds `unknown_id`.
    """
    check_text_ids(where, text_ids, vocabulary, positions, end_id)
    words = text_ids[:, 1:2].ne(end_id).any(dim=1)
    _check_rows(where, "a word or more in each caption", words, "Leave pictures without a caption out.")
    fix = "Collect the vocabulary from all captions to learn from, or the model learns to say <unknown>."
    _check_rows(where, "words of the vocabulary", (text_ids != unknown_id).all(dim=1), fix, "<unknown>")


def _check_rows(where: str, expected: str, good: Bool[Tensor, " b"], fix: str, got: str = "none") -> None:
    if not good.is_meta and not good.all():
        refuse(where, expected, f"{got} in row {(~good).nonzero()[0].item()}", fix)


def check_features(where: str, features: Tensor, width: int) -> None:
    """Refuse anything but rows of finite floats (b, width).

    Raises:
        ValueError: another width, NaN, infinite values.
    """
    if features.shape[1] != width:
        fix = "Build the model for the width that your features have."
        refuse(where, f"features (b, {width})", _shape(features), fix)
    check_finite(where, features, "features")


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
