"""What a computer does to a sound before a network hears it, and the noise that the sound may drown in.

A clip is one second of 8,000 samples; speech on the telephone has as many. Loudness is made equal, so that it says
nothing.
"""

import struct
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mmlib.check import check_floats, check_level, check_positive, refuse

RATE = 8_000  # samples a second
WINDOW, HOP = 256, 160  # samples: 32 ms that overlap, a frame each 20 ms
LOUDNESS = 0.1  # root mean square of the word in a clip
PAUSE, MARGIN = 200, 100  # ms: the longest silence within a word; what is kept before and behind the word
BLUR = 10  # ms on both sides, over which loudness is measured
MS = RATE // 1000  # samples
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE  # formats of wav files; the third names one of the others further down
WIDTHS = {PCM: (1, 2, 3, 4), FLOAT: (4, 8)}  # bytes of a sample
UNKNOWN = 0x7FFF_F000  # sizes from here on, and 0, are what a recorder writes before it knows them
WHITE, BABBLE = 0.4, 0.5  # at level 1: standard deviation; loudness of each of the voices, in loudnesses of a clip
SOUND_NOISES = ("white", "babble", "reverberation")


def read_wav(path: str | Path) -> tuple[Float[Tensor, " n"], int]:
    """Open a wav file, as mono.

    PCM of 8 to 32 bits, or floats; channels are averaged. What else the file holds (bext, iXML, ID3, cue points) is
    passed over. Where a recorder was interrupted before it wrote the sizes, the sound goes on to the file's end.

    Returns:
        The sound, with values from -1 to 1, and its samples a second.

    Raises:
        ValueError: with the file's name, if the file cannot be read, was cut short or damaged, holds no sound, or has
            more than a tenth of its samples at the limit.
    """

    def reject(expected: str, got: str, fix: str = "Save it again, as PCM: ffmpeg -i old.wav new.wav."):
        refuse("read_wav", expected, f"{got} in {path}", fix)

    try:
        rate, wave = _decode(_chunks(Path(path).read_bytes()))
    except struct.error:
        reject("a wav file that can be read", "one that was cut short")
    except (OSError, ValueError) as error:
        reject("a wav file that can be read", str(error))
    if not len(wave):
        reject("a sound", "none", "Remove it, or record it again.")
    if not (np.abs(wave) < 100).all():
        reject("samples from -1 to 1", "larger ones", "Divide by the largest value that its format can hold.")
    clipped = (np.abs(wave) > 0.99).mean()
    if clipped > 0.1:
        fix = "Record it again, further from the microphone."
        reject("samples below the limit", f"{clipped:.0%} at the limit", fix)
    return torch.from_numpy(wave.mean(axis=1)).float(), rate


def _chunks(content: bytes) -> dict[str, bytes]:
    """Name of each part of a wav file -> what it holds."""
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        raise ValueError("no beginning of a wav file")
    (whole,) = struct.unpack_from("<I", content, 4)
    place, chunks = 12, {}
    while content[place:].strip(b"\0"):  # some recorders fill the file up with zeros
        name, size = struct.unpack_from("<4sI", content, place)
        name, rest = name.decode("latin-1"), len(content) - place - 8
        if name == "data" and all(x >= UNKNOWN or x <= known for x, known in ((whole, place), (size, 0))):
            size = rest
        if size > rest or not (name.isascii() and name.isprintable()):
            raise ValueError(f"a part {name!r} of {size:,} bytes where {rest:,} are left")
        chunks.setdefault(name, content[place + 8 : place + 8 + size])
        place += 8 + size + size % 2
    return chunks


def _decode(chunks: dict[str, bytes]) -> tuple[int, Float[np.ndarray, "n channels"]]:
    """Sound and rate. The head says most things twice, so that damage to it shows."""
    if not {"fmt ", "data"} <= set(chunks):
        raise ValueError("no sound")
    kind, channels, rate, speed, step, bits = struct.unpack_from("<HHIIHH", chunks["fmt "])
    if kind == EXTENSIBLE:
        (kind,) = struct.unpack_from("<H", chunks["fmt "], 24)
    width = step // max(1, channels)
    if width * channels != step or rate * step != speed or -(-bits // 8) != width or rate < 1000:
        head = f"{channels} channels of {bits} bits, {step} bytes a step, {rate} steps and {speed} bytes a second"
        raise ValueError(f"a damaged head ({head})")
    if width not in WIDTHS.get(kind, ()) or (kind == PCM and width == 4 and "fact" in chunks):  # which floats need
        raise ValueError(f"sound of format {kind} with {bits} bits")
    data = np.frombuffer(chunks["data"], dtype=np.uint8)
    data = data[: len(data) // step * step].reshape(-1, width)
    if kind == FLOAT:
        wave = data.view(f"<f{width}")
    elif width == 1:
        wave = data / 128 - 1
    else:
        wave = np.pad(data, ((0, 0), (4 - width, 0))).view("<i4") / 2**31  # all of them as the upper bytes of 32 bits
    return rate, wave.reshape(-1, channels)


def resample(wave: Float[Tensor, "*b n"], rate: int, to: int = RATE) -> Float[Tensor, "*b n_to"]:
    """Change the number of samples a second, keeping every frequency that both can hold.

    The spectrum is cut, or zeros are added to it, and turned back: frequencies above to / 2 vanish and are not folded.

    Args:
        wave: sounds.
        rate: their samples a second.
        to: samples a second that are wanted.

    Raises:
        ValueError: a rate that is not above 0; a sound with fewer than two samples, or of whole numbers.

    >>> resample(torch.ones(441), 44100, 8000).shape
    torch.Size([80])
    """
    _check_wave("resample", wave)
    check_positive("resample", "rate", float(rate), "It stands in the head of the wav file.")
    check_positive("resample", "to", float(to))
    n = wave.shape[-1]
    if n < 2:
        refuse("resample", "a sound of two samples or more", str(n), "Is the file empty?")
    if rate == to:
        return wave
    n_to = max(1, round(n * to / rate))
    spectrum = torch.fft.rfft(wave)[..., : n_to // 2 + 1]
    return torch.fft.irfft(spectrum, n=n_to) * (n_to / n)


def to_clips(wave: Float[Tensor, "b n"], rate: int) -> Float[Tensor, "b samples"]:
    """Find the word in each sound, make all words equally loud, and put each into the middle of one second.

    The word is what stands out of the room around the loudest fifth of a second, with pauses of up to 0.2 s; what lies
    more than 0.1 s off it, such as a click, is silenced. A constant that the microphone adds is taken away.

    Args:
        wave: sounds, with silence or the quiet of a room before and behind the words, or without.
        rate: their samples a second.

    Raises:
        ValueError: a bad rate, a sound shorter than a window, silence, a word longer than a second, values that are
            not numbers.

    >>> clip = to_clips(torch.cat([torch.zeros(1, 9000), torch.cos(torch.arange(4000.0))[None]], dim=1), 8000)
    >>> clip.shape, [round(quarter.square().mean().sqrt().item(), 2) for quarter in clip[0].split(2000)]
    (torch.Size([1, 8000]), [0.0, 0.1, 0.1, 0.0])
    """
    _check_wave("to_clips", wave)
    check_positive("to_clips", "rate", float(rate), "It stands in the head of the wav file.")
    if wave.shape[1] * RATE < WINDOW * rate:
        got = f"{wave.shape[1]} samples at {rate:,} a second"
        refuse("to_clips", f"a sound of {1000 * WINDOW // RATE} ms or more", got, "Is the file cut short?")
    wave = wave - wave.median(dim=1, keepdim=True).values
    edge = rate // 50  # the spectrum takes a sound as a ring: a word that begins at once would be heard at its end
    wave = resample(F.pad(wave, (edge, edge)), rate)
    first, length = _find_words(wave)
    if (length > RATE).any():
        got = f"{length.max() / RATE:.2f} s"
        refuse("to_clips", "a word of a second or less", got, "Say one word at a time, or faster, or in less noise.")
    place = torch.arange(RATE) - (RATE - length) // 2  # of each sample of the clip in the word

    def within(margin: int) -> Bool[Tensor, "b samples"]:
        return (place >= -margin * MS) & (place < length + margin * MS)

    inside = within(MARGIN) & (first + place >= 0) & (first + place < wave.shape[1])
    clip = wave.gather(1, (first + place).clamp(0, wave.shape[1] - 1)) * inside
    energy = (clip.square() * within(BLUR)).sum(dim=1, keepdim=True)
    return clip * (LOUDNESS * (length / energy).sqrt())


def _find_words(wave: Float[Tensor, "b n"]) -> tuple[Int[Tensor, "b 1"], Int[Tensor, "b 1"]]:
    """The first sample of each word, and its length."""

    def around(x: Float[Tensor, "b m"], reach: int, pool) -> Float[Tensor, "b m"]:
        return pool(x[:, None], 2 * reach + 1, stride=1, padding=reach)[:, 0]

    power = reduce(wave[:, : wave.shape[1] // MS * MS].square(), "b (m ms) -> b m", "mean", ms=MS)
    size = around(power, BLUR, F.avg_pool1d).sqrt()  # so that a click, however loud, is small beside a word
    peak = size.amax(dim=1, keepdim=True)
    if not ((peak > 1e-4) & (peak < torch.inf)).all():
        got = f"a loudness of {peak.min():.2g}"
        refuse("to_clips", "sounds that can be heard", got, "Was the microphone on?")
    room = size.kthvalue(1 + size.shape[1] // 10, dim=1, keepdim=True).values  # nobody speaks a tenth of the time
    loud = size > (2.5 * room).clamp(0.02 * peak, 0.2 * peak)  # but a word that fills its file has no room around it
    near = around(loud.float(), PAUSE // 2, F.max_pool1d) > 0
    spell = (near & ~F.pad(near, (1, 0))[:, :-1]).cumsum(dim=1)  # counts the stretches without a longer pause
    loudest = (around(power, 100, F.avg_pool1d) * loud).argmax(dim=1, keepdim=True)
    word = (loud & (spell == spell.gather(1, loudest))).to(torch.uint8)
    first, beyond = word.argmax(dim=1, keepdim=True), word.shape[1] - word.flip(1).argmax(dim=1, keepdim=True)
    return MS * (first + BLUR), MS * (beyond - first - 2 * BLUR).clamp(min=1)  # loudness is blurred over the edges


def _check_wave(where: str, wave: Tensor) -> None:
    check_floats(where, wave, "a sound", "16 bits? Use wave / 2**15.")


def replay(wave: Float[Tensor, "b samples"], speed: Float[Tensor, " b"]) -> Float[Tensor, "b samples"]:
    """Play clips faster or slower around their middle: with 1.2, as if the throat were a sixth shorter and in a hurry.

    Args:
        wave: clips.
        speed: of each, above 0; 1 changes nothing.

    Raises:
        ValueError: sounds of whole numbers, not one speed a clip, a speed that is not above 0.
    """
    _check_wave("replay", wave)
    if speed.shape != wave.shape[:1] or not (speed > 0).all():
        refuse("replay", f"a speed above 0 for each of {len(wave)} clips", str(speed.tolist()))
    n = wave.shape[1]
    middle = (n - 1) / 2
    place = middle + (torch.arange(n, device=wave.device) - middle) * rearrange(speed, "b -> b 1")
    before = place.floor().long()
    inside = (before >= 0) & (before < n - 1)
    before = before.clamp(0, n - 2)
    part = place - before
    return ((1 - part) * wave.gather(1, before) + part * wave.gather(1, before + 1)) * inside


def to_mel(hertz: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """From a frequency to its place on a scale where equal steps sound equally far apart.

    Equation: mel(f) = 2595 log10(1 + f / 700)  (5.1; O'Shaughnessy 1987)

    >>> round(to_mel(torch.tensor(1000.0)).item())
    1000
    """
    return 2595 * torch.log10(1 + hertz / 700)


@lru_cache(maxsize=8)
def mel_filters(bands: int = 40, window: int = WINDOW, rate: int = RATE) -> Float[Tensor, "f k"]:
    """Triangles that overlap, each half as high at its neighbours' edges: row f says what band f takes of bin k.

    The corners lie at equal distances in mel, from 0 to rate / 2; a triangle's peak is 1.

    Args:
        bands: number of triangles.
        window: samples of a frame; it has window / 2 + 1 bins.
        rate: samples a second.
    """
    top = to_mel(torch.tensor(rate / 2)).item()
    corners = 700 * (10 ** (torch.linspace(0, top, bands + 2) / 2595) - 1)
    bins = torch.linspace(0, rate / 2, window // 2 + 1)
    left, peak, right = (rearrange(corners[i : i + bands], "f -> f 1") for i in range(3))
    return torch.minimum((bins - left) / (peak - left), (right - bins) / (right - peak)).clamp(min=0)


def log_mel(wave: Float[Tensor, "b samples"], rate: int = RATE, bands: int = 40) -> Float[Tensor, "b f m"]:
    """How much of each pitch there is at each moment: the power spectrum of short frames, in bands as wide as ears'.

    Equation: M_fm = log(eps + sum_k B_fk |X_km|^2), X = STFT of the wave, B = the mel filters  (5.2)

    Args:
        wave: sounds.
        rate: their samples a second; a frame is 32 ms, and there is one each 20 ms.
        bands: rows of the result.

    Returns:
        Natural logarithms of power, low bands first; silence is log eps = -11.5. One second gives 51 frames.

    Raises:
        ValueError: a rate that is not above 0, a sound shorter than a frame, whole numbers.

    >>> log_mel(torch.zeros(1, 8000)).shape
    torch.Size([1, 40, 51])
    """
    _check_wave("log_mel", wave)
    check_positive("log_mel", "rate", float(rate), "It stands in the head of the wav file.")
    window, hop = round(WINDOW * rate / RATE), round(HOP * rate / RATE)
    if wave.ndim != 2 or wave.shape[1] < window:
        fix = "One sound? Add the batch axis: wave[None]." if wave.ndim == 1 else "Pad it: to_clips gives one second."
        refuse("log_mel", f"wave (b, samples), {window} samples or more", str(tuple(wave.shape)), fix)
    filters = mel_filters(bands, window, rate).repeat_interleave(2, dim=1).T  # the same for real and imaginary parts
    filters, hann = filters.to(wave.device), torch.hann_window(window, device=wave.device)

    def of_piece(piece: Float[Tensor, "b samples"]) -> Float[Tensor, "b f m"]:
        spectrum = torch.stft(piece, window, hop, window=hann, pad_mode="constant", return_complex=True)
        parts = rearrange(torch.view_as_real(spectrum), "b k m two -> b m (k two)")
        return rearrange((parts.square() @ filters).add_(1e-5).log_(), "b m f -> b f m")

    return torch.cat([of_piece(piece) for piece in wave.split(50)])  # pieces that fit into the processor's cache


def noise_sound(
    wave: Float[Tensor, "b samples"],
    level: float | Float[Tensor, " b"],
    kind: str = "white",
    others: Float[Tensor, "n samples"] | None = None,
) -> Float[Tensor, "b samples"]:
    """Disturb clips; random numbers come from torch.

    Args:
        wave: clips, as `to_clips` gives them.
        level: 0 (clean) to 1 (worst), for all or for each.
        kind: `white` noise; `babble` of four other voices; `reverberation`, as in a hall of stone.
        others: clips of the voices that babble; those of the batch by default.

    Raises:
        ValueError: a level outside [0, 1], an unknown kind, sounds of whole numbers, voices of another length.
    """
    _check_wave("noise_sound", wave)
    level = rearrange(check_level("noise_sound", level, wave), "b -> b 1")
    if kind == "white":
        return wave + WHITE * level**2 * torch.randn_like(wave)
    if kind == "babble":
        others = wave if others is None else others
        if others.shape[1:] != wave.shape[1:] or not len(others):
            refuse("noise_sound", f"voices {tuple(wave.shape)}, one or more", str(tuple(others.shape)))
        voices = others[torch.randint(len(others), (len(wave), 4))]
        shift = torch.randint(wave.shape[1], ()).item()
        return wave + BABBLE * level**2 * voices.sum(dim=1).roll(shift, dims=1)
    if kind == "reverberation":
        return _reverberate(wave, level)
    refuse("noise_sound", f"a kind of {', '.join(SOUND_NOISES)}", repr(kind))


def _reverberate(wave: Float[Tensor, "b samples"], level: Float[Tensor, "b 1"]) -> Float[Tensor, "b samples"]:
    """An echo is noise that dies away; one that lasts long covers what comes after it."""
    n = wave.shape[1]
    seconds = torch.arange(n, device=wave.device) / RATE
    echo = torch.randn(len(wave), n, device=wave.device) * torch.exp(-seconds / (0.05 + 0.4 * level))
    echo = echo / echo.square().sum(dim=1, keepdim=True).sqrt()
    heard = torch.fft.irfft(torch.fft.rfft(wave, 2 * n) * torch.fft.rfft(echo, 2 * n), 2 * n)[:, :n]
    return (1 - level) * wave + level * heard
