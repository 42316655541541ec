"""The doors for files of your own: one for pictures, one for clips, one for tables of captions.

What comes out is whole and looks as a viewer would show it; anything else is refused with the file's name.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from mmlib.check import refuse
from mmlib.data.text import composed, words_of

FIX_CLIP = "Use GIF, or a folder of pictures for each clip: ffmpeg -i clip.avi clip/%04d.jpg makes one."
FIX_CAPTIONS = "A caption stands in one line; one with a comma stands in quotes, and quotes inside it are doubled."


def read_picture(path: str | Path, where: str = "read_picture") -> Image.Image:
    """Read a picture as RGB: upright, as its EXIF says, and on white where it is transparent.

    Grey of 16 bits is scaled to 8, and so are floats from 0 to 1.

    Args:
        path: in any format that Pillow reads; of several pages, the first.
        where: who asks, for the error.

    Raises:
        ValueError: no picture; one that is damaged, cut short or too large; values that have no known white.
    """
    fix = "Save it again as PNG or JPEG, of 8 bits a colour."
    with _named(where, "a picture", path, fix), Image.open(path) as picture:
        return _as_rgb(picture)


def read_clip(path: str | Path, frames: int, where: str = "read_clip") -> list[Image.Image]:
    """Read so many pictures of a clip, at even distances in time: each from the middle of an equal part.

    Args:
        path: a GIF, whose frames last as long as it says; or a folder of pictures, one a frame, in the order of their
            names, 2 before 10.
        frames: how many. A clip that has fewer shows some again.
        where: who asks, for the error.

    Raises:
        ValueError: a GIF that is damaged or cut short, an empty folder, another file; as `read_picture`.
    """
    path = Path(path)
    if path.is_dir():
        files = files_in(path)
        if not files:
            refuse(where, "a frame or more in each clip", f"none in {path}", "Add some, or remove the folder.")
        return [read_picture(files[i], where) for i in sample_places([1] * len(files), frames)]
    pictures = []
    with _named(where, "a whole GIF, or a folder of frames", path, FIX_CLIP), Image.open(path) as film:
        if film.format != "GIF":
            raise ValueError(f"a file in {film.format}")
        for i in sample_places(_delays(path.read_bytes()), frames):
            film.seek(i)
            pictures.append(_as_rgb(film))
    return pictures


def read_captions(path: str | Path, where: str = "read_captions") -> dict[str, list[str]]:
    """Read a table of captions: the name of each picture, and its captions in the file's order, composed (NFC).

    Args:
        path: a text in UTF-8. Its first line is `image,caption`, then comes a line for each caption; empty lines are
            allowed. A caption with a comma stands in quotes.
        where: who asks, for the error.

    Raises:
        ValueError: no such file, another encoding, another first line, no caption; a line without a caption, with an
            open quote, or whose caption has no word.
    """
    if not Path(path).is_file():
        refuse(where, f"a file {path}", "none", "Its lines are image,caption; its first line says so.")
    rows = _rows(Path(path), where)
    _, head = next(rows, (1, []))
    if [cell.lower() for cell in head] != ["image", "caption"]:
        got, fix = f"{','.join(head)!r} in {path}", "Write that line above the others."
        refuse(where, "image,caption in the first line", got, fix)
    captions: dict[str, list[str]] = {}
    for number, row in rows:
        got = f"{','.join(row)!r} in line {number} of {path}"
        if len(row) != 2 or not all(row):
            refuse(where, "image,caption", got, FIX_CAPTIONS)
        if not words_of(row[1]):
            refuse(where, "a caption with a word", got, "Write what is seen in words, or remove the line.")
        captions.setdefault(row[0], []).append(composed(row[1]))
    if not captions:
        refuse(where, "at least one line image,caption", f"an empty file {path}")
    return captions


def files_in(folder: Path) -> list[Path]:
    """What a folder holds, by name and with numbers in their order, 2 before 10; hidden files are left out.

    Raises:
        FileNotFoundError: there is no such folder.
    """

    def in_order(path: Path) -> tuple[list[str | int], str]:
        parts: list[str | int] = re.split("([0-9]+)", path.name)
        parts[1::2] = map(int, parts[1::2])
        return parts, path.name

    return sorted((path for path in folder.iterdir() if not path.name.startswith(".")), key=in_order)


def sample_places(durations: Sequence[int], count: int) -> list[int]:
    """The places of `count` frames that show a clip at even distances in time: the middles of equal parts of it.

    Args:
        durations: of each frame, in any unit.
        count: how many places.

    >>> sample_places([1] * 16, 4)
    [2, 6, 10, 14]
    """
    ends = np.cumsum(durations)
    return np.searchsorted(ends, (np.arange(count) + 0.5) / count * ends[-1], side="right").tolist()


def check_pixels(where: str, pixels: Tensor) -> None:
    """Refuse pixels that are no whole numbers from 0 to 255 (uint8).

    Raises:
        ValueError: floats, or other whole numbers.
    """
    if pixels.dtype != torch.uint8:
        fix = "Values from 0 to 1? Use (255 * x).round().byte()."
        refuse(where, "pixels from 0 to 255, of torch.uint8", str(pixels.dtype), fix)


@contextmanager
def _named(where: str, expected: str, path: str | Path, fix: str) -> Iterator[None]:
    """Name the file when it cannot be read: bad bytes make Pillow raise anything from SyntaxError to struct.error."""
    try:
        yield
    except Exception as error:
        refuse(where, expected, f"{path}: {error or type(error).__name__}", fix)


def _as_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode == "LAB" or picture.mode == "I" and picture.format not in {"PNG", "PPM"}:
        raise ValueError(f"values that Pillow calls {picture.mode}")  # it would give wrong colours, and say nothing
    picture = ImageOps.exif_transpose(picture)
    if picture.mode == "F" or picture.mode.startswith("I"):
        picture = _of_eight_bits(picture)
    if picture.has_transparency_data:
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture.convert("RGBA"))
    return picture.convert("RGB")


def _of_eight_bits(picture: Image.Image) -> Image.Image:
    """Pillow itself clips at 255, which turns grey of 16 bits white and floats from 0 to 1 black."""
    white = 1 if picture.mode == "F" else 2**16 - 1
    values = np.array(picture, dtype=np.float64)
    if not 0 <= values.min() <= values.max() <= white:
        raise ValueError(f"values from {values.min():.3g} to {values.max():.3g}, not from 0 to {white}")
    values[values == picture.info.get("transparency")] = white
    return Image.fromarray(np.round(255 / white * values).astype(np.uint8))


def _delays(gif: bytes) -> list[int]:
    """How long each frame of a GIF lasts, in 1/100 s, by a walk from block to block up to the one that ends it.

    Pillow takes a file that is cut short for a film that is short. Delays below 2 last 10, as in browsers.
    """

    def table(flags: int) -> int:
        return 3 * 2 ** (flags % 8 + 1) if flags & 0x80 else 0  # bytes of a palette

    delays, delay = [], 0
    try:
        at = 13 + table(gif[10])
        while gif[at] != 0x3B:
            if gif[at] == 0x2C:  # a picture
                delays.append(delay if delay > 1 else 10)
                delay, at = 0, at + 11 + table(gif[at + 9])
            elif gif[at] == 0x21:  # an extension; 0xF9 says how long the next picture lasts
                delay = int.from_bytes(gif[at + 4 : at + 6], "little") if gif[at + 1] == 0xF9 else delay
                at += 2
            else:
                raise ValueError(f"no block begins with {gif[at]:#04x}")
            while gif[at]:
                at += 1 + gif[at]
            at += 1
    except IndexError:
        raise ValueError("it ends before its last frame does") from None
    return delays


def _rows(path: Path, where: str) -> Iterator[tuple[int, list[str]]]:
    """The cells of each line that is not empty, with the line's number."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number, byte = error.object[: error.start].count(b"\n") + 1, error.object[error.start]
        fix = "Save it as UTF-8; spreadsheets call it CSV UTF-8."
        refuse(where, "captions in UTF-8", f"the byte {byte:#04x} in line {number} of {path}", fix)
    for number, line in enumerate(io.StringIO(text, newline=None), start=1):
        try:
            # Line by line: an open quote would swallow the lines that follow, and their pictures.
            row = next(csv.reader([line.strip()], strict=True, skipinitialspace=True), [])
        except csv.Error as error:
            refuse(where, "image,caption", f"{line.strip()!r} in line {number} of {path}: {error}", FIX_CAPTIONS)
        if row:
            yield number, [cell.strip() for cell in row]
