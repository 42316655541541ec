"""What each of the processes does that tests/test_scale.py starts: python scale_worker.py FOLDER."""

import os
import sys
from pathlib import Path

import torch
from torch.nn.parallel import DistributedDataParallel

from mmlib.layers import PatchEmbedding
from mmlib.models.clip import CLIP, CLIPConfig
from mmlib.scale.cached import backward_in_pieces
from mmlib.scale.gather import clip_loss_of_all
from mmlib.scale.processes import process_group, rank

SIZES = (7, 4)  # pairs of the two processes: an uneven last batch
KEY = torch.tensor([0, 1, 2, 3, 3, 4, 5, 1, 6, 7, 3])  # pictures 1 and 3 come in both processes


def make_model():
    torch.manual_seed(1)
    widths = {"text_width": 32, "image_width": 32, "embed": 16, "image_size": 16, "temperature": 1.0}
    return CLIP(CLIPConfig(vocabulary=30, stem=PatchEmbedding, **widths))


def whole_batch():
    generator = torch.Generator().manual_seed(2)
    image = torch.rand(sum(SIZES), 3, 16, 16, generator=generator)
    text_ids = torch.randint(4, 30, (sum(SIZES), 6), generator=generator)
    text_ids[:, -1] = 3
    return image, text_ids, KEY


def gradients(model):
    return {name: p.grad.clone() for name, p in model.named_parameters()}


def distributed(image, text_ids, key):
    model = make_model()
    learner = DistributedDataParallel(model)  # which must live until the backward pass is done
    loss = clip_loss_of_all(*learner(image, text_ids), key)
    loss.backward()
    return loss.detach(), gradients(model)


def cached(image, text_ids, key):
    model = make_model()

    def loss_of(image_emb, text_emb):
        return clip_loss_of_all(image_emb, text_emb, model.log_scale, key)

    loss = backward_in_pieces(lambda *few: model(*few)[:2], loss_of, [image, text_ids], piece=3)
    for p in model.parameters():
        torch.distributed.all_reduce(p.grad)
        p.grad /= len(SIZES)
    return loss, gradients(model)


def of_open_clip():
    """The peer's loss and ours on the same embeddings, as many in each process: it takes no uneven ones."""
    from open_clip.loss import ClipLoss

    generator = torch.Generator().manual_seed(3)
    emb = torch.nn.functional.normalize(torch.randn(2, 2, 5, 16, generator=generator), dim=-1)
    found = []
    peer = ClipLoss(local_loss=True, gather_with_grad=True, rank=rank(), world_size=2)
    for loss_of in (lambda i, t, s: clip_loss_of_all(i, t, s), lambda i, t, s: peer(i, t, s.exp())):
        image, text = (side[rank()].clone().requires_grad_() for side in emb)
        log_scale = torch.tensor(2.0, requires_grad=True)
        loss = loss_of(image, text, log_scale)
        loss.backward()
        sums = torch.stack([loss.detach(), log_scale.grad]) / 2
        torch.distributed.all_reduce(sums)  # their loss is of this process's rows only
        found.append({"mean loss": sums[0], "scale": sums[1], "image": image.grad, "text": text.grad})
    return found


def main(folder):
    with process_group(patience=60.0):
        mine = [x.split(SIZES)[rank()] for x in whole_batch()]
        found = {"ddp": distributed(*mine), "cached": cached(*mine), "peer": of_open_clip()}
        found["threads"] = torch.get_num_threads()
        torch.save(found, Path(folder) / f"{rank()}.pt")


if __name__ == "__main__":
    assert os.environ["WORLD_SIZE"] == "2"
    main(sys.argv[1])
