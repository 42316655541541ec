"""The exercises of notebook 5: which they are, and answers as readers would write them."""

import torch
import torch.nn.functional as F

from mmlib.exercises import fusion

NOTEBOOK, EXERCISES = "05_audio_visual_fusion", fusion
CHECKS = [
    fusion.check_early,
    fusion.check_late,
    fusion.check_attention,
    fusion.check_collapsed,
    fusion.check_inverse_variance,
]
AMBIGUOUS: list[str] = []


def norm(x):
    return F.layer_norm(x, x.shape[-1:])


# ---- right answers


def early_in_one_line(image_emb, sound_emb, weight, bias):
    return F.linear(torch.cat([norm(image_emb), norm(sound_emb)], dim=-1), weight, bias)


def early_as_a_sum_of_two_maps(image_emb, sound_emb, weight, bias):
    d = image_emb.shape[1]
    return norm(image_emb) @ weight[:, :d].T + norm(sound_emb) @ weight[:, d:].T + bias


def early_by_hand(image_emb, sound_emb, weight, bias):
    rows = []
    for sides in zip(image_emb, sound_emb, strict=True):
        row = torch.cat([(x - x.mean()) / (x.var(unbiased=False) + 1e-5).sqrt() for x in sides])
        rows.append(torch.stack([(row * w).sum() for w in weight]) + bias)
    return torch.stack(rows)


def late_in_one_line(image_logits, sound_logits, log_odds):
    alpha = log_odds.sigmoid()
    return alpha * image_logits.softmax(-1) + (1 - alpha) * sound_logits.softmax(-1)


def late_with_lerp(image_logits, sound_logits, log_odds):
    alpha = 1 / (1 + torch.exp(-log_odds))
    return torch.lerp(F.softmax(sound_logits, dim=1), F.softmax(image_logits, dim=1), alpha)


def late_by_exponentials(image_logits, sound_logits, log_odds):
    e_v, e_a = image_logits.exp(), sound_logits.exp()
    weights = torch.stack([log_odds, torch.zeros(())]).softmax(dim=0)
    return weights[0] * e_v / e_v.sum(1, keepdim=True) + weights[1] * e_a / e_a.sum(1, keepdim=True)


def attention_in_three_lines(emb, scorer, present):
    scores = (emb @ scorer).masked_fill(~present, float("-inf"))
    weights = torch.softmax(scores, dim=-1)
    return torch.einsum("bm,bmd->bd", weights, emb)


def attention_by_exponentials(emb, scorer, present):
    exps = torch.where(present, (emb @ scorer).exp(), 0.0)
    return (exps / exps.sum(1, keepdim=True)).unsqueeze(1).bmm(emb).squeeze(1)


def attention_by_loops(emb, scorer, present):
    rows = []
    for senses, there in zip(emb, present, strict=True):
        senses = senses[there]
        rows.append((senses @ scorer).softmax(0) @ senses)
    return torch.stack(rows)


def collapsed_in_one_line(weights, least):
    return (weights < least).all(dim=0)


def collapsed_by_loops(weights, least):
    return torch.tensor([max(column.tolist()) < least for column in weights.T])


def mixture_as_softmax(estimates, variances):
    return ((-variances.log()).softmax(dim=1) * estimates).sum(dim=1)


def mixture_by_precision(estimates, variances):
    precision = variances.reciprocal()
    return (precision * estimates).sum(-1) / precision.sum(-1)


RIGHT = [
    *[(fusion.check_early, answer) for answer in (early_in_one_line, early_as_a_sum_of_two_maps, early_by_hand)],
    *[(fusion.check_late, answer) for answer in (late_in_one_line, late_with_lerp, late_by_exponentials)],
    *[
        (fusion.check_attention, answer)
        for answer in (attention_in_three_lines, attention_by_exponentials, attention_by_loops)
    ],
    *[(fusion.check_collapsed, answer) for answer in (collapsed_in_one_line, collapsed_by_loops)],
    *[(fusion.check_inverse_variance, answer) for answer in (mixture_as_softmax, mixture_by_precision)],
]

# ---- wrong answers


def cat(*sides, dim=1):
    return torch.cat(sides, dim=dim)


def early_with(norm=norm, join=cat):
    return lambda v, a, weight, bias: join(norm(v), norm(a)) @ weight.T + bias


EARLY = [
    ("the larger numbers drowns", early_with(norm=lambda x: x)),
    ("normalised after joining", lambda v, a, w, b: norm(cat(v, a)) @ w.T + b),
    ("down the columns", early_with(norm=lambda x: (x - x.mean(0)) / (x.var(0, unbiased=False) + 1e-5).sqrt())),
    ("row of length 1", early_with(norm=lambda x: F.normalize(x, dim=1))),
    ("divides by d - 1", early_with(norm=lambda x: (x - x.mean(1, True)) / (x.std(1, keepdim=True) + 1e-9))),
    ("stands before the picture", early_with(join=lambda v, a: cat(a, v))),
    ("the sound is not used", lambda v, a, w, b: norm(v) @ w[:, : v.shape[1]].T + b),
    ("the picture is not used", lambda v, a, w, b: norm(a) @ w[:, v.shape[1] :].T + b),
    ("the bias is missing", lambda v, a, w, b: cat(norm(v), norm(a)) @ w.T),
    ("no softmax", lambda v, a, w, b: (cat(norm(v), norm(a)) @ w.T + b).softmax(1)),
    ("joined along the batch", lambda v, a, w, b: cat(norm(v), norm(a), dim=0) @ w[:, : v.shape[1]].T + b),
    ("Map them to logits", lambda v, a, w, b: cat(norm(v), norm(a))),
    ("the inner widths must agree", lambda v, a, w, b: cat(norm(v), norm(a)) @ w + b),
    ("the inner widths must agree", lambda v, a, w, b: (norm(v) + norm(a)) @ w.T + b),
    ("is detached", lambda v, a, w, b: early_in_one_line(v, a, w, b).detach()),
    ("no gradient reaches a:", lambda v, a, w, b: early_in_one_line(v, a.detach(), w, b)),
    (
        "stands before the picture. The first columns of weight belong to the picture. Two:",
        lambda v, a, w, b: cat(norm(a), norm(v)) @ w.T,
    ),
]


def late_with(read=lambda x: x.softmax(1), mix=None, gate=torch.sigmoid):
    mix = mix or (lambda alpha, v, a: alpha * v + (1 - alpha) * a)
    return lambda v, a, log_odds: mix(gate(log_odds), read(v), read(a))


LATE = [
    ("a product of opinions", lambda v, a, o: late_with(read=lambda x: x)(v, a, o).softmax(1)),
    ("you mixed the logits", late_with(read=lambda x: x)),
    ("once more at the end", lambda v, a, o: late_in_one_line(v, a, o).softmax(1)),
    ("softmax over the samples", late_with(read=lambda x: x.softmax(0))),
    ("a sigmoid on each logit", late_with(read=torch.sigmoid)),
    ("gives logarithms", late_with(read=lambda x: x.log_softmax(1))),
    ("as alpha itself", late_with(gate=lambda o: o)),
    ("is exp(log_odds)", late_with(gate=torch.exp)),
    ("log_odds has no effect", late_with(mix=lambda alpha, v, a: (v + a) / 2)),
    ("are swapped", late_with(mix=lambda alpha, v, a: alpha * a + (1 - alpha) * v)),
    ("both senses have the weight alpha", late_with(mix=lambda alpha, v, a: alpha * v + alpha * a)),
    ("counts in full. It gets 1 - alpha", late_with(mix=lambda alpha, v, a: alpha * v + a)),
    ("no weights", late_with(mix=lambda alpha, v, a: v + a)),
    ("the sound is not used", late_with(mix=lambda alpha, v, a: alpha * v)),
    ("you multiplied the two", late_with(mix=lambda alpha, v, a: v**alpha * a ** (1 - alpha))),
    ("you returned the logarithm", lambda v, a, o: late_in_one_line(v, a, o).log()),
    ("side by side: early fusion", late_with(mix=lambda alpha, v, a: cat(alpha * v, (1 - alpha) * a))),
    ("is detached", lambda v, a, o: late_in_one_line(v, a, torch.tensor(o.item())).detach()),
    ("no gradient reaches o:", lambda v, a, o: late_in_one_line(v, a, torch.tensor(o.item()))),
]


def attention_with(weigh):
    return lambda emb, scorer, present: (weigh(emb @ scorer, present)[..., None] * emb).sum(1)


def kept(scores, present):
    return scores.masked_fill(~present, -torch.inf)


def scored(emb, scores, present):
    return (kept(scores, present).softmax(1)[..., None] * emb).sum(1)


def axis_of_one(emb, scorer, present):
    scores = emb @ scorer[:, None]  # (b m 1)
    return (scores.softmax(dim=-1) * emb).sum(1)


def axis_of_one_and_mask(emb, scorer, present):
    return axis_of_one(emb * present[..., None], scorer, present)


def mask_upside_down(scores, present):
    return scores.masked_fill(present, -torch.inf).softmax(1)


ATTENTION = [
    ("an axis of length 1", axis_of_one),
    ("an axis of length 1", axis_of_one_and_mask),
    ("softmax over the samples", attention_with(lambda s, there: s.softmax(0))),
    ("softmax over the samples", attention_with(lambda s, there: kept(s, there).softmax(0))),
    ("a missing sense still gets weight", attention_with(lambda s, there: s.softmax(1))),
    ("to 0 after the softmax", attention_with(lambda s, there: s.softmax(1) * there)),
    ("exp(0) = 1 still counts", attention_with(lambda s, there: (s * there).softmax(1))),
    ("a sigmoid weighs each sense", attention_with(lambda s, there: s.sigmoid() * there)),
    ("the scores are used as weights", attention_with(lambda s, there: s * there)),
    (
        "the best sense takes all",
        attention_with(lambda s, there: F.one_hot(kept(s, there).argmax(1), s.shape[1]).float()),
    ),
    (
        "all samples have the same weights",
        attention_with(lambda s, there: kept(s.mean(0).expand_as(s), there).softmax(1)),
    ),
    ("the wrong sign", attention_with(lambda s, there: kept(-s, there).softmax(1))),
    ("root of d", lambda emb, scorer, there: scored(emb, emb @ scorer / emb.shape[-1] ** 0.5, there)),
    ("is no score: use scorer", lambda emb, scorer, there: scored(emb, emb.norm(dim=-1), there)),
    ("the mean over the senses", attention_with(lambda s, there: kept(s, there).softmax(1) / s.shape[1])),
    ("in the other order", attention_with(lambda s, there: kept(s, there).softmax(1).flip(1))),
    ("Those are the weights", lambda emb, scorer, there: kept(emb @ scorer, there).softmax(1)),
    ("still apart: sum over axis 1", lambda emb, scorer, there: kept(emb @ scorer, there).softmax(1)[..., None] * emb),
    ("the result is nan", attention_with(mask_upside_down)),
    (
        "Add up the senses: dim=1",
        lambda emb, scorer, there: (kept(emb @ scorer, there).softmax(1)[..., None] * emb).sum(0),
    ),
    ("is detached", lambda *case: attention_in_three_lines(*case).detach()),
]

COLLAPSED = [
    ("judged by the mean", lambda w, least: w.mean(0) < least),
    ("judged by the median", lambda w, least: w.median(0).values < least),
    ("judged by the smallest", lambda w, least: w.min(0).values < least),
    ("judged by the smallest", lambda w, least: (w < least).any(0)),
    ("the first sample only", lambda w, least: w[0] < least),
    ("the last sample only", lambda w, least: w[-1] < least),
    ("how much the weights vary", lambda w, least: w.std(0) < least),
    ("the senses in use", lambda w, least: w.max(0).values > least),
    ("the least used sense", lambda w, least: w.max(0).values == w.max(0).values.min()),
    ("the sense that has won", lambda w, least: w.max(0).values == w.max()),
    ("Go down the samples", lambda w, least: w.max(1).values < least),
    ("judges each weight", lambda w, least: w < least),
    ("One answer for all", lambda w, least: w.max(0).values.argmin()),
    ("returned the weights themselves", lambda w, least: w.max(0).values),
]


def mixed_with(weights):
    return lambda estimates, variances: (weights(variances) * estimates).sum(1)


def shared(x, dim=1):
    return x / x.sum(dim, keepdim=True)


INVERSE_VARIANCE = [
    ("the noisier estimate gets", mixed_with(shared)),
    ("no root", mixed_with(lambda var: shared(1 / var.sqrt()))),
    ("They are squares already", mixed_with(lambda var: shared(1 / var**2))),
    ("all estimates count alike", lambda estimates, variances: estimates.mean(1)),
    ("minus the variance is not it", mixed_with(lambda var: (-var).softmax(1))),
    ("the surest estimate takes all", lambda x, var: x.gather(1, var.argmin(1, keepdim=True))[:, 0]),
    ("do not sum to 1", mixed_with(lambda var: 1 / var)),
    ("over the samples", mixed_with(lambda var: shared(1 / var, dim=0))),
    ("over the whole table", mixed_with(lambda var: (1 / var) / (1 / var).sum())),
    ("goes too far", mixed_with(lambda var: (1 / var).softmax(1))),
    ("the mean of the weighted", lambda x, var: (shared(1 / var) * x).mean(1)),
    ("in the other order", mixed_with(lambda var: shared(1 / var).flip(1))),
    ("here are three", mixed_with(lambda var: var.flip(1) / var.sum(1, keepdim=True))),
    ("infinity divided by infinity", mixed_with(lambda var: shared(var.prod(1, keepdim=True) / var))),
    ("still apart", lambda x, var: shared(1 / var) * x),
    ("no gradient reaches var:", lambda x, var: mixture_by_precision(x, var.detach())),
]

WRONG = {
    fusion.check_early: EARLY,
    fusion.check_late: LATE,
    fusion.check_attention: ATTENTION,
    fusion.check_collapsed: COLLAPSED,
    fusion.check_inverse_variance: INVERSE_VARIANCE,
}
