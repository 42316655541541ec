"""Demos of video: what they show against numbers worked out apart, the ends of their ranges, errors, and threads."""

import math

import numpy as np
import pytest
import torch
from page import check_texts
from torch import nn

from mmlib.widgets import FrameCountExplorer, OrderExplorer
from mmlib.widgets.clips import ClipPicker, Strip
from mmlib.widgets.order import mirrored_pairs, random_pairs, swap

NAMES = ["left", "right", "still", "shake"]
REVERSE = {"left": "right", "right": "left", "still": "still", "shake": "shake"}
ACCURACY = {1: 0.25, 2: 0.5, 4: 0.75, 8: 0.875, 16: 0.9}
COST = {1: 7_800_000, 2: 15_500_000, 4: 31_000_000, 8: 62_000_000, 16: 124_000_000}
STEEP = 60.0
MOTIONS = torch.tensor([1, 0, 0, 3, 2, 1, 1, 0, 2, 3, 3, 2])


class Slope(nn.Module):
    """Knows whether the brightness of a clip rises or falls, and how many frames it has."""

    def __init__(self, classes=4):
        super().__init__()
        self.steep, self.classes, self.asked = nn.Parameter(torch.tensor(STEEP)), classes, []

    def forward(self, video):
        assert video.is_floating_point() and not self.training and torch.is_inference_mode_enabled()
        self.asked.append(video)
        mean = video.mean(dim=(2, 3, 4))
        place = torch.linspace(-1, 1, video.shape[1]) if video.shape[1] > 1 else torch.zeros(1)
        rise = self.steep * (mean * place).sum(dim=1)
        rest = [mean[:, 0], torch.full_like(rise, 0.1 * video.shape[1]), torch.zeros_like(rise)]
        return torch.stack([-rise, rise, *rest], dim=1)[:, : self.classes]


def video(frames, n=12):
    """Clip n has frame t in one shade of grey, 10 n + t, but for a bright spot."""
    shades = 10 * torch.arange(n)[:, None] + torch.arange(frames)
    clips = shades[:, :, None, None, None].expand(n, frames, 3, 8, 8).clone()
    clips[:, :, 0, 0, 0] = 250
    return clips.to(torch.uint8)


def frame_count(model=None, **other):
    arguments = {"clips": video(16), "motions": MOTIONS, "names": NAMES, "accuracy_at": ACCURACY, "cost_at": COST}
    return FrameCountExplorer(model or Slope().train(), **(arguments | other))


def order(model=None, frames=8, **other):
    arguments = {"clips": video(frames), "motions": MOTIONS, "names": NAMES, "reverse": REVERSE}
    return OrderExplorer(model or Slope().train(), **(arguments | other))


def by_loop(clip, places, steep=STEEP):
    """What the model says of one clip whose frames are these, in plain numbers."""
    means = [sum(clip[place].flatten().tolist()) / 255 / clip[place].numel() for place in places]
    last = len(means) - 1
    rise = steep * sum(mean * (2 * t / last - 1) for t, mean in enumerate(means)) if last else 0.0
    logits = [-rise, rise, means[0], 0.1 * len(means)]
    exps = [math.exp(logit - max(logits)) for logit in logits]
    return [e / sum(exps) for e in exps]


def shown_bars(demo):
    bars = demo.bars
    return {
        label.get_text(): (round(bar.get_width(), 4), bar.get_hatch(), value.get_text())
        for label, bar, value in zip(bars.labels, bars.bars, bars.values, strict=True)
    }


# ---------------------------------------------------------------- number of frames


@pytest.mark.parametrize(
    ("count", "sampled"),
    [
        (1, [8]),
        (2, [4, 12]),
        (4, [2, 6, 10, 14]),
        (8, [1, 3, 5, 7, 9, 11, 13, 15]),
        (16, list(range(16))),
    ],
)
def test_frame_count_shows_what_a_loop_gives(count, sampled):
    demo = frame_count()
    demo.frames.value, demo.motion.value, demo.clip.value = count, 3, 2
    state = demo.state()
    assert (state["frames"], state["sampled"], state["clip"], state["right"]) == (count, sampled, 9, 3)
    expected = by_loop(video(16)[9], sampled)
    assert state["probabilities"] == pytest.approx(expected, abs=1e-5)
    assert state["predicted"] == expected.index(max(expected))
    assert (state["accuracy"], state["cost"]) == (ACCURACY[count], COST[count])
    words = demo.live.words.value
    frames = "1 frame" if count == 1 else f"{count} frames"
    assert f"With {frames} a clip of “shake” is called “{NAMES[state['predicted']]}”" in words
    assert f"{ACCURACY[count]:.0%} are called right with {frames}" in words


def test_frame_count_hands_the_model_the_frames_it_shows():
    model = Slope()
    demo = frame_count(model)
    demo.frames.value = 4
    assert torch.equal(model.asked[-1], video(16)[demo.state()["clip"]][None, [2, 6, 10, 14]] / 255)
    shown = [outline.get_visible() for outline in demo.strip.outlines]
    assert [n for n, seen in enumerate(shown) if seen] == [2, 6, 10, 14]
    assert [image.get_alpha() == 1 for image in demo.strip.frames] == shown
    assert [text.get_weight() == "bold" for text in demo.strip.numbers] == shown
    assert [text.get_text() for text in demo.strip.numbers] == [str(n + 1) for n in range(16)]


def test_frame_count_draws_what_it_says():
    demo = frame_count()
    demo.frames.value, demo.motion.value = 8, 0
    state = demo.state()
    bars = shown_bars(demo)
    assert list(bars) == NAMES
    assert [width for width, _, _ in bars.values()] == pytest.approx(state["probabilities"], abs=1e-4)
    assert bars["left"][1:] == ("//", f"{state['probabilities'][0]:.2f}  ◄ the motion")
    assert all(hatch == "" and "◄" not in text for name, (_, hatch, text) in bars.items() if name != "left")
    assert demo.accuracy.dot.get_xydata().tolist() == [[8, 0.875]]
    assert demo.cost.dot.get_xydata().tolist() == [[8, 62_000_000]]
    assert demo.accuracy.title.get_text() == "held-out top-1: 0.88"
    assert demo.cost.title.get_text() == "million multiply-adds a clip: 62"
    assert "A clip then costs 62 million multiply-adds, 7.9 times what 1 frame would cost." in demo.live.words.value


def test_frame_count_says_whether_the_answer_is_right():
    demo = frame_count()
    demo.motion.value = 1  # the brightness rises, and the model calls that “right”
    assert "a clip of “right” is called “right”" in demo.live.words.value and "which is right" in demo.live.words.value
    demo.motion.value = 0
    assert "; the right motion gets" in demo.live.words.value


def test_the_first_clip_of_a_motion_is_one_of_this_motion():
    demo = frame_count()
    for motion in range(4):
        for number in range(1, demo.clip.max + 1):
            demo.motion.value, demo.clip.value = motion, number
            assert MOTIONS[demo.state()["clip"]] == motion
    assert demo.clip.max == 3  # every motion has three clips


@pytest.mark.parametrize(("asked", "given"), [(-5, 1), (0, 1), (4, 3), (10**9, 3)])
def test_clip_numbers_stay_in_their_range(asked, given):
    demo = frame_count()
    demo.clip.value = asked
    assert demo.clip.value == given and "Error" not in demo.live.words.value


@pytest.mark.parametrize("count", [0, 3, 17, -1, "4"])
def test_frame_count_has_no_other_number(count):
    demo = frame_count()
    with pytest.raises(Exception, match="Invalid selection"):
        demo.frames.value = count
    assert demo.frames.options == (1, 2, 4, 8, 16)


def test_one_clip_of_one_motion_is_enough():
    demo = frame_count(clips=video(16, n=1), motions=torch.tensor([2]))
    assert demo.clip.max == 1 and demo.state()["clip"] == 0 and "Error" not in demo.live.words.value


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"cost_at": {1: 1.0}}, "accuracy_at and cost_at for the same numbers of frames, two or more"),
        ({"accuracy_at": {1: 0.1}, "cost_at": {1: 2}}, "two or more"),
        ({"accuracy_at": ACCURACY | {32: 0.9}, "cost_at": COST | {32: 10**9}}, "numbers of frames from 1 to 16"),
        ({"accuracy_at": ACCURACY | {0: 0.9}, "cost_at": COST | {0: 1}}, "numbers of frames from 1 to 16"),
        ({"accuracy_at": ACCURACY | {4: 75.0}}, r"accuracy_at\[4\] in \[0, 1\]"),
        ({"accuracy_at": ACCURACY | {4: math.nan}}, r"accuracy_at\[4\] in \[0, 1\]"),
        ({"cost_at": COST | {2: 0}}, r"cost_at\[2\] above 0"),
        ({"motions": MOTIONS[:5]}, "12 motions, got 5"),
        ({"names": NAMES[:3]}, "motions from 0 to 2"),
        ({"clips": video(16).movedim(2, 1)}, r"clips \(n, t, c=3, h, w\), got \(12, 3, 16, 8, 8\). Use rearrange"),
        ({"clips": video(16)[:, :0]}, r"clips .*, got \(12, 0, 3, 8, 8\)"),
        ({"clips": video(16)[:0], "motions": MOTIONS[:0]}, r"clips .*, got \(0, 16, 3, 8, 8\)"),
    ],
)
def test_frame_count_refuses(change, said):
    with pytest.raises(ValueError, match=f"FrameCountExplorer: expected .*({said})"):
        frame_count(**change)


def test_clips_of_floats_are_refused():
    with pytest.raises(ValueError, match="Explorer: expected clips of bytes, 0 to 255, got torch.float32"):
        ClipPicker("Explorer", video(4) / 255, MOTIONS, NAMES)


# ---------------------------------------------------------------- order


@pytest.mark.parametrize(
    ("play", "swapped", "numbers"),
    [
        ("forward", 0, [0, 1, 2, 3, 4, 5, 6, 7]),
        ("forward", 2, [7, 1, 2, 3, 4, 5, 6, 0]),
        ("forward", 6, [7, 6, 5, 3, 4, 2, 1, 0]),
        ("forward", 8, [7, 6, 5, 4, 3, 2, 1, 0]),
        ("backward", 0, [7, 6, 5, 4, 3, 2, 1, 0]),
        ("backward", 4, [0, 1, 5, 4, 3, 2, 6, 7]),
        ("backward", 8, [0, 1, 2, 3, 4, 5, 6, 7]),
    ],
)
def test_order_shows_what_a_loop_gives(play, swapped, numbers):
    model = Slope()
    demo = order(model)
    demo.motion.value, demo.clip.value, demo.play.value, demo.swapped.value = 1, 3, play, swapped
    clip, state = video(8)[6], demo.state()
    assert (state["clip"], state["motion"], state["reversal"]) == (6, 1, 0)
    assert (state["play"], state["swapped"], state["order"]) == (play, swapped, numbers)
    assert torch.equal(model.asked[-1][swapped // 2], clip[numbers] / 255)
    expected = by_loop(clip, numbers)
    assert state["probabilities"] == pytest.approx(expected, abs=1e-5)
    assert state["predicted"] == expected.index(max(expected))
    assert state["motion_at"][swapped // 2] == pytest.approx(expected[1], abs=1e-5)
    assert state["reversal_at"][swapped // 2] == pytest.approx(expected[0], abs=1e-5)
    assert [text.get_text() for text in demo.strip.numbers] == [str(n + 1) for n in numbers]
    assert [outline.get_visible() for outline in demo.strip.outlines] == [n in state["moved"] for n in range(8)]
    assert len(state["moved"]) == swapped
    for shown, n in zip(demo.strip.frames, numbers, strict=True):
        assert np.array_equal(shown.get_array(), clip[n].permute(1, 2, 0).numpy())


def test_the_prediction_turns_into_its_reversal():
    demo, predicted = order(), []
    demo.motion.value = 1
    for swapped in (0, 2, 4, 6, 8):
        demo.swapped.value = swapped
        predicted.append(NAMES[demo.state()["predicted"]])
    assert predicted[0] == "right" and predicted[-1] == "left"
    state = demo.state()
    assert state["motion_at"] == sorted(state["motion_at"], reverse=True)
    assert state["reversal_at"] == sorted(state["reversal_at"])
    assert "the clip backward. The model calls it “left”, the reversal." in demo.live.words.value
    assert f"“right” has {state['motion_at'][4]:.0%}, its time reversal “left” {state['reversal_at'][4]:.0%}" in (
        demo.live.words.value
    )
    demo.play.value = "backward"
    assert "Frames 1 2 3 4 5 6 7 8, the clip forward. The model calls it “right”, the motion." in demo.live.words.value


def test_order_draws_what_it_says():
    demo = order()
    demo.motion.value, demo.swapped.value = 0, 4
    state, bars = demo.state(), shown_bars(demo)
    assert [width for width, _, _ in bars.values()] == pytest.approx(state["probabilities"], abs=1e-4)
    assert bars["left"][1] == "//" and bars["left"][2].endswith("◄ the motion")
    assert bars["right"][1] == ".." and bars["right"][2].endswith("◄ its reversal")
    own, other = demo.paths.lines
    assert own.get_ydata() == pytest.approx(state["motion_at"]) and list(own.get_xdata()) == [0, 2, 4, 6, 8]
    assert other.get_visible() and other.get_ydata() == pytest.approx(state["reversal_at"])
    assert demo.paths.now.get_xdata() == [4, 4]


def test_a_motion_that_is_its_own_reversal_has_one_mark_and_one_curve():
    demo = order()
    demo.motion.value = 2
    bars = shown_bars(demo)
    assert bars["still"][1] == "//" and bars["still"][2].endswith("◄ the motion")
    assert sum("◄" in text for _, _, text in bars.values()) == 1
    assert [line.get_visible() for line in demo.paths.lines] == [True, False]
    assert "played backward it is still “still”. Shown is clip 1 of the motion." in demo.live.words.value
    demo.clip.value = 2
    assert "Shown is clip 2 of the motion." in demo.live.words.value
    demo.motion.value = 1
    assert [line.get_visible() for line in demo.paths.lines] == [True, True]


@pytest.mark.parametrize("frames", [2, 3, 5, 8, 16, 31])
def test_pairs_move_every_frame_once_and_leave_no_order(frames):
    mirrored, drawn = mirrored_pairs(frames), random_pairs(frames)
    for pairs in (mirrored, drawn):
        places = [place for pair in pairs for place in pair]
        assert len(places) == len(set(places)) == frames // 2 * 2 and set(places) <= set(range(frames))
    assert swap(range(frames), mirrored) == list(range(frames))[::-1]
    assert random_pairs(frames) == drawn
    if frames >= 5:
        assert abs(np.corrcoef(swap(range(frames), drawn), range(frames))[0, 1]) < 0.1


def test_shuffling_ends_neither_forward_nor_backward():
    demo = order()
    demo.motion.value, demo.pairs.value = 1, "at random"
    words = []
    for swapped in (0, 2, 4, 6, 8):
        demo.swapped.value = swapped
        assert demo.state()["order"] == swap(range(8), random_pairs(8)[: swapped // 2])
        words.append(demo.live.words.value)
    assert "forward" in words[0] and not any("forward" in later or "backward" in later for later in words[1:])
    assert len(set(words)) == 5


@pytest.mark.parametrize(("asked", "given"), [(-4, 0), (99, 8)])
def test_order_stays_in_its_range(asked, given):
    demo = order()
    demo.swapped.value = asked
    assert demo.state()["swapped"] == given and "Error" not in demo.live.words.value


@pytest.mark.parametrize("frames", [2, 3, 32])
def test_order_takes_short_and_long_clips(frames):
    demo = order(frames=frames)
    demo.swapped.value = demo.swapped.max
    assert demo.swapped.max == frames // 2 * 2 and demo.state()["order"] == list(range(frames))[::-1]
    assert "Error" not in demo.live.words.value


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"clips": video(1)}, "clips of two frames or more"),
        (
            {"reverse": {"left": "right"}},
            "a reversal, among the names, of each motion, got none of right, still, shake",
        ),
        ({"reverse": REVERSE | {"left": "port"}}, "a reversal, among the names, of each motion, got none of left"),
        ({"clips": video(8).movedim(2, 1)}, r"clips \(n, t, c=3, h, w\), got \(12, 3, 8, 8, 8\). Use rearrange"),
        ({"motions": MOTIONS + 1}, "motions from 0 to 3, got from 1 to 4"),
    ],
)
def test_order_refuses(change, said):
    with pytest.raises(ValueError, match=f"OrderExplorer: expected {said}"):
        order(**change)


# ---------------------------------------------------------------- both


BOTH = [frame_count, order]


@pytest.mark.parametrize("make", BOTH)
def test_no_text_leaves_the_page_or_runs_into_another(make):
    names = [f"turn counterclockwise {n}" for n in range(16)]
    reverse = {name: names[n ^ 1] for n, name in enumerate(names)}
    other = {"reverse": reverse} if make is order else {}
    demo = make(Sixteen(), names=names, motions=MOTIONS, **other)
    assert check_texts(demo.live.figure)


class Sixteen(nn.Module):
    """Is sure of motion 1, of sixteen."""

    def __init__(self, classes=16):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(classes))

    def forward(self, video):
        logits = self.bias.repeat(len(video), 1)
        logits[:, 1] += 20
        return logits


@pytest.mark.parametrize("make", BOTH)
def test_of_a_hundred_motions_the_likely_and_the_right_are_shown(make):
    names = [f"motion {n}" for n in range(101)]
    other = {"reverse": {name: names[n ^ 1 if n < 100 else n] for n, name in enumerate(names)}} if make is order else {}
    demo = make(Sixteen(101), names=names, motions=MOTIONS + 97, **other)
    demo.motion.value = 100
    bars = shown_bars(demo)
    assert len(bars) == 16 and bars["motion 1"][0] == 1 and "◄" in bars["motion 100"][2]
    assert "Error" not in demo.live.words.value


@pytest.mark.parametrize("make", BOTH)
def test_a_model_of_other_classes_is_reported(make):
    demo = make(Slope(classes=3))
    assert "expected logits (b=" in demo.live.words.value and "Give the names of all classes." in demo.live.words.value


@pytest.mark.parametrize("frames", [1, 8, 16, 32, 100])
def test_a_strip_of_any_length_fits_the_page(frames):
    assert 8 + frames * Strip.step(frames) <= 860
