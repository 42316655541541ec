"""Retrieval: two small networks that bring frozen features of pictures and of texts onto one sphere.

Somebody else has turned pictures and texts into rows of numbers, once and for all. Only the projections are learned, so
that training takes seconds, and a gallery is embedded once and then searched by dot products.

Paper: Faghri et al. 2018, "VSE++: Improving Visual-Semantic Embeddings with Hard Negatives", section 3.1.
Differs from the paper:
- texts are frozen features too, in place of a recurrent network that is learned;
- each projection has a hidden layer, since these features are simpler than those of a deep network;
- the features are gradients and colours, or n-grams, in place of the activations of a network trained on ImageNet.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from mmlib.check import check_features, refuse


@dataclass(frozen=True)
class RetrievalConfig:
    """Sizes of a retrieval model; the defaults fit a ResNet-50 and a sentence encoder."""

    image_features: int = 2048  # width of a picture's features
    text_features: int = 768  # width of a text's features
    embed: int = 512  # width of the shared space
    hidden: int = 1024  # width of each projection's middle layer
    dropout: float = 0.1  # share of the middle layer that is left out at random in training


class RetrievalOutput(NamedTuple):
    """What `triplet_loss` takes."""

    image_emb: Float[Tensor, "b e"]
    text_emb: Float[Tensor, "b e"]


class Retrieval(nn.Module):
    """Two projections into one space.

    Args:
        config: the sizes.

    Raises:
        ValueError: features of another width than the sizes say, or that are not finite numbers.

    >>> model = Retrieval(RetrievalConfig(image_features=6, text_features=4))
    >>> model.encode_text(torch.eye(4)).norm(dim=1).round().tolist()
    [1.0, 1.0, 1.0, 1.0]
    """

    def __init__(self, config: RetrievalConfig):
        super().__init__()
        self.config = config
        self.image = projection(config.image_features, config)
        self.text = projection(config.text_features, config)

    def encode_image(self, image_features: Float[Tensor, "b i"]) -> Float[Tensor, "b e"]:
        """Place pictures, given by their features, on the unit sphere.

        Equation: u_i = F(x_i) / |F(x_i)|  (3.1; Faghri et al. 2018, section 3.1)
        """
        check_features("Retrieval.encode_image", image_features, self.config.image_features)
        return F.normalize(self.image(image_features), dim=-1)

    def encode_text(self, text_features: Float[Tensor, "b j"]) -> Float[Tensor, "b e"]:
        """Place texts, given by their features, on the unit sphere.

        Equation: v_j = G(y_j) / |G(y_j)|  (3.1; Faghri et al. 2018, section 3.1)
        """
        check_features("Retrieval.encode_text", text_features, self.config.text_features)
        return F.normalize(self.text(text_features), dim=-1)

    def forward(self, image_features: Float[Tensor, "b i"], text_features: Float[Tensor, "b j"]) -> RetrievalOutput:
        """Embed pairs."""
        return RetrievalOutput(self.encode_image(image_features), self.encode_text(text_features))


def projection(width: int, config: RetrievalConfig) -> nn.Sequential:
    """A hidden layer and a linear one, on features that are first centred and brought to one scale.

    A feature that hardly ever varies would become large that way, hence the `eps`.
    """
    return nn.Sequential(
        nn.BatchNorm1d(width, eps=0.01, affine=False),
        nn.Linear(width, config.hidden),
        nn.LayerNorm(config.hidden),
        nn.GELU(),
        nn.Dropout(config.dropout),
        nn.Linear(config.hidden, config.embed),
    )


class Nearest(NamedTuple):
    """The nearest of a gallery, best first."""

    scores: Float[Tensor, "q k"]  # similarities to the query
    places: Int[Tensor, "q k"]  # in the gallery


def top_k(query_emb: Float[Tensor, "q e"], gallery_emb: Float[Tensor, "g e"], k: int) -> Nearest:
    """Exact search: the k items of the gallery with the largest dot product with each query.

    Equation: found_k(v) = the k places i with the largest <u_i, v>  (3.3)

    Args:
        query_emb, gallery_emb: unit vectors, so that the dot product is the cosine.
        k: from 1 to the size of the gallery.

    Raises:
        ValueError: k is not in that range.

    >>> top_k(torch.eye(3)[:1], torch.eye(3), k=1).places
    tensor([[0]])
    """
    if not 1 <= k <= len(gallery_emb):
        refuse("top_k", f"k from 1 to {len(gallery_emb)}", str(k), "The gallery is no larger.")
    return Nearest(*torch.topk(query_emb @ gallery_emb.T, k, dim=1))
