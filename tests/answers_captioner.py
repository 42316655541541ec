"""The exercises of notebook 4: which they are, and answers as readers would write them."""

import math
from collections import Counter

import torch
import torch.nn.functional as F

from mmlib import caption_metrics, losses
from mmlib.exercises import captioner

NOTEBOOK, EXERCISES = "04_captioning", captioner
AMBIGUOUS: list[str] = []
CHECKS = [
    captioner.check_lstm_step,
    captioner.check_masked_loss,
    captioner.check_beam_step,
    captioner.matches,
    captioner.score,
]

# ---- one step of an LSTM


def by_cell(x, hidden, cell, w_x, w_h, bias):
    return torch.lstm_cell(x, (hidden, cell), w_x, w_h, bias, torch.zeros_like(bias))  # what nn.LSTMCell calls


def by_slices(x, hidden, cell, w_x, w_h, bias):
    k = hidden.shape[1]
    blocks = [x @ w_x[i : i + k].T + hidden @ w_h[i : i + k].T + bias[i : i + k] for i in range(0, 4 * k, k)]
    new = torch.sigmoid(blocks[1]) * cell + torch.sigmoid(blocks[0]) * torch.tanh(blocks[2])
    return [torch.sigmoid(blocks[3]) * torch.tanh(new), new]


def step_with(order="ifgo", squash=torch.tanh, output=lambda leave, new, old: leave * new.tanh()):
    def step(x, hidden, cell, w_x, w_h, bias):
        named = dict(zip(order, (x @ w_x.T + hidden @ w_h.T + bias).chunk(4, dim=1), strict=True))
        new = named["f"].sigmoid() * cell + named["i"].sigmoid() * squash(named["g"])
        return output(named["o"].sigmoid(), new, cell), new

    return step


def squashed_cell(x, hidden, cell, w_x, w_h, bias):
    enter, forget, candidate, leave = (x @ w_x.T + hidden @ w_h.T + bias).chunk(4, dim=1)
    cell = (forget.sigmoid() * cell + enter.sigmoid() * candidate.tanh()).tanh()
    return leave.sigmoid() * cell, cell


def in_place(x, hidden, cell, w_x, w_h, bias):
    enter, forget, candidate, leave = (x @ w_x.T + hidden @ w_h.T + bias).chunk(4, dim=1)
    cell *= forget.sigmoid()
    cell += enter.sigmoid() * candidate.tanh()
    return leave.sigmoid() * cell.tanh(), cell


def torn(x, hidden, cell, w_x, w_h, bias):
    enter, forget, candidate, leave = (x @ w_x.T + hidden @ w_h.T + bias).unflatten(1, (-1, 4)).unbind(2)
    new = forget.sigmoid() * cell + enter.sigmoid() * candidate.tanh()
    return leave.sigmoid() * new.tanh(), new


def not_transposed(x, hidden, cell, w_x, w_h, bias):
    return x @ w_x + hidden @ w_h + bias


def detached_cell(x, hidden, cell, w_x, w_h, bias):
    return by_slices(x, hidden, cell.detach(), w_x, w_h, bias)


STEP = [
    ("first two blocks are swapped", step_with("figo")),
    ("last two blocks are swapped", step_with("ifog")),
    ("The order here is input, forget, candidate, output", step_with("fiog")),
    ("candidate is a sigmoid", step_with(squash=torch.sigmoid)),
    ("candidate has no tanh", step_with(squash=lambda x: x)),
    ("lacks its tanh", step_with(output=lambda leave, new, old: leave * new)),
    ("your cell is the tanh of the new one", lambda *case: (by_slices(*case)[0], by_slices(*case)[1].tanh())),
    ("your cell is the tanh of the new one", squashed_cell),
    ("shows the old cell", step_with(output=lambda leave, new, old: leave * old.tanh())),
    ("you took every fourth number", torn),
    ("return hidden, cell", lambda *case: by_slices(*case)[::-1]),
    ("returned one tensor. It should return 2", lambda *case: by_slices(*case)[0]),
    ("returned 3 things", lambda *case: (*by_slices(*case), case[0])),
    ("hidden is a value of type NoneType", lambda *case: (None, case[2])),
    ("That is all four blocks", lambda x, h, c, w_x, w_h, bias: (x @ w_x.T + h @ w_h.T + bias, c)),
    ("hidden of your function returned shape", lambda *case: (by_slices(*case)[0][:1], case[2])),
    ("the bias is missing", lambda *case: by_slices(*case[:5], 0 * case[5])),
    ("old hidden state has no effect", lambda x, h, *rest: by_slices(x, 0 * h, *rest)),
    ("no gradient reaches cell", detached_cell),
    ("changes its argument cell in place", in_place),
    ("One side needs a transpose", not_transposed),
]

# ---- the masked loss


def loss_by_loops(logits, text_ids, pad_id):
    words = [
        -logits[row, place].log_softmax(dim=0)[target]
        for row, ids in enumerate(text_ids.tolist())
        for place, target in enumerate(ids[1:])
        if target != pad_id
    ]
    return torch.stack(words).mean()


def loss_by_ignoring(logits, text_ids, pad_id):
    return F.cross_entropy(logits.transpose(1, 2), text_ids[:, 1:], ignore_index=pad_id)


def loss_of_the_package(logits, text_ids, pad_id):
    return losses.caption_loss(logits, text_ids[:, 1:], pad_id=pad_id)


def ce(logits, target, **how):
    return F.cross_entropy(logits.flatten(0, 1), target.flatten(), **how)


def divided_by_places(logits, text_ids, pad_id):
    own = ce(logits, text_ids[:, 1:], reduction="none").view(text_ids[:, 1:].shape)
    return (own * (text_ids[:, 1:] != pad_id)).mean()


def caption_by_caption(logits, text_ids, pad_id):
    return torch.stack(
        [loss_by_ignoring(logits[i : i + 1], text_ids[i : i + 1], pad_id) for i in range(len(logits))]
    ).mean()


def logits_set_to_zero(logits, text_ids, pad_id):
    return ce(logits * (text_ids[:, 1:] != pad_id)[..., None], text_ids[:, 1:])


def through_exponentials(logits, text_ids, pad_id):
    e = logits.exp()
    own = (e / e.sum(dim=-1, keepdim=True)).log().gather(2, text_ids[:, 1:, None])[..., 0]
    return -own[text_ids[:, 1:] != pad_id].mean()


def softmax_then_log(logits, text_ids, pad_id):
    own = logits.softmax(dim=-1).log().gather(2, text_ids[:, 1:, None])[..., 0]
    return -own[text_ids[:, 1:] != pad_id].mean()


LOSS = [
    ("the padding counts as words", lambda logits, ids, pad: ce(logits, ids[:, 1:])),
    ("still divide by its places", divided_by_places),
    ("inside each caption first", caption_by_caption),
    ("you took the sum", lambda logits, ids, pad: ce(logits, ids[:, 1:], ignore_index=pad, reduction="sum")),
    ("averaged over captions", lambda *case: ce_sum(*case) / len(case[0])),
    ("would learn to repeat them", lambda logits, ids, pad: shifted_wrongly(logits, ids, pad)),
    ("Here it may be any id", lambda logits, ids, pad: ce(logits, ids[:, 1:], ignore_index=0)),
    (
        "runs along the caption",
        lambda logits, ids, pad: -picked(logits.log_softmax(dim=1), ids)[ids[:, 1:] != pad].mean(),
    ),
    ("softmax twice", lambda logits, ids, pad: ce(logits.softmax(dim=-1), ids[:, 1:], ignore_index=pad)),
    ("left out the softmax", lambda logits, ids, pad: -picked(logits, ids)[ids[:, 1:] != pad].mean()),
    ("left out the logarithm", lambda logits, ids, pad: -picked(logits.softmax(-1), ids)[ids[:, 1:] != pad].mean()),
    ("wrong sign", lambda *case: -loss_by_ignoring(*case)),
    ("upside down", lambda logits, ids, pad: -picked(logits.log_softmax(-1), ids)[ids[:, 1:] == pad].mean()),
    ("the word that goes in", lambda logits, ids, pad: -picked(logits.log_softmax(-1), ids)[ids[:, :-1] != pad].mean()),
    ("One loss for each place", lambda logits, ids, pad: -picked(logits.log_softmax(-1), ids)),
    ("exp(200) overflows", through_exponentials),
    ("there it is inf", softmax_then_log),
    ("in a way that I do not know", logits_set_to_zero),
    ("is detached", lambda *case: loss_by_ignoring(*case).detach()),
    ("plain Python float", lambda *case: loss_by_ignoring(*case).item()),
]


def picked(table, text_ids):
    return table.gather(2, text_ids[:, 1:, None])[..., 0]


def ce_sum(logits, text_ids, pad_id):
    return ce(logits, text_ids[:, 1:], ignore_index=pad_id, reduction="sum")


def shifted_wrongly(logits, text_ids, pad_id):
    own = logits.log_softmax(dim=-1).gather(2, text_ids[:, :-1, None])[..., 0]
    return -own[text_ids[:, 1:] != pad_id].mean()


# ---- one step of beam search


def beams_by_loops(score, logits, ended, pad_id, width):
    children = []
    for parent in range(len(score)):
        if ended[parent]:
            children.append((score[parent].item(), parent, pad_id))
            continue
        for word, log_prob in enumerate(logits[parent].log_softmax(dim=0).tolist()):
            children.append((score[parent].item() + log_prob, parent, word))
    best = sorted(children, reverse=True)[:width]
    return torch.tensor([c[0] for c in best]), torch.tensor([c[1] for c in best]), torch.tensor([c[2] for c in best])


def beams_by_table(score, logits, ended, pad_id, width):
    """Also right: all children of the live beams, and the ended ones behind them."""
    v = logits.shape[1]
    grown = (score[:, None] + logits.log_softmax(dim=1)).masked_fill(ended[:, None], -math.inf)
    waiting = score.masked_fill(~ended, -math.inf)
    best = torch.cat([grown.flatten(), waiting]).topk(width)
    old = best.indices >= grown.numel()
    parent = torch.where(old, best.indices - grown.numel(), best.indices // v)
    return best.values, parent, torch.where(old, pad_id, best.indices % v)


def beams_with(read=lambda x: x.log_softmax(dim=1), wait=True, cost=0.0, word=None, sign=1):
    def step(score, logits, ended, pad_id, width):
        log_probs = read(logits)
        if wait:
            only = torch.full_like(log_probs, -math.inf)
            only[:, pad_id if word is None else word] = cost
            log_probs = torch.where(ended[:, None], only, log_probs)
        best, place = (sign * (score[:, None] + log_probs)).flatten().topk(width)
        return sign * best, place // logits.shape[1], place % logits.shape[1]

    return step


def with_parts(turn):
    return lambda *case: turn(case, *beams_by_loops(*case))


def each_its_own(score, logits, ended, pad_id, width):
    best = (score[:, None] + logits.log_softmax(dim=1)).topk(width, dim=1)
    return best.values, torch.arange(len(score))[:, None].expand_as(best.indices), best.indices


def one_child_each(score, logits, ended, pad_id, width):
    best = (score[:, None] + logits.log_softmax(dim=1)).max(dim=1)
    order = best.values.argsort(descending=True)
    return best.values[order], order, best.indices[order]


def multiplied(score, logits, ended, pad_id, width):
    best, place = (score[:, None] * logits.log_softmax(dim=1)).flatten().topk(width)
    return best, place // logits.shape[1], place % logits.shape[1]


def flat_words(score, logits, ended, pad_id, width):
    score, parent, word = beams_by_loops(score, logits, ended, pad_id, width)
    return score, parent, parent * logits.shape[1] + word


BEAMS = [
    ("you added logits", beams_with(read=lambda x: x)),
    ("added probabilities to a score of logs", beams_with(read=lambda x: x.softmax(dim=1))),
    ("runs over the beams", beams_with(read=lambda x: x.log_softmax(dim=0))),
    ("old scores have no effect", lambda score, *rest: beams_by_loops(0 * score, *rest)),
    ("you multiplied by the old score", multiplied),
    ("goes on growing behind its end", beams_with(wait=False)),
    ("the ended beams are gone", beams_with(cost=-math.inf)),
    ("Padding may be any id", beams_with(word=0)),
    ("you kept the worst", beams_with(wait=False, sign=-1)),
    ("not the best one first", with_parts(lambda case, *parts: [part.flip(0) for part in parts])),
    ("parent and word are swapped", with_parts(lambda case, score, parent, word: (score, word, parent))),
    (
        "places in the flat table",
        with_parts(lambda c, score, parent, word: (score, parent, parent * c[1].shape[1] + word)),
    ),
    ("Places are whole numbers", with_parts(lambda case, score, parent, word: (score, parent / 1, word))),
    ("Let them compete: flatten the table", each_its_own),
    ("every beam keeps as many children", one_child_each),
    ("That is the whole table", lambda score, logits, *rest: (score[:, None] + logits.log_softmax(1), score, score)),
    ("It should return 3, with commas", lambda *case: beams_by_loops(*case)[0]),
    ("returned 2 things", lambda *case: beams_by_loops(*case)[:2]),
]

# ---- BLEU


def grams(words, n):
    return Counter(zip(*(words[i:] for i in range(n)), strict=False))


def matches_by_counters(caption, references, n):
    most = Counter()
    for reference in references:
        most |= grams(reference, n)
    return (grams(caption, n) & most).total()


def matches_by_lists(caption, references, n):
    runs = [caption[i : i + n] for i in range(len(caption) - n + 1)]
    texts = [[reference[i : i + n] for i in range(len(reference) - n + 1)] for reference in references]
    distinct = [run for place, run in enumerate(runs) if run not in runs[:place]]
    return torch.tensor(sum(min(runs.count(run), max(text.count(run) for text in texts)) for run in distinct))


def score_of_the_package(captions, references, most):
    said = [" ".join(caption) for caption in captions]
    return caption_metrics.bleu(said, [[" ".join(text) for text in texts] for texts in references], most)


def nearest(caption, texts):
    return min((abs(len(t) - len(caption)), len(t)) for t in texts)[1]


def brevity(c, r):
    return math.exp(min(0, 1 - r / c))


def all_ngrams(caption, texts, n):
    return max(0, len(caption) - n + 1)


def score_by_logs(captions, references, most, *, length=nearest, penalty=brevity, total=all_ngrams, first=1):
    pairs, logs = list(zip(captions, references, strict=True)), torch.zeros(())
    for n in range(first, most + 1):
        found = sum(matches_by_counters(*pair, n) for pair in pairs)
        logs += torch.tensor(found / max(1, sum(total(*pair, n) for pair in pairs))).log() / (most + 1 - first)
    return logs.exp() * penalty(sum(map(len, captions)), sum(length(*pair) for pair in pairs))


def score_with(**changed):
    return lambda captions, references, most: score_by_logs(captions, references, most, **changed)


def unordered(caption, references, n):
    sets, most = [[frozenset(gram) for gram in grams(caption, n).elements()]], Counter()
    for reference in references:
        most |= Counter(map(frozenset, grams(reference, n).elements()))
    return (Counter(sets[0]) & most).total()


def unclipped(caption, references, n):
    known = set().union(*(grams(reference, n) for reference in references))
    return sum(gram in known for gram in grams(caption, n).elements())


MATCHES = [
    (
        "nothing is clipped",
        lambda c, texts, n: sum(any(g in grams(t, n) for t in texts) for g in grams(c, n).elements()),
    ),
    ("counts once at most", lambda c, texts, n: len(set(grams(c, n)) & set().union(*(grams(t, n) for t in texts)))),
    ("added up the counts", lambda c, texts, n: (grams(c, n) & sum((grams(t, n) for t in texts), Counter())).total()),
    ("only the first reference", lambda c, texts, n: matches_by_counters(c, texts[:1], n)),
    ("only the last reference", lambda c, texts, n: matches_by_counters(c, texts[-1:], n)),
    ("you returned a share", lambda c, texts, n: matches_by_counters(c, texts, n) / max(len(c) - n + 1, 1)),
    ("always count single words", lambda c, texts, n: matches_by_counters(c, texts, 1)),
    ("n + 1 words", lambda c, texts, n: matches_by_counters(c, texts, n + 1)),
    ("the order of the words", unordered),
    ("It should return one number", lambda c, texts, n: torch.ones(2)),
    ("It should return a number", lambda c, texts, n: grams(c, n)),
]


def mean_of_scores(captions, references, most):
    scores = [score_of_the_package([c], [texts], most) for c, texts in zip(captions, references, strict=True)]
    return sum(scores) / len(scores)


def without_guard(captions, references, most):
    logs = 0.0
    for n in range(1, most + 1):
        found = sum(matches_by_counters(c, texts, n) for c, texts in zip(captions, references, strict=True))
        logs += math.log(found / sum(max(len(c) - n + 1, 0) for c in captions)) / most
    nearest = sum(
        min((abs(len(t) - len(c)), len(t)) for t in ts)[1] for c, ts in zip(captions, references, strict=True)
    )
    return math.exp(logs + min(0, 1 - nearest / sum(map(len, captions))))


SCORE = [
    ("averaged the scores of single captions", mean_of_scores),
    ("the longest reference", score_with(length=lambda c, texts: max(map(len, texts)))),
    ("the shortest reference", score_with(length=lambda c, texts: min(map(len, texts)))),
    ("the first reference", score_with(length=lambda c, texts: len(texts[0]))),
    ("brevity penalty is missing", score_with(penalty=lambda c, r: 1)),
    ("upside down", score_with(penalty=lambda c, r: math.exp(min(0, 1 - c / r)))),
    ("upside down", score_with(penalty=lambda c, r: 1 if c >= r else math.exp(1 - c / r))),
    ("upside down", lambda *case: score_by_logs(*case, penalty=lambda c, r: brevity(c=r, r=c))),
    ("range(1, most) ends before", lambda c, texts, most: score_by_logs(c, texts, most - 1)),
    ("only n-grams of the largest n", lambda c, texts, most: score_by_logs(c, texts, most, first=most)),
    ("ordinary mean", lambda *case: with_mean(case, lambda precisions: sum(precisions) / len(precisions))),
    ("took no root", lambda *case: with_mean(case, math.prod)),
    ("The penalty is never above 1", score_with(penalty=lambda c, r: math.exp(1 - r / c))),
    ("That is recall", score_with(total=lambda c, texts, n: sum(max(0, len(t) - n + 1) for t in texts))),
    ("and yours counts below 0", score_with(total=lambda c, texts, n: len(c) - n + 1)),
    ("The log of 0", without_guard),
]


def with_mean(case, mean):
    """Any mean of the precisions, where a reader has all of them in a list."""
    captions, references, most = case
    pairs = list(zip(captions, references, strict=True))
    found = [sum(matches_by_counters(*pair, n) for pair in pairs) for n in range(1, most + 1)]
    total = [max(1, sum(all_ngrams(*pair, n) for pair in pairs)) for n in range(1, most + 1)]
    precisions = [f / t for f, t in zip(found, total, strict=True)]
    return mean(precisions) * brevity(sum(map(len, captions)), sum(nearest(*pair) for pair in pairs))


RIGHT = [
    *[(captioner.check_lstm_step, answer) for answer in (by_cell, by_slices)],
    *[(captioner.check_masked_loss, answer) for answer in (loss_by_loops, loss_by_ignoring, loss_of_the_package)],
    *[(captioner.check_beam_step, answer) for answer in (beams_by_loops, beams_by_table)],
    *[(captioner.matches, answer) for answer in (matches_by_counters, matches_by_lists)],
    *[(captioner.score, answer) for answer in (score_of_the_package, score_by_logs)],
]
WRONG = {
    captioner.check_lstm_step: STEP,
    captioner.check_masked_loss: LOSS,
    captioner.check_beam_step: BEAMS,
    captioner.matches: MATCHES,
    captioner.score: SCORE,
}
