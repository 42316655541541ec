"""What must be fast in notebook 4: decoding 400 pictures, and beam search of a batch against one picture at a time."""

import statistics
import time
from functools import partial

import pytest
import torch

from mmlib.data.text import Tokenizer
from mmlib.decode import beam_search, greedy
from mmlib.models.captioner import Captioner, CaptionerConfig

GREEDY_SECONDS, BEAM_SECONDS = 1.0, 4.0  # for 400 pictures, beams of 5
BATCH_SPEEDUP = 15  # of beam search over the same search run one picture at a time
PICTURES, WORDS, POSITIONS = 400, 1532, 14

pytestmark = pytest.mark.bench


@pytest.fixture(scope="module", params=["attend", "tell"])
def captioner(request):
    """The notebook's sizes. Untrained, so few captions end before the limit: the worst case."""
    torch.manual_seed(0)
    tokenizer = Tokenizer([f"w{i}" for i in range(WORDS)], POSITIONS)
    config = CaptionerConfig(vocabulary=len(tokenizer), positions=POSITIONS, design=request.param)
    return Captioner(config).eval(), torch.rand(PICTURES, 3, 32, 32), tokenizer


def fastest(call, rounds=5):
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def test_greedy_of_400_pictures(captioner, capsys, slower):
    seconds = fastest(lambda: greedy(*captioner))
    with capsys.disabled():
        print(f"\n{PICTURES} pictures, greedy: {seconds:.2f} s")
    assert seconds <= GREEDY_SECONDS * slower


def test_beam_search_of_400_pictures(captioner, capsys, slower):
    seconds = fastest(lambda: beam_search(*captioner, width=5))
    with capsys.disabled():
        print(f"\n{PICTURES} pictures, beams of 5: {seconds:.2f} s")
    assert seconds <= BEAM_SECONDS * slower


def test_a_batch_against_one_picture_at_a_time(captioner, capsys):
    model, image, tokenizer = captioner
    search = partial(beam_search, model, tokenizer=tokenizer, width=5)
    ratios = []
    for _ in range(5):  # one after the other, so that both meet the same weather
        together = fastest(lambda: search(image), 10)
        apart = fastest(lambda: [search(one) for one in image.split(1)], 1)
        ratios.append(apart / together)
    ratio = statistics.median(ratios)
    with capsys.disabled():
        print(f"\nbeams of 5: {apart:.2f} s one picture at a time, {together:.2f} s together; {ratio:.1f} x")
    assert ratio >= BATCH_SPEEDUP
