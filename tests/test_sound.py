"""Sound: resampling and spectrograms against scipy, clips made alike, and each kind of noise as its name says."""

import inspect
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import signal

from mmlib.data import sound
from mmlib.data.sound import RATE, SOUND_NOISES, log_mel, mel_filters, noise_sound, replay, resample, to_clips, to_mel


def tone(hertz, samples=8000, rate=RATE):
    return torch.sin(2 * math.pi * hertz * torch.arange(samples, dtype=torch.float64) / rate).float()


# Resampling


@pytest.mark.parametrize("rate, to, samples", [(22050, 8000, 22048), (44100, 8000, 4405), (8000, 22050, 801)])
def test_resampling_agrees_with_scipy(rate, to, samples):
    """Odd results, since the two treat the one frequency to / 2 differently."""
    wave = torch.randn(3, samples)
    theirs = signal.resample(wave.numpy(), round(samples * to / rate), axis=1)
    torch.testing.assert_close(resample(wave, rate, to), torch.from_numpy(theirs), atol=1e-5, rtol=0)


def test_a_tone_keeps_its_pitch_and_its_strength():
    wave = resample(tone(500, 22050, 22050), 22050, 8000)
    torch.testing.assert_close(wave, tone(500), atol=1e-4, rtol=0)


def test_what_the_new_rate_cannot_hold_vanishes_and_is_not_folded():
    assert resample(tone(6000, 22050, 22050), 22050, 8000).abs().max() < 1e-3


def test_a_rate_that_is_no_rate_is_refused():
    for rate in (0, -8000):
        with pytest.raises(ValueError, match=r"resample: expected rate above 0, got .* head of the wav file"):
            resample(torch.ones(1, 100), rate)
        with pytest.raises(ValueError, match="log_mel: expected rate above 0"):
            log_mel(torch.ones(1, 1000), rate)
    with pytest.raises(ValueError, match="a sound of two samples or more, got 1"):
        resample(torch.ones(1, 1), 16000)


# Clips


def test_a_word_is_trimmed_levelled_and_put_into_the_middle():
    wave = torch.zeros(2, 20000)
    wave[0, 500:2500] = tone(300, 2000)
    wave[1, 15000:19000] = 0.01 * tone(300, 4000)
    clips = to_clips(wave, RATE)
    assert clips.shape == (2, 8000)
    for clip, length in zip(clips, (2000, 4000), strict=True):
        loud = clip.nonzero()[[0, -1], 0]
        assert abs(loud.float().mean() - 4000) < 3 and abs(loud.diff() - length) < 12
        word = clip[loud[0] : loud[1]]
        assert abs(word.square().mean().sqrt() - sound.LOUDNESS) < 1e-3


def room(kind, samples=24000):
    """What a microphone adds, for a word with a peak of 0.5."""
    wave, time = torch.zeros(samples), torch.arange(samples) / RATE
    if "noise" in kind:
        wave += 0.5 * 10 ** (-40 / 20) * torch.randn(samples)
    if "constant" in kind:
        wave += 0.02
    if "hum" in kind:
        wave += sum(0.01 / n * torch.sin(2 * math.pi * 50 * n * time) for n in (1, 2, 3))
    if "click" in kind:
        wave[3000:3008] += 0.9
    return wave


@pytest.mark.parametrize("at", [0, 9000, 20800])
@pytest.mark.parametrize("kind", ["noise", "constant", "hum", "click", "noise, constant, hum, click"])
def test_a_word_is_found_in_a_room(kind, at):
    word = 0.5 * tone(700, 3200) * torch.hann_window(3200).sqrt()
    clip = to_clips((room(kind) + F.pad(word, (at, 24000 - 3200 - at)))[None], RATE)[0]
    clean = to_clips(F.pad(word, (8000, 8000))[None], RATE)[0]
    assert likeness(clip, clean) > 0.97


def likeness(clip, other, most=200):
    """The best cosine over small shifts: the edges of a word may drown."""
    return max(F.cosine_similarity(clip.roll(n), other, dim=0) for n in range(-most, most + 1))


def test_a_sound_that_fills_its_file_has_no_room_around_it():
    word = tone(700, 3200) * torch.linspace(0.3, 1, 3200)
    assert likeness(to_clips(word[None], RATE)[0], F.pad(word, (2400, 2400)), most=20) > 0.98


def test_words_with_a_pause_are_one_and_the_louder_of_two_is_taken():
    pause, two = torch.zeros(2, 16000)
    pause[2000:3000], pause[4200:4800] = tone(700, 1000), tone(300, 600)
    two[2000:4000], two[9000:11000] = tone(700, 2000), 2 * tone(300, 2000)
    lengths = (to_clips(torch.stack([pause, two]), RATE).abs() > 1e-3).sum(dim=1)
    assert (lengths - torch.tensor([1600, 2000])).abs().max() < 100


@pytest.mark.parametrize(
    "wave, expected",
    [
        (torch.zeros(1, 8000), "sounds that can be heard, got a loudness of 0"),
        (torch.full((1, 8000), torch.nan), "sounds that can be heard"),
        (torch.ones(1, 100), "a sound of 32 ms or more, got 100 samples at 8,000 a second"),
        (tone(300, 12000)[None], "a word of a second or less, got 1.50 s"),
    ],
)
def test_what_is_no_word_is_refused(wave, expected):
    with pytest.raises(ValueError, match=expected):
        to_clips(wave, RATE)


def test_a_word_that_begins_at_once_is_not_heard_at_its_end():
    wave = torch.zeros(1, 22050)
    wave[0, :4410] = torch.cos(torch.arange(4410) / 20)
    loud = (to_clips(wave, 22050)[0].abs() > 0.02).nonzero()[[0, -1], 0]
    assert abs(loud.diff() - 1600) < 20


@pytest.mark.parametrize("function, arguments", [
    (resample, (16000,)), (to_clips, (RATE,)), (log_mel, ()), (noise_sound, (0.5,)), (replay, (torch.ones(1),)),
])  # fmt: skip
def test_whole_numbers_are_refused_and_not_left_as_they_are(function, arguments):
    """A level of 0.5 as a whole number is 0."""
    with pytest.raises(ValueError, match=r"expected a sound of floats, got torch.int16. 16 bits\? Use wave / 2\*\*15"):
        inspect.unwrap(function)((1000 * tone(300)[None]).short(), *arguments)  # without the check of shapes


@pytest.mark.parametrize("speed", [torch.ones(1), torch.ones(6, 1), torch.zeros(6), torch.full((6,), torch.nan)])
def test_one_speed_a_clip(speed):
    with pytest.raises(ValueError, match="replay: expected a speed above 0 for each of 6 clips"):
        inspect.unwrap(replay)(clips(), speed)


def test_faster_is_higher_and_shorter():
    clip = to_clips(tone(500, 4000)[None], RATE)
    slow, same, fast = replay(clip.expand(3, -1), torch.tensor([0.8, 1.0, 1.25]))
    torch.testing.assert_close(same[:-1], clip[0, :-1], atol=1e-3, rtol=0)
    for wave, pitch, length in ((slow, 400, 5000), (fast, 625, 3200)):
        loud = (wave.abs() > 1e-3).nonzero()[[0, -1], 0]
        assert abs(loud.diff() - length) < 20 and abs(loud.float().mean() - 4000) < 20
        assert abs(torch.fft.rfft(wave).abs().argmax() - pitch) <= 1  # bins of 1 Hz


# Spectrograms


def test_mel_at_its_landmarks():
    torch.testing.assert_close(to_mel(torch.tensor([0.0, 700.0])), torch.tensor([0.0, 2595 * math.log10(2)]))
    assert abs(to_mel(torch.tensor(1000.0)) - 1000) < 0.02


def test_filters_are_triangles_that_add_up_to_one_between_the_first_peak_and_the_last():
    filters = mel_filters(bands=20, window=2048)
    assert filters.shape == (20, 1025) and filters.min() == 0 and filters.max() <= 1
    peaks = filters.argmax(dim=1)
    assert (peaks.diff() > 0).all()
    inside = filters[:, peaks[0] + 1 : peaks[-1]].sum(dim=0)
    torch.testing.assert_close(inside, torch.ones_like(inside))
    in_mel = to_mel(peaks * RATE / 2048)
    assert (in_mel.diff() - in_mel.diff().mean()).abs().max() < 12  # even in mel, but for the width of a bin


@pytest.mark.parametrize("rate", [8000, 16000])
def test_log_mel_agrees_with_scipy(rate):
    wave = torch.randn(2, rate)
    window, hop = 256 * rate // 8000, 160 * rate // 8000
    stft = signal.ShortTimeFFT(signal.windows.hann(window, sym=False), hop, rate)
    spectrum = np.abs(stft.stft(wave.double().numpy(), p0=0, p1=51)) ** 2
    theirs = np.log(1e-5 + mel_filters(40, window, rate).double().numpy() @ spectrum)
    torch.testing.assert_close(log_mel(wave, rate), torch.from_numpy(theirs).float(), atol=1e-4, rtol=1e-4)


def test_a_tone_lights_up_its_band():
    spectrogram = log_mel(tone(1000)[None])[0]
    assert (spectrogram[:, 5:-5].argmax(dim=0) == mel_filters()[:, 32].argmax()).all()  # bin 32 of 31.25 Hz


def test_silence_and_length():
    spectrogram = log_mel(torch.zeros(3, 8000))
    assert spectrogram.shape == (3, 40, 51)
    torch.testing.assert_close(spectrogram, torch.full((3, 40, 51), math.log(1e-5)))


def test_a_wave_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"wave \(b, samples\), 256 samples or more, got \(8000,\). One sound\?"):
        inspect.unwrap(log_mel)(torch.ones(8000))  # without the check of shapes, as in a notebook
    with pytest.raises(ValueError, match=r"got \(1, 1\). Pad it: to_clips"):
        log_mel(torch.ones(1, 1))


# Noise


def clips(n=6):
    return to_clips(torch.stack([tone(200 + 90 * i, 3000) for i in range(n)]), RATE)


@pytest.mark.parametrize("kind", SOUND_NOISES)
def test_no_noise_changes_nothing_and_more_changes_more(kind):
    wave = clips()
    torch.testing.assert_close(noise_sound(wave, 0.0, kind), wave)
    changes = []
    for level in (0.25, 0.5, 0.75, 1.0):
        torch.manual_seed(0)
        changes.append((noise_sound(wave, level, kind) - wave).square().mean())
    assert changes == sorted(changes) and changes[0] > 1e-6


@pytest.mark.parametrize("kind", SOUND_NOISES)
def test_each_clip_has_its_own_level(kind):
    wave = clips(2)
    noisy = noise_sound(wave, torch.tensor([0.0, 1.0]), kind)
    torch.testing.assert_close(noisy[0], wave[0])
    assert (noisy[1] - wave[1]).abs().max() > 0.01


def test_white_noise_is_as_strong_at_every_pitch():
    power = log_mel(noise_sound(torch.zeros(8, 8000), 1.0, "white")).exp().mean(dim=(0, 2)) / mel_filters().sum(dim=1)
    assert power.max() / power.min() < 1.3


def test_babble_is_made_of_the_other_voices():
    others = clips()
    noisy = noise_sound(torch.zeros(20, 8000), 1.0, "babble", others=others)
    pitches = {round(200 + 90 * i) for i in range(6)}
    for wave in noisy:
        loudest = torch.fft.rfft(wave).abs().argmax().item()  # bins of 1 Hz
        assert min(abs(loudest - pitch) for pitch in pitches) <= 2


def test_reverberation_comes_after_the_sound_and_dies_away():
    click = torch.zeros(1, 8000)
    click[0, 1000] = 1
    heard = noise_sound(click, 0.5, "reverberation")[0]
    assert heard[:1000].abs().max() < 1e-4
    early, late = (heard[a:b].square().sum() for a, b in ((1001, 2000), (4000, 4999)))
    assert early > 5 * late > 0


def test_bad_noise_is_refused():
    with pytest.raises(ValueError, match="noise_sound: expected a level from 0 to 1, got -0.5 to -0.5"):
        noise_sound(clips(), -0.5)
    with pytest.raises(ValueError, match="a kind of white, babble, reverberation, got 'rain'"):
        noise_sound(clips(), 0.5, "rain")
    with pytest.raises(ValueError, match=r"one level, or one for each of 6, got levels \(2,\)"):
        inspect.unwrap(noise_sound)(clips(), torch.zeros(2))
    for others in (clips()[:0], clips()[:, :1]):
        with pytest.raises(ValueError, match=r"expected voices \(6, 8000\), one or more, got"):
            inspect.unwrap(noise_sound)(clips(), 0.5, "babble", others)
