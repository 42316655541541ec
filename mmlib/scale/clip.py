"""Notebook 1's model and recipe for several processes: each takes its part of every batch.

One process alone draws the very batches of the notebook.
"""

from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torchvision.transforms import v2

from mmlib.check import refuse
from mmlib.checkpoint import Checkpoint
from mmlib.data.emoji import make_pictures, right_answers, split_pictures
from mmlib.data.text import Tokenizer
from mmlib.metrics import recall_at_k
from mmlib.models.clip import CLIP, CLIPConfig
from mmlib.scale.gather import clip_loss_of_all
from mmlib.scale.processes import is_distributed, rank, world_size
from mmlib.train import History, evaluate, train

TEMPLATES = ["a picture of {}", "a drawing of {}", "{} in a picture", "this is {}"]
AUGMENT = v2.Compose(
    [
        v2.RandomResizedCrop(32, scale=(0.95, 1), ratio=(0.9, 1.1), antialias=True),
        v2.RandomRotation(3, interpolation=v2.InterpolationMode.BILINEAR, fill=1.0),
        v2.ColorJitter(brightness=0.05, contrast=0.05),
    ]
)


class Batch(NamedTuple):
    """What one process gets of a batch."""

    image: Float[Tensor, "b 3 h w"]
    text_ids: Int[Tensor, "b s"]
    key: Int[Tensor, " b"]  # the picture, as a number: pairs of the same one are right answers to each other


class Pairs:
    """The pictures and names of notebook 1, and its batches.

    Args:
        batch: pairs in a batch, of all processes together.

    Raises:
        ValueError: there are fewer pairs than processes, or fewer than 2.
    """

    def __init__(self, batch: int):
        if batch < max(2, world_size()):
            refuse("Pairs", f"a batch of {max(2, world_size())} pairs or more", str(batch), "Each process needs one.")
        pictures = make_pictures(size=32)
        split = split_pictures(pictures)
        self.train, self.validation = pictures.take(split.train), pictures.take(split.validation)
        self.tokenizer = Tokenizer.from_texts(name for names in (*self.train.names, TEMPLATES) for name in names)
        self.batch = batch

    def batch_of(self, step: int) -> Batch:
        """This process's part of batch `step`: the pairs are drawn alike everywhere, all else apart."""
        pick = torch.randint(len(self.train), (self.batch,)).tensor_split(world_size())[rank()]
        if rank():
            torch.manual_seed(torch.initial_seed() + 1_000_000_007 * rank())
        image = torch.cat([AUGMENT(few) for few in (self.train.image[pick] / 255).split(16)])
        template = _draw(TEMPLATES) if torch.rand(()) < 0.2 else "{}"
        texts = [template.format(_draw(self.train.names[i])) for i in pick.tolist()]
        return Batch(image, self.tokenizer.encode(texts), pick)

    def recall(self, model: CLIP) -> float:
        """Share of the validation names whose picture comes first among all validation pictures."""
        names = list(dict.fromkeys(name for names in self.validation.names for name in names))
        image_emb = evaluate(model, model.encode_image, self.validation.image / 255)
        text_emb = evaluate(model, model.encode_text, self.tokenizer.encode(names))
        return float(recall_at_k(text_emb @ image_emb.T, right_answers(names, self.validation.names), 1))


def loss_of(model: nn.Module, batch: Batch) -> Tensor:
    """The loss of the whole batch, of which this process holds a part."""
    return clip_loss_of_all(*model(batch.image, batch.text_ids), batch.key)


def train_clip(
    pairs: Pairs,
    device: torch.device,
    steps: int,
    checkpoint: str | Path | None = None,
    precision: torch.dtype | None = None,
) -> tuple[CLIP, History]:
    """Train notebook 1's model on all processes together; every one of them ends with the same weights.

    Args:
        pairs: what to learn from.
        device: of this process.
        steps: how often the weights are updated.
        checkpoint: a folder to keep the run in, 20 times on the way; a run that is there already goes on.
        precision: of the heavy arithmetic, as in `train`.
    """
    torch.manual_seed(0)
    model = CLIP(CLIPConfig(vocabulary=len(pairs.tokenizer))).to(device)
    learner = DistributedDataParallel(model, [device] if device.type == "cuda" else None) if is_distributed() else model
    options = {"steps": steps, "lr": 1e-3, "device": device, "precision": precision}
    if checkpoint is not None:
        every = max(1, steps // 20)
        options["checkpoint"] = Checkpoint(checkpoint, every, batch=pairs.batch, processes=world_size())
    return model, train(learner, pairs.batch_of, loss_of, **options)


def _draw(choices):
    return choices[int(torch.randint(len(choices), ()))]
