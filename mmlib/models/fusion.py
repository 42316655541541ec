"""Two senses, one answer: four ways to fuse what is seen with what is heard.

Papers: Baltrusaitis et al. 2019, "Multimodal Machine Learning: A Survey and Taxonomy", section 6 (early and late);
Arevalo et al. 2017, "Gated Multimodal Units", section 3 (weights for each sample); Lu et al. 2019, "ViLBERT", fig. 2
(cross-attention).
Differs from the papers:
- a missing sense is an argument left out, and nothing stands in for it;
- both senses are read by one classifier, so that each can be asked alone and held against the other;
- weights are a softmax over the senses, one for each, where Arevalo's are a sigmoid for each feature;
- one round of cross-attention in place of ViLBERT's six blocks; small convolutions, a minute on a laptop.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from jaxtyping import Float
from torch import Tensor, nn

from mmlib.check import check_config, check_finite, check_unit_range, refuse, typechecked
from mmlib.layers import Attention

FUSIONS = ("early", "late", "attention", "cross")
SENSES = ("image", "sound")


@dataclass(frozen=True)
class FusionConfig:
    """Sizes of a fusion model."""

    classes: int = 10
    image_size: int = 8  # pixels, rows and columns
    bands: int = 40  # of the log-mel spectrogram
    width: int = 64  # of a token, and of what a branch gives
    heads: int = 4  # of cross-attention


class FusionOutput(NamedTuple):
    """What the model answers, what each sense alone would, and how much each was trusted."""

    logits: Float[Tensor, "b classes"]
    image_logits: Float[Tensor, "b classes"] | None  # None without a picture
    sound_logits: Float[Tensor, "b classes"] | None  # None without a sound
    weights: Float[Tensor, "b 2"] | None  # picture, sound; rows sum to 1; None for early and cross


class Fusion(nn.Module):
    """A branch for pictures, a branch for sounds, and one of four ways to fuse them; either sense may be missing.

    Below, h_v and h_a are what the branches give, W h_v and W h_a what each sense alone answers, p_v and p_a their
    softmax.

    Equation: early: logits = g([h_v; h_a]), g = a small MLP  (5.3; Baltrusaitis et al. 2019, section 6)

    Equation: late: p = alpha p_v + (1 - alpha) p_a, alpha = sigmoid(a), one number for all samples
    (5.4; Baltrusaitis et al. 2019, section 6)

    Equation: attention: h = sum_m alpha_m h_m, logits = W h, alpha = softmax_m(s_m), s_m = a score of h_m
    (5.5; after Arevalo et al. 2017, section 3)

    Equation: cross: z_v' = z_v + Attn(q: LN(z_v), k v: LN(z_a)), and back  (5.6; Lu et al. 2019, fig. 2)

    Args:
        config: sizes.
        fusion: early, late, attention or cross.

    Raises:
        ValueError: an unknown fusion; in a pass, both senses missing or a shape that is not what the sizes say.

    >>> model = Fusion(FusionConfig(), "attention")
    >>> model(torch.rand(2, 1, 8, 8), sound=None).weights.tolist()
    [[1.0, 0.0], [1.0, 0.0]]
    """

    def __init__(self, config: FusionConfig, fusion: str):
        super().__init__()
        if fusion not in FUSIONS:
            refuse("Fusion", f"a fusion of {', '.join(FUSIONS)}", repr(fusion), "Choose one of the four.")
        check_config("Fusion", config)
        self.config, self.fusion = config, fusion
        d = config.width
        self.see = nn.Sequential(*_layer(1, d // 2), *_layer(d // 2, d, stride=2), *_layer(d, d))
        self.hear = nn.Sequential(
            *_layer(1, d // 4, stride=2),
            *_layer(d // 4, d // 2, stride=2),
            *_layer(d // 2, d, stride=2),
            nn.Conv2d(d, d, (-(-config.bands // 8), 1)),  # from all pitches at once
            nn.ReLU(),
        ).to(memory_format=torch.channels_last)  # a quarter faster on a CPU; the branch of the small pictures is not
        self.norm = nn.ModuleDict({sense: nn.LayerNorm(d) for sense in SENSES})
        self.classify = nn.Linear(d, config.classes)
        if fusion == "early":
            self.join = nn.ModuleDict({sense: nn.Linear(d, d) for sense in SENSES})
            self.classify_fused = nn.Linear(d, config.classes)
        elif fusion == "late":
            self.balance = nn.Parameter(torch.zeros(()))
        elif fusion == "attention":
            self.score = nn.ModuleDict({sense: _score(d) for sense in SENSES})
        else:
            self.norm_tokens = nn.ModuleDict({sense: nn.LayerNorm(d) for sense in SENSES})
            self.ask = nn.ModuleDict({sense: Attention(d, config.heads) for sense in SENSES})
            self.norm_asked = nn.ModuleDict({sense: nn.LayerNorm(d) for sense in SENSES})
            self.classify_fused = nn.ModuleDict({sense: nn.Linear(d, config.classes) for sense in SENSES})

    @typechecked
    def forward(
        self, image: Float[Tensor, "b 1 h w"] | None = None, sound: Float[Tensor, "b f m"] | None = None
    ) -> FusionOutput:
        """Answer from pictures with values in [0, 1], from log-mel spectrograms, or from both."""
        seen = None if image is None else self.encode_image(image)
        heard = None if sound is None else self.encode_sound(sound)
        return self.fuse(seen, heard)

    @typechecked
    def encode_image(self, image: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b n d"]:
        """Turn pictures into a token for each 2x2 pixels."""
        size, shape = self.config.image_size, tuple(image.shape)
        if shape[2:] != (size, size):
            refuse("Fusion.encode_image", f"image (b, c=1, h={size}, w={size})", str(shape))
        check_unit_range("Fusion.encode_image", image, "image")
        return rearrange(self.see(2 * image - 0.6), "b d h w -> b (h w) d")

    @typechecked
    def encode_sound(self, sound: Float[Tensor, "b f m"]) -> Float[Tensor, "b tokens d"]:
        """Turn log-mel spectrograms of any length into a token for each 8 frames."""
        bands, shape = self.config.bands, tuple(sound.shape)
        if shape[1] != bands:
            refuse("Fusion.encode_sound", f"log-mel sound (b, f={bands}, m)", str(shape), "Build the model for it.")
        check_finite("Fusion.encode_sound", sound, "sound")
        loudness = rearrange((sound + 7) / 5, "b f m -> b 1 f m")  # about zero, and about as large as one
        return rearrange(self.hear(loudness), "b d 1 m -> b m d")

    @typechecked
    def fuse(
        self, seen: Float[Tensor, "b n d"] | None = None, heard: Float[Tensor, "b m d"] | None = None
    ) -> FusionOutput:
        """Answer from the tokens of pictures, of sounds, or of both."""
        if seen is None and heard is None:
            refuse("Fusion", "a picture or a sound", "neither", "Give image=..., sound=..., or both.")
        tokens = {sense: z for sense, z in zip(SENSES, (seen, heard), strict=True) if z is not None}
        features = {sense: self.norm[sense](reduce(z, "b n d -> b d", "mean")) for sense, z in tokens.items()}
        alone = {sense: self.classify(h) for sense, h in features.items()}
        weights = None
        if self.fusion == "early":
            logits = self.classify_fused(F.relu(sum(self.join[sense](h) for sense, h in features.items())))
        elif self.fusion == "late":
            logits, weights = self._mix(alone)
        elif self.fusion == "attention":
            weights = self._weigh({sense: self.score[sense](h) for sense, h in features.items()})
            logits = self.classify(sum(weights[:, [SENSES.index(sense)]] * h for sense, h in features.items()))
        else:
            logits = self._cross(tokens)
        return FusionOutput(logits, alone.get("image"), alone.get("sound"), weights)

    @typechecked
    def weigh(self, scores: Float[Tensor, "b 2"]) -> Float[Tensor, "b 2"]:
        """Turn a score for each sense into weights that sum to 1 over the senses; a score of -inf gives 0."""
        return scores.softmax(dim=1)

    def _weigh(self, scores: dict[str, Float[Tensor, "b 1"]]) -> Float[Tensor, "b 2"]:
        missing = torch.full_like(next(iter(scores.values())), -torch.inf)
        return self.weigh(torch.cat([scores.get(sense, missing) for sense in SENSES], dim=1))

    def _mix(self, alone: dict[str, Tensor]) -> tuple[Float[Tensor, "b classes"], Float[Tensor, "b 2"]]:
        """Mix probabilities; the sum is taken of logarithms, as small probabilities would vanish."""
        trust = {"image": self.balance, "sound": torch.zeros_like(self.balance)}
        weights = self._weigh({sense: trust[sense].expand(len(logits), 1) for sense, logits in alone.items()})
        parts = [weights[:, [SENSES.index(sense)]].log() + x.log_softmax(dim=1) for sense, x in alone.items()]
        return torch.logsumexp(torch.stack(parts), dim=0), weights

    def _cross(self, tokens: dict[str, Float[Tensor, "b _ d"]]) -> Float[Tensor, "b classes"]:
        """Let the tokens of each sense look at those of the other, if it is there."""
        normed = {sense: self.norm_tokens[sense](z) for sense, z in tokens.items()}
        if len(tokens) == 2:
            answers = {sense: self.ask[sense](normed[sense], normed[_other(sense)]) for sense in SENSES}
            tokens = {sense: z + answers[sense] for sense, z in tokens.items()}
        pooled = {sense: reduce(z, "b n d -> b d", "mean") for sense, z in tokens.items()}
        return sum(self.classify_fused[sense](self.norm_asked[sense](z)) for sense, z in pooled.items())


def _layer(wide_in: int, wide_out: int, stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(wide_in, wide_out, 3, stride=stride, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(wide_out), nn.ReLU()]


def _score(d: int) -> nn.Module:
    return nn.Sequential(nn.Linear(d, d // 2), nn.ReLU(), nn.Linear(d // 2, 1))


def _other(sense: str) -> str:
    return SENSES[1 - SENSES.index(sense)]
