"""Answers to the classifier and text encoder exercises of notebook 1, as a reader would write them.

RIGHT holds pairs of a checker and an answer, in several styles. WRONG maps each checker to pairs of a phrase that its
diagnosis must hold, and the answer.
"""

import torch
import torch.nn.functional as F

from mmlib.exercises import clip
from mmlib.models.clip import zero_shot_classifier

# ---- right answers


def templates_outside(encode_text, class_names, templates):
    stacks = [encode_text([template.replace("{}", name) for name in class_names]) for template in templates]
    total = sum(stacks)
    return total / total.norm(dim=1, keepdim=True)


def fixed(x, text_ids, end_id):
    future = torch.full((x.shape[1], x.shape[1]), -torch.inf).triu(1)
    for _ in range(2):
        x = x + (x @ x.mT / x.shape[-1] ** 0.5 + future).softmax(dim=-1) @ x
    rows = [row[ids.tolist().index(end_id)] for row, ids in zip(x, text_ids, strict=True)]
    return F.normalize(torch.stack(rows), dim=-1)


def fused(x, text_ids, end_id):
    for _ in range(2):
        x = x + F.scaled_dot_product_attention(x, x, x, is_causal=True)
    ends = (text_ids == end_id).int().argmax(1)
    return F.normalize(x.gather(1, ends[:, None, None].expand(-1, 1, x.shape[2])).squeeze(1), dim=-1)


RIGHT = [
    *[(clip.classifier, answer) for answer in (zero_shot_classifier, templates_outside)],
    (clip.prediction, lambda image_emb, classifier: torch.cdist(image_emb, classifier).argmin(dim=1)),
    (clip.prediction, lambda image_emb, classifier: (image_emb @ classifier.T).max(dim=1).indices),
    *[(clip.check_text_encoder, answer) for answer in (fixed, fused)],
]

# ---- wrong answers


def sentences(names, templates):
    return [template.format(name) for name in names for template in templates]


def per_class(finish, texts=lambda name, templates: [template.format(name) for template in templates]):
    return lambda encode, names, templates: torch.stack([finish(encode(texts(name, templates))) for name in names])


def unit(x):
    return F.normalize(x, dim=-1)


def overwritten(encode, names, templates):
    for template in templates:
        emb = encode([template.format(name) for name in names])
    return emb


def sort_in_place(encode, names, templates):
    names.sort()
    return zero_shot_classifier(encode, names, templates)


BUILD = [
    ("not of unit length", per_class(lambda emb: emb.mean(0))),
    ("down the columns", lambda e, n, t: F.normalize(per_class(lambda emb: emb.mean(0))(e, n, t), dim=0)),
    ("norm of the whole table", lambda e, n, t: F.normalize(per_class(lambda emb: emb.mean(0))(e, n, t), dim=(0, 1))),
    ("only the first template", lambda e, n, t: e([t[0].format(name) for name in n])),
    ("only the last template", overwritten),
    ("never got into the sentence", per_class(lambda emb: unit(emb.mean(0)), lambda name, templates: templates)),
    ("templates are not used", lambda encode, names, templates: encode(names)),
    ("another order", lambda e, n, t: zero_shot_classifier(e, sorted(n), t)),
    ("mixed up", lambda e, n, t: unit(e(sentences(n, t)).view(len(t), len(n), -1).mean(0))),
    ("mixed up", lambda e, n, t: unit(e([s.format(c) for s in t for c in n]).view(len(n), len(t), -1).mean(1))),
    ("maximum over templates", per_class(lambda emb: unit(emb.amax(0)))),
    ("softmax does not give", per_class(lambda emb: emb.mean(0).softmax(0))),
    ("averaged over the classes", lambda e, n, t: unit(e(sentences(n, t)).view(len(n), len(t), -1).mean(0))),
    ("transposed", lambda e, n, t: zero_shot_classifier(e, n, t).T),
    ("Group them by class", lambda encode, names, templates: encode(sentences(names, templates))),
    ("takes a list of texts, got one string", lambda e, n, t: torch.stack([e(s.format(c)) for c in n for s in t])),
    ("changes its argument names in place", sort_in_place),
]
PREDICT = [
    ("least similar", lambda image_emb, classifier: (image_emb @ classifier.T).argmin(1)),
    ("Choose a class for each picture", lambda image_emb, classifier: (image_emb @ classifier.T).argmax(0)),
    ("Those are the similarities", lambda image_emb, classifier: (image_emb @ classifier.T).softmax(1)),
    ("not class numbers", lambda image_emb, classifier: (image_emb @ classifier.T).max(1).values),
    ("One axis too many", lambda image_emb, classifier: (image_emb @ classifier.T).topk(1).indices),
    ("argmax needs dim=1", lambda image_emb, classifier: (image_emb @ classifier.T).argmax()),
    ("type list", lambda image_emb, classifier: (image_emb @ classifier.T).argmax(1).tolist()),
]


def encoder(attend=None, pool=None, finish=unit):
    """The encoder of the exercise with one or two of its lines in the reader's way; the others are right."""
    attend = attend or (lambda scores, past: scores.masked_fill(~past, -torch.inf).softmax(-1))
    pool = pool or (lambda x, ids, end: x[torch.arange(len(x)), (ids == end).int().argmax(1)])

    def encode_text(x, text_ids, end_id):
        past = torch.ones(x.shape[1], x.shape[1]).tril().bool()
        for _ in range(2):
            x = x + attend(x @ x.mT / x.shape[-1] ** 0.5, past) @ x
        return finish(pool(x, text_ids, end_id))

    return encode_text


def pick(x, index):
    return x[torch.arange(len(x)), index]


def in_place_encoder(x, text_ids, end_id):
    x += 1
    return x[:, -1]


ENCODER = [
    ("still reads the words after it", encoder(attend=lambda s, past: s.softmax(-1))),
    ("still comes from the last position", encoder(pool=lambda x, ids, end: x[:, -1])),
    ("upside down", encoder(attend=lambda s, past: s.masked_fill(~past.T, -torch.inf).softmax(-1))),
    ("NOT allowed", encoder(attend=lambda s, past: s.masked_fill(past, -torch.inf).softmax(-1))),
    ("keep the diagonal", encoder(attend=lambda s, past: s.masked_fill(~past.tril(-1), -torch.inf).softmax(-1))),
    ("masked after the softmax", encoder(attend=lambda s, past: s.softmax(-1) * past)),
    ("exp(0) = 1", encoder(attend=lambda s, past: (s * past).softmax(-1))),
    ("took the start token", encoder(pool=lambda x, ids, end: x[:, 0])),
    ("mean over all positions", encoder(pool=lambda x, ids, end: x.mean(1))),
    ("largest id", encoder(pool=lambda x, ids, end: pick(x, ids.argmax(1)))),
    ("one position too early", encoder(pool=lambda x, ids, end: pick(x, (ids == end).int().argmax(1) - 1))),
    ("counting ids", encoder(pool=lambda x, ids, end: pick(x, (ids != 0).sum(1) - 1))),
    (
        "the last end token",
        encoder(pool=lambda x, ids, end: torch.stack([row[at][-1] for row, at in zip(x, ids == end, strict=True)])),
    ),
    ("wrote the number 3", encoder(pool=lambda x, ids, end: pick(x, (ids == 3).int().argmax(1)))),
    ("x[torch.arange(b), end]", encoder(pool=lambda x, ids, end: x[:, (ids == end).int().argmax(1)])),
    ("not of unit length", encoder(finish=lambda pooled: pooled)),
    ("changes its argument x in place", in_place_encoder),
    (".int()", encoder(pool=lambda x, ids, end: pick(x, (ids == end).argmax(1)))),
]
WRONG = {
    clip.classifier: BUILD,
    clip.prediction: PREDICT,
    clip.check_text_encoder: ENCODER,
}
