"""What a computer does to a sound before a network hears it, and the noise that the sound may drown in.

A clip is one second of 8,000 samples; speech on the telephone has as many. Loudness is made equal, so that it says
nothing.
"""

from functools import lru_cache

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from jaxtyping import Float
from torch import Tensor

from mmlib.check import check_positive, refuse

RATE = 8_000  # samples a second
WINDOW, HOP = 256, 160  # samples: 32 ms that overlap, a frame each 20 ms
LOUDNESS = 0.1  # root mean square of the word in a clip
WHITE, BABBLE = 0.4, 0.5  # at level 1: standard deviation; loudness of each of the voices, in loudnesses of a clip
SOUND_NOISES = ("white", "babble", "reverberation")


def resample(wave: Float[Tensor, "*b n"], rate: int, to: int = RATE) -> Float[Tensor, "*b n_to"]:
    """Change the number of samples a second, keeping every frequency that both can hold.

    The spectrum is cut, or zeros are added to it, and turned back: frequencies above to / 2 vanish and are not folded.

    Args:
        wave: sounds.
        rate: their samples a second.
        to: samples a second that are wanted.

    Raises:
        ValueError: a rate that is not above 0; a sound with fewer than two samples.

    >>> resample(torch.ones(441), 44100, 8000).shape
    torch.Size([80])
    """
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
    """Cut the silence off both ends, make all words equally loud, and put each into the middle of one second.

    A word longer than a second loses its end.

    Args:
        wave: sounds, with silence behind the shorter ones.
        rate: their samples a second.

    Raises:
        ValueError: a bad rate, a sound shorter than a window, silence, values that are not numbers.

    >>> to_clips(torch.ones(1, 4000), 8000)[0, [0, 2000, 5999, 7999]]
    tensor([0.0000, 0.1000, 0.1000, 0.0000])
    """
    check_positive("to_clips", "rate", float(rate), "It stands in the head of the wav file.")
    if wave.shape[1] * RATE < WINDOW * rate:
        got = f"{wave.shape[1]} samples at {rate:,} a second"
        refuse("to_clips", f"a sound of {1000 * WINDOW // RATE} ms or more", got, "Is the file cut short?")
    edge = rate // 50  # the spectrum takes a sound as a ring: a word that begins at once would be heard at its end
    wave = resample(F.pad(wave, (edge, edge)), rate)
    ms = RATE // 1000
    size = reduce(wave[:, : wave.shape[1] // ms * ms].abs(), "b (n ms) -> b n", "max", ms=ms)
    peak = reduce(size, "b n -> b 1", "max")
    if not ((peak > 1e-4) & (peak < torch.inf)).all():
        refuse("to_clips", "sounds that can be heard", f"a largest value of {peak.min():.2g}", "Was the microphone on?")
    loud = (size > 0.02 * peak).to(torch.uint8)
    first, beyond = ms * loud.argmax(dim=1, keepdim=True), ms * (size.shape[1] - loud.flip(1).argmax(1, keepdim=True))
    length = (beyond - first).clamp(max=RATE)
    place = torch.arange(RATE) - (RATE - length) // 2  # of each sample of the clip in the word
    inside = (place >= 0) & (place < length)
    clip = wave.gather(1, (first + place).clamp(0, wave.shape[1] - 1)) * inside
    return clip * (LOUDNESS * (length / clip.square().sum(dim=1, keepdim=True)).sqrt())


def replay(wave: Float[Tensor, "b samples"], speed: Float[Tensor, " b"]) -> Float[Tensor, "b samples"]:
    """Play clips faster or slower around their middle: with 1.2, as if the throat were a sixth shorter and in a hurry.

    Args:
        wave: clips.
        speed: of each; 1 changes nothing.
    """
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
        ValueError: a rate that is not above 0, or a sound shorter than a frame.

    >>> log_mel(torch.zeros(1, 8000)).shape
    torch.Size([1, 40, 51])
    """
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
        ValueError: a level outside [0, 1], an unknown kind.
    """
    level = torch.as_tensor(level, dtype=wave.dtype, device=wave.device).expand(len(wave))
    if not ((level >= 0) & (level <= 1)).all():
        refuse("noise_sound", "a level from 0 to 1", f"{level.min():.3g} to {level.max():.3g}")
    level = rearrange(level, "b -> b 1")
    if kind == "white":
        return wave + WHITE * level**2 * torch.randn_like(wave)
    if kind == "babble":
        others = wave if others is None else others
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
