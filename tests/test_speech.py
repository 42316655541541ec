"""Spoken digits: the synthesiser is quick and repeats itself, speakers are set apart, recordings are read."""

import os
import struct
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from scipy.io import wavfile

from mmlib.data.espeak import RATE, languages, speak, variants
from mmlib.data.sound import LOUDNESS, log_mel, noise_sound, read_wav, to_clips
from mmlib.data.speech import ACCENTS, VOICES, Speech, load_recordings, make_speech, split_speakers


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    before = os.environ.get("MMLIB_CACHE")
    os.environ["MMLIB_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    os.environ.pop("MMLIB_CACHE")
    if before is not None:
        os.environ["MMLIB_CACHE"] = before


# The synthesiser


def test_a_hundred_languages_and_voices():
    assert {"en-us", "de", "ja", "cmn"} < set(languages()) and len(languages()) > 100
    assert languages()["en-gb-scotland"] == "English (Scotland)"
    assert {"f1", "m7", "klatt"} < set(variants()) and len(variants()) > 90


def test_a_word_is_sound_of_half_a_second():
    (seven,) = speak(["7"])
    assert seven.dtype == np.float32 and 0.2 < len(seven) / RATE < 1
    assert 0.1 < np.abs(seven).max() <= 1


def test_digits_are_read_in_the_language_of_the_voice():
    """Two sounds of a voice are never alike to the sample, but in their spectrograms they are."""

    def spectrogram(text, voice):
        wave = to_clips(torch.from_numpy(speak([text], voice)[0])[None], RATE)
        return log_mel(wave)

    for digit, word, voice in (("7", "seven", "en-us"), ("7", "sieben", "de"), ("7", "siete", "es")):
        same, other = ((spectrogram(digit, voice) - spectrogram(text, voice)).abs().mean() for text in (word, "3"))
        assert same < 0.5 * other, voice


def test_rate_and_pitch_are_heard():
    slow, fast = (len(speak(["3"], rate=rate)[0]) for rate in (100, 250))
    assert slow > 1.5 * fast
    low, high = (pitch_of(speak(["3"], pitch=pitch)[0]) for pitch in (10, 90))
    assert high > 1.3 * low


def pitch_of(wave):
    """The lag at which the sound is most like itself, as a frequency."""
    middle = torch.from_numpy(wave[len(wave) // 3 : 2 * len(wave) // 3].copy())
    spectrum = torch.fft.rfft(middle, 2 * len(middle)).abs().square()
    alike = torch.fft.irfft(spectrum)[: len(middle)]
    lags = slice(RATE // 400, RATE // 60)
    return RATE / (alike[lags].argmax().item() + lags.start)


def test_a_voice_is_heard():
    one, other = (log_mel(torch.from_numpy(speak(["8"], voice)[0][None, :6000])) for voice in ("en-us+m3", "en-us+f3"))
    assert (one - other).abs().mean() > 0.5


SAY = """
import hashlib
from mmlib.data.espeak import speak
sound = hashlib.sha256()
for voice in ("en-us+f3", "en-gb+klatt2", "en-us+sandro"):
    for word in speak(["7", "3", "6"], voice):
        sound.update(word.tobytes())
print(sound.hexdigest())
"""


def test_the_same_samples_in_two_processes(root):
    runs = [subprocess.run([sys.executable, "-c", SAY], cwd=root, capture_output=True, text=True) for _ in range(2)]
    assert runs[0].stdout == runs[1].stdout != "", runs[0].stderr


FAR = """
import sys
import espeakng_loader
from mmlib.data.espeak import speak
for path in sys.argv[1:]:
    espeakng_loader.get_data_path = lambda: path
    try:
        print(len(speak(["7"], "en-us+f3")[0]))
    except ValueError as error:
        print(error)
"""


def test_a_long_path_or_missing_data_does_not_end_the_process(root, tmp_path):
    """Left to itself, the library exits when it cannot find its data, and takes a notebook's kernel with it."""
    import espeakng_loader

    far = tmp_path.joinpath("far" * 30, "off" * 30)
    far.mkdir(parents=True)
    (far / "data").symlink_to(espeakng_loader.get_data_path())
    command = [sys.executable, "-c", FAR, str(tmp_path / "nowhere"), str(far / "data")]
    missing, samples = subprocess.run(command, cwd=root, capture_output=True, text=True).stdout.splitlines()
    assert missing.startswith("speak: expected eSpeak NG with its data in") and "Reinstall" in missing
    assert int(samples) > 1000


def test_no_word_is_waited_for(monkeypatch):
    """Played back, as the library would have it, each takes 20 ms and more, on any machine; the processor needs few."""
    speak(["1"])

    def idle(words):
        start, busy = time.perf_counter(), time.process_time()
        speak(words, "en-us+m3")
        return time.perf_counter() - start - (time.process_time() - busy)

    words = [str(i % 10) for i in range(40)]
    assert min(idle(words) for _ in range(3)) < 0.01 * len(words)


@pytest.mark.parametrize(
    "options, expected",
    [
        ({"voice": "en-uk"}, r"a language of eSpeak NG, got 'en-uk' in 'en-uk'. The nearest are en-u?"),
        ({"voice": "en-us+klat"}, r"a voice of eSpeak NG, got 'klat' in 'en-us\+klat'. The nearest are klatt"),
        ({"voice": "en-us+"}, r"a voice of eSpeak NG, got ''"),
        ({"rate": 10}, "rate from 80 to 450, got 10"),
        ({"pitch": 100}, "pitch from 0 to 99, got 100"),
        ({"texts": [" "]}, "texts with something to say"),
        ({"texts": []}, r"texts with something to say, got \[\]"),
        ({"texts": "seven"}, "texts: a list of texts, got str 'seven'"),
    ],
)
def test_what_cannot_be_said_is_refused(options, expected):
    with pytest.raises(ValueError, match=f"speak: expected {expected}"):
        speak(**({"texts": ["7"]} | options))


# The data set


@pytest.fixture(scope="module")
def speech():
    return make_speech(len(VOICES) * 10)


def test_every_voice_says_every_digit_equally_loud(speech):
    assert len(VOICES) >= 60 and set(VOICES) <= set(variants()) and set(ACCENTS) <= set(languages())
    assert speech.wave.shape == (670, 8000)
    pairs = set(zip(speech.speaker.tolist(), speech.digit.tolist(), strict=True))
    assert len(pairs) == 670
    for wave in speech.wave:
        loud = (wave.abs() > 0.02 * wave.abs().max()).nonzero()[[0, -1], 0]
        word = wave[loud[0] : loud[1] + 1]
        assert abs(word.square().mean().sqrt() - LOUDNESS) < 0.03  # the edges are soft
        assert len(word) > 500


def test_words_sound_like_themselves_whoever_speaks(speech):
    """The mean spectrogram of half of the voices finds the digit of most clips of the other half; chance is 0.1."""
    spectrogram = log_mel(speech.wave).flatten(1)
    half = speech.speaker % 2 == 0
    means = torch.stack([spectrogram[half & (speech.digit == digit)].mean(dim=0) for digit in range(10)])
    nearest = torch.cdist(spectrogram[~half], means).argmin(dim=1)
    assert (nearest == speech.digit[~half]).float().mean() > 0.4


def test_what_was_spoken_once_is_kept(speech):
    again = make_speech(len(VOICES) * 10)
    assert torch.equal(again.wave, speech.wave)
    assert not torch.equal(make_speech(20, seed=1).wave, make_speech(20).wave)


def test_parts_share_no_speaker_and_no_relative(speech):
    split = split_speakers(speech)
    names = [{speech.speakers[i] for i in speech.take(part).speaker.tolist()} for part in split]
    assert set.union(*names) == set(VOICES) and sum(map(len, names)) == len(VOICES)
    assert sum(map(len, split)) == len(speech.digit) and len(names[2]) >= 8 and len(names[1]) >= 5
    for relatives in ({"klatt", "klatt6", "david"}, {"iven", "iven4"}, {"steph", "steph2"}, {"Gene", "Gene2"}):
        assert sum(bool(relatives & part) for part in names) == 1


def said_by(*names, unsaid=()):
    """Recordings of each digit by each, without the (speaker, digit) that are unsaid."""
    said = [(n, digit) for n in range(len(names)) for digit in range(10) if (names[n], digit) not in unsaid]
    speaker, digit = torch.tensor(said).T
    return Speech(torch.zeros(len(said), 8000), digit, speaker, names)


def parts_of(speech):
    return [{speech.speakers[i] for i in speech.take(part).speaker.tolist()} for part in split_speakers(speech)]


def test_the_split_depends_on_names_alone():
    assert parts_of(said_by("ada", "bo", "cy", "di")) == parts_of(said_by("di", "cy", "ada", "bo"))
    with pytest.raises(ValueError, match="three speakers or more, got "):
        split_speakers(said_by("ada", "bo"))


def test_people_with_the_names_of_voices_are_no_relatives():
    assert [len(part) for part in parts_of(said_by("adam", "david", "edward"))] == [1, 1, 1]


def test_a_digit_that_a_part_lacks_is_named():
    names = ("ada", "bo", "cy", "di")
    parts = parts_of(said_by(*names))
    for part, who in zip(("train", "validation", "test"), parts, strict=True):
        got = rf"no 4 in the {part} part. Record it, by one of these: {', '.join(sorted(who))}\."
        with pytest.raises(ValueError, match=f"split_speakers: expected all ten digits in each part, got {got}"):
            split_speakers(said_by(*names, unsaid={(name, 4) for name in who}))
    some = next(name for name in names if name in parts[0])
    assert parts_of(said_by(*names, unsaid={(some, 4)})) == parts  # somebody else of the part says it


def test_no_clip_is_refused():
    with pytest.raises(ValueError, match="make_speech: expected clips above 0"):
        make_speech(0)


# Recordings


@pytest.fixture(scope="module")
def word():
    """One sound; said again it would tremble differently."""
    (wave,) = speak(["7"])
    wave = np.concatenate([wave, np.zeros(-len(wave) % 441, dtype=np.float32)])  # whole numbers of samples at all rates
    return 0.9 * wave / np.abs(wave).max()


def save(path, wave, rate=RATE):
    wavfile.write(path, rate, wave)


@pytest.fixture
def folder(tmp_path, word):
    """Three people, two digits, in the layout of the Free Spoken Digit Dataset."""
    for speaker in ("ada", "bo", "mary_jane"):
        for digit in (0, 7):
            save(tmp_path / f"{digit}_{speaker}_0.wav", (word * 2**15).astype(np.int16))
    return tmp_path


def test_a_folder_is_read(folder, word):
    speech = load_recordings(folder)
    torch.testing.assert_close(speech.wave[:1], to_clips(torch.from_numpy(word)[None], RATE), atol=1e-3, rtol=0)
    assert speech.wave.shape == (6, 8000) and speech.speakers == ("ada", "bo", "mary_jane")
    assert speech.digit.tolist() == [0, 0, 0, 7, 7, 7] and speech.speaker.tolist() == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize("kind", ["int16", "int32", "float32", "stereo"])
def test_every_kind_of_file_gives_the_same_clip(folder, word, kind):
    samples = {
        "int16": (word * 2**15).astype(np.int16),
        "int32": (word.astype(np.float64) * 2**31).astype(np.int32),
        "float32": word,
        "stereo": np.stack([1.1 * word, 0.9 * word], axis=1),
    }[kind]
    save(folder / "0_ada_0.wav", samples)
    speech = load_recordings(folder)
    torch.testing.assert_close(speech.wave[0], speech.wave[1], atol=1e-3, rtol=0)


def test_eight_bits_are_read_around_128(folder):
    saw = (np.arange(8000) % 40 * 6).astype(np.uint8)
    save(folder / "0_ada_0.wav", saw)
    save(folder / "0_bo_0.wav", (saw / 128 - 1).astype(np.float32))
    speech = load_recordings(folder)
    torch.testing.assert_close(speech.wave[0], speech.wave[1])


def test_every_rate_gives_the_same_clip(folder, word):
    for rate in (44100, 16000, 8000):
        times = np.fft.irfft(np.fft.rfft(word), len(word) * rate // RATE) * rate / RATE
        save(folder / "0_ada_0.wav", np.stack([times, times], axis=1).astype(np.float32), rate)
        speech = load_recordings(folder)
        one, other = log_mel(speech.wave[:2])
        assert (one - other).abs().mean() < 0.2, rate  # the edges of the word may lie a sample apart


def test_a_few_clipped_samples_do_no_harm_and_many_are_refused(folder, word):
    save(folder / "0_ada_0.wav", np.clip(1.5 * word, -1, 1))
    assert torch.isfinite(load_recordings(folder).wave).all()
    save(folder / "0_ada_0.wav", np.clip(100 * word, -1, 1))
    with pytest.raises(ValueError, match=r"expected samples below the limit, got \d\d% at the limit in .*0_ada_0.wav"):
        load_recordings(folder)


def riff(samples, kind=1, channels=1, rate=8000, bits=16, before=b"", behind=b"", sizes=None, extra=b""):
    """A wav file byte by byte; `sizes` are what it says in place of its size and of that of its samples."""
    step = channels * -(-bits // 8)
    form = struct.pack("<HHIIHH", kind, channels, rate, rate * step, step, bits) + extra
    body = b"WAVE" + part(b"fmt ", form) + before
    whole, known = sizes or (len(body) + 8 + len(samples) + len(behind), len(samples))
    return struct.pack("<4sI", b"RIFF", whole) + body + struct.pack("<4sI", b"data", known) + samples + behind


def part(name, content):
    return struct.pack("<4sI", name, len(content)) + content + b"\0" * (len(content) % 2)


SINE = 0.3 * np.sin(np.arange(300) / 3)
SIXTEEN = (SINE * 2**15).astype("<i2").tobytes()
THREE_BYTES = (SINE * 2**31).astype("<i4").view(np.uint8).reshape(-1, 4)[:, 1:].tobytes()
GUID = b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"
ODD, EVEN = part(b"bext", b"Recorded by Ada"), part(b"LIST", b"INFOISFT" + part(b"", b"")[4:] + b"x" * 10)
FILES = {
    "16 bits": riff(SIXTEEN),
    "other parts": riff(SIXTEEN, before=ODD + part(b"FLLR", bytes(4)) + part(b"PEAK", bytes(8)),
                        behind=EVEN + part(b"iXML", b"<a/>") + part(b"id3 ", b"ID3") + part(b"cue ", bytes(4))),
    "zeros at the end": riff(SIXTEEN, behind=bytes(7)),
    "24 bits": riff(THREE_BYTES, bits=24),
    "32 bits": riff((SINE * 2**31).astype("<i4").tobytes(), bits=32),
    "extensible": riff(THREE_BYTES, kind=0xFFFE, bits=24, extra=struct.pack("<HHIH", 22, 24, 4, 1) + GUID),
    "floats": riff(SINE.astype("<f4").tobytes(), kind=3, bits=32, before=part(b"fact", struct.pack("<I", 300))),
    "64 bits": riff(SINE.astype("<f8").tobytes(), kind=3, bits=64),
    "stereo": riff(SIXTEEN, channels=2),
}  # fmt: skip


def reads_right(path, content, wave, rate):
    """True if it is read as the wave, False if it is refused by name."""
    path.write_bytes(content)
    try:
        again, its_rate = read_wav(path)
    except ValueError as error:
        assert str(error).startswith("read_wav: expected ") and str(path) in str(error)
        return False
    longest = max(len(again), len(wave))  # more or less silence at the end does no harm
    again, wave = (torch.nn.functional.pad(x, (0, longest - len(x))) for x in (again, wave))
    assert its_rate == rate and torch.equal(again, wave)
    return True


@pytest.mark.parametrize("kind", FILES)
def test_any_bit_flipped_in_the_head_and_any_cut_is_refused_or_does_no_harm(tmp_path, kind):
    content, path = FILES[kind], tmp_path / "0_ada_0.wav"
    path.write_bytes(content)
    wave, rate = read_wav(path)
    sine = torch.from_numpy(SINE if kind != "stereo" else SINE.reshape(-1, 2).mean(axis=1)).float()
    torch.testing.assert_close(wave, sine, atol=1e-4, rtol=0)
    place = content.index(b"data") + 8
    size = struct.unpack_from("<I", content, place - 4)[0]
    harmless = 0
    for bit in [*range(8 * place), *range(8 * (place + size), 8 * len(content))]:
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        harmless += reads_right(path, damaged, wave, rate)
    assert harmless >= 32  # the size of the whole at least
    for length in [*range(place + 1), place + size // 2, place + size - 1]:
        assert not reads_right(path, content[:length], wave, rate)
    for length in range(place + size, len(content)):
        reads_right(path, content[:length], wave, rate)


UNWRITTEN = ((0, 0), (36, 0), (2**32 - 1, 2**32 - 1), (0x7FFFF024, 0x7FFFF000))


@pytest.mark.parametrize("sizes", UNWRITTEN, ids=str)
def test_a_recorder_that_was_interrupted_has_kept_the_sound(tmp_path, sizes):
    path = tmp_path / "0_ada_0.wav"
    path.write_bytes(riff(SIXTEEN + b"\1", sizes=sizes))  # in the middle of a sample
    torch.testing.assert_close(read_wav(path)[0], torch.from_numpy(SINE).float(), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "content, expected",
    [
        (b"", "a wav file that can be read, got no beginning of a wav file"),
        (b"not a wav file at all, but long enough to be one", "a wav file that can be read"),
        (riff(b"\0\1" * 4000)[:30], "can be read, got a part 'fmt ' of 16 bytes where 10 are left"),
        (riff(b"\0\1" * 4000)[:500], "can be read, got a part 'data' of 8,000 bytes where 456 are left"),
        (riff(b""), "a sound, got none"),
        (riff(b"\0\0" * 8000), "sounds that can be heard"),
        (riff(b"\0\1"), "a sound of 32 ms or more, got 1 samples"),
        (riff(b"\0\1" * 100), "a sound of 32 ms or more"),
        (riff(SIXTEEN, rate=0), "got a damaged head .*, 0 steps and 0 bytes a second"),
        (riff(SIXTEEN, kind=17), "got sound of format 17 with 16 bits"),
        (riff((2**15 * SINE).astype("<f4").tobytes(), kind=3, bits=32), "samples from -1 to 1, got larger ones"),
    ],
    ids=["no bytes", "no wav", "half a head", "cut short", "empty", "silent", "one sample", "short", "rate 0",
         "compressed", "floats that are no shares"],
)  # fmt: skip
def test_bad_files_are_refused_by_name(folder, content, expected):
    (folder / "0_bo_0.wav").write_bytes(content)
    with pytest.raises(ValueError, match=expected) as refusal:
        load_recordings(folder)
    assert "0_bo_0.wav" in str(refusal.value)


def test_no_recording_is_skipped_in_silence(folder, word):
    """Capitals are read, other kinds of sound are refused, one name written in two ways is one person."""
    (folder / "0_ada_0.wav").rename(folder / "0_ada_0.WAV")
    save(folder / "1_Zo\u00eb_0.wav", word)
    save(folder / "2_Zoe\u0308_0.wav", word)
    (folder / "._1_ada_0.wav").write_bytes(b"what macOS keeps of a file on a foreign disk")
    (folder / "notes.txt").write_text("a cold")
    speech = load_recordings(folder)
    assert speech.digit.bincount().tolist() == [3, 1, 1, 0, 0, 0, 0, 3]
    assert speech.speakers == ("Zo\u00eb", "ada", "bo", "mary_jane") and not speech.synthetic
    (folder / "3_ada_0.mp3").write_bytes(b"ID3")
    with pytest.raises(ValueError, match=r"a wav file that can be read, got .*3_ada_0.mp3.* ffmpeg"):
        load_recordings(folder)


def in_a_room(wave):
    """Seconds before and behind the word; noise 45 dB below the peak, a constant, hum, a click."""
    before, behind = torch.randint(RATE, 2 * RATE, (2,)).tolist()
    wave = np.pad(0.5 * wave / np.abs(wave).max(), (before, behind))
    time = np.arange(len(wave)) / RATE
    wave += 0.5 * 10 ** (-45 / 20) * torch.randn(len(wave)).numpy() + 0.02
    wave += sum(0.01 / n * np.sin(2 * np.pi * 50 * n * time) for n in (1, 2, 3)).astype(np.float32)
    wave[before // 2 : before // 2 + 20] += 0.4
    return wave


def test_words_are_understood_in_an_ordinary_room(tmp_path, speech):
    """By a linear map from the spectrograms of other voices, spoken in silence and in a little noise."""
    names = {speech.speakers[i] for i in speech.take(split_speakers(speech).test).speaker.tolist()}
    heard = ~torch.isin(speech.speaker, torch.tensor([speech.speakers.index(name) for name in names]))
    known = torch.cat([noise_sound(speech.wave[heard], level) for level in (0.0, 0.1, 0.2)])
    weights = torch.linalg.lstsq(features(known), torch.eye(10)[speech.digit[heard].repeat(3)], driver="gelsd").solution
    for place in ("silence", "room"):
        (tmp_path / place).mkdir()
    for name in names:
        for digit, wave in enumerate(speak([str(digit) for digit in range(10)], f"en-us+{name}")):
            save(tmp_path / "silence" / f"{digit}_{name}_0.wav", wave)
            for n in range(4):  # one room says little: a noise may hide a word
                save(tmp_path / "room" / f"{digit}_{name}_{n}.wav", in_a_room(wave))
    right = {}
    for place in ("silence", "room"):
        mine = load_recordings(tmp_path / place)
        right[place] = ((features(mine.wave) @ weights).argmax(dim=1) == mine.digit).float().mean().item()
    assert right["silence"] > 0.7 and right["room"] > right["silence"] - 0.1, right


def features(wave):
    """Without the lowest of 20 bands, which holds hum and little of a voice."""
    bands = log_mel(wave, bands=20)[:, 1:, 5:-5:2].clamp(min=-6)
    return torch.nn.functional.pad(bands.flatten(1), (0, 1), value=1.0)


def test_a_folder_without_recordings_or_with_other_names_is_refused(tmp_path, folder, word):
    save(folder / "seven_ada_0.wav", word)
    with pytest.raises(ValueError, match=r"\{digit\}_\{speaker\}_\{n\}.wav, got seven_ada_0.wav in .*7_ada_0.wav"):
        load_recordings(folder)
    with pytest.raises(ValueError, match="got no wav file in"):
        load_recordings(tmp_path / "nowhere")
