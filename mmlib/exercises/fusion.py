"""The exercises of notebook 5: three fusions, a sense that nobody listens to, and two noisy estimates."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from mmlib.exercises.core import Exercise, close, name_of, not_yet

__all__ = ["check_attention", "check_collapsed", "check_early", "check_inverse_variance", "check_late"]

# ---- Exercise 1: early fusion, one linear map over both senses


def early_fusion(
    image_emb: Float[Tensor, "b d"],
    sound_emb: Float[Tensor, "b e"],
    weight: Float[Tensor, "classes d_and_e"],
    bias: Float[Tensor, " classes"],
) -> Float[Tensor, "b classes"]:
    """Normalise each sense by itself, put the two side by side, and map them to logits.

    Equation: logits = W [h_v ; h_a] + b  (5.3)
    """
    image, sound = [F.layer_norm(x, x.shape[-1:]) for x in (image_emb, sound_emb)]
    both = torch.cat([image, sound], dim=1)
    logits = both @ weight.T + bias
    return logits


def _two_senses(b: int, d: int, e: int, classes: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(10 * b + d)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    image_emb, sound_emb = 1 + draw(b, d), 5 + 20 * draw(b, e)  # the sound in larger numbers, as branches may be
    return image_emb, sound_emb, draw(classes, d + e), draw(classes)


NORM = "F.layer_norm(x, x.shape[-1:])"
check_early = Exercise(
    reference=early_fusion,
    cases=[_two_senses(4, 5, 5, 3), _two_senses(3, 4, 6, 2), _two_senses(1, 6, 3, 10)],
    mistakes={
        "nothing is normalised, so the sense with the larger numbers drowns the other. Normalise each one first.": {
            NORM: "x"
        },
        "you normalised after joining, both senses as one row: the larger one still drowns the other. First each by "
        "itself, then join.": {NORM: "x", "both @": "F.layer_norm(both, both.shape[-1:]) @"},
        "you normalised down the columns, over the samples. Each sample by itself, over its features.": {
            NORM: "F.layer_norm(x.T, x.T.shape[-1:]).T"
        },
        "you made each row of length 1, and its mean is still there. Take the mean away, then divide by the standard "
        "deviation: F.layer_norm.": {NORM: "F.normalize(x, dim=-1)"},
        "you took the mean away, but did not divide by the standard deviation.": {
            NORM: "x - x.mean(dim=1, keepdim=True)"
        },
        "you divided by the standard deviation, but did not take the mean away first.": {
            NORM: "x / (x.var(dim=1, unbiased=False, keepdim=True) + 1e-5).sqrt()"
        },
        "your standard deviation divides by d - 1. Here it divides by d, as in F.layer_norm: std(unbiased=False).": {
            NORM: "(x - x.mean(dim=1, keepdim=True)) / x.std(dim=1, keepdim=True)"
        },
        "the sound stands before the picture. The first columns of weight belong to the picture.": {
            "[image, sound]": "[sound, image]"
        },
        "the sound is not used: zeros stand in its place.": {"[image, sound]": "[image, 0 * sound]"},
        "the picture is not used: zeros stand in its place.": {"[image, sound]": "[0 * image, sound]"},
        "the bias is missing. Add it to each row.": {" + bias": ""},
        "you took the bias away. Add it.": {"+ bias": "- bias"},
        "those are probabilities. Return the logits, with no softmax.": {
            "return logits": "return logits.softmax(dim=1)"
        },
    },
    shape="One row of logits for each sample.",
    hints=lambda b, d, e, classes: {
        (classes, b): "That is transposed: one row a sample.",
        (2 * b, classes): "You joined along the batch. Join the features of a sample: dim=1.",
        (b, d + e): "Those are both senses side by side. Map them to logits: @ weight.T.",
        (b, 2, classes): "Each sense has logits of its own. Join the features first: torch.cat, not torch.stack.",
        (classes,): "You averaged over the samples. One row of logits for each.",
    },
    label=lambda b, d, e, classes: f"{b} samples, {d} and {e} features, {classes} classes",
    praise="every logit may weigh what is seen against what is heard, and neither drowns the other.",
)

# ---- Exercise 2: late fusion, a mixture of two opinions


def late_fusion(
    image_logits: Float[Tensor, "b classes"], sound_logits: Float[Tensor, "b classes"], log_odds: Float[Tensor, ""]
) -> Float[Tensor, "b classes"]:
    """Make alpha of its log odds, read each sense's logits as probabilities, and mix them.

    Equation: p = alpha softmax(l_v) + (1 - alpha) softmax(l_a), alpha = sigmoid(a)  (5.4)
    """
    alpha = log_odds.sigmoid()
    p_v, p_a = [logits.softmax(dim=1) for logits in (image_logits, sound_logits)]
    p = alpha * p_v + (1 - alpha) * p_a
    return p


def _two_opinions(b: int, classes: int, log_odds: float) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(10 * b + classes)
    image_logits, sound_logits = 2 * torch.randn(2, b, classes, generator=generator)
    return image_logits, sound_logits, torch.tensor(log_odds)


READ = "logits.softmax(dim=1)"
MIX = "alpha * p_v + (1 - alpha) * p_a"
check_late = Exercise(
    reference=late_fusion,
    cases=[_two_opinions(3, 4, 0.8), _two_opinions(2, 10, -1.5), _two_opinions(1, 2, 0.0), _two_opinions(4, 3, 6.0)],
    mistakes={
        "you mixed the logits, and took the softmax of that. It is a product of opinions; a mixture mixes "
        "probabilities: softmax first, then mix.": {READ: "logits", "return p": "return p.softmax(dim=1)"},
        "you mixed the logits. Make each sense's logits probabilities first: softmax over the classes.": {
            READ: "logits"
        },
        "softmax once more at the end. What you have mixed are probabilities already, and their rows sum to 1.": {
            "return p": "return p.softmax(dim=1)"
        },
        "softmax over the samples. Each row chooses among classes: dim=1.": {"dim=1": "dim=0"},
        "a sigmoid on each logit gives no distribution. Classes exclude each other: softmax over them.": {
            READ: "logits.sigmoid()"
        },
        "log_softmax gives logarithms. Mix the probabilities.": {READ: "logits.log_softmax(dim=1)"},
        "log_odds is used as alpha itself. A weight lies between 0 and 1: alpha = sigmoid(log_odds).": {
            ".sigmoid()": ""
        },
        "alpha is exp(log_odds), which may be above 1. Take the sigmoid.": {".sigmoid()": ".exp()"},
        "log_odds has no effect: both senses count one half.": {"log_odds.sigmoid()": "0.5"},
        "alpha and 1 - alpha are swapped. alpha is the weight of the picture.": {
            MIX: "(1 - alpha) * p_v + alpha * p_a"
        },
        "both senses have the weight alpha, so rows do not sum to 1. The sound gets 1 - alpha.": {
            MIX: "alpha * (p_v + p_a)"
        },
        "the sound counts in full. It gets 1 - alpha.": {MIX: "alpha * p_v + p_a"},
        "the picture counts in full. It gets alpha.": {MIX: "p_v + (1 - alpha) * p_a"},
        "the two are added with no weights.": {MIX: "p_v + p_a"},
        "the sound is not used.": {MIX: "alpha * p_v"},
        "the picture is not used.": {MIX: "(1 - alpha) * p_a"},
        "you multiplied the two opinions. A mixture adds them.": {
            MIX: "p_v**alpha * p_a ** (1 - alpha)",
            "return p": "return p",  # its logarithm is a mixture of logarithms
        },
        "you returned the logarithm. Return the probabilities.": {"return p": "return p.log()"},
    },
    shape="One row of probabilities for each sample.",
    hints=lambda b, classes: {
        (2 * b, classes): "Those are two opinions one under the other. Mix them into one.",
        (b, 2 * classes): "Those are two opinions side by side: early fusion. Mix them into one.",
        (2, b, classes): "Those are two opinions. Mix them into one.",
        (b,): "One number a sample: return a probability for every class.",
        (b, 1): "One number a sample: return a probability for every class.",
    },
    label=lambda b, classes, log_odds: f"{b} samples, {classes} classes, log_odds {log_odds:.1f}",
    praise="two opinions, one weight. The mixture is never surer than the surer of the two.",
)

# ---- Exercise 3: attention over the senses, with one of them missing now and then


def attention_fusion(
    emb: Float[Tensor, "b m d"], scorer: Float[Tensor, " d"], present: Bool[Tensor, "b m"]
) -> Float[Tensor, "b d"]:
    """Score each sense, turn the scores of those present into weights, and add the senses up.

    Equation: alpha_m = exp(s_m) / sum_k exp(s_k),  h = sum_m alpha_m h_m  (5.5)
    """
    scores = emb @ scorer
    weights = scores.masked_fill(~present, -torch.inf).softmax(dim=1)
    return (weights[..., None] * emb).sum(dim=1)


def _senses(present: list[list[int]], d: int) -> tuple[Tensor, ...]:
    there = torch.tensor(present).bool()
    generator = torch.Generator().manual_seed(d)
    return torch.randn(*there.shape, d, generator=generator), torch.randn(d, generator=generator), there


def _is_no_nan(got: Tensor) -> None:
    if got.isnan().any():
        not_yet(
            "the result is nan. A softmax over -inf alone is nan: fill where a sense is NOT present. And 0 times "
            "-inf is nan too: fill the scores, not the vectors."
        )


WEIGHTS = "scores.masked_fill(~present, -torch.inf).softmax(dim=1)"
check_attention = Exercise(
    reference=attention_fusion,
    cases=[
        _senses([[1, 1, 1], [1, 1, 1], [1, 1, 1], [1, 1, 1]], 5),  # three: a swap of two is not a turned sign
        _senses([[1, 1], [1, 0], [0, 1], [1, 1]], 3),
        _senses([[1, 1, 1], [0, 1, 1], [0, 1, 0]], 4),
        _senses([[0, 1]], 2),
    ],
    mistakes={
        "softmax over an axis of length 1, so each weight is 1 and the senses are just added up. The senses compete: "
        "softmax over axis 1 of scores (b m).": {WEIGHTS: "present.to(scores.dtype)"},
        "softmax over the samples: a sample takes weight from another one. The senses of one sample compete: dim=1.": {
            WEIGHTS: "scores.masked_fill(~present, -1e9).softmax(dim=0)"
        },
        "a missing sense still gets weight. Set its score to -inf before the softmax.": {
            WEIGHTS: "scores.softmax(dim=1)"
        },
        "you set the weight of a missing sense to 0 after the softmax, so the others do not sum to 1. Set its score to "
        "-inf before it.": {WEIGHTS: "scores.softmax(dim=1) * present"},
        "you set the score of a missing sense to 0, and exp(0) = 1 still counts. Set it to -inf.": {"-torch.inf": "0"},
        "a sigmoid weighs each sense by itself, and the weights do not sum to 1. Softmax over the senses.": {
            WEIGHTS: "scores.sigmoid() * present"
        },
        "the scores are used as weights. Take their softmax over the senses.": {WEIGHTS: "scores * present"},
        "the best sense takes all. Use softmax, not argmax: argmax has no gradient.": {
            WEIGHTS: "F.one_hot(scores.masked_fill(~present, -torch.inf).argmax(dim=1), scores.shape[1])"
        },
        "all samples have the same weights. That is late fusion's way; here each sample has its own.": {
            "scores.masked_fill": "scores.mean(dim=0).expand_as(scores).masked_fill"
        },
        "the scores have the wrong sign: the sense with the lower score wins.": {"emb @ scorer": "-emb @ scorer"},
        "you divided the scores by the root of d. That belongs to (1.10); here a score is just the product.": {
            "emb @ scorer": "emb @ scorer / emb.shape[-1] ** 0.5"
        },
        "the scorer is not used: the sum of the features is no score.": {"emb @ scorer": "emb.sum(dim=-1)"},
        "the length of a sense is no score: use scorer.": {"emb @ scorer": "emb.norm(dim=-1)"},
        "you took the mean over the senses at the end. The weights sum to 1 already: take the sum.": {
            ".sum(dim=1)": ".mean(dim=1)"
        },
        "the weights belong to the senses in the other order.": {"weights[..., None]": "weights.flip(1)[..., None]"},
        "the maximum over the weighted senses is no mixture: take the sum.": {".sum(dim=1)": ".amax(dim=1)"},
    },
    shape="One vector a sample.",
    hints=lambda b, m, d: {
        (b, m): "Those are the weights. Multiply each sense by its weight and add up: (b d).",
        (b, m, d): "The senses are weighted, but still apart: sum over axis 1.",
        (b, 1, d): "One axis too many: no keepdim.",
        (m, d): "You added up the samples. Add up the senses: dim=1.",
        (b,): "You added up the features too. Keep them: (b d).",
        (d,): "You added up the samples too. Keep them: (b d).",
    },
    also=_is_no_nan,
    label=lambda b, m, present: f"{b} samples of {m} senses, {int((~present).sum())} missing",
    praise="each sample weighs its own senses, and one that is missing weighs nothing.",
)

# ---- Exercise 4: from the weights of many samples, find the sense that a model has stopped listening to


def collapsed(weights: Float[Tensor, "n m"], least: float) -> Bool[Tensor, " m"]:
    """True for a sense whose weight is below `least` in every sample, even in the one that trusts it most."""
    return weights.amax(dim=0) < least


def _are_answers(answer: Callable, got: Tensor) -> None:
    if got.is_floating_point():
        not_yet(
            f"{name_of(answer)} returned the weights themselves. Compare them with least: True where they are below."
        )


# Each row is a sample, in hundredths; each column a sense. With eight of them no two mistakes give the same.
EIGHT = [
    [0, 1, 2, 60, 3, 25, 3, 6],
    [1, 7, 35, 2, 2, 7, 19, 27],
    [5, 0, 1, 18, 49, 5, 6, 16],
    [3, 1, 21, 47, 3, 2, 9, 14],
    [1, 3, 3, 48, 14, 3, 1, 27],
]
LARGEST = "weights.amax(dim=0)"
JUDGE = "weights.amax(dim=0) < least"
check_collapsed = Exercise(
    reference=collapsed,
    cases=[
        (torch.tensor(rows) / 100, least)
        for rows, least in [
            (EIGHT, 0.1),
            ([[2, 96, 2], [1, 97, 2], [1, 98, 1], [2, 97, 1], [88, 11, 1], [1, 98, 1], [2, 96, 2]], 0.2),
            ([[50, 50], [50, 50], [51, 49], [49, 51]], 0.1),
            ([[3, 1, 94, 2], [2, 2, 95, 1], [4, 1, 93, 2]], 0.1),
            ([[2, 98], [60, 40], [99, 1]], 0.05),
        ]
    ],
    mistakes={
        "you judged by the mean weight. A sense that a few noisy samples rely on has a small mean, and is in use: "
        "look at the sample that trusts it most.": {LARGEST: "weights.mean(dim=0)"},
        "you judged by the median weight. A sense that few samples rely on is in use: take the maximum.": {
            LARGEST: "weights.median(dim=0).values"
        },
        "you judged by the smallest weight. Any sense is near 0 somewhere; collapsed means near 0 everywhere: take the "
        "maximum.": {LARGEST: "weights.amin(dim=0)"},
        "you looked at the first sample only.": {LARGEST: "weights[0]"},
        "you looked at the last sample only.": {LARGEST: "weights[-1]"},
        "you judged by the sum over the samples, which grows with their number. Take the maximum.": {
            LARGEST: "weights.sum(dim=0)"
        },
        "you judged by how much the weights vary. Weights that are 0.5 in all samples vary as little.": {
            LARGEST: "weights.std(dim=0)"
        },
        "you marked the senses in use. Mark those that are not: their largest weight is below least.": {
            JUDGE: "weights.amax(dim=0) > least"
        },
        "you marked the least used sense, whatever its weight. In a healthy model no sense has collapsed; in a sick "
        "one two may have.": {JUDGE: "weights.amax(dim=0) == weights.amax(dim=0).min()"},
        "you marked the sense that has won. Mark those that lost: weights below least.": {
            JUDGE: "weights.amax(dim=0) == weights.max()"
        },
    },
    shape="True or False for each sense.",
    hints=lambda n, m: {
        (n,): "You took the maximum over the senses. Go down the samples: dim=0, one answer a sense.",
        (n, m): "That judges each weight of each sample. One answer a sense: take the maximum over samples first.",
        (): "One answer for all. Each sense has its own: dim=0.",
        (1, m): "One axis too many: no keepdim.",
    },
    also=_are_answers,
    label=lambda n, m, least: f"{n} samples of {m} senses, least {least}, True for a collapsed sense",
    praise="a sense that no sample trusts is found, and one that few samples need is left in peace.",
)

# ---- Exercise 5: the best mixture of noisy estimates weighs each by the inverse of its variance


def combine(estimates: Float[Tensor, "b m"], variances: Float[Tensor, "b m"]) -> Float[Tensor, " b"]:
    """Trust each estimate as its variance deserves, share the trust out, and mix.

    Equation: w_m = (1 / var_m) / sum_k (1 / var_k)  (5.9)
    """
    trust = 1 / variances
    weights = trust / trust.sum(dim=1, keepdim=True)
    return (weights * estimates).sum(dim=1)


def _estimates(b: int, m: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(10 * b + m)
    estimates = 5 + torch.randn(b, m, generator=generator)
    return estimates, 0.2 + 3 * torch.rand(b, m, generator=generator)


def _is_for_any_number(got: Tensor, estimates: Tensor, variances: Tensor) -> None:
    if variances.isinf().any() and got.isnan().any():
        not_yet(
            "with a variance of infinity the result is nan: infinity divided by infinity. That is how a missing "
            "sense is written. 1 / infinity is 0: take 1 / variance first, then share out."
        )
    swapped = variances.flip(1) / variances.sum(dim=1, keepdim=True)  # w_1 = var_2 / (var_1 + var_2)
    if variances.shape[1] > 2 and close(got, (swapped * estimates).sum(dim=1)):
        not_yet("you swap the variances of two estimates, and here are three. 1 / variance works for any number.")


SHARED = "trust / trust.sum(dim=1, keepdim=True)"
MISSING = (torch.tensor([[2.0, 9.0], [3.0, 4.0]]), torch.tensor([[0.5, torch.inf], [1.0, 3.0]]))
check_inverse_variance = Exercise(
    reference=combine,
    cases=[_estimates(4, 3), _estimates(3, 2), _estimates(1, 2), MISSING],  # of two, the other order is a swap
    mistakes={
        "the noisier estimate gets the larger weight: you weighed by the variance. Weigh by its inverse.": {
            "1 / variances": "variances"
        },
        "you weighed by the inverse of the standard deviation. The variance itself: no root.": {
            "1 / variances": "variances**-0.5"
        },
        "you squared the variances. They are squares already.": {"1 / variances": "variances**-2"},
        "all estimates count alike. The sure ones should count more.": {"1 / variances": "torch.ones_like(variances)"},
        "a softmax of minus the variance is not it. The score is minus the logarithm of the variance, or plainly 1 / "
        "variance, shared out.": {"1 / variances": "(-variances).exp()"},
        "the surest estimate takes all. The others know something too.": {
            "1 / variances": "(variances == variances.amin(dim=1, keepdim=True)).float()"
        },
        "the weights do not sum to 1: divide them by their sum.": {SHARED: "trust"},
        "you divided by the sum over the samples. Each sample shares out its own: dim=1.": {
            SHARED: "trust / trust.sum(dim=0, keepdim=True)"
        },
        "you divided by the sum over the whole table. Each sample shares out its own: dim=1.": {
            SHARED: "trust / trust.sum()"
        },
        "a softmax of 1 / variance goes too far. Divide 1 / variance by its sum.": {SHARED: "trust.softmax(dim=1)"},
        "you took the mean of the weighted estimates. The weights sum to 1 already: take the sum.": {
            ".sum(dim=1)": ".mean(dim=1)"
        },
        "the weights belong to the estimates in the other order.": {"(weights *": "(weights.flip(1) *"},
    },
    shape="One number a sample.",
    hints=lambda b, m: {
        (b, m): "The estimates are still apart: take their weighted sum.",
        (m,): "You added up the samples. Add up the estimates of a sample: dim=1.",
        (b, 1): "One axis too many: no keepdim in the last sum.",
        (): "You added up everything. One number a sample: dim=1.",
    },
    also=_is_for_any_number,
    label=lambda b, m: f"{b} samples of {m} estimates",
    praise="no other weights have a smaller error, and an estimate of infinite variance weighs nothing.",
)
