"""Answers to the loss exercises of notebook 1, as a reader would write them.

RIGHT holds pairs of a checker and an answer, in several styles. WRONG maps each checker to pairs of a phrase that its
diagnosis must hold, and the answer.
"""

import math

import torch
import torch.nn.functional as F

from mmlib import losses
from mmlib.exercises import clip


def arange_like(x):
    return torch.arange(len(x))


# ---- right answers


def by_loops(image_emb, text_emb, temperature):
    loss = 0.0
    for i, image in enumerate(image_emb):
        scores = torch.stack([(image * text).sum() / temperature for text in text_emb])
        loss = loss + torch.logsumexp(scores, dim=0) - scores[i]
    return loss / len(image_emb)


def by_einsum(image_emb, text_emb, temperature):
    logits = torch.einsum("ie,je->ij", image_emb.double(), text_emb.double()) / temperature
    return -logits.log_softmax(dim=1).diagonal().mean()


def shifted_by_hand(image_emb, text_emb, temperature):
    logits = image_emb @ text_emb.T / temperature
    logits = logits - logits.max(dim=1, keepdim=True).values
    return (logits.exp().sum(dim=1).log() - logits.diag()).mean()


def shared_loops(image_emb, text_emb, temperature, same):
    logits, loss = image_emb @ text_emb.T / temperature, 0.0
    for table, right in ((logits, same), (logits.T, same.T)):
        for scores, answers in zip(table, right, strict=True):
            loss = loss - scores.log_softmax(dim=0)[answers].mean() / len(table) / 2
    return loss


def clip_loss(image_emb, text_emb, temperature, same):
    return losses.clip_loss(image_emb, text_emb, torch.tensor(-math.log(temperature)), same)


def both(one):
    return lambda i, t, temperature: (one(i, t, temperature) + one(t, i, temperature)) / 2


RIGHT = [
    *[(clip.check_info_nce, answer) for answer in (by_loops, by_einsum, shifted_by_hand)],
    *[(clip.check_symmetric, both(answer)) for answer in (by_loops, by_einsum, shifted_by_hand)],
    *[(clip.check_multi_positive, answer) for answer in (shared_loops, clip_loss)],
]

# ---- wrong answers


def logits_of(i, t, temperature):
    return i @ t.T / temperature


def ce(logits):
    return F.cross_entropy(logits, arange_like(logits))


def in_place(i, t, temperature):
    t /= temperature
    return ce(i @ t.T)


def exponentials(i, t, temperature):
    e = logits_of(i, t, temperature).exp()
    return -(e.diag() / e.sum(dim=1)).log().mean()


def negatives_only(i, t, temperature):
    e = logits_of(i, t, temperature).exp()
    return -(e.diag() / (e.sum(dim=1) - e.diag())).log().mean()


def without_graph(i, t, temperature):
    with torch.no_grad():
        return ce(logits_of(i, t, temperature))


def fixed_denominator(i, t, temperature):
    logits = logits_of(i, t, temperature)
    return (logits.logsumexp(dim=1).detach() - logits.diag()).mean()


INFO_NCE = [
    ("wrong sign", lambda i, t, tau: logits_of(i, t, tau).log_softmax(1).diag().mean()),
    ("wrong axis", lambda i, t, tau: ce(t @ i.T / tau)),
    ("multiplied by the temperature", lambda i, t, tau: ce(i @ t.T * tau)),
    ("temperature twice", lambda i, t, tau: ce((i / tau) @ (t / tau).T)),
    ("temperature has no effect", lambda i, t, tau: ce(i @ t.T)),
    ("summed over the batch", lambda i, t, tau: F.cross_entropy(i @ t.T / tau, arange_like(i), reduction="sum")),
    ("One loss for each item", lambda i, t, tau: F.cross_entropy(i @ t.T / tau, arange_like(i), reduction="none")),
    ("class 0 in every row", lambda i, t, tau: F.cross_entropy(i @ t.T / tau, torch.zeros(len(i)).long())),
    ("base 2", lambda i, t, tau: -logits_of(i, t, tau).softmax(1).log2().diag().mean()),
    ("left out the logarithm", lambda i, t, tau: -logits_of(i, t, tau).softmax(1).diag().mean()),
    ("softmax twice", lambda i, t, tau: ce(logits_of(i, t, tau).softmax(1))),
    ("averaged over all texts", lambda i, t, tau: -logits_of(i, t, tau).log_softmax(1).mean()),
    ("whole table", lambda i, t, tau: -logits_of(i, t, tau).flatten().softmax(0).view(len(i), -1).diag().log().mean()),
    ("missing from your denominator", negatives_only),
    ("both directions already", both(lambda i, t, tau: ce(i @ t.T / tau))),
    ("Pick the right answers", lambda i, t, tau: -logits_of(i, t, tau).log_softmax(1)),
    ("exp(100) overflows", exponentials),
    ("there it is inf", lambda i, t, tau: -logits_of(i, t, tau).softmax(1).diag().log().mean()),
    ("changes its argument t in place", in_place),
    ("is detached", without_graph),
    ("is detached", lambda i, t, tau: torch.tensor(ce(i @ t.T / tau).item())),
    ("no gradient reaches t:", lambda i, t, tau: ce(i @ t.detach().T / tau)),
    ("gradient of i is not", fixed_denominator),
    ("plain Python float", lambda i, t, tau: ce(i @ t.T / tau).item()),
    ("wrong sign. A log-probability is negative: put a minus in front. Two:", lambda i, t, tau: -ce(t @ i.T / tau)),
]
SYMMETRIC = [
    ("from text to picture is missing", lambda i, t, tau: (ce(i @ t.T / tau) + ce((t @ i.T).T / tau)) / 2),
    ("from picture to text is missing", lambda i, t, tau: ce(t @ i.T / tau)),
    ("added the two directions", lambda i, t, tau: ce(i @ t.T / tau) + ce(t @ i.T / tau)),
    ("one direction minus the other", lambda i, t, tau: (ce(i @ t.T / tau) - ce(t @ i.T / tau)) / 2),
    ("wrong sign", both(INFO_NCE[0][1])),
    ("multiplied by the temperature", both(INFO_NCE[2][1])),
    ("summed over the batch", both(INFO_NCE[5][1])),
    ("probabilities of the two directions", lambda i, t, tau: -mean_probability(i @ t.T / tau).log().mean()),
    ("left out the logarithm", lambda i, t, tau: -mean_probability(i @ t.T / tau).mean()),
    ("whole table", INFO_NCE[12][1]),
    ("exp(100) overflows", both(exponentials)),
]


def mean_probability(logits):
    return (logits.softmax(1).diag() + logits.softmax(0).diag()) / 2


def soft(row_targets, column_targets):
    def loss(i, t, temperature, same):
        logits, same = logits_of(i, t, temperature), same.float()
        return (F.cross_entropy(logits, row_targets(same)) + F.cross_entropy(logits.T, column_targets(same))) / 2

    return loss


def rows(same):
    return same / same.sum(dim=1, keepdim=True)


def one_is_enough(i, t, temperature, same):
    logits = logits_of(i, t, temperature)
    to_text = (logits.softmax(1) * same).sum(1).log()
    return -(to_text + (logits.softmax(0) * same).sum(0).log()).mean() / 2


def names_left_out(i, t, temperature, same):
    others = same & ~torch.eye(len(same), dtype=torch.bool)
    logits = logits_of(i, t, temperature).masked_fill(others, -torch.inf)
    return (ce(logits) + ce(logits.T)) / 2


def mean_over_pairs(i, t, temperature, same):
    logits = logits_of(i, t, temperature)
    return -(logits.log_softmax(1)[same].mean() + logits.log_softmax(0)[same].mean()) / 2


MULTI_POSITIVE = [
    ("`same` has no effect", lambda i, t, tau, same: both(lambda i, t, tau: ce(i @ t.T / tau))(i, t, tau)),
    ("do not sum to 1", soft(lambda same: same, lambda same: same.T)),
    ("not transposed", soft(rows, rows)),
    ("divide by the number of names in a row", soft(rows, lambda same: rows(same).T)),
    ("over all right pairs at once", mean_over_pairs),
    ("log stands outside the sum", one_is_enough),
    ("out of the denominator", names_left_out),
    ("from text to picture is missing", lambda i, t, tau, same: F.cross_entropy(i @ t.T / tau, rows(same.float()))),
    ("added the two directions", lambda *arguments: 2 * shared_loops(*arguments)),
    ("wrong sign", lambda *arguments: -shared_loops(*arguments)),
]


WRONG = {
    clip.check_info_nce: INFO_NCE,
    clip.check_symmetric: SYMMETRIC,
    clip.check_multi_positive: MULTI_POSITIVE,
}
