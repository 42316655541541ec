"""CLIP: a picture encoder and a text encoder that learn to put a picture and its name at one place of a sphere.

Paper: Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision", section 2, fig. 3.
Differs from the paper:
- patches come from a few small convolutions in place of one large one (Xiao et al. 2021, "Early Convolutions Help
  Transformers See Better"), which learns several times faster from few pictures;
- words are tokens, since the names hold only some hundreds of them;
- sizes: a minute on a laptop in place of days on 256 GPUs.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from jaxtyping import Float, Int
from torch import Tensor, nn

from mmlib.check import (
    check_config,
    check_finite,
    check_image,
    check_patches,
    check_positive,
    check_text_ids,
    refuse,
    typechecked,
)
from mmlib.layers import Block, ConvStem

MAX_LOG_SCALE = math.log(100)


@dataclass(frozen=True)
class CLIPConfig:
    """Sizes of a CLIP model."""

    vocabulary: int  # number of tokens, special ones included
    end_id: int = 3  # the end-of-text token
    positions: int = 24  # longest text, in tokens
    text_width: int = 128
    text_layers: int = 1
    text_heads: int = 4
    image_size: int = 32  # pixels, rows and columns
    patch: int = 8  # pixels, side of a patch
    image_width: int = 128
    image_layers: int = 2
    image_heads: int = 4
    embed: int = 128  # width of the shared space
    temperature: float = 0.07  # where the learned temperature starts
    stem: Callable[[int, int], nn.Module] = ConvStem  # or PatchEmbedding, as in the paper
    activation: Callable[[], nn.Module] = nn.GELU  # or QuickGELU, as in OpenAI's code


class CLIPOutput(NamedTuple):
    """What `clip_loss` takes."""

    image_emb: Float[Tensor, "b e"]
    text_emb: Float[Tensor, "b e"]
    log_scale: Float[Tensor, ""]


class VisionTransformer(nn.Module):
    """Picture to embedding: cut into patches, let them look at each other, read the class token.

    Paper: Dosovitskiy et al. 2021, eq. 1 to 4.
    """

    def __init__(self, config: CLIPConfig):
        super().__init__()
        d, grid = config.image_width, config.image_size // config.patch
        check_patches("CLIP", config.image_size, config.patch)
        self.patches = config.stem(d, config.patch)
        self.class_token = nn.Parameter(d**-0.5 * torch.randn(d))
        self.position = nn.Parameter(d**-0.5 * torch.randn(1 + grid**2, d))
        self.norm_in = nn.LayerNorm(d)
        block = partial(Block, d, config.image_heads, 4 * d, activation=config.activation)
        self.blocks = nn.ModuleList(block() for _ in range(config.image_layers))
        self.norm_out = nn.LayerNorm(d)
        self.project = nn.Linear(d, config.embed, bias=False)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b e"]:
        """Embed pictures; the result is not yet of unit length."""
        patches = rearrange(self.patches(image), "b d h w -> b (h w) d")
        class_token = self.class_token.expand(len(image), 1, -1)
        tokens = torch.cat([class_token, patches], dim=1) + self.position
        tokens = self.norm_in(tokens)
        *blocks, last = self.blocks
        for block in blocks:
            tokens = block(tokens)
        class_token = last(tokens[:, :1], context=tokens)  # the only one that is read
        return self.project(self.norm_out(class_token[:, 0]))


class TextTransformer(nn.Module):
    """Text to embedding: a causal transformer, read at the end-of-text token.

    Each token sees only what stands before it, so whatever pads the row behind the end-of-text token changes nothing.
    """

    def __init__(self, config: CLIPConfig):
        super().__init__()
        d = config.text_width
        self.end_id = config.end_id
        self.token = nn.Embedding(config.vocabulary, d)
        self.position = nn.Parameter(0.01 * torch.randn(config.positions, d))
        nn.init.normal_(self.token.weight, std=0.02)
        block = partial(Block, d, config.text_heads, 4 * d, causal=True, activation=config.activation)
        self.blocks = nn.ModuleList(block() for _ in range(config.text_layers))
        self.norm_out = nn.LayerNorm(d)
        self.project = nn.Linear(d, config.embed, bias=False)

    def forward(self, text_ids: Int[Tensor, "b s"]) -> Float[Tensor, "b e"]:
        """Embed texts; the result is not yet of unit length."""
        tokens = self.token(text_ids) + self.position[: text_ids.shape[1]]
        *blocks, last = self.blocks
        for block in blocks:
            tokens = block(tokens)
        place = torch.arange(text_ids.shape[1], device=text_ids.device)
        end = self.end_of(text_ids)[:, None]
        end_token = tokens.gather(1, repeat(end, "b 1 -> b 1 d", d=tokens.shape[2]))
        past = rearrange(place <= end, "b s -> b 1 1 s")
        end_token = last(end_token, context=tokens, mask=past)
        return self.project(self.norm_out(end_token[:, 0]))

    def end_of(self, text_ids: Int[Tensor, "b s"]) -> Int[Tensor, " b"]:
        """Where to read: the first end-of-text token, the only one that has seen the whole text."""
        return (text_ids == self.end_id).int().argmax(dim=1)


class CLIP(nn.Module):
    """Two encoders into one space, and a learned temperature.

    Args:
        config: the sizes.

    Raises:
        ValueError: sizes that do not fit each other; pictures or texts that are not what the sizes say.

    >>> model = CLIP(CLIPConfig(vocabulary=10))
    >>> model.encode_text(torch.tensor([[2, 4, 5, 3]])).norm().round().item()
    1.0
    """

    def __init__(self, config: CLIPConfig):
        super().__init__()
        check_config("CLIP", config)
        self.config = config
        self.image = VisionTransformer(config)
        self.text = TextTransformer(config)
        check_positive("CLIP", "temperature", config.temperature, "The paper starts at 0.07.")
        self.log_scale = nn.Parameter(torch.tensor(-math.log(config.temperature)))

    @typechecked
    def encode_image(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b e"]:
        """Place pictures with values in [0, 1] on the unit sphere.

        Equation: image_emb = f(image) / |f(image)|  (1.1; Radford et al. 2021, fig. 3)
        """
        check_image("CLIP.encode_image", image, self.config.image_size, self.config.image_size)
        return F.normalize(self.image(image), dim=-1)

    @typechecked
    def encode_text(self, text_ids: Int[Tensor, "b s"]) -> Float[Tensor, "b e"]:
        """Place texts, given as token ids, on the unit sphere.

        Equation: text_emb = g(text) / |g(text)|  (1.2; Radford et al. 2021, fig. 3)
        """
        config = self.config
        check_text_ids("CLIP.encode_text", text_ids, config.vocabulary, config.positions, config.end_id)
        return F.normalize(self.text(text_ids), dim=-1)

    @typechecked
    def forward(self, image: Float[Tensor, "b c h w"], text_ids: Int[Tensor, "b s"]) -> CLIPOutput:
        """Embed pairs. The scale is first brought back to 1 to 100, so that logits cannot explode."""
        with torch.no_grad():
            self.log_scale.clamp_(0, MAX_LOG_SCALE)
        return CLIPOutput(self.encode_image(image), self.encode_text(text_ids), self.log_scale)


@typechecked
def zero_shot_classifier(
    encode_text: Callable[[list[str]], Float[Tensor, "n e"]], class_names: Sequence[str], templates: Sequence[str]
) -> Float[Tensor, "classes e"]:
    """One unit vector a class: the mean of its name's embeddings in every template, normalised again.

    Equation: w_c = sum_t g(t(c)) / |sum_t g(t(c))|  (1.14; Radford et al. 2021, section 3.1.4)

    Args:
        encode_text: texts to unit vectors.
        class_names: what a picture may be; each once.
        templates: sentences with `{}` at the place of the name.

    Raises:
        ValueError: no class, a class twice, no template, a template without `{}`, or an encoder that does not give
            one finite vector a text.
    """
    where = "zero_shot_classifier"
    if not class_names or not all(name.strip() for name in class_names):
        refuse(where, "at least one class, each with a name", repr(list(class_names)), "Name what a picture may be.")
    twice = sorted({name for name in class_names if list(class_names).count(name) > 1})
    if twice:
        refuse(where, "each class once", f"{', '.join(twice)} more than once", "Two equal classes share the answer.")
    if not templates or not all("{}" in template for template in templates):
        refuse(where, "templates with {} in place of the name", repr(list(templates)), 'Such as "a picture of a {}".')
    texts = [template.replace("{}", name) for name in class_names for template in templates]
    emb = encode_text(texts)
    if len(emb) != len(texts):
        refuse(where, f"{len(texts)} vectors from encode_text", str(len(emb)), "It gives one vector a text.")
    check_finite(where, emb, "embeddings")
    emb = rearrange(emb, "(classes templates) e -> classes templates e", templates=len(templates))
    return F.normalize(emb.mean(dim=1), dim=-1)
