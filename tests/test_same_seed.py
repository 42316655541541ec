"""The same seed gives the same numbers on one machine, to the last bit: in another process, and while others are busy.

Sums in an order that threads decide, sets whose order is drawn anew in each process, and the clock would all break it.
"""

import os
import subprocess
import sys

import pytest

START = """
import hashlib
import torch
import torch.nn.functional as F
from mmlib.data.digits import load_digits, split_forms
from mmlib.data.emoji import make_pictures, names_in, split_pictures
from mmlib.data.features import mistype, picture_features, text_features
from mmlib.data.motion import MOTIONS, make_clips, split_sprites
from mmlib.data.text import Tokenizer
from mmlib.losses import caption_loss, clip_loss, triplet_loss
from mmlib.train import train

torch.set_num_threads(2)
pictures = make_pictures(size=32)
places = split_pictures(pictures).train
names = [pictures.names[i] for i in places.tolist()]


def learn(model, batch_of, loss_of, steps=2):
    history = train(model, batch_of, loss_of, steps=steps, lr=1e-3, device="cpu")
    weights = hashlib.sha256()
    for tensor in model.state_dict().values():
        weights.update(tensor.contiguous().numpy().tobytes())
    return history.losses, weights.hexdigest()


def batch_of(step, size=128):
    pick = torch.randint(len(places), (size,))
    return pictures.image[places[pick]] / 255, tokenizer.encode([names[i][0] for i in pick.tolist()])


torch.manual_seed(0)
"""
# model -> how its notebook trains it, in batches of the same size
TRAININGS = {
    "clip": """
from mmlib.models.clip import CLIP, CLIPConfig
tokenizer = Tokenizer.from_texts(name for several in names for name in several)
print(learn(CLIP(CLIPConfig(vocabulary=len(tokenizer))), batch_of, lambda model, batch: clip_loss(*model(*batch))))
""",
    "timesformer": """
from mmlib.models.timesformer import TimeSformer, TimeSformerConfig
sprites = make_pictures(size=24).image[split_sprites(pictures).train]
def clips(step):
    made = make_clips(sprites, 16, 8)
    return made.video / 255, made.motion
model = TimeSformer(TimeSformerConfig(classes=len(MOTIONS), frames=4))
print(learn(model, clips, lambda model, batch: F.cross_entropy(model(batch[0]), batch[1])))
""",
    "retrieval": """
from mmlib.models.retrieval import Retrieval, RetrievalConfig
spoken = names_in(pictures, "es")
features = picture_features(pictures.image)
def pairs(step):
    pick = torch.randperm(len(pictures))[:512]
    return features[pick], text_features(mistype([spoken[i][0] for i in pick.tolist()], share=0.3))
config = RetrievalConfig(features.shape[1], 2048, embed=256, hidden=512)
print(learn(Retrieval(config), pairs, lambda model, batch: triplet_loss(*model(*batch), 0.2, "semi-hard"), steps=8))
""",
    "captioner": """
from mmlib.models.captioner import Captioner, CaptionerConfig
tokenizer = Tokenizer.from_texts([name for several in names for name in several], positions=14)
model = Captioner(CaptionerConfig(vocabulary=len(tokenizer), positions=tokenizer.positions))
def loss_of(model, batch):
    return caption_loss(model(*batch).logits, batch[1][:, 1:], tokenizer.pad_id, smoothing=0.1)
print(learn(model, batch_of, loss_of))
""",
    "fusion": """
from mmlib.models.fusion import FUSIONS, Fusion, FusionConfig
digits = load_digits()
written = digits.take(split_forms(digits).train)
def pairs(step):
    pick = torch.randint(len(written.digit), (128,))
    return written.image[pick], torch.randn(128, 40, 51), written.digit[pick]
for fusion in FUSIONS:
    loss_of = lambda model, batch: F.cross_entropy(model(*batch[:2]).logits, batch[2])
    print(learn(Fusion(FusionConfig(), fusion), pairs, loss_of))
""",
}


@pytest.mark.parametrize("model", TRAININGS)
def test_two_processes_that_disturb_each_other_learn_the_same(root, model):
    """With two threads each, on as many cores, and with sets in other orders."""
    command = [sys.executable, "-c", START + TRAININGS[model]]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": root}
    both = [subprocess.Popen(command, env=os.environ | {"PYTHONHASHSEED": seed}, **pipes) for seed in ("1", "2")]
    said = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], said[0][1] + said[1][1]
    assert said[0][0] == said[1][0] and said[0][0].count("[") >= 1
