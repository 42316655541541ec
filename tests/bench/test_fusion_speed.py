"""What must be fast in notebook 5: to speak, to look at sounds, and a pass of all the fusions."""

import time

import pytest
import torch

from mmlib.data.sound import RATE, log_mel
from mmlib.data.speech import make_speech
from mmlib.models.fusion import FUSIONS, Fusion, FusionConfig

SPEECH_SECONDS = 1.5  # 2,000 digits
PEER_RATIO = 0.5  # of the time of librosa's log-mel
ANSWER_SECONDS = 0.02  # all the fusions, one pair: a widget has 0.1 s from key to pixel

pytestmark = pytest.mark.bench


def seconds(step):
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def test_digits_are_spoken_fast(tmp_path, monkeypatch, capsys, slower):
    def speak(seed):
        monkeypatch.setenv("MMLIB_CACHE", str(tmp_path / str(seed)))  # nothing is kept from round to round
        return seconds(lambda: make_speech(2000, seed))

    took = min(speak(seed) for seed in range(3))
    with capsys.disabled():
        print(f"\n2,000 spoken digits, their clips and the cache: {took:.2f} s")
    assert took <= SPEECH_SECONDS * slower


def test_log_mel_against_librosa(side_by_side, compare):
    librosa = pytest.importorskip("librosa", reason="pip install librosa, to be held against it")
    wave = torch.randn(2000, RATE)
    array = wave.numpy()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # librosa's transform uses one core

    def theirs():
        options = dict(sr=RATE, n_fft=256, hop_length=160, n_mels=40, htk=True, norm=None, pad_mode="constant")
        power = librosa.feature.melspectrogram(y=array, **options)
        return torch.from_numpy(power).add(1e-5).log()

    torch.testing.assert_close(log_mel(wave), theirs(), atol=1e-3, rtol=1e-3)
    ours, peer = side_by_side(lambda: log_mel(wave), theirs, rounds=7)
    torch.set_num_threads(threads)
    assert compare("Log-mel of 2,000 sounds of a second, one thread", ours, peer, "librosa") <= PEER_RATIO


def test_all_fusions_answer_before_a_reader_notices(capsys, slower):
    models = [Fusion(FusionConfig(), fusion).eval() for fusion in FUSIONS]
    image, sound = torch.rand(1, 1, 8, 8), torch.randn(1, 40, 51)

    def answer():
        with torch.inference_mode():
            return [model(image, sound) for model in models]

    answer()
    took = sorted(seconds(answer) for _ in range(20))[10]
    with capsys.disabled():
        print(f"\nfour fusions of one pair: {1000 * took:.1f} ms")
    assert took <= ANSWER_SECONDS * slower
