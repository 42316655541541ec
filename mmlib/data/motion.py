"""Clips in which a picture moves over a coloured, noisy background, and the class is the motion alone.

Every motion has its time reversal among the others, or is its own. Which picture moves, where, how fast and in which
phase is drawn at random, so that no single frame tells the motion, and no set of frames tells it from its reversal.
"""

import hashlib
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int, UInt8
from PIL import Image, ImageOps
from torch import Tensor

from mmlib.check import check_positive, refuse
from mmlib.data.emoji import Pictures
from mmlib.data.files import check_pixels, files_in, read_clip

# How often each motion contains: a way to the right, a way down, a turn clockwise, growth, an orbit, a shake.
_PARTS = {
    "right": (1, 0, 0, 0, 0, 0),
    "left": (-1, 0, 0, 0, 0, 0),
    "down": (0, 1, 0, 0, 0, 0),
    "up": (0, -1, 0, 0, 0, 0),
    "turn clockwise": (0, 0, 1, 0, 0, 0),
    "turn counterclockwise": (0, 0, -1, 0, 0, 0),
    "grow": (0, 0, 0, 1, 0, 0),
    "shrink": (0, 0, 0, -1, 0, 0),
    "orbit clockwise": (0, 0, 0, 0, 1, 0),
    "orbit counterclockwise": (0, 0, 0, 0, -1, 0),
    "shake": (0, 0, 0, 0, 0, 1),
    "still": (0, 0, 0, 0, 0, 0),
}
MOTIONS = tuple(_PARTS)
# Played backward every part changes its sign, but a shake of random phase stays a shake.
REVERSE = {
    name: next(other for other in MOTIONS if _PARTS[other] == (*(-part for part in parts[:5]), parts[5]))
    for name, parts in _PARTS.items()
}
NOISE = 0.06  # standard deviation, of values in [0, 1]


class Clips(NamedTuple):
    """Short videos, what moves in them, and how."""

    video: UInt8[Tensor, "b t 3 h w"]  # 0 to 255
    motion: Int[Tensor, " b"]  # places in MOTIONS
    sprite: Int[Tensor, " b"]  # places in the pictures they were made of


class SpriteSplit(NamedTuple):
    """Places of the pictures of each part."""

    train: Int[Tensor, " a"]
    validation: Int[Tensor, " b"]  # for choices made while the course was written
    test: Int[Tensor, " c"]


def split_sprites(pictures: Pictures) -> SpriteSplit:
    """Set one picture in ten aside for the test and one in ten for validation, by a hash of its first code point.

    Variants of a drawing, such as skin tones, share their first code point, so a part holds all of them or none.

    Raises:
        ValueError: a part is left without a picture.
    """
    parts = {"train": [], "validation": [], "test": []}
    for i, code in enumerate(pictures.codes):
        tenth = hashlib.sha256(code.split("-")[0].encode()).digest()[0] * 10 // 256
        parts["test" if tenth == 0 else "validation" if tenth == 1 else "train"].append(i)
    empty = [name for name, places in parts.items() if not places]
    if empty:
        refuse("split_sprites", "pictures for every part", f"none for {', '.join(empty)}", "Take more pictures.")
    return SpriteSplit(*(torch.tensor(places, dtype=torch.int64) for places in parts.values()))


def make_clips(
    sprites: UInt8[Tensor, "n 3 side side"],
    clips: int,
    frames: int = 8,
    size: int = 32,
    motion: Int[Tensor, " b"] | None = None,
    sprite: Int[Tensor, " b"] | None = None,
) -> Clips:
    """Render clips of one second: frame i of t shows the time (i + 1/2) / t.

    Random numbers come from torch's generator, and do not depend on the number of frames: with the same seed, the same
    clips are sampled more or less finely in time (their noise aside).

    Args:
        sprites: what may move, from 0 to 255; white is taken as glass. About two thirds of `size` is a good side.
        clips: how many.
        frames: of each clip, 1 or more.
        size: side of the frames, in pixels.
        motion: of each clip, as its place in MOTIONS; all of them equally often by default.
        sprite: of each clip, as its place in `sprites`; at random by default.

    Raises:
        ValueError: no sprite, no clip, no frame; motions or sprites that do not exist; sprites of floats.
    """
    check_pixels("make_clips", sprites)
    for name, value in (("clips", clips), ("frames", frames), ("size", size), ("the number of sprites", len(sprites))):
        check_positive("make_clips", name, float(value))
    motion = torch.randperm(clips) % len(MOTIONS) if motion is None else motion
    sprite = torch.randint(len(sprites), (clips,)) if sprite is None else sprite
    for name, index, end in (("motion", motion, len(MOTIONS)), ("sprite", sprite, len(sprites))):
        if len(index) != clips or not 0 <= index.min() <= index.max() < end:
            got = f"{len(index)} from {index.min()} to {index.max()}"
            refuse("make_clips", f"{clips} values of {name} from 0 to {end - 1}", got)
    theta = _paths(motion, frames)
    colour = 0.15 + 0.8 * torch.rand(clips, 3)
    video = torch.empty(clips, frames, 3, size, size, dtype=torch.uint8)
    for some in torch.arange(clips).split(max(1, 256 // frames)):  # pieces that fit into the processor's cache
        video[some] = _render(sprites[sprite[some]], theta[some], colour[some], size)
    return Clips(video, motion, sprite)


def _paths(motion: Int[Tensor, " b"], frames: int) -> Float[Tensor, "b t 2 3"]:
    """Where the picture is in each frame, as the map from places in the frame to places in the picture, both -1 to 1.

    Everything random is drawn around the middle of the clip, so that a clip played backward is one of the reversed
    motion, neither more nor less likely than any other.
    """

    def draw(low: float, high: float) -> Float[Tensor, "b 1"]:
        return low + (high - low) * torch.rand(len(motion), 1)

    right, down, turn, growth, orbit, shake = rearrange(torch.tensor(list(_PARTS.values()))[motion], "b p -> p b 1")
    time = (torch.arange(frames) + 0.5) / frames - 0.5
    way = draw(0.5, 0.9) * time
    swing = draw(0.2, 0.35) * torch.sin(draw(8.0, 11.0) * time + draw(-torch.pi, torch.pi))
    orbit_x, orbit_y = _arc(draw(0.4, 0.6), draw(-1.0, 1.0), orbit * draw(3.0, 4.5) * time)
    tilt, turned = draw(-0.25, 0.25), turn * draw(1.8, 3.0) * time
    turn_x, turn_y = _arc(draw(0.3, 0.45), tilt, turned)  # about its foot
    x = draw(-0.25, 0.25) + right * way + shake * swing + orbit_x + turn_x
    y = draw(-0.25, 0.25) + down * way + orbit_y + turn_y
    angle = tilt + turned
    scale = draw(0.55, 0.75) * torch.exp(growth * (draw(0.6, 1.0) * time))

    cos, sin = angle.cos() / scale, angle.sin() / scale
    rows = torch.stack([cos, sin, -cos * x - sin * y, -sin, cos, sin * x - cos * y], dim=-1)
    return rearrange(rows, "b t (two three) -> b t two three", two=2)


def _arc(
    radius: Float[Tensor, "b 1"], heading: Float[Tensor, "b 1"], angle: Float[Tensor, "b t"]
) -> tuple[Float[Tensor, "b t"], Float[Tensor, "b t"]]:
    """How far a way round a circle leads, right and down, from where it has this heading; 0 is to the right."""
    right, down = (heading + angle).sin() - heading.sin(), heading.cos() - (heading + angle).cos()
    return radius * right, radius * down


def _render(
    sprites: UInt8[Tensor, "b 3 side side"], theta: Float[Tensor, "b t 2 3"], colour: Float[Tensor, "b 3"], size: int
) -> UInt8[Tensor, "b t 3 size size"]:
    b, t = theta.shape[:2]
    picture = sprites / 255
    glass = picture.amin(dim=1, keepdim=True)  # how much of the background shines through: all of it in white
    ink = torch.cat([picture - glass, 1 - glass], dim=1)
    grid = F.affine_grid(rearrange(theta, "b t i j -> (b t) i j"), [b * t, 4, size, size], align_corners=False)
    grid = rearrange(grid, "(b t) h w two -> b (t h) w two", t=t)  # the frames of a clip, one under the other
    ink, cover = F.grid_sample(ink, grid, align_corners=False).split([3, 1], dim=1)
    video = torch.randn(ink.shape).mul_(NOISE).add_(ink)
    video += (1 - cover) * rearrange(colour, "b c -> b c 1 1")
    return rearrange(video.clamp_(0, 1).mul_(255).round_().to(torch.uint8), "b c (t h) w -> b t c h w", t=t)


class OwnClips(NamedTuple):
    """Clips from a folder, and the classes that its folders name."""

    video: UInt8[Tensor, "b t 3 h w"]  # 0 to 255
    label: Int[Tensor, " b"]  # places in `classes`
    classes: tuple[str, ...]
    names: tuple[str, ...]  # `class/clip`, so that clips of one recording can be kept together in a split


def load_clips(folder: str | Path, frames: int = 8, size: int = 32) -> OwnClips:
    """Read clips of your own: a folder for each class, in it a GIF file or a folder of pictures for each clip.

    This is the layout of UCF101, after `ffmpeg -i clip.avi clip/%04d.jpg`. Of each clip, `frames` frames are taken at
    even distances in time, cut to a square and resized. A picture that lies in a class folder itself is refused: nobody
    knows which clip it is a frame of.

    Raises:
        ValueError: fewer than two classes, a class without clips; as `read_clip`.
    """
    for name, value in (("frames", frames), ("size", size)):
        check_positive("load_clips", name, float(value))
    folder = Path(folder)
    classes = [path for path in files_in(folder) if path.is_dir()] if folder.is_dir() else []
    if len(classes) < 2:
        names = ", ".join(path.name for path in classes) or "none"
        refuse("load_clips", f"a folder for each of two classes or more in {folder}", names, "One class says nothing.")
    clips = [(path, label) for label, of_class in enumerate(classes) for path in files_in(of_class)]
    empty = [path for label, path in enumerate(classes) if label not in {label for _, label in clips}]
    if empty:
        refuse("load_clips", "clips in each folder", f"none in {empty[0]}", "Add some, or remove the folder.")
    video = torch.stack([_squares(read_clip(path, frames, "load_clips"), size) for path, _ in clips])
    names = tuple(path.relative_to(folder).as_posix() for path, _ in clips)
    return OwnClips(video, torch.tensor([label for _, label in clips]), tuple(path.name for path in classes), names)


def _squares(film: list[Image.Image], size: int) -> UInt8[Tensor, "t 3 size size"]:
    squares = [np.asarray(ImageOps.fit(picture, (size, size), Image.Resampling.BICUBIC)) for picture in film]
    return rearrange(torch.from_numpy(np.stack(squares)), "t h w c -> t c h w")


def to_gif(video: UInt8[Tensor, "b t 3 h w"], columns: int = 6, zoom: int = 2, seconds: float = 1.0) -> bytes:
    """An animation that repeats, with the clips side by side in rows: `IPython.display.Image(to_gif(clips.video))`.

    Args:
        video: clips of as many frames each.
        columns: clips a row.
        zoom: pixels of the animation for each of the clip's, across and down.
        seconds: that one round lasts.

    Raises:
        ValueError: clips of floats.
    """
    check_pixels("to_gif", video)
    b, t, _, h, w = video.shape
    grid = F.pad(video, (1, 1, 1, 1), value=255)
    grid = torch.cat([grid, torch.full((-b % columns, *grid.shape[1:]), 255, dtype=torch.uint8)])
    sheet = rearrange(grid, "(rows columns) t c h w -> t (rows h) (columns w) c", columns=columns).numpy()
    first, *rest = [ImageOps.scale(Image.fromarray(page), zoom, Image.Resampling.NEAREST) for page in sheet]
    file = io.BytesIO()
    first.save(file, "GIF", save_all=True, append_images=rest, duration=round(1000 * seconds / t), loop=0)
    return file.getvalue()
