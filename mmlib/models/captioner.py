"""A captioner: a convolution network cuts the picture into regions, an LSTM says words and looks at regions meanwhile.

Two published designs in one class, which differ in what the LSTM knows of the picture:
- "attend": before each word it looks at the regions again. Xu et al. 2015, "Show, Attend and Tell: Neural Image Caption
  Generation with Visual Attention", section 3.1 (encoder, LSTM, deep output) and 4.2 (soft attention, gate), fig. 1.
- "tell": it sees the picture once, before the first word, as if the picture were a word. Vinyals et al. 2015, "Show and
  Tell: A Neural Image Caption Generator", section 3.1, fig. 3.
Differs from the papers:
- the convolution network is small and learns with the rest in a minute, where the papers take one of ImageNet's;
- each region is told its place in the grid by a learned vector, since a small network hardly knows it;
- the table of word vectors also scores the words at the end (Press & Wolf 2017), so that few captions go further.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import einsum, rearrange, reduce
from jaxtyping import Float, Int
from torch import Tensor, nn

from mmlib.check import check_captions, check_config, check_image, refuse, typechecked


@dataclass(frozen=True)
class CaptionerConfig:
    """Sizes of a captioner, and its design."""

    vocabulary: int  # number of tokens, special ones included
    design: str = "attend"  # or "tell": how the LSTM comes to know the picture
    image_size: int = 32  # pixels, rows and columns; a multiple of 8
    channels: tuple[int, ...] = (32, 64, 128, 256)  # of the convolutions; the last is the width of a region
    word_width: int = 192
    state_width: int = 112  # of the LSTM
    attention_width: int = 64  # where the state's question meets the regions
    dropout: float = 0.15  # on word vectors and on what the words are scored from
    positions: int = 24  # longest caption, in tokens
    end_id: int = 3  # the end-of-text token
    unknown_id: int = 1  # stands for a word outside the vocabulary


class Regions(NamedTuple):
    """A picture, cut into the cells of a grid."""

    values: Float[Tensor, "b n d"]  # what each region shows
    keys: Float[Tensor, "b n a"]  # what a question is compared with, computed once a picture


class State(NamedTuple):
    """What the LSTM carries from word to word."""

    hidden: Float[Tensor, "rows state"]  # what it says
    cell: Float[Tensor, "rows state"]  # what it keeps


class CaptionOutput(NamedTuple):
    """What `caption_loss` takes."""

    logits: Float[Tensor, "b s v"]  # scores of the next word, behind each word but the last
    attn: Float[Tensor, "b s n"] | None  # where it looked for that word, rows sum to 1; None in "tell"


class Grid(nn.Module):
    """Picture to regions: three convolutions halve the grid, a fourth looks around (in the paper, a VGG network)."""

    def __init__(self, config: CaptionerConfig):
        super().__init__()
        if config.image_size % 8:
            refuse("Captioner", "an image size that is a multiple of 8", str(config.image_size), "Use 32 or 48.")
        if len(config.channels) != 4 or min(config.channels) < 1:
            refuse("Captioner", "channels of four convolutions", str(config.channels), "As in (32, 64, 128, 256).")
        layers: list[nn.Module] = []
        for wide_in, wide_out, stride in zip((3, *config.channels), config.channels, (2, 2, 2, 1), strict=False):
            layers += [nn.Conv2d(wide_in, wide_out, 3, stride, 1, bias=False), nn.BatchNorm2d(wide_out), nn.ReLU()]
        self.layers = nn.Sequential(*layers).to(memory_format=torch.channels_last)
        self.place = nn.Parameter(0.02 * torch.randn((config.image_size // 8) ** 2, config.channels[-1]))

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b n d"]:
        """See what each region shows, and tell it where it is."""
        grid = self.layers(image.contiguous(memory_format=torch.channels_last))  # faster on a CPU
        return rearrange(grid, "b d rows columns -> b (rows columns) d") + self.place


class SoftAttention(nn.Module):
    """The state asks, the regions answer: a mean of the regions, weighted by how well each fits the question.

    Equation: a_i = u . tanh(W_k r_i + W_q h), alpha = softmax_i(a)  (4.6; Xu et al. 2015, eq. 4 and 5),
    z = sum_i alpha_i r_i  (4.7; eq. 13)

    The score adds question and key (Bahdanau et al. 2015), where the transformers of `mmlib.layers` multiply them.
    """

    def __init__(self, config: CaptionerConfig):
        super().__init__()
        self.query = nn.Linear(config.state_width, config.attention_width)
        self.key = nn.Linear(config.channels[-1], config.attention_width, bias=False)
        self.score = nn.Linear(config.attention_width, 1, bias=False)

    def forward(
        self, hidden: Float[Tensor, "rows state"], regions: Regions
    ) -> tuple[Float[Tensor, "rows d"], Float[Tensor, "rows n"]]:
        """Give what was seen, and how much of it each region gave; k rows in turn may ask about one picture."""
        question = rearrange(self.query(hidden), "(b k) a -> b k 1 a", b=len(regions.keys))
        scores = self.score((rearrange(regions.keys, "b n a -> b 1 n a") + question).tanh_())
        attn = rearrange(scores, "b k n 1 -> b k n").softmax(dim=2)
        context = einsum(attn, regions.values, "b k n, b n d -> b k d")
        return rearrange(context, "b k d -> (b k) d"), rearrange(attn, "b k n -> (b k) n")


class Captioner(nn.Module):
    """Picture to words, one after the other, each drawn from what was said and what is seen.

    Args:
        config: the sizes and the design.

    Raises:
        ValueError: sizes that do not fit each other; pictures or captions that are not what the sizes say.

    >>> model = Captioner(CaptionerConfig(vocabulary=10))
    >>> model(torch.rand(1, 3, 32, 32), torch.tensor([[2, 4, 5, 3]])).logits.shape
    torch.Size([1, 3, 10])
    """

    def __init__(self, config: CaptionerConfig):
        super().__init__()
        check_config("Captioner", config)
        if config.design not in ("attend", "tell"):
            refuse("Captioner", 'design "attend" or "tell"', repr(config.design))
        self.config = config
        d, words, s = config.channels[-1], config.word_width, config.state_width
        self.grid = Grid(config)
        self.word = nn.Embedding(config.vocabulary, words)
        nn.init.normal_(self.word.weight, std=words**-0.5)  # so that scores start near 0
        self.dropout = nn.Dropout(config.dropout)
        if config.design == "attend":
            self.first_state = nn.Linear(d, 2 * s)
            self.attention = SoftAttention(config)
            self.gate = nn.Linear(s, 1)
            self.lstm = nn.LSTMCell(words + d, s)
            self.say_seen = nn.Linear(d, words)
        else:
            self.as_word = nn.Linear(d, words)
            self.lstm = nn.LSTMCell(words, s)
        self.say_state = nn.Linear(s, words)
        self.bias = nn.Parameter(torch.zeros(config.vocabulary))

    @typechecked
    def encode_image(self, image: Float[Tensor, "b c h w"]) -> Regions:
        """Cut pictures with values in [0, 1] into regions."""
        check_image("Captioner.encode_image", image, self.config.image_size, self.config.image_size)
        values = self.grid(image)
        return Regions(values, self.attention.key(values) if self.config.design == "attend" else values)

    def start(self, regions: Regions) -> State:
        """What the LSTM knows before the first word, from the mean region; in "tell" it never sees more.

        Equation: (h_0, c_0) = LSTM(W mean_i r_i, 0)  (4.11; Vinyals et al. 2015, eq. 10)
        """
        whole = reduce(regions.values, "b n d -> b d", "mean")
        if self.config.design == "attend":
            return State(*self.first_state(whole).tanh().chunk(2, dim=1))
        return State(*self.lstm(self.as_word(whole)))

    def step(
        self, state: State, word_ids: Int[Tensor, " rows"], regions: Regions
    ) -> tuple[State, Float[Tensor, "rows v"], Float[Tensor, "rows n"] | None]:
        """Hear one word; give the new state, scores of the next word, and where the model looked for it."""
        state, said, attn = self.hear(state, self.word(word_ids), regions)
        return state, self.score(said), attn

    def hear(
        self, state: State, word: Float[Tensor, "rows w"], regions: Regions
    ) -> tuple[State, Float[Tensor, "rows w"], Float[Tensor, "rows n"] | None]:
        """A step without the scores: the new state, a vector like the next word's, and where the model looked.

        Equation: beta = sigmoid(W_b h), and the LSTM hears [E w; beta z]  (4.8; Xu et al. 2015, section 4.2.1)
        """
        word = self.dropout(word)
        if self.config.design == "tell":
            state = State(*self.lstm(word, state))
            return state, self.say_state(state.hidden), None
        context, attn = self.attention(state.hidden, regions)
        context = self.gate(state.hidden).sigmoid() * context
        state = State(*self.lstm(torch.cat([word, context], dim=1), state))
        return state, word + self.say_state(state.hidden) + self.say_seen(context), attn

    def score(self, said: Float[Tensor, "*b w"]) -> Float[Tensor, "*b v"]:
        """Score each word of the vocabulary by how well its vector fits what the model wants to say.

        Equation: logits = E (E w + L_h h + L_z beta z) + b  (4.9; Xu et al. 2015, eq. 7)
        """
        return F.linear(self.dropout(said), self.word.weight, self.bias)

    @typechecked
    def forward(self, image: Float[Tensor, "b ..."], text_ids: Int[Tensor, "b s"]) -> CaptionOutput:
        """Teacher forcing: hear the words of the right captions, and score the word that follows each."""
        config = self.config
        ids = config.end_id, config.unknown_id
        check_captions("Captioner", text_ids, config.vocabulary, config.positions, *ids)
        regions = self.encode_image(image)
        state, said, attn = self.start(regions), [], []
        for word in self.word(text_ids[:, :-1]).unbind(dim=1):
            state, say, look = self.hear(state, word, regions)
            said.append(say)
            attn.append(look)
        return CaptionOutput(self.score(torch.stack(said, dim=1)), None if look is None else torch.stack(attn, dim=1))
