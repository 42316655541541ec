"""The exercises of notebook 4: a step of an LSTM, a masked loss, a step of beam search, and BLEU."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from mmlib.exercises.core import Exercise, in_turn, kind_of, name_of, not_yet, run

__all__ = ["check_beam_step", "check_bleu", "check_lstm_step", "check_masked_loss"]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class _Several(Exercise):
    """The function returns several tensors of one shape; they are compared as the rows of one.

    Args:
        parts: their names.
    """

    parts: Sequence[str]

    def ask(self, answer: Callable, *case: Any) -> Tensor:
        name, got, wanted = name_of(answer), run(answer, *case), f"return {', '.join(self.parts)}"
        if isinstance(got, Tensor):
            not_yet(f"{name} returned one tensor. It should return {len(self.parts)}, with commas between: {wanted}")
        if not isinstance(got, tuple | list):
            not_yet(f"{name} returned {kind_of(got)}. It should return {len(self.parts)} torch tensors: {wanted}")
        if len(got) != len(self.parts):
            not_yet(f"{name} returned {len(got)} things. It should return {len(self.parts)}: {wanted}")
        expected = self.value(self.reference, *case)
        for part, value in zip(self.parts, got, strict=True):
            if not isinstance(value, Tensor):
                not_yet(f"{part} is {kind_of(value)}. It should be a torch tensor.")
            self.check_shape(f"{part} of {name}", value, case, expected[0])
            if part in ("parent", "word") and value.is_floating_point():
                not_yet(f"{part} is of floats. Places are whole numbers: //, not /; % for the word.")
        return torch.stack([value.to(expected.dtype) for value in got])


class _Number(Exercise):
    """The function returns a plain number, or a tensor with no axes."""

    def ask(self, answer: Callable, *case: Any) -> Float64[Tensor, ""]:
        name, got = name_of(answer), run(answer, *case)
        if not isinstance(got, int | float | Tensor):
            not_yet(f"{name} returned {kind_of(got)}. It should return a number.")
        if isinstance(got, Tensor) and got.dim():
            not_yet(f"{name} returned a tensor with axes, {tuple(got.shape)}. It should return one number.")
        return torch.as_tensor(got, dtype=torch.float64)


# ---- Exercise 1: one step of an LSTM, from its gates


def lstm_step(
    x: Float[Tensor, "b d"],
    hidden: Float[Tensor, "b k"],
    cell: Float[Tensor, "b k"],
    w_x: Float[Tensor, "4*k d"],
    w_h: Float[Tensor, "4*k k"],
    bias: Float[Tensor, "4*k"],
) -> tuple[Float[Tensor, "b k"], Float[Tensor, "b k"]]:
    """Add up the inputs, cut them into blocks, gate them, keep and add, show what the output gate lets out.

    Equation: (i, f, g, o) = (sigmoid, sigmoid, tanh, sigmoid)(W_x x + W_h h + b)  (4.4),
    c' = f c + i g, h' = o tanh(c')  (4.5)
    """
    blocks = x @ w_x.T + hidden @ w_h.T + bias
    enter, forget, candidate, leave = blocks.chunk(4, dim=1)
    enter, forget, leave = [block.sigmoid() for block in (enter, forget, leave)]
    candidate = candidate.tanh()
    new = forget * cell + enter * candidate
    return leave * new.tanh(), new


def _lstm(b: int, d: int, k: int, seed: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(b, d), (b, k), (b, k), (4 * k, d), (4 * k, k), (4 * k,)]
    return tuple(torch.randn(*shape, generator=generator) for shape in shapes)


BLOCKS = "enter, forget, candidate, leave ="
check_lstm_step = _Several(
    reference=lstm_step,
    parts=("hidden", "cell"),
    cases=[_lstm(2, 3, 2, seed=0), _lstm(3, 3, 3, seed=1), _lstm(1, 2, 4, seed=2)],
    mistakes={
        "your first two blocks are swapped. PyTorch puts the input gate first, then the forget gate.": {
            BLOCKS: "forget, enter, candidate, leave ="
        },
        "your last two blocks are swapped. PyTorch puts the candidate third and the output gate last.": {
            BLOCKS: "enter, forget, leave, candidate ="
        },
        "you read the blocks as forget, input, output, candidate. The order here is input, forget, candidate, "
        "output.": {BLOCKS: "forget, enter, leave, candidate ="},
        "your blocks are torn: you took every fourth number. A block is k neighbours: chunk(4, dim=1).": {
            "blocks.chunk(4, dim=1)": "blocks.unflatten(1, (-1, 4)).unbind(2)"
        },
        "the bias is missing.": {" + bias": ""},
        "the old hidden state has no effect. Add hidden @ w_h.T: it is all that the gates know of earlier words.": {
            " + hidden @ w_h.T": ""
        },
        "you fed the cell to the gates. They read the hidden state: hidden @ w_h.T.": {
            "hidden @ w_h.T": "cell @ w_h.T"
        },
        "your gates are tanh. A gate is a share, from 0 to 1: sigmoid.": {"block.sigmoid()": "block.tanh()"},
        "your gates are bare numbers. A gate is a share, from 0 to 1: sigmoid.": {"block.sigmoid()": "block"},
        "your candidate is a sigmoid, so the cell could only grow. It is a tanh.": {
            "candidate.tanh()": "candidate.sigmoid()"
        },
        "your candidate has no tanh.": {"candidate.tanh()": "candidate"},
        "you kept what the forget gate throws away. It says how much stays: forget * cell.": {
            "forget * cell": "(1 - forget) * cell"
        },
        "the forget gate is not used: you let in 1 minus the input gate. That is a GRU; here the gates are two.": {
            "forget * cell": "(1 - enter) * cell"
        },
        "the input gate has no effect: multiply the candidate by it.": {"enter * candidate": "candidate"},
        "the old cell is lost, and with it all memory. Add forget * cell.": {"forget * cell + ": ""},
        "nothing is forgotten: multiply the old cell by the forget gate.": {"forget * cell": "cell"},
        "the new hidden state lacks its tanh: leave * tanh(cell).": {"new.tanh()": "new"},
        "your hidden state shows the old cell. Work out the new cell first, then show that.": {
            "new.tanh()": "cell.tanh()"
        },
        "your cell is the tanh of the new one. The tanh belongs to the hidden state; the cell goes on as it is.": [
            {"leave * new.tanh(), new": "leave * new.tanh(), new.tanh()"},
            {"forget * cell + enter * candidate": "(forget * cell + enter * candidate).tanh()", "new.tanh()": "new"},
            {"forget * cell + enter * candidate": "(forget * cell + enter * candidate).tanh()"},
        ],
        "the two are swapped: return hidden, cell.": {"leave * new.tanh(), new": "new, leave * new.tanh()"},
    },
    shape="One state for each text.",
    hints=lambda b, k: {
        (b, 4 * k): "That is all four blocks. Cut them: chunk(4, dim=1).",
        (4, b, k): "That is all four blocks. Each has its own part to play.",
        (k, b): "That is transposed: one row for each text.",
    },
    label=lambda b, k: f"{b} texts, width {k}; row 0 is hidden, row 1 is cell",
    praise="this is nn.LSTMCell, number for number. Four gates a word, and a cell that is added to, not overwritten.",
)

# ---- Exercise 2: the loss of teacher forcing, over the words and not over the padding


def masked_loss(logits: Float[Tensor, "b s v"], text_ids: Int[Tensor, "b s+1"], pad_id: int) -> Float[Tensor, ""]:
    """Read log-probabilities, pick those of the targets, average over what is real.

    Equation: L = -1/N sum over words that are no padding of log p(right word)  (4.2)
    """
    log_probs = logits.log_softmax(dim=-1)
    target = text_ids[:, 1:]
    own = log_probs.gather(2, target[:, :, None])[:, :, 0]
    real = text_ids[:, 1:] != pad_id
    return -own[real].mean()


def _captions(text_ids: list[list[int]], pad_id: int, size: float) -> tuple[Float[Tensor, "b s v"], Tensor, int]:
    ids = torch.tensor(text_ids)
    generator = torch.Generator().manual_seed(ids.shape[1])
    return size * torch.randn(len(ids), ids.shape[1] - 1, 8, generator=generator), ids, pad_id


def _no_overflow(got: Tensor, logits: Tensor) -> None:
    if logits.abs().max() > 100 and not torch.isfinite(got):
        not_yet(
            f"the loss is right until a model is very sure: there it is {got.item()}. exp(200) overflows, and a tiny "
            "probability becomes 0 with log -inf. Use cross_entropy, log_softmax or logsumexp."
        )


READ = "logits.log_softmax(dim=-1)"
REAL = "text_ids[:, 1:] != pad_id"
MEAN = "own[real].mean()"
check_masked_loss = Exercise(
    reference=masked_loss,
    cases=[
        _captions([[2, 5, 3, 0, 0], [2, 6, 4, 7, 3], [2, 3, 0, 0, 0]], pad_id=0, size=1.0),
        _captions([[1, 7, 3, 0, 2, 5], [1, 0, 2, 5, 5, 5]], pad_id=5, size=1.0),  # 0 is a word here
        _captions([[2, 5, 6, 3], [2, 4, 3, 0]], pad_id=0, size=200.0),
    ],
    mistakes={
        "the padding counts as words. A model lowers this loss by writing nothing: leave out targets that are "
        "pad_id.": {"own[real]": "own"},
        "padding costs nothing, but you still divide by its places. Divide by the number of real words.": {
            MEAN: "(own * real).mean()"
        },
        "you averaged inside each caption first, so a word of a short caption counts more. One mean over all words.": {
            MEAN: "((own * real).sum(dim=1) / real.sum(dim=1)).mean()"
        },
        "you summed inside each caption and averaged over captions. Divide by the number of real words.": {
            MEAN: "(own * real).sum().div(len(own))"
        },
        "you took the sum. Take the mean over the real words.": {".mean()": ".sum()"},
        "your mask is upside down: you average over the padding. Keep the targets that are NOT pad_id.": {"!=": "=="},
        "your mask looks at the word that goes in, so the first pad counts. Look at the word that should come out.": {
            REAL: "text_ids[:, :-1] != pad_id"
        },
        "your padding is the id 0. Here it may be any id: compare with pad_id.": {"!= pad_id": "!= 0"},
        "your mask also leaves out the real words with an id under pad_id. Compare with !=.": {"!=": ">"},
        "your targets are the words that go in, and a model would learn to repeat them. The target is the next word: "
        "text_ids[:, 1:].": {"target = text_ids[:, 1:]": "target = text_ids[:, :-1]"},
        "your log-softmax runs along the caption. Each place chooses among the words of the vocabulary: dim=-1.": {
            "dim=-1": "dim=1"
        },
        "you left out the softmax: a logit is no log-probability yet. Use log_softmax.": {READ: "logits"},
        "you left out the logarithm. The loss is minus the log of the probability.": {"log_softmax": "softmax"},
        "softmax twice: cross_entropy takes the logits and does its own softmax. Give it the logits.": {
            READ: "logits.softmax(dim=-1).log_softmax(dim=-1)"
        },
        "your logarithm has base 2, so the loss is in bits. This course counts in nats: torch.log.": {
            READ: "logits.log_softmax(dim=-1) / math.log(2)"
        },
        "the loss has the wrong sign. A log-probability is negative: put a minus in front.": {"return -": "return "},
    },
    shape="The loss is one number.",
    hints=lambda b, s, v: {
        (b, s): "One loss for each place. Keep the real words, then take their mean.",
        (b,): "One loss for each caption. One mean over all words of the batch.",
        (b, s, v): "That is the whole table. Pick the word that came, then take the mean.",
        (1,): "A loss has no axes: no brackets around the number, no keepdim.",
    },
    also=_no_overflow,
    label=lambda b, pad_id: f"{b} captions, pad_id {pad_id}",
    praise="every word counts once, and padding costs and earns nothing: other pads, longer padding, the same loss.",
)

# ---- Exercise 3: one step of beam search, in which the beams compete and the ended ones wait


def beam_step(
    score: Float[Tensor, " w"], logits: Float[Tensor, "w v"], ended: Bool[Tensor, " w"], pad_id: int, width: int
) -> tuple[Float[Tensor, " width"], Int[Tensor, " width"], Int[Tensor, " width"]]:
    """Read log-probabilities, let ended beams wait, add the scores, choose the best, locate them in the table."""
    w, v = logits.shape
    log_probs = logits.detach().log_softmax(dim=1)
    stay = torch.full((w, v), -torch.inf).index_fill(1, torch.tensor(pad_id), 0)
    log_probs = torch.where(ended[:, None], stay, log_probs)
    total = score.detach()[:, None] + log_probs
    place = total.flatten().topk(width).indices
    return total.flatten()[place], place // v, place % v


def best_of_each_beam(total: Float[Tensor, "w v"], width: int) -> Int[Tensor, " width"]:
    """Places of the best words of each beam, as many for each, the best beams first."""
    w, v = total.shape
    each = total.topk(-(-width // w), dim=1)
    places = (torch.arange(w)[:, None] * v + each.indices).flatten()
    return places[each.values.flatten().argsort(descending=True, stable=True)][:width]


def best_of_first_beam(total: Float[Tensor, "w v"], width: int) -> Int[Tensor, " width"]:
    """Places of the best words of the best beam."""
    best = total.amax(dim=1).argmax()
    return total[best].topk(width).indices + best * total.shape[1]


def _beams(w: int, v: int, width: int, ended: list[int], pad_id: int) -> tuple:
    generator = torch.Generator().manual_seed(10 * w + width)
    score, logits = -2 * torch.rand(w, generator=generator) - 0.5, 1.5 * torch.randn(w, v, generator=generator)
    logits[ended, pad_id] += 4  # so that a beam that pays for its padding is kept all the same
    return score, logits, torch.isin(torch.arange(w), torch.tensor(ended)), pad_id, width


STAY = "torch.full((w, v), -torch.inf).index_fill(1, torch.tensor(pad_id), 0)"
WAIT = "ended[:, None], stay,"
PLACE = "total.flatten().topk(width).indices"
check_beam_step = _Several(
    reference=beam_step,
    parts=("score", "parent", "word"),
    cases=[
        _beams(2, 5, 2, [], pad_id=3),
        _beams(1, 6, 3, [], pad_id=3),  # the first step: one beam
        _beams(3, 6, 4, [1], pad_id=3),
        _beams(3, 5, 3, [0, 2], pad_id=4),
    ],
    mistakes={
        "you added logits. Beams can be compared only in log-probabilities: log_softmax first.": {
            ".log_softmax(dim=1)": ""
        },
        "you added probabilities to a score of logs. Take log_softmax.": {"log_softmax": "softmax"},
        "your softmax runs over the beams. Each beam chooses among the words: dim=1.": {"dim=1": "dim=0"},
        "your softmax runs over the whole table. Each beam has one of its own: dim=1.": {
            ".log_softmax(dim=1)": ".flatten().log_softmax(dim=0).view_as(logits)"
        },
        "the old scores have no effect. A caption is judged by all its words: add score.": {
            "score.detach()[:, None] + log_probs": "log_probs"
        },
        "you multiplied by the old score. Probabilities are multiplied, and their logs are added.": {
            "[:, None] + log_probs": "[:, None] * log_probs.clamp(min=-1e9)"
        },
        "an ended beam goes on growing behind its end. Its only next word is pad_id, at no cost.": {
            "torch.where(ended[:, None], stay, log_probs)": "log_probs"
        },
        "the ended beams are gone. They stay candidates with the score they have: 0 at pad_id, -inf elsewhere.": {
            STAY: "torch.full((w, v), -torch.inf)"
        },
        "an ended beam pays for its padding. To wait costs nothing: 0 at pad_id.": {
            WAIT: "ended[:, None], log_probs + stay,"
        },
        "an ended beam is free to take every word, and fills the places with copies of itself. Only pad_id costs 0.": {
            STAY: "torch.zeros(w, v)"
        },
        "an ended beam may still take every other word: the rest of its row must be -inf.": {
            WAIT: "ended[:, None] & (stay == 0), stay,"
        },
        "an ended beam waits with the id 0. Padding may be any id: pad_id.": {
            STAY: "torch.full((w, v), -torch.inf).index_fill(1, torch.tensor(0), 0)"
        },
        "your mask is upside down: the beams that have ended grow, the others wait.": {WAIT: "~ended[:, None], stay,"},
        "every beam keeps as many children. Let them compete: one topk over the whole table, flattened.": {
            PLACE: "best_of_each_beam(total, width)"
        },
        "only the best beam has children. Let all compete: one topk over the whole table, flattened.": {
            PLACE: "best_of_first_beam(total, width)"
        },
        "you kept the worst. topk gives the largest by default, and the largest is the best.": {
            "topk(width)": "topk(width, largest=False)"
        },
        "the best beams are there, but not the best one first.": {".indices": ".indices.flip(0)"},
        "parent and word are swapped. Of place p, the row is p // v and the column p % v: return score, parent, "
        "word.": {"place // v, place % v": "place % v, place // v"},
        "you divided by the number of beams. A row of the table has v places, one for each word.": {
            "place // v, place % v": "place // w, place % w"
        },
        "your words are places in the flat table. Of place p, the word is p % v.": {"place % v": "place"},
    },
    shape="One for each beam that is kept.",
    hints=lambda w, v, width: {
        (w, v): "That is the whole table. Flatten it, and keep the best: topk(width).",
        (w * v,): "That is the whole table. Keep the best: topk(width).",
        (w, width): "Each beam keeps its own best. Let them compete: flatten the table before topk.",
        (w,): "One for each old beam. Flatten the table before topk: `width` of all.",
        (width, 1): "One axis too many: flatten the table, no keepdim.",
    },
    label=lambda w, v, width, ended: (
        f"{w} beams, {int(ended.sum())} of them ended, {v} words, width {width}; rows score, parent, word"
    ),
    praise="all children compete, the ended wait their turn. Width 1 is greedy decoding.",
)

# ---- Exercise 4: matches of n-grams, clipped, and BLEU of a set of captions, with the brevity penalty

Words = list[str]


def ngrams(words: Words, n: int) -> Counter[tuple[str, ...]]:
    """How often each run of n words stands in a text."""
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def clipped_matches(caption: Words, references: Sequence[Words], n: int) -> int:
    """Cut into n-grams, take the largest count of each in a reference, count the matches.

    Equation: sum over n-grams of min(count in the caption, largest count in a reference), the numerator of p_n  (4.14)
    """
    own, *counts = [ngrams(words, n) for words in (caption, *references)]
    most = Counter({gram: max(count[gram] for count in counts) for gram in own})
    return sum(min(count, most[gram]) for gram, count in own.items())


LARGEST = "max(count[gram] for count in counts)"
MATCHES = "min(count, most[gram]) for gram, count in own.items()"
matches = _Number(
    reference=clipped_matches,
    cases=[
        (caption.split(), [text.split() for text in texts], n)
        for caption, texts, n in [
            ("the the the the the the the", ["the cat is on the mat"], 1),
            ("red flag by a red red door red", ["by a red door a door", "red and red", "a flag flag"], 1),
            ("a red door a red door by a red door a red door", ["a red big red door", "by a red door a red door"], 2),
            ("door red a b", ["a red door a b", "red a b"], 2),
            ("cat", ["a cat"], 2),
        ]
    ],
    mistakes={
        "nothing is clipped: an n-gram counts as often as the caption repeats it. No more often than in a reference.": {
            MATCHES: "count for gram, count in own.items() if most[gram]"
        },
        "every n-gram counts once at most. It counts as often as the reference that has it most often.": {
            MATCHES: "1 for gram in own if most[gram]"
        },
        "you counted the n-grams of the references, not of the caption: take the smaller of the two counts.": {
            MATCHES: "most[gram] for gram in own"
        },
        "you returned a share. The number of matches here; `bleu` divides, after it has added up over all captions.": {
            "in own.items())": "in own.items()) / max(sum(own.values()), 1)"
        },
        "you added up the counts of the references. Take the largest: one “red” in each of two references allows "
        "one.": {LARGEST: "sum(count[gram] for count in counts)"},
        "only the first reference counts. Any reference may supply a match.": {LARGEST: "counts[0][gram]"},
        "only the last reference counts. Does a loop overwrite the result?": {LARGEST: "counts[-1][gram]"},
        "an n-gram counts only when all references have it. One is enough: the maximum of the counts.": {
            LARGEST: "min(count[gram] for count in counts)"
        },
        "you always count single words. Count runs of n words.": {"ngrams(words, n)": "ngrams(words, 1)"},
        "your runs have n + 1 words. words[i : i + n] are n.": {"ngrams(words, n)": "ngrams(words, n + 1)"},
        "the last n-gram is missing. There are len(words) - n + 1 of them.": {
            "ngrams(words, n)": "ngrams(words[:-1], n)"
        },
        "your n-grams do not overlap. One starts at every word.": {
            "ngrams(words, n)": "Counter(tuple(words[i : i + n]) for i in range(0, len(words) - n + 1, n))"
        },
        "the order of the words inside an n-gram is lost. Compare tuples, not sets and not sorted words.": {
            "ngrams(words, n)": "Counter(tuple(sorted(words[i : i + n])) for i in range(len(words) - n + 1))"
        },
    },
    label=lambda caption, references, n: f"“{' '.join(caption)}”, {len(references)} references, n = {n}",
)


def bleu(captions: Sequence[Words], references: Sequence[Sequence[Words]], most: int) -> float:
    """Divide the matches of each order by all n-grams, take the mean, pick reference lengths, punish brevity.

    Equation: BLEU = BP exp(1/n sum_k log p_k)  (4.16), BP = min(1, exp(1 - r/c))  (4.15)
    """
    pairs, precisions = list(zip(captions, references, strict=True)), []
    for n in range(1, most + 1):
        found = [clipped_matches(*pair, n) for pair in pairs]
        total = [max(len(caption) - n + 1, 0) for caption, texts in pairs]
        precisions.append(sum(found) / max(sum(total), 1))
    c, r = sum(map(len, captions)), sum(nearest_length(*pair) for pair in pairs)
    score = math.prod(precisions) ** (1 / len(precisions))
    return score * math.exp(min(0, 1 - r / c))


def nearest_length(caption: Words, texts: Sequence[Words], tie: int = 1) -> int:
    """The length nearest to the caption's; of two that are as near, the shorter, or with `tie` -1 the longer."""
    return min((len(text) for text in texts), key=lambda length: (abs(length - len(caption)), tie * length))


def _set(most: int, **sets: list[str]) -> tuple[list[Words], list[list[Words]], int]:
    captions = [caption.split("_") for caption in sets]
    return captions, [[text.split() for text in texts] for texts in sets.values()], most


NEAREST = "nearest_length(*pair) for pair in pairs"
PENALTY = "math.exp(min(0, 1 - r / c))"
score = _Number(
    reference=bleu,
    cases=[
        _set(2, a_red_flag_on_a_tall_pole_by_the_red_door=["red flag on a tall hill by the door"]),
        _set(2, a_red_house_near_the_blue_night=["the red house in the long and blue night"]),
        _set(
            2,
            a_red_flag_by_the_door=[
                "there is one red flag near the open door",
                "the red flag",
                "a red flag by a door of red",
            ],
            door=["red door flag pole"],
            red_pole_red=["pole red", "a pole in red"],
        ),
        _set(
            4,
            a_red_square_above_a_blue_circle=[
                "a red square is above a blue circle",
                "a red square above a blue circle",
            ],
            a_green_triangle=["a small green triangle", "a green triangle in the corner"],
            a_blue_circle_left_of_a_red_square=[
                "a red square right of a blue circle",
                "a blue circle to the left of a red square",
            ],
        ),
        _set(4, a_red_door_by_the_wall=["a red door by the wall"], cat=["the cat"]),  # 3 words too short for 4-grams
        _set(3, red_door_red=["red red door"], cat=["cat"]),
    ],
    mistakes={
        "you averaged the scores of single captions. Add up matches and n-grams over the set, and divide once.": {
            f"score * {PENALTY}": "sum(bleu([caption], [texts], most) for caption, texts in pairs) / len(pairs)"
        },
        "you averaged the precisions of single captions. Add up matches and n-grams over the set, and divide once.": {
            "sum(found) / max(sum(total), 1)": "sum(f / max(t, 1) for f, t in zip(found, total)) / len(pairs)"
        },
        "only n-grams of the largest n count. Take each n from 1 to `most`.": {"range(1,": "range(most,"},
        "the largest n is missing: range(1, most) ends before `most`.": {"most + 1)": "most)"},
        "you divided by the number of words. A text has len - n + 1 runs of n words.": {
            "max(len(caption) - n + 1, 0)": "len(caption)"
        },
        "a caption of fewer words than n has no n-grams, and yours counts below 0: max(len - n + 1, 0).": {
            "max(len(caption) - n + 1, 0)": "len(caption) - n + 1"
        },
        "you divided by the n-grams of the references. That is recall; precision divides by those of the captions.": {
            "max(len(caption) - n + 1, 0)": "sum(max(len(text) - n + 1, 0) for text in texts)"
        },
        "you added 1 to numerator and denominator. Here nothing is smoothed.": {
            "sum(found) / max(sum(total), 1)": "(sum(found) + 1) / (sum(total) + 1)"
        },
        "you took the ordinary mean of the precisions. The geometric one: the exponential of the mean of their logs.": {
            "math.prod(precisions) ** (1 / len(precisions))": "sum(precisions) / len(precisions)"
        },
        "you multiplied the precisions and took no root. Geometric mean: divide the sum of the logs by `most`.": {
            " ** (1 / len(precisions))": ""
        },
        "the brevity penalty is missing.": {PENALTY: "1"},
        "long captions earn a bonus. The penalty is never above 1.": {"min(0, 1 - r / c)": "1 - r / c"},
        "your fraction is upside down: exp(1 - reference length / caption length).": [
            {"r / c)": "c / r)"},
            {PENALTY: "(1 if c >= r else math.exp(1 - c / r))"},
        ],
        "your penalty is the bare ratio of the lengths. It is exp(1 - reference length / caption length).": {
            PENALTY: "min(1, c / r)"
        },
        "you took the longest reference for its length. Take the one nearest to the caption's length.": {
            NEAREST: "max(map(len, texts)) for caption, texts in pairs"
        },
        "you took the shortest reference for its length. Take the one nearest to the caption's length.": {
            NEAREST: "min(map(len, texts)) for caption, texts in pairs"
        },
        "you took the first reference for its length. Take the one nearest to the caption's length.": {
            NEAREST: "len(texts[0]) for caption, texts in pairs"
        },
        "you took the mean length of the references. Take the one nearest to the caption's length.": {
            NEAREST: "sum(map(len, texts)) / len(texts) for caption, texts in pairs"
        },
        "of two references that are as near, you took the longer. Take the shorter.": {"(*pair)": "(*pair, tie=-1)"},
    },
    label=lambda captions, most: f"{len(captions)} captions such as “{' '.join(captions[0])}”, most = {most}",
    praise="matches clipped, brevity punished. The same number as sacrebleu without smoothing, divided by 100.",
)
check_bleu = in_turn(matches, score)
