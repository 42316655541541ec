"""Features from large published networks, in place of gradients and n-grams, where their weights are on this machine.

Nothing here downloads. `FETCH` says how to get the weights, once, on a machine with a network.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import reduce
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from mmlib.check import refuse

VIEWER, READER = "resnet50-11ad3fa6.pth", "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2"
FETCH = f"""python -m pip install -e ".[pretrained]"
python -c "from torchvision.models import resnet50; resnet50(weights='IMAGENET1K_V2')"  # 98 MB
python -c "import transformers as t; [m.from_pretrained('{READER}') for m in (t.AutoTokenizer, t.AutoModel)]"  # 471 MB
"""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of the pictures that ResNet-50 was trained on


class Extractors(NamedTuple):
    """A network for pictures and one for texts; both are frozen."""

    viewer: nn.Module  # pictures (b 3 h w) to (b f)
    pieces: object  # cuts texts into numbered pieces
    reader: nn.Module  # pieces to a state each

    @torch.inference_mode()
    def picture_features(self, image: UInt8[Tensor, "n 3 h w"], size: int = 128) -> Float[Tensor, "n f"]:
        """What ResNet-50 has before its last layer, 2,048 numbers a picture; some 20 ms each on two cores.

        Args:
            image: values from 0 to 255.
            size: side to which pictures are enlarged, in pixels.
        """
        mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
        enlarged = (F.interpolate(part / 255, size=(size, size), mode="bilinear") for part in image.split(32))
        return torch.cat([self.viewer((part - mean) / std) for part in enlarged])

    @torch.inference_mode()
    def text_features(self, texts: Sequence[str]) -> Float[Tensor, "n j"]:
        """The mean of a text's states, 384 numbers; some milliseconds each.

        Raises:
            ValueError: one string in place of a list, or no text.
        """
        if isinstance(texts, str) or not texts:
            refuse("Extractors.text_features", "a list of texts", repr(texts)[:20], "Put the text into a list.")
        parts = [list(texts[i : i + 64]) for i in range(0, len(texts), 64)]
        return torch.cat([self._read(part) for part in parts])

    def _read(self, texts: list[str]) -> Float[Tensor, "b j"]:
        inputs = self.pieces(texts, padding=True, truncation=True, return_tensors="pt")
        there = inputs["attention_mask"][..., None].float()  # 0 where a text is padded
        states = self.reader(**inputs).last_hidden_state
        return reduce(states * there, "b s j -> b j", "sum") / reduce(there, "b s one -> b one", "sum")


def load_extractors() -> Extractors | None:
    """ResNet-50 and a sentence encoder for fifty languages; None where a package or weights are missing."""
    weights = Path(torch.hub.get_dir(), "checkpoints", VIEWER)
    if not weights.exists():
        return None
    try:
        from torchvision.models import resnet50
        from transformers import AutoModel, AutoTokenizer

        pieces = AutoTokenizer.from_pretrained(READER, local_files_only=True)
        reader = AutoModel.from_pretrained(READER, local_files_only=True)
    except (ImportError, OSError):
        return None
    viewer = resnet50()
    viewer.load_state_dict(torch.load(weights, weights_only=True))
    viewer.fc = nn.Identity()
    return Extractors(viewer.eval(), pieces, reader.eval())
