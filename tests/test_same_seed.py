"""The same seed gives the same numbers on one machine, to the last bit: in another process, and while others are busy.

Sums in an order that threads decide, sets whose order is drawn anew in each process, and the clock would all break it.
"""

import ast
import os
import subprocess
import sys

from mmlib.models.fusion import FUSIONS

# Trains each model as its notebook does, in batches of the same size, and prints its losses and a hash of its weights.
TRAININGS = """
import hashlib
import torch
import torch.nn.functional as F
from mmlib.data.digits import load_digits, split_forms
from mmlib.data.emoji import make_pictures, names_in, split_pictures
from mmlib.data.features import mistype, picture_features, text_features
from mmlib.data.motion import MOTIONS, make_clips, split_sprites
from mmlib.data.text import Tokenizer
from mmlib.losses import caption_loss, clip_loss, triplet_loss
from mmlib.models.captioner import Captioner, CaptionerConfig
from mmlib.models.clip import CLIP, CLIPConfig
from mmlib.models.fusion import FUSIONS, Fusion, FusionConfig
from mmlib.models.retrieval import Retrieval, RetrievalConfig
from mmlib.models.timesformer import TimeSformer, TimeSformerConfig
from mmlib.train import train


def learn(name, model, batch_of, loss_of, steps=2):
    history = train(model, batch_of, loss_of, steps=steps, lr=1e-3, device="cpu")
    weights = hashlib.sha256()
    for tensor in model.state_dict().values():
        weights.update(tensor.contiguous().numpy().tobytes())
    print((name, (history.losses, weights.hexdigest())))


torch.set_num_threads(2)
torch.manual_seed(0)
pictures = make_pictures(size=32)
places = split_pictures(pictures).train
names = [pictures.names[i] for i in places.tolist()]
tokenizer = Tokenizer.from_texts([name for several in names for name in several], positions=14)


def captions(step):
    pick = torch.randint(len(places), (128,))
    return pictures.image[places[pick]] / 255, tokenizer.encode([names[i][0] for i in pick.tolist()])


learn("clip", CLIP(CLIPConfig(vocabulary=len(tokenizer))), captions, lambda model, batch: clip_loss(*model(*batch)))
model = Captioner(CaptionerConfig(vocabulary=len(tokenizer), positions=tokenizer.positions))
learn("captioner", model, captions, lambda model, batch: caption_loss(
    model(*batch).logits, batch[1][:, 1:], tokenizer.pad_id, smoothing=0.1
))

sprites = make_pictures(size=24).image[split_sprites(pictures).train]


def clips(step):
    made = make_clips(sprites, 16, 8)
    return made.video / 255, made.motion


model = TimeSformer(TimeSformerConfig(classes=len(MOTIONS), frames=4))
learn("timesformer", model, clips, lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]))

spoken = names_in(pictures, "es")
features = picture_features(pictures.image[:512])


def pairs(step):
    pick = torch.randperm(len(features))
    return features[pick], text_features(mistype([spoken[i][0] for i in pick.tolist()], share=0.3))


model = Retrieval(RetrievalConfig(features.shape[1], 2048, embed=256, hidden=512))
learn("retrieval", model, pairs, lambda model, batch: triplet_loss(*model(*batch), 0.2, "semi-hard"), steps=8)

digits = load_digits()
written = digits.take(split_forms(digits).train)


def senses(step):
    pick = torch.randint(len(written.digit), (128,))
    return written.image[pick], torch.randn(128, 40, 51), written.digit[pick]


for fusion in FUSIONS:
    model = Fusion(FusionConfig(), fusion)
    learn(fusion, model, senses, lambda model, batch: F.cross_entropy(model(*batch[:2]).logits, batch[2]))
"""


def test_two_processes_that_disturb_each_other_learn_the_same(root):
    """With two threads each, on as many cores, and with sets in other orders."""
    command = [sys.executable, "-c", TRAININGS]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": root}
    both = [subprocess.Popen(command, env=os.environ | {"PYTHONHASHSEED": seed}, **pipes) for seed in ("1", "2")]
    said = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], said[0][1] + said[1][1]
    one, other = (dict(map(ast.literal_eval, output.splitlines())) for output, _ in said)
    assert one == other and set(one) == {"clip", "timesformer", "retrieval", "captioner", *FUSIONS}
