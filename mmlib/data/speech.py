"""Spoken digits: synthesised in many voices, or read from a folder of recordings.

Speakers are set aside by families, so that no voice of the test is a relative of one in training. Accents are shared:
an accent is a way to speak, a voice is who speaks.
"""

import hashlib
import inspect
import re
import unicodedata
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from mmlib.check import check_positive, refuse
from mmlib.data import sound
from mmlib.data.cache import cached_array
from mmlib.data.espeak import RATE as ESPEAK_RATE
from mmlib.data.espeak import speak
from mmlib.data.sound import RATE, read_wav, to_clips

ACCENTS = (
    "en-us", "en-us-nyc", "en-gb", "en-gb-x-rp", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029",
)  # fmt: skip
# The voices of eSpeak NG that a throat could have: a longer or shorter one moves all resonances together, so the first
# three are moved by factors within a quarter of each other; no robot, no whisper, no echo chamber. Relatives stand in
# one line with "/" between them: the same resonances under another name, or spectra that differ by less than 0.3 nats.
_FAMILIES = """Alex Alicia Andrea Annie Denis Diogo/Henrique/Hugo/michel/miguel Gene/Gene2 Mario Mike/grandpa/m6 Nguyen
    Storm adam/benjamin/caleb/david/edward/edward2/klatt/klatt2/klatt3/klatt4/klatt5/klatt6/mike2 anika antonio aunty
    belinda ed f1 f2/f5 f3 f4 ian iven/iven2/iven3/iven4 john linda m1 m2 m3 m4 m7 m8 max pablo paul pedro quincy
    rob/robert sandro steph/steph2/steph3 victor zac"""
_FAMILY_OF = {name: family for family in _FAMILIES.split() for name in family.split("/")}
VOICES = tuple(_FAMILY_OF)  # 67
_FULL = 2**15 / 4  # of 16 bits, so that a clip may be 4 times as loud as 1


class Speech(NamedTuple):
    """One-second clips of spoken digits, and who speaks."""

    wave: Float[Tensor, "n samples"]  # 8,000 samples a second, all words equally loud
    digit: Int[Tensor, " n"]  # 0 to 9
    speaker: Int[Tensor, " n"]  # places in `speakers`
    speakers: tuple[str, ...]
    synthetic: bool = False  # the speakers are voices of eSpeak NG, and some are relatives

    def take(self, index: Int[Tensor, " m"]) -> "Speech":
        """The clips at these places, in this order."""
        return self._replace(wave=self.wave[index], digit=self.digit[index], speaker=self.speaker[index])


class SpeakerSplit(NamedTuple):
    """Places of the clips of each part. No speaker is in two of them."""

    train: Int[Tensor, " a"]
    validation: Int[Tensor, " b"]  # for choices made while the course was written
    test: Int[Tensor, " c"]


def make_speech(clips: int = 6700, seed: int = 0) -> Speech:
    """Let the voices speak digits: each clip in an accent, at a rate and in a pitch of its own.

    About 3 s the first time, from the cache after that.

    Args:
        clips: how many; every voice speaks equally often, and every digit.
        seed: of the accents, rates and pitches.

    Raises:
        ValueError: no clip.
    """
    check_positive("make_speech", "clips", float(clips))
    random = torch.Generator().manual_seed(seed)
    digit = torch.arange(clips) % 10
    speaker = torch.arange(clips) // 10 % len(VOICES)
    accent = torch.randint(len(ACCENTS), (clips,), generator=random)
    rate = torch.randint(120, 221, (clips,), generator=random)
    pitch = torch.randint(25, 76, (clips,), generator=random)
    plan = torch.stack([speaker, accent, rate, pitch, digit], dim=1)
    stamp = f"{VOICES} {ACCENTS} {version('espeakng-loader')} {inspect.getsource(sound)}".encode()
    stamp += plan.numpy().tobytes()
    name = f"spoken-{hashlib.sha256(stamp).hexdigest()[:16]}.bin"
    bytes_of_clips = cached_array(name, (clips, 2 * RATE), lambda: _synthesise(plan.tolist()))
    wave = torch.from_numpy(bytes_of_clips.view(np.int16)).float().div_(_FULL)
    return Speech(wave, digit, speaker, VOICES, synthetic=True)


def _synthesise(plan: list[list[int]]) -> UInt8[np.ndarray, "n bytes"]:
    clips = np.empty((len(plan), RATE), dtype=np.int16)

    def cut(places: list[int], wave: Float[Tensor, "b n"]) -> None:
        clips[places] = (to_clips(wave, ESPEAK_RATE) * _FULL).round().clamp(-(2**15), 2**15 - 1).numpy()

    with ThreadPoolExecutor(max_workers=1) as beside:  # cuts some while the next are spoken
        cutting = beside.submit(lambda: None)
        for places, wave in _speak_in_turn(plan):
            cutting.result()  # so that no sounds pile up
            cutting = beside.submit(cut, places, wave)
        cutting.result()
    return clips.view(np.uint8)


def _speak_in_turn(plan: list[list[int]]) -> Iterator[tuple[list[int], Float[Tensor, "b n"]]]:
    order = sorted(range(len(plan)), key=lambda i: plan[i][:2])  # to change the voice takes longer than to speak
    for start in range(0, len(plan), 50):
        places = order[start : start + 50]
        wave = torch.zeros(len(places), 73 * ESPEAK_RATE // 50)  # with the edges of to_clips, 1.5 s: quick to transform
        for row, i in zip(wave, places, strict=True):
            speaker, accent, rate, pitch, digit = plan[i]
            (sound,) = speak([str(digit)], f"{ACCENTS[accent]}+{VOICES[speaker]}", rate, pitch)
            row[: len(sound)] = torch.from_numpy(sound)[: len(row)]
        yield places, wave


def load_recordings(folder: str | Path) -> Speech:
    """Read recordings of your own: files `{digit}_{speaker}_{n}.wav`, such as `7_ada_0.wav`.

    This is the layout of the Free Spoken Digit Dataset. Any number of samples a second will do, 8 to 32 bits, mono or
    stereo; stereo is averaged. Each recording becomes a clip of one second, as `to_clips` says. Files that begin with
    a dot, and files that neither end in `.wav` nor are named like a recording, are none.

    Raises:
        ValueError: no such file; a file that is refused by `read_wav` or by `to_clips`, with its name.
    """
    paths = [path for path in sorted(Path(folder).glob("*")) if _is_recording(path)]
    if not paths:
        refuse("load_recordings", "files {digit}_{speaker}_{n}.wav", f"no wav file in {folder}")
    names = [_NAME.fullmatch(unicodedata.normalize("NFC", path.stem)) for path in paths]
    if None in names:
        wrong, fix = paths[names.index(None)], "Write the digit first: 7_ada_0.wav."
        refuse("load_recordings", "files {digit}_{speaker}_{n}.wav", f"{wrong.name} in {folder}", fix)
    speakers = tuple(sorted({name["speaker"] for name in names}))
    speaker = torch.tensor([speakers.index(name["speaker"]) for name in names])
    wave = torch.cat([_read_clip(path) for path in paths])
    return Speech(wave, torch.tensor([int(name["digit"]) for name in names]), speaker, speakers)


_NAME = re.compile(r"(?P<digit>\d)_(?P<speaker>.+)_\d+")


def _is_recording(path: Path) -> bool:
    return path.name[0] != "." and (path.suffix.lower() == ".wav" or _NAME.fullmatch(path.stem) is not None)


def _read_clip(path: Path) -> Float[Tensor, "1 samples"]:
    wave, rate = read_wav(path)
    try:
        return to_clips(wave[None], rate)
    except ValueError as error:
        raise ValueError(f"{error} The file is {path}.") from None


def split_speakers(speech: Speech) -> SpeakerSplit:
    """Set one speaker in five aside for the test and one in seven for validation, by a hash of the name.

    Synthetic voices are set aside by families; recorded speakers are no relatives, whatever they are called.

    Raises:
        ValueError: speakers of fewer than three families, so that a part is left without one; a part in which a digit
            is never said.
    """
    families = [_FAMILY_OF[name] if speech.synthetic else name for name in speech.speakers]
    order = sorted(set(families), key=lambda family: hashlib.sha256(family.encode()).digest())
    if len(order) < 3:
        refuse("split_speakers", "three speakers or more", ", ".join(order), "One for each part: record more people.")
    test, validation = max(1, len(order) // 5), max(1, len(order) // 7)
    part_of = {family: 2 if i < test else 1 if i < test + validation else 0 for i, family in enumerate(order)}
    part = [part_of[family] for family in families]
    part_of_clip = torch.tensor(part)[speech.speaker]
    split = SpeakerSplit(*((part_of_clip == i).nonzero()[:, 0] for i in range(3)))
    for i, places in enumerate(split):
        missing = set(range(10)) - set(speech.digit[places].tolist())
        if missing:
            who = ", ".join(name for name, its_part in zip(speech.speakers, part, strict=True) if its_part == i)
            got = f"no {', '.join(map(str, sorted(missing)))} in the {split._fields[i]} part"
            refuse("split_speakers", "all ten digits in each part", got, f"Record it, by one of these: {who}.")
    return split
