"""Clips: each motion does what its name says and its reversal the opposite, sprites are set aside, folders are read."""

import inspect
import io

import numpy as np
import pytest
import torch
from einops import rearrange, reduce
from PIL import Image

from mmlib.data import motion as data
from mmlib.data.emoji import make_pictures
from mmlib.data.files import read_clip
from mmlib.data.motion import MOTIONS, REVERSE, Clips, load_clips, make_clips, split_sprites, to_gif


@pytest.fixture(scope="module")
def pictures():
    return make_pictures(24)


def arrow():
    """A black wedge, thick on its left and thin on its right, with which every motion can be measured."""
    picture = torch.full((1, 3, 48, 48), 255, dtype=torch.uint8)
    for column in range(14, 34):
        picture[:, :, 24 - (34 - column) // 2 : 24 + (34 - column) // 2, column] = 0
    return picture


@pytest.fixture
def clean(monkeypatch):
    """Clips without noise."""
    monkeypatch.setattr(data, "NOISE", 0.0)


def clips_of(name, count=16, frames=8, picture=None, size=32):
    motion = torch.full((count,), MOTIONS.index(name))
    return make_clips(arrow() if picture is None else picture, count, frames, size, motion=motion)


def small_clips_of(name):
    """Clips in which the whole drawing stays in the frame, at a size at which its direction can be measured."""
    small = torch.nn.functional.pad(arrow(), (72, 72, 72, 72), value=255)
    return clips_of(name, picture=small, size=256)


def measure(video):
    """Centre, size and direction of the darker thing, in each frame: x, y in pixels, area in pixels, angle."""
    grey = reduce(video.float(), "b t c h w -> b t h w", "mean")
    background = reduce(grey, "b t h w -> b t 1 1", "max")
    weight = (1 - grey / background).clamp(min=0)
    weight = weight * (weight > 0.2)
    area = reduce(weight, "b t h w -> b t", "sum")
    places = torch.arange(float(video.shape[-1]))
    rows, columns = torch.meshgrid(places, places, indexing="ij")
    x = reduce(weight * columns, "b t h w -> b t", "sum") / area
    y = reduce(weight * rows, "b t h w -> b t", "sum") / area
    dx, dy = columns - rearrange(x, "b t -> b t 1 1"), rows - rearrange(y, "b t -> b t 1 1")
    # third moments: the thin end is far from the centre of mass
    angle = torch.atan2((weight * dy * (dx**2 + dy**2)).sum((2, 3)), (weight * dx * (dx**2 + dy**2)).sum((2, 3)))
    return x, y, area, angle


def steps(angle):
    """From each frame to the next, along the shorter way."""
    return (angle.diff(dim=1) + torch.pi).remainder(2 * torch.pi) - torch.pi


def test_twelve_motions_and_each_reversal_is_among_them():
    assert len(MOTIONS) == len(set(MOTIONS)) == 12
    assert {REVERSE[REVERSE[name]] for name in MOTIONS} == set(MOTIONS) == set(REVERSE)
    assert REVERSE["left"] == "right" and REVERSE["grow"] == "shrink"
    assert [name for name in MOTIONS if REVERSE[name] == name] == ["shake", "still"]


@pytest.mark.parametrize("name, axis, sign", [("right", 0, 1), ("left", 0, -1), ("down", 1, 1), ("up", 1, -1)])
def test_ways_go_where_their_names_say(clean, name, axis, sign):
    x, y, *_ = measure(clips_of(name).video)
    along, across = (x, y) if axis == 0 else (y, x)
    assert (sign * along.diff(dim=1) > 0.3).all()
    assert (across.diff(dim=1).abs() < 0.3).all()


@pytest.mark.parametrize("name, sign", [("turn clockwise", 1), ("turn counterclockwise", -1)])
def test_turns_turn(clean, name, sign):
    x, _, _, angle = measure(small_clips_of(name).video)
    turned = sign * steps(angle)[:, 1:-1].sum(dim=1)  # y points down, so clockwise is positive
    assert ((turned > 5 / 8 * 1.6) & (turned < 5 / 8 * 3.2)).all()  # 1.8 to 3 in the whole clip
    assert (sign * (x[:, -1] - x[:, 0]) > 2).all()  # about its foot, so that the rest is carried along


@pytest.mark.parametrize("name, sign", [("grow", 1), ("shrink", -1)])
def test_sizes_change(clean, name, sign):
    _, _, area, _ = measure(clips_of(name).video)
    assert (sign * (area[:, -1] / area[:, 0]).log() > 0.6).all()


@pytest.mark.parametrize("name, sign", [("orbit clockwise", 1), ("orbit counterclockwise", -1)])
def test_orbits_go_round(clean, name, sign):
    x, y, _, angle = (m[:, 1:-1] for m in measure(small_clips_of(name).video))
    direction = torch.atan2(y.diff(dim=1), x.diff(dim=1))  # of the way, not of the picture, which keeps its direction
    assert (sign * steps(direction).sum(dim=1) > 0.4).all()
    assert (steps(angle).sum(dim=1).abs() < 0.5).all()


def test_a_shake_goes_to_and_fro_and_still_stays(clean):
    x, y, *_ = measure(clips_of("shake", frames=16).video)
    assert (x.diff(dim=1).sign().diff(dim=1) != 0).any(dim=1).all() and (x.amax(1) - x.amin(1) > 2).all()
    assert (y.amax(1) - y.amin(1) < 0.5).all()
    for measured in measure(clips_of("still").video):
        assert (measured.amax(1) - measured.amin(1) < 0.02).all()


def test_a_reversed_clip_is_one_of_the_reversed_motion(clean):
    """Start, speed, size and phase are drawn alike for both: what is left is the order."""
    for name in MOTIONS[:10]:
        torch.manual_seed(3)
        there = measure(clips_of(name, count=200, frames=3).video.flip(1))
        torch.manual_seed(4)
        back = measure(clips_of(REVERSE[name], count=200, frames=3).video)
        for one, other in list(zip(there, back, strict=True))[:3]:
            torch.testing.assert_close(one.mean(dim=0), other.mean(dim=0), rtol=0.1, atol=0.5)


def test_no_frame_alone_tells_a_direction(clean):
    for name in ("right", "up", "turn clockwise", "orbit clockwise", "grow"):
        moving = torch.stack(measure(clips_of(name, count=300, frames=3).video))[:3, :, 1]
        still = torch.stack(measure(clips_of("still", count=300, frames=3).video))[:3, :, 1]
        torch.testing.assert_close(moving.mean(dim=1), still.mean(dim=1), rtol=0.05, atol=0.7)
        torch.testing.assert_close(moving.std(dim=1), still.std(dim=1), rtol=0.2, atol=0)


def test_other_frame_counts_show_the_same_clips(clean):
    for few, many, places in ((1, 3, [1]), (3, 9, [1, 4, 7])):
        torch.manual_seed(5)
        coarse = make_clips(arrow(), 12, few)
        torch.manual_seed(5)
        fine = make_clips(arrow(), 12, many)
        assert torch.equal(coarse.video, fine.video[:, places]) and torch.equal(coarse.motion, fine.motion)


def test_the_same_seed_gives_the_same_clips_and_another_others():
    def make(seed):
        torch.manual_seed(seed)
        return make_clips(arrow(), 24)

    first, again, other = make(0), make(0), make(1)
    assert isinstance(first, Clips) and first.video.shape == (24, 8, 3, 32, 32)
    assert all(map(torch.equal, first, again)) and not torch.equal(first.video, other.video)
    assert first.motion.bincount().tolist() == [2] * 12  # as many of each


def test_sprites_and_motions_may_be_chosen(pictures):
    clips = make_clips(pictures.image, 3, sprite=torch.tensor([7, 0, 7]), motion=torch.tensor([11, 11, 2]))
    assert clips.sprite.tolist() == [7, 0, 7] and clips.motion.tolist() == [11, 11, 2]


def test_white_is_glass_and_ink_covers(clean):
    white = torch.full((1, 3, 24, 24), 255, dtype=torch.uint8)
    red = white.clone()
    red[:, 1:] = 0
    still = torch.full((4,), MOTIONS.index("still"))
    plain = make_clips(white, 4, motion=still).video.flatten(3)
    assert (plain == plain[..., :1]).all()
    inked = make_clips(red, 4, motion=still).video[:, :, :, 16, 16]
    assert (inked == torch.tensor([255, 0, 0])).all()


def test_the_background_is_coloured_and_noisy():
    corner = make_clips(arrow(), 64, motion=torch.full((64,), MOTIONS.index("still"))).video[..., :2, :2].float() / 255
    noise = corner - corner.mean(dim=(1, 3, 4), keepdim=True)
    assert 0.04 < noise.std() < 0.08 and not torch.equal(corner[:, 0], corner[:, 1])
    assert corner.mean(dim=(1, 3, 4)).std(dim=0).min() > 0.15


def test_no_test_sprite_has_a_sibling_in_training(pictures):
    split = split_sprites(pictures)
    everything = torch.cat(split).sort().values
    assert torch.equal(everything, torch.arange(len(pictures)))
    first = [{pictures.codes[i].split("-")[0] for i in part} for part in split]
    assert not (first[0] & first[1] or first[0] & first[2] or first[1] & first[2])
    assert len(split.train) > 2500 and min(len(split.validation), len(split.test)) > 200


def test_the_split_depends_on_the_code_alone(pictures):
    order = torch.randperm(len(pictures))
    for part, other in zip(split_sprites(pictures), split_sprites(pictures.take(order)), strict=True):
        assert {pictures.codes[i] for i in part} == {pictures.codes[order[i]] for i in other}


def test_too_few_pictures_to_split(pictures):
    with pytest.raises(ValueError, match="split_sprites: expected pictures for every part, got none for"):
        split_sprites(pictures.take(torch.tensor([0])))


@pytest.mark.parametrize(
    "options, words",
    [
        ({"clips": 0}, "clips above 0"),
        ({"frames": 0}, "frames above 0"),
        ({"motion": torch.tensor([0, 12])}, "2 values of motion from 0 to 11, got 2 from 0 to 12"),
        ({"motion": torch.tensor([0])}, "2 values of motion"),
        ({"sprite": torch.tensor([0, 1])}, "2 values of sprite from 0 to 0"),
        ({"sprites": arrow()[:0]}, "the number of sprites above 0"),
    ],
)
def test_clips_that_are_refused(options, words):
    with pytest.raises(ValueError, match=f"make_clips: expected {words}"):
        make_clips(**{"sprites": arrow(), "clips": 2, **options})


@pytest.mark.parametrize("function, options", [(make_clips, {"clips": 2}), (to_gif, {})])
def test_floats_are_no_pixels(function, options):
    """They would draw black. Without the check of the signature, which only the tests have."""
    with pytest.raises(ValueError, match=f"{function.__name__}: expected pixels from 0 to 255.*got torch.float32.*255"):
        inspect.unwrap(function)(torch.rand(2, 3, 8, 8), **options)


# Animations and folders


def frames_of(gif):
    film = Image.open(io.BytesIO(gif))
    return film, [film.seek(i) or film.convert("RGB") for i in range(film.n_frames)]


def test_an_animation_has_the_clips_side_by_side():
    video = torch.zeros(3, 4, 3, 8, 8, dtype=torch.uint8)
    for clip in range(3):
        for frame in range(4):
            video[clip, frame, 0] = 60 * clip + 20 * frame
    film, pages = frames_of(to_gif(video, columns=2, zoom=2))
    assert (film.n_frames, film.size, film.info["loop"]) == (4, (40, 40), 0)
    assert film.info["duration"] == 250
    for frame, page in enumerate(pages):
        for clip, place in enumerate([(10, 10), (30, 10), (10, 30)]):
            assert abs(page.getpixel(place)[0] - (60 * clip + 20 * frame)) < 8
        assert page.getpixel((30, 30)) == (255, 255, 255)


def test_an_animation_of_every_motion_is_small(pictures):
    clips = make_clips(pictures.image, 12, motion=torch.arange(12))
    assert len(to_gif(clips.video)) < 300_000


@pytest.fixture
def own(tmp_path):
    """Two classes: a GIF of four frames, and a folder of four pictures, wider than high."""
    (tmp_path / "fall" / "b").mkdir(parents=True)
    (tmp_path / "rise").mkdir()
    pages = [Image.new("RGB", (20, 10), (60 * i, 0, 0)) for i in range(4)]
    for i, page in enumerate(pages):
        page.save(tmp_path / "fall" / "b" / f"{i:03}.png")
    pages[0].save(tmp_path / "rise" / "a.gif", save_all=True, append_images=pages[:0:-1], duration=100)
    return tmp_path


def test_your_own_clips(own):
    clips = load_clips(own, frames=2, size=8)
    assert clips.classes == ("fall", "rise") and clips.label.tolist() == [0, 1]
    assert clips.video.shape == (2, 2, 3, 8, 8)
    assert clips.video[0, :, 0, 4, 4].tolist() == [60, 180]  # frames 1 and 3 of 4
    assert (clips.video[1, :, 0, 4, 4].int() - torch.tensor([180, 60])).abs().max() < 8
    assert load_clips(own, frames=8, size=8).video[0, :, 0, 0, 0].tolist() == [0, 0, 60, 60, 120, 120, 180, 180]
    assert clips.names == ("fall/b", "rise/a.gif")


def test_a_motion_survives_its_animation(tmp_path, pictures):
    """Also "still", of which twelve equal frames are few and long ones in the file."""
    for name in ("left", "still"):
        clip = make_clips(pictures.image, 1, frames=12, motion=torch.tensor([MOTIONS.index(name)])).video
        clip = clip if name == "left" else clip[:, :1].expand_as(clip)
        (tmp_path / "a.gif").write_bytes(to_gif(clip, columns=1, zoom=1))
        film = np.stack([np.array(page, dtype=float) for page in read_clip(tmp_path / "a.gif", 12)])
        assert abs(film[:, 1:-1, 1:-1] - rearrange(clip[0], "t c h w -> t h w c").numpy()).mean() < 8


def test_clips_are_cut_to_the_middle_square(own):
    page = Image.new("RGB", (20, 10), "blue")
    page.paste("red", (5, 0, 15, 10))
    for i in range(4):
        page.save(own / "fall" / "b" / f"{i:03}.png")
    assert (load_clips(own, 1, 8).video[0, 0, 0] > 240).all()


def break_gif(own):
    (own / "rise" / "a.gif").write_bytes(b"GIF89a")


def break_frame(own):
    (own / "fall" / "b" / "001.png").write_text("no picture")


def film(own):
    (own / "rise" / "clip.avi").write_text("a film")


def empty_clip(own):
    (own / "rise" / "c").mkdir()


def loose_frame(own):
    Image.new("RGB", (8, 8)).save(own / "fall" / "000.png")


def empty_class(own):
    (own / "stay").mkdir()


@pytest.mark.parametrize(
    "damage, words",
    [
        (break_gif, r"a\.gif"),
        (break_frame, r"001\.png"),
        (film, r"clip\.avi.*ffmpeg"),
        (loose_frame, r"a folder of frames, got .*000\.png: a file in PNG"),
        (empty_clip, r"a frame or more in each clip, got none in .*rise.c"),
        (empty_class, r"clips in each folder, got none in .*stay"),
    ],
)
def test_unreadable_clips_are_named(own, damage, words):
    damage(own)
    with pytest.raises(ValueError, match=f"load_clips: expected .*{words}"):
        load_clips(own, frames=4, size=8)


def test_one_class_is_refused(own, tmp_path):
    with pytest.raises(ValueError, match="two classes or more in .*, got b"):
        load_clips(own / "fall")
    with pytest.raises(ValueError, match="two classes or more in .*, got none"):
        load_clips(tmp_path / "nowhere")
